"""What a change is: pure functions and values over bytes, NumPy and Arrow; no Beam, no client library."""
