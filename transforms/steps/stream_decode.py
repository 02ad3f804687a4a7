"""A job that streams: what a bundle decoded travels to its commit in one piece, receipts and changes together.

So it does not matter how a runner cuts windows into panes, or in which order it hands them over: a pane holds whole
bundles, and those that do not continue the ledger wait for the ones between.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from ...schemas.envelopes.decoded import Decoded
from ...schemas.errors import MillraceError, RegistryError
from ...schemas.model.block import Block
from ...schemas.model.change import TIME
from ...schemas.model.ledger import OffsetRange
from ...schemas.model.route import Route
from ..coders import RecordBatchCoder
from ..retry import PATIENT, Retry, retried
from .block_decoders import BlockDecoder, BlockDecoders
from .decode import Failure, Receipt, for_table, receipt
from .early_merge import EarlyMerge
from .windows import Cut

BATCHES: Final = RecordBatchCoder()


@dataclass(frozen=True, slots=True)
class DecodedBundle:
    """What a bundle decoded of one table for one window; `changes` are record batches as Arrow IPC streams."""

    receipts: tuple[Receipt, ...]
    changes: tuple[bytes, ...]
    failure: Failure | None = None

    def batches(self) -> list[pa.RecordBatch]:
        """The changes."""
        return [BATCHES.decode(batch) for batch in self.changes]

    @property
    def spans(self) -> list[OffsetRange]:
        """The offsets that it covers."""
        return [part.span for part in self.receipts]


@dataclass(slots=True)
class _Filling:
    receipts: list[Receipt] = field(default_factory=list)
    changes: list[bytes] = field(default_factory=list)
    failure: Failure | None = None

    def decoded(self) -> DecodedBundle:
        return DecodedBundle(tuple(self.receipts), tuple(self.changes), self.failure)


class StreamDecode(beam.DoFn):
    """Block to (table, DecodedBundle): one a table and window at the end of each bundle, or when enough rows are held.

    A registry that is away is waited for; RegistryError is raised after ten minutes.
    """

    def __init__(self, routes: Mapping[str, Route], decoders: BlockDecoders, cut: Cut) -> None:
        self._routes, self._decoders, self._cut = dict(routes), decoders, cut
        self._by_topic: dict[str, BlockDecoder] = {}

    def start_bundle(self) -> None:
        self._gathering = EarlyMerge()
        self._filling: dict[tuple[str, float], _Filling] = defaultdict(_Filling)

    def process(self, block: Block, time: Any = beam.DoFn.TimestampParam) -> Iterator[Any]:
        for stamp, piece in self._cut.pieces(block, float(time)):
            self._add(stamp, piece)
        for place in self._take(self._gathering.full()):
            yield self._emitted(place)

    def finish_bundle(self) -> Iterator[Any]:
        self._take(self._gathering.all())
        for place in list(self._filling):
            yield self._emitted(place)

    def _add(self, stamp: float, block: Block) -> None:
        route = self._routes[block.topic]
        try:
            done = self._decoded(block, route)
        except RegistryError:
            raise
        except MillraceError as error:
            for part in route.tables:
                self._filling[part.table, stamp].failure = Failure(part.table, error)
            return
        for part in route.tables:
            try:
                mine = for_table(part, done)
            except MillraceError as error:
                self._filling[part.table, stamp].failure = Failure(part.table, error)
                continue
            self._filling[part.table, stamp].receipts.append(receipt(mine))
            for changes in mine.changes:
                self._gathering.add(part.table, mine.key, stamp, _untimed(changes), mine.falls)

    def _take(self, gathered: Iterable[tuple[str, float, Any]]) -> list[tuple[str, float]]:
        places = []
        for table, stamp, changes in gathered:
            self._filling[table, stamp].changes.append(BATCHES.encode(changes))
            places.append((table, stamp))
        return list(dict.fromkeys(places))

    def _emitted(self, place: tuple[str, float]) -> WindowedValue:
        table, stamp = place
        return WindowedValue((table, self._filling.pop(place).decoded()), Timestamp.of(stamp), (GlobalWindow(),))

    def _decoded(self, block: Block, route: Route) -> Decoded:
        if block.topic not in self._by_topic:
            self._by_topic[block.topic] = self._decoders.decoder(block.topic, route)
        decoder = self._by_topic[block.topic]
        return retried("", lambda: decoder(block), Retry(PATIENT, (RegistryError,)))


def _untimed(changes: pa.RecordBatch) -> pa.RecordBatch:
    return changes.drop_columns([TIME]) if TIME in changes.schema.names else changes
