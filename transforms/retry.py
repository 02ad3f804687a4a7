"""Another try after a pause, and again with longer ones, for what a server that is away did not take."""

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from ..schemas.errors import TransientSinkError

LOGGER: Final = logging.getLogger("millrace")
RETRIES: Final = (0.2, 0.5, 1.0, 2.0, 5.0)

_T = TypeVar("_T")


def retried(what: str, attempt: Callable[[], _T]) -> _T:
    """What the attempt gives; each try that failed is a warning that says `what`. Raises what the last try raised."""
    for pause in RETRIES:
        try:
            return attempt()
        except TransientSinkError as error:
            LOGGER.warning("%s: %s; trying again in %s s", what, error, pause)
            time.sleep(pause)
    return attempt()
