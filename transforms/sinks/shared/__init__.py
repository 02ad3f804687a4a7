"""What several targets do in the same way."""
