"""Change streams in, correct tables out: Beam jobs that keep tables equal to their source."""

__version__ = "0.1.0"

__all__ = ["__version__"]
