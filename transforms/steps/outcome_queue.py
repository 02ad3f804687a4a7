"""What commits came to, handed from the workers of a pipeline to the program that runs it, in one process."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import apache_beam as beam

from .commit import Outcome
from .decode import Failure

_LOCK: Final = threading.Lock()
_POSTED: Final[dict[str, list[Outcome | Failure]]] = defaultdict(list)


class OutcomeQueue(beam.DoFn):
    """Outcome to nothing: posted under the name of the pass. For runners whose workers are threads of this process."""

    def __init__(self, name: str) -> None:
        self._name = name

    def process(self, element: Outcome | Failure) -> Iterator[None]:
        with _LOCK:
            _POSTED[self._name].append(element)
        yield from ()


def collect(name: str) -> list[Outcome | Failure]:
    """All that was posted under this name; it is forgotten here."""
    with _LOCK:
        return _POSTED.pop(name, [])
