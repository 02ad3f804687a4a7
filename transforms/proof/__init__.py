"""The proof that a target equals its source, with code of its own."""
