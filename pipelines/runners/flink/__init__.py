"""Flink: options, checks, its REST interface, its job server."""
