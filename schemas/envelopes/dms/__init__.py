"""Messages of AWS DMS: operations of rows with metadata, ordered by their offset."""
