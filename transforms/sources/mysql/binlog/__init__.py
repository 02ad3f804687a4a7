"""The binlog's bytes to Arrow columns, by compiled loops: events, table maps, rows, values."""
