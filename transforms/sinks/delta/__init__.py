"""Delta Lake as a target."""
