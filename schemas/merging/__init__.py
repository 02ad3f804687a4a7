"""Which change of a key wins, and the row that comes out of it."""
