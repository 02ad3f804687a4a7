"""Options of a job file as frozen models: the types that several parts share.

Each part (a source, an encoding, a target) declares a subclass of `Options`; the job file is read into them whole,
before anything is opened. A text may hold references to secrets, which stay as written until a worker resolves them.
"""

import re
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict

DURATION: Final = re.compile(r"(?P<number>\d{1,9}(?:\.\d{1,9})?)\s*(?P<unit>ms|s|m|h|d)", re.IGNORECASE)
MILLISECONDS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST: Final = timedelta(days=36_500)
SIZE: Final = re.compile(r"(?P<number>\d{1,9})\s*(?P<unit>KB|MB|GB)", re.IGNORECASE)
BYTES: Final = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


class Options(BaseModel):
    """A part of the job file: immutable, no unknown key, and errors that never show what was written."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True)


def read_duration(value: Any) -> Any:
    """A length of time as written: a number and its unit (`200ms`, `1.5h`, `7d`). Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    found = DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is not a length of time such as 10s, 1.5h or 7d")
    length = timedelta(milliseconds=round(float(found["number"]) * MILLISECONDS[found["unit"].lower()]))
    if length > LONGEST:
        raise ValueError(f"{value!r} is longer than a century")
    return length


def read_size(value: Any) -> Any:
    """An amount of memory in bytes as written: a number and its unit (`512MB`, `2GB`). Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is not a size such as 512MB or 2GB")
    return int(found["number"]) * BYTES[found["unit"].upper()]


Duration = Annotated[timedelta, BeforeValidator(read_duration)]
"""A length of time, written `10s`, `1.5h`, `7d`."""

Size = Annotated[int, BeforeValidator(read_size)]
"""An amount of memory in bytes, written `512MB`, `2GB`."""
