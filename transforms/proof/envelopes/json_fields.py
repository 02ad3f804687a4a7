"""Fields of a message as Python's `json` gives them, for the proof only. Each raises Malformed for another type."""

from collections.abc import Mapping
from typing import Any

from ..avro_validator import Malformed
from ..json_forms import whole_number
from ..json_reader import Members


def text(value: Mapping[str, Any], name: str) -> str | None:
    """A text, or None."""
    found = value.get(name)
    if found is None or type(found) is str:
        return found
    raise Malformed(f"{name} is no text")


def number(value: Mapping[str, Any], name: str) -> int | None:
    """A whole number of 64 bits, or None."""
    found = value.get(name)
    return None if found is None else int(whole_number(found, 64))


def members(value: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """An object, or None."""
    found = value.get(name)
    if found is None:
        return None
    if isinstance(found, Members):
        return dict(found.pairs)
    raise Malformed(f"{name} is no object")


def names(value: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of texts, or nothing."""
    found = value.get(name)
    if found is None:
        return ()
    if type(found) is list and all(type(one) is str for one in found):
        return tuple(found)
    raise Malformed(f"{name} is no list of texts")
