"""MySQL and MariaDB: a copy of each table, then the binlog."""
