"""Beam steps: read blocks, decode, shuffle, merge, apply, verify. Knows no job file and no command line."""
