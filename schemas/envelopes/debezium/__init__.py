"""Debezium's envelope: before, after, op and the source's position."""
