"""Blocks of a Postgres source: records (`sources.log_records`) of these kinds.

S           columns and key as JSON
C           rows of a copy, in Postgres's binary COPY format, all values text; the offset is the chunk's number
W           a copy that is made anew by each run has all rows (`sources.rounds`)
I, U, D, T  the message of pgoutput; the offset is the LSN of the transaction's commit
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from ..log_records import AT, KIND, LENGTH, SCHEMA, record

COPIED, INSERTED, UPDATED, DELETED, TRUNCATED = (ord(kind) for kind in "CIUDT")


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the log describes it; `type_name` is that of the domain's base type, `modifier` Postgres's typmod."""

    name: str
    type_name: str
    modifier: int


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns of a table in the log's order, and the names of its primary key."""

    columns: tuple[Column, ...]
    key: tuple[str, ...]

    def record(self) -> bytes:
        """The S record."""
        text = json.dumps(asdict(self), separators=(",", ":")).encode()
        return record(SCHEMA, 0, -1, text)

    @classmethod
    def of_text(cls, text: bytes) -> "TableSchema":
        """What `record` wrote."""
        found = json.loads(text)
        return cls(tuple(Column(**column) for column in found["columns"]), tuple(found["key"]))


def lsn_text(lsn: int) -> str:
    """An LSN as Postgres writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def by_schema(data: bytes, found: NDArray[np.int64]) -> Iterator[tuple[TableSchema, NDArray[np.int64]]]:
    """The records that one schema describes, together; pieces of a block often repeat the schema before."""
    schemas = np.flatnonzero(found[:, KIND] == SCHEMA)
    texts = [data[at : at + size] for at, size in found[schemas][:, [AT, LENGTH]].tolist()]
    stops = [*schemas[1:].tolist(), len(found)]
    places = zip(texts, schemas.tolist(), stops, strict=True)
    for text, group in groupby(places, key=itemgetter(0)):
        rows = np.concatenate([found[first + 1 : stop] for _, first, stop in group])
        if len(rows):
            yield TableSchema.of_text(text), rows
