"""What a command logs, and how."""

import logging
import sys
import time


def quiet_logs() -> None:
    """Millrace's own warnings on stderr; of the libraries only what is critical: their errors arrive as exceptions."""
    handler = logging.StreamHandler()
    if sys.stderr.isatty():
        handler.setFormatter(logging.Formatter("warning: %(message)s"))
    else:
        stamped = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        stamped.converter = time.gmtime
        handler.setFormatter(stamped)
    own = logging.getLogger("millrace")
    own.handlers, own.propagate = [handler], False
    logging.getLogger().setLevel(logging.CRITICAL)
    own.setLevel(logging.WARNING)
