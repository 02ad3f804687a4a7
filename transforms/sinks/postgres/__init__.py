"""Postgres as a target."""
