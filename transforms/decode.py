"""Blocks to changes, sent to the shard of their key; counts and dead letters to the commit of their table."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import sleep
from typing import Any, Final

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow, TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from ..schemas.block import Block
from ..schemas.change import SOURCE, TIME
from ..schemas.contracts import Contracts
from ..schemas.dead_letter import DeadLetter
from ..schemas.debezium import DebeziumDecoder
from ..schemas.decoding import BlockDecoder, Decoded, Route
from ..schemas.errors import MillraceError, RegistryError
from ..schemas.framing import Framing
from ..schemas.key import shard
from ..schemas.ledger import OffsetRange
from ..schemas.modes import VERSION
from ..schemas.shapes import shaped
from ..schemas.upsert import UpsertDecoder
from .gather import Gathering, marked, superseded_before, table_key

LOGGER: Final = logging.getLogger("millrace")
RECEIPTS: Final = "receipts"
PAUSES: Final = (1.0, 2.0, 5.0, 10.0, *(30.0 for _ in range(20)))
"""Seconds between tries of a registry that is away, while a job streams: ten minutes in all."""
DECODERS: Final[Mapping[str, Callable[[Contracts, str, Route, Framing], BlockDecoder]]] = {
    "debezium": DebeziumDecoder,
    "upsert": UpsertDecoder,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How the messages of a job are written: `type` is debezium or upsert."""

    type: str
    contracts: Contracts
    framing: Framing = Framing.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What one block came to, for the accounts of its table's commit: `changes` of `size` bytes went to the shuffle.

    Of several tables that one topic fills, the first one's commit writes the dead `letters`.
    """

    span: OffsetRange
    read: int
    changes: int
    size: int
    filtered: int
    truncates: int
    truncate: bytes | None
    dead: int
    letters: tuple[DeadLetter, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a table cannot be committed in this window; nothing of it is."""

    table: str
    error: MillraceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How changes are stamped: with the start of a window of `every` milliseconds.

    `by_event`: the window of the change's own time; where the job is `live`, not before the stamp of its block, nor
    after what its partition has reached. Otherwise the window of the block's time; a bounded pass is one window.
    """

    every: int
    by_event: bool = False
    live: bool = False


class Decode(beam.DoFn):
    """Block to ((table, shard), changes), and (table, Receipt or Failure) as `RECEIPTS`.

    Changes are stamped as `cut` says, or like their block without one; those of a bundle are gathered first (see
    `gather`). While the job is live, a registry that is away is waited for; RegistryError is raised after ten minutes.
    """

    def __init__(self, routes: Mapping[str, Route], format: Format, shards: int = 1, cut: Cut | None = None) -> None:
        self._routes, self._format, self._shards, self._cut = dict(routes), format, shards, cut
        self._live = cut is not None and cut.live
        self._decoders: dict[str, BlockDecoder] = {}

    def start_bundle(self) -> None:
        self._gathering = Gathering()

    def process(self, block: Block, time: Any = beam.DoFn.TimestampParam) -> Iterator[Any]:
        route = self._routes[block.topic]
        try:
            done = self._decoded(block, route)
        except MillraceError as error:
            if self._live and isinstance(error, RegistryError):
                raise
            for part in route.tables:
                yield beam.pvalue.TaggedOutput(RECEIPTS, (part.table, Failure(part.table, error)))
            return
        for part in route.tables:
            mine = shaped(part.mode, done)
            settled: Any = (part.table, receipt(mine, first=part is route))
            if block.reached is not None:
                settled = TimestampedValue(settled, block.reached / 1000)
            yield beam.pvalue.TaggedOutput(RECEIPTS, settled)
            for changes in mine.changes:
                for stamp, piece in stamped(changes, self._cut, float(time), block.reached):
                    self._gathering.add(part.table, mine.key, stamp, piece)
        for table, stamp, changes in self._gathering.full():
            for number, piece in by_shard(changes, self._shards):
                yield TimestampedValue(((table, number), piece), stamp)

    def finish_bundle(self) -> Iterator[Any]:
        for table, stamp, changes in self._gathering.all():
            for number, piece in by_shard(changes, self._shards):
                yield WindowedValue(((table, number), piece), Timestamp.of(stamp), (GlobalWindow(),))

    def _decoded(self, block: Block, route: Route) -> Decoded:
        for pause in PAUSES if self._live else ():
            try:
                return self._decoder(block.topic, route).decode(block)
            except RegistryError as error:
                LOGGER.warning("%s; trying again in %.0f s", error, pause)
                sleep(pause)
        return self._decoder(block.topic, route).decode(block)

    def _decoder(self, topic: str, route: Route) -> BlockDecoder:
        if topic not in self._decoders:
            decoder = DECODERS[self._format.type]
            self._decoders[topic] = decoder(self._format.contracts, topic, route, self._format.framing)
        return self._decoders[topic]


def receipt(done: Decoded, first: bool = True) -> Receipt:
    """The receipt of a decoded block; changes with source -1 are not counted. Not the `first`: without its letters."""
    return Receipt(
        span=OffsetRange(done.topic, done.partition, done.first, done.stop),
        read=done.read,
        changes=sum(int((np.asarray(batch.column(SOURCE)) >= 0).sum()) for batch in done.changes),
        size=sum(batch.nbytes for batch in done.changes),
        filtered=done.filtered,
        truncates=done.truncates,
        truncate=done.truncate,
        dead=len(done.letters),
        letters=tuple(done.letters) if first else (),
    )


def stamped(
    changes: pa.RecordBatch, cut: Cut | None, time: float, reached: int | None
) -> Iterator[tuple[float, pa.RecordBatch]]:
    """The changes by their time stamps, in seconds; `time` is that of their block, `reached` its partition's."""
    if cut is None or not cut.by_event:
        stamp = time if cut is None else (time * 1000 // cut.every) * cut.every / 1000
        yield stamp, changes.drop_columns([TIME]) if TIME in changes.schema.names else changes
        return
    windows = np.asarray(changes.column(TIME)) // cut.every
    if cut.live and reached is not None:
        last = reached // cut.every
        windows = np.clip(windows, min(int(time * 1000 // cut.every), last), last)
    changes = changes.drop_columns([TIME])
    for window in np.unique(windows):
        yield int(window) * cut.every / 1000, changes.take(pa.array(np.flatnonzero(windows == window)))


def by_shard(changes: pa.RecordBatch, shards: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The changes cut by the hash of their key; all versions of a row go to one shard."""
    if shards == 1:
        yield 0, changes
        return
    numbers = shard([changes.column(name) for name in table_key(changes) if name != VERSION], shards)
    key, before = table_key(changes), superseded_before(changes)
    for number in np.unique(numbers):
        piece = changes.take(pa.array(np.flatnonzero(numbers == number)))
        yield int(number), marked(piece, key, before)
        before = {}
