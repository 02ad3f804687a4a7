"""What a change is: pure functions and values over bytes, NumPy and Arrow; no Beam, no client library."""

from . import loop_cache

loop_cache.choose()
