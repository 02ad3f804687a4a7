"""Open tables with the index of their keys, kept in the process from one sink to the next.

Each pass of a job opens a sink of its own; without this cache it would read the keys of the whole table again. A table
belongs to one sink at a time: a sink takes it out, and puts it back when it is closed.
"""

from threading import Lock
from typing import Final

from .catalog.catalog import IcebergCatalog
from .keys.keyed_table import KeyedTable
from .tombstones import Tombstones

Kept = tuple[KeyedTable, Tombstones]

_LOCK: Final = Lock()
_KEPT: Final[dict[tuple[str, ...], Kept]] = {}


def take(place: tuple[str, ...], catalog: IcebergCatalog) -> Kept | None:
    """The table of this place that another sink left, if there is one: its newest snapshot is yet to be looked up."""
    with _LOCK:
        found = _KEPT.pop(place, None)
    if found is not None:
        for keyed in (found[0], found[1].keyed):
            keyed.catalog, keyed.recent = catalog, False
    return found


def put(place: tuple[str, ...], kept: Kept) -> None:
    """Leave a table for the next sink; of two, the one that knows more keys stays."""
    with _LOCK:
        other = _KEPT.get(place)
        if other is None or other[0].memory <= kept[0].memory:
            _KEPT[place] = kept


def clear() -> None:
    """Forget all, as a new process does."""
    with _LOCK:
        _KEPT.clear()
