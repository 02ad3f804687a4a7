"""Streams of changes for the demo, the benchmarks and trying out."""
