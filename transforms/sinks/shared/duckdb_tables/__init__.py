"""Tables behind a connection of DuckDB: those of a DuckDB file, and those of a lake that DuckDB reads and writes."""
