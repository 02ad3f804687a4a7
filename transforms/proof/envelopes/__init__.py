"""Readers of envelopes for the proof, a file each: the registry of envelopes names them."""
