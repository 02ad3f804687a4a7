"""Envelopes: what a decoded message says happened to which row."""
