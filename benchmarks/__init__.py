"""Where each figure of docs/benchmarks.md comes from: `make bench` prints one JSON line a figure."""
