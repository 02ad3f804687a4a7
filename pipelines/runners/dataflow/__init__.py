"""Dataflow: secrets and template parameters."""
