"""Where each figure of the README comes from: `make bench` prints one JSON line a figure."""
