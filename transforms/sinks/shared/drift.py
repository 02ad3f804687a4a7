"""What people changed in a table of Millrace by hand: the columns that are there, against those of its last commit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar, runtime_checkable

from ....schemas.model.table import Table
from .. import Sink
from .lookup import columns_of

GONE: Final = "the table was dropped by hand"

TypeT = TypeVar("TypeT")


@dataclass(frozen=True, slots=True)
class Drift:
    """One change; `column` is empty where the table itself is gone. `stops`: the next commit is refused."""

    column: str
    said: str
    stops: bool = True
    loses: bool = False


@dataclass(frozen=True, slots=True)
class InspectedTable:
    """A table as the last commit left it, None where there is none yet, and what was changed since."""

    table: Table | None = None
    drift: tuple[Drift, ...] = ()


@runtime_checkable
class Inspected(Protocol):
    """A sink that tells what others changed in its tables."""

    def inspect(self, table: str) -> InspectedTable:
        """Looks, and changes nothing; no error where the table is not as the last commit left it. Raises SinkError."""


def inspect(sink: Sink, table: str) -> InspectedTable:
    """What the sink tells; of one that tells no drift, the columns."""
    if isinstance(sink, Inspected):
        return sink.inspect(table)
    columns = columns_of(sink, table)
    return InspectedTable(None if columns is None else Table(table, (), columns))


def drift_of(
    there: Mapping[str, TypeT], left: Mapping[str, TypeT], same: Callable[[TypeT, TypeT], bool] = lambda a, b: a == b
) -> tuple[Drift, ...]:
    """The columns that are there against those that the last commit left, by name, each with its type in the target."""
    added = [Drift(name, f"was added by hand, {there[name]}") for name in there if name not in left]
    gone = [Drift(name, "was dropped by hand: its values are gone", loses=True) for name in left if name not in there]
    retyped = [
        Drift(name, f"was {left[name]} and is {there[name]}, retyped by hand")
        for name in there
        if name in left and not same(left[name], there[name])
    ]
    return (*added, *gone, *retyped)
