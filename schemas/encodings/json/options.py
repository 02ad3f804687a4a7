"""What a job file says of its JSON."""

from ...options import Options


class JsonOptions(Options):
    """Nothing so far: the schema is in each message."""
