"""Changes that bear their accounts, for pipelines of users' own: a step of theirs may stand behind the decoding.

Each batch holds changes of one table (columns: `schemas.model.change`) from one block. Its schema's metadata says what
the block came to, so that the offsets and counts of the commit are right whatever a step between filters out.
"""

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import TimestampedValue

from ...schemas.errors import AccountingError, MillraceError
from ...schemas.merging.renaming import of_table
from ...schemas.model.block import Block
from ...schemas.model.change import SOURCE
from ...schemas.model.route import Route
from .block_decoders import BlockDecoder, BlockDecoders
from .decode import RECEIPTS, Failure, Receipt, by_shard, by_window, receipt
from .early_merge import marked, table_key

RECEIPT: Final = b"millrace.receipt"
NOTHING: Final = pa.record_batch({SOURCE: pa.array([], pa.int32())})


class ReadAccounted(beam.DoFn):
    """Block to (table, batch): every change as it was decoded, in its order. Each batch bears a receipt."""

    def __init__(self, routes: Mapping[str, Route], decoders: BlockDecoders) -> None:
        self._routes, self._decoders = dict(routes), decoders
        self._by_topic: dict[str, BlockDecoder] = {}

    def process(self, block: Block) -> Iterator[tuple[str, pa.RecordBatch]]:
        route = self._routes[block.topic]
        if block.topic not in self._by_topic:
            self._by_topic[block.topic] = self._decoders.decoder(block.topic, route)
        try:
            done = self._by_topic[block.topic](block)
        except MillraceError as error:
            for part in route.tables:
                yield part.table, _bearing(NOTHING, (), Failure(part.table, error))
            return
        for part in route.tables:
            try:
                mine = of_table(part, done)
            except MillraceError as error:
                yield part.table, _bearing(NOTHING, (), Failure(part.table, error))
                continue
            told = receipt(mine)
            for changes in mine.changes or [NOTHING]:
                yield part.table, _bearing(changes, mine.key, replace(told, changes=_counted(changes)))
                # Each message counts once: the batches behind the first account for their own changes alone.
                told = replace(told, read=0, size=0, filtered=0, truncates=0, truncate=None, letters=())


class TakeAccounted(beam.DoFn):
    """(table, batch) to what `Decode` gives: ((table, shard), changes), and receipts or failures as `RECEIPTS`.

    Rows that a step between has taken out count as filtered.
    """

    def __init__(self, shards: int = 1, every: int | None = None) -> None:
        self._shards, self._every = shards, every

    def process(self, element: tuple[str, pa.RecordBatch], time: Any = beam.DoFn.TimestampParam) -> Iterator[Any]:
        table, batch = element
        metadata = batch.schema.metadata or {}
        if RECEIPT not in metadata:
            error = AccountingError(
                f"table {table}: a batch of changes came back without the metadata of its schema, which holds its "
                "offsets and counts; keep it: batch.replace_schema_metadata(the batch before.schema.metadata)"
            )
            yield beam.pvalue.TaggedOutput(RECEIPTS, (table, Failure(table, error)))
            return
        told = pickle.loads(metadata[RECEIPT])
        if isinstance(told, Receipt):
            taken_out = told.changes - _counted(batch)
            told = replace(told, filtered=told.filtered + taken_out, changes=told.changes - taken_out)
        yield beam.pvalue.TaggedOutput(RECEIPTS, (table, told))
        if not batch.num_rows:
            return
        key = table_key(batch)
        for stamp, piece in by_window(batch, self._every):
            for number, shard in by_shard(marked(piece, key, {}), self._shards):
                yield TimestampedValue(((table, number), shard), float(time) if stamp is None else stamp)


def _bearing(changes: pa.RecordBatch, key: tuple[str, ...], told: Receipt | Failure) -> pa.RecordBatch:
    """The batch with the table's key, and what the block came to."""
    found = marked(changes, key, {})
    return found.replace_schema_metadata({**found.schema.metadata, RECEIPT: pickle.dumps(told)})


def _counted(changes: pa.RecordBatch) -> int:
    """The rows that count: the delete half of a key change does not."""
    return int((np.asarray(changes.column(SOURCE)) >= 0).sum())
