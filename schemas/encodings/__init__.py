"""Encodings: the bytes of keys and values as Arrow columns."""
