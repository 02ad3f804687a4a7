"""The `type` of a part of the job file, which chooses the model of its other keys."""

from collections.abc import Iterable, Mapping
from typing import Any

from ...schemas.option_values import one_of
from ...schemas.options import mistake


def known_type(written: Mapping[str, Any], known: Iterable[str], key: str = "type") -> str:
    """The name under `key`, which is one of `known`. Raises ValidationError that points there."""
    if key not in written:
        raise mistake(f"the key {key!r} is missing")
    try:
        return one_of(written[key], tuple(known))
    except ValueError as error:
        raise mistake(str(error), key) from None
