"""What the source and the target of MySQL share of its protocol."""
