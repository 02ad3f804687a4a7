"""Where the row of a key lies among a table's data files."""
