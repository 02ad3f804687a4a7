"""Options that several targets share."""

import re
from datetime import timedelta
from typing import Final

from ....schemas.errors import JobError

UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
SIZES: Final = {"MB": 1 << 20, "GB": 1 << 30}


def read_retention(value: str, option: str = "tombstone_retention") -> timedelta:
    """A length of time as written: a number with s, m, h or d (`7d`). Raises JobError."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", str(value))
    if found is None:
        raise JobError(f"target.{option}: {value!r} is not a time like 12h or 7d")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def read_size(value: str, option: str) -> int:
    """An amount of memory as written: a number with MB or GB (`512MB`). Raises JobError."""
    found = re.fullmatch(r"(\d{1,6})(MB|GB)", str(value))
    if found is None:
        raise JobError(f"target.{option}: {value!r} is not a size like 512MB or 2GB")
    return int(found[1]) * SIZES[found[2]]
