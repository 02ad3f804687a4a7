"""The contract of an envelope: what the decoded values of a topic say happened to which rows."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..encodings import SHORT_ENCODING
from ..model.change import DELETE, UPSERT
from ..model.declared_type import DeclaredType
from ..model.message_batch import MessageBatch
from ..model.position import Numbers
from ..model.route import Route
from ..options import Options
from ..plugins import imported

__all__ = ["DELETE", "NOTHING", "TRUNCATE", "UPSERT", "Envelope", "EnvelopeSpec", "Events", "fields_of"]

TRUNCATE: Final = 2
NOTHING: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """What n values say, a row each.

    `what` (int8) is UPSERT, DELETE, TRUNCATE, or NOTHING for messages that say nothing of a row. `row` has a field for
    each column of the table, as it is after the event; `before` the row before it, with the fields that are known, or
    None. `order` is (commit order, order inside it), uint64 both, as `schemas.model.position` packs them; None where
    the place in the log is all there is. `placed`: whose order could be read (all where None). `snapshot`: rows (of a
    snapshot, or without a position) that are newer than all that stands before them in the log, whatever their order
    says; `copied`: those of them that are a snapshot's, which do not say when they were written. `marks` (int8) tells
    the first, the last and the others of a whole one (`schemas.model.snapshot_marks`), None where there are none.
    `time` is the source's clock in milliseconds and `server` the id of the server that wrote the change, -1 where
    unknown: they tell a source that was replaced, nothing is ordered by them. `connector` names the connector that sent
    it, null (or None for all) where it has no name: positions and servers are compared within a connector alone.
    `one_log`: its positions are of one log in all its topics, where it sends any. `source_tables` names the table of
    the source, where the end of its snapshot matters. `rewrites`: updates of a row, None where the envelope knows of
    none. `key` names the key's columns, where the values do so. Each of `wrong` is (mask, sentence) of values that
    become dead letters; where several masks hold a row, the first counts.

    Where a value may hold several changes, `of_value` (int64) is by event the number of its value, ascending, each
    value at least once: `what` and all the others have a row for each event then, in the order in which they happened.
    `absent` has by column the rows of updates that do not tell it: they keep what the table has.
    `tables` names by row the table of the source that it is of, null for none; None where a topic has one alone.
    """

    what: NDArray[np.int8]
    row: pa.StructArray
    before: pa.StructArray | None = None
    order: Numbers | None = None
    placed: NDArray[np.bool_] | None = None
    snapshot: NDArray[np.bool_] | None = None
    marks: NDArray[np.int8] | None = None
    copied: NDArray[np.bool_] | None = None
    time: NDArray[np.int64] | None = None
    server: NDArray[np.int64] | None = None
    connector: pa.DictionaryArray | None = None
    source_tables: pa.DictionaryArray | None = None
    one_log: bool = True
    rewrites: NDArray[np.bool_] | None = None
    key: tuple[str, ...] | None = None
    of_value: NDArray[np.int64] | None = None
    tables: pa.StringArray | None = None
    absent: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    wrong: Sequence[tuple[NDArray[np.bool_], str]] = ()


class Envelope(Protocol):
    """Arrow columns to changes. Picklable; keeps nothing of what it reads; its class is made with its options.

    It asks for columns by name and does not know which encoding they come from. Keys, positions, counts and dead
    letters are not its business: `decoder.TopicDecoder` does that for all envelopes.
    """

    null_deletes: bool = False
    """Whether a null value deletes the row of its key. Else it follows the delete of its key, and says nothing new."""
    reads_keys: bool = True
    """Whether the message's key is the row's. Else it is never read: values or the job file name the key's columns."""

    before_advice: str = (
        "Let the source send whole rows before changes (PostgreSQL: ALTER TABLE ... REPLICA IDENTITY FULL), "
        "or leave key out"
    )
    """What to do where a change of `rewrites` does not bear the key before it."""
    chosen_by: Set[tuple[str, ...]] = frozenset()
    """Paths of the value's fields by which `chosen` tells whose values are read, in topics of several tables."""

    partial: Set[tuple[str, ...]] = frozenset()
    """Paths of the value's objects that may lack fields of the row: beside each stands where it is absent."""

    def chosen(self, value: pa.StructArray) -> NDArray[np.bool_]:
        """Which values are read, of values with the fields `chosen_by` alone; the others count as filtered."""
        return np.ones(len(value), np.bool_)

    def keep(self, path: tuple[str, ...], route: Route) -> bool:
        """Whether `events` or the table needs the value's field at this path, such as `("after", "id")`."""
        return True

    def declared(self, path: tuple[str, ...], route: Route) -> DeclaredType | None:
        """The type of the value's field at this path, in messages that do not say it; None where it is inferred.

        That of a row's field is what `column` and the route say; an envelope says those of its own fields.
        """
        name = self.column(path)
        return None if name is None else route.columns.get(name)

    def column(self, path: tuple[str, ...]) -> str | None:
        """The column of the row that the value's field at this path is, None where it is none."""
        return path[0] if len(path) == 1 else None

    def other_messages(self, fields: Set[str]) -> str:
        """What values whose schema has these fields are, where they are no changes of any table; else empty."""
        return ""

    def events(self, value: pa.StructArray, route: Route) -> Events:
        """What the values say; their fields are those of one schema. No Python by row.

        Raises SchemaError where the schema is not this envelope's (its messages become dead letters).
        """

    def blank_unavailable(self, columns: dict[str, pa.Array]) -> tuple[dict[str, pa.Array], pa.Array | None]:
        """The columns with null for values that the source left out, and by row the names of those columns.

        The names are `list<string>`, null where the row is whole; None where all rows are.
        """
        return columns, None

    def moved_keys(
        self,
        messages: MessageBatch,
        rows: NDArray[np.int64],
        deletes: NDArray[np.bool_],
        unavailable: pa.Array | None,
    ) -> pa.Array | None:
        """By row (a number of a message) the other key of a key change, as JSON bytes; None where there is none."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeSpec:
    """An envelope by its name in the job file: `format.envelope`.

    `envelope` is `module:Class`, imported when it is used; `options` the model of its keys under `format`; `extra`
    names the extra that brings its library. `proof` names by encoding a reader for `verify`, as `module:Class` of a
    `MessageReader` (transforms/proof/row_change.py): without one, tables of this envelope cannot be proved. It is made
    with the options that `proof_options` names.
    `short` is what `format: {type: NAME}` stands for; with `only_short` its messages are written in no other way.
    `marks_snapshots`: its events say where a whole snapshot begins and ends. `tells_clock`: they bear the clock of the
    source, by which changes of several sources can be ordered, and say which are copied. `several_changes`: a message
    may hold more than one, so a table that keeps a row a message is refused.
    """

    name: str
    envelope: str
    options: type[Options] = Options
    extra: str | None = None
    proof: Mapping[str, str] = field(default_factory=dict, hash=False)
    proof_options: tuple[str, ...] = ()
    short: Mapping[str, str] = field(default_factory=lambda: {"encoding": SHORT_ENCODING}, hash=False)
    only_short: bool = False
    marks_snapshots: bool = False
    several_changes: bool = False
    tells_clock: bool = False

    def open(self, options: Options | None = None) -> Envelope:
        """The envelope, with its defaults where there are no options. Raises MissingExtraError."""
        made: Envelope = imported(self.envelope, f"format.envelope: {self.name}", self.extra)(options or self.options())
        return made

    def proof_reader(self, encoding: str, options: Options | None = None) -> Callable[[], Any] | None:
        """What makes the reader that the envelope brings for `verify` with this encoding. Raises MissingExtraError."""
        if encoding not in self.proof:
            return None
        made: Callable[..., Any] = imported(self.proof[encoding], f"format.envelope: {self.name}", self.extra)
        said = {name: getattr(options or self.options(), name) for name in self.proof_options}
        return partial(made, **said) if said else made


def fields_of(struct: pa.StructArray) -> dict[str, Any]:
    """The fields of a struct array by name."""
    return {field.name: struct.field(i) for i, field in enumerate(struct.type)}
