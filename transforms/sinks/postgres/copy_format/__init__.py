"""Postgres' binary COPY format, from and to Arrow columns."""
