"""Where change streams come from."""
