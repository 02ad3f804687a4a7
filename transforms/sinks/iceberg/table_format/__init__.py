"""Iceberg's table format, version 2: manifests, snapshots, data files, column bounds."""
