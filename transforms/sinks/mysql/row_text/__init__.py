"""Rows between Arrow and the texts that MySQL reads and writes."""
