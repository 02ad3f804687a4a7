"""Apache Iceberg: see `sink`. Other modules of Millrace import nothing else of this package."""
