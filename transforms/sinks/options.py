"""Options that several targets share."""

import re
from datetime import timedelta
from typing import Final

from ...schemas.errors import JobError

UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def read_retention(value: str) -> timedelta:
    """`tombstone_retention` as written: a number with s, m, h or d (`7d`). Raises JobError."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", str(value))
    if found is None:
        raise JobError(f"target.tombstone_retention: {value!r} is not a time like 12h or 7d")
    return timedelta(**{UNITS[found[2]]: int(found[1])})
