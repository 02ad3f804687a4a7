"""The catalog of Iceberg tables: SQL, REST, Hive or Glue."""
