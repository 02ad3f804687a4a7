"""Beam steps: read blocks, decode, shuffle, compact, apply, verify. Knows no job file and no command line."""
