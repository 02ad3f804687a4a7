"""A log in memory for the proof, and the proof of tables that are given row by row."""

import pyarrow as pa

from millrace.schemas.model.change import POSITION
from millrace.schemas.model.ledger import OffsetRange, TopicPartition
from millrace.transforms.proof.reference_table import ReferenceTable
from millrace.transforms.proof.rules import Rules
from millrace.transforms.proof.verify import Proof, verify

COLUMNS = pa.schema([("id", pa.int64()), ("text", pa.string())])


class HeldLog:
    """A log that holds the messages of streams, one a partition, from an offset on: what stood before is gone."""

    def __init__(self, *streams, first=0):
        self.streams, self.first = {TopicPartition("t", one.partition): one.messages for one in streams}, first

    @property
    def stops(self):
        return {source: len(messages) for source, messages in self.streams.items()}

    def held(self, stops):
        return {one: OffsetRange(one.topic, one.partition, self.first, self.stops[one]) for one in stops}

    def read(self, ranges):
        for part in ranges:
            yield from self.streams[part.source][part.first : part.stop]


def proved(contracts, log, rows, **proof):
    """The proof of these (position, row) pairs by a log."""
    columns = pa.schema([*COLUMNS, (POSITION, pa.binary())])
    held = pa.RecordBatch.from_pylist(
        [{**row, POSITION: b"".join(part.to_bytes(8, "big") for part in position)} for position, row in rows], columns
    )
    return verify(
        log,
        lambda names: iter([held.select(names or COLUMNS.names)]),
        Proof("t", log.stops, Rules("debezium", contracts), **proof),
    )


def proved_by_itself(contracts, *streams):
    """The proof of the very table that the positions make."""
    fold = ReferenceTable(Rules("debezium", contracts))
    for stream in streams:
        fold.add_all(stream.messages)
    rows = [(position, {"id": row["id"], "text": row["text"]}) for _, position, row in fold.rows() if row is not None]
    return proved(contracts, HeldLog(*streams), rows)
