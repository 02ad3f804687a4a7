"""Change logs of Parquet or Avro files as a target."""
