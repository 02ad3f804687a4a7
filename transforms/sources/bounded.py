"""Bounded reads: spans of partitions as a Beam source, one split a partition."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from apache_beam import coders
from apache_beam.io.unbounded_source import CheckpointMark, UnboundedReader, UnboundedSource
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp

from ...schemas.errors import SourceError
from ...schemas.model.block import Block
from ..coders import BlockCoder
from .source import PATIENCE_SECONDS, BlockReader, PartitionSpan, Source

_POLL_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class OffsetMark(CheckpointMark):
    """The offset to go on at. Finalizing does nothing: the target's ledger holds what is safe."""

    next: int


class _MarkCoder(coders.Coder):
    def encode(self, value: OffsetMark) -> bytes:
        return value.next.to_bytes(8, "big")

    def decode(self, encoded: bytes) -> OffsetMark:
        return OffsetMark(int.from_bytes(encoded, "big"))

    def is_deterministic(self) -> bool:
        return True


class BoundedRead(UnboundedSource):
    """Blocks of the spans; of each span in order and without holes: a block's `first` is the `stop` of the one before.

    Where all spans have a `stop`, the read ends; a span without offsets gives nothing. Raises LostOffsetsError for
    offsets that are gone, SourceError where the server stays away for `patience` seconds.
    """

    def __init__(self, source: Source, spans: Sequence[PartitionSpan], patience: float = PATIENCE_SECONDS) -> None:
        self._source = source
        self._spans = tuple(spans)
        self._patience = patience

    def split(self, desired_num_splits: int, options: Any = None) -> list[UnboundedSource]:
        """One source a span, however many are desired."""
        return [BoundedRead(self._source, (span,), self._patience) for span in self._spans]

    def create_reader(self, options: Any, checkpoint_mark: CheckpointMark | None) -> UnboundedReader:
        """A reader of the only span, from the mark on."""
        if not self._spans:
            return _NothingReader()
        if len(self._spans) > 1:
            raise SourceError("the runner did not split the source by partition")
        (span,) = self._spans
        first = checkpoint_mark.next if isinstance(checkpoint_mark, OffsetMark) else span.first
        return SpanReader(self._source.reader(span.source, first, span.stop, self._patience), span.stamp)

    def get_checkpoint_mark_coder(self) -> coders.Coder:
        return _MarkCoder()

    def default_output_coder(self) -> coders.Coder:
        return BlockCoder()


class SpanReader(UnboundedReader):
    """The Beam side of a BlockReader."""

    def __init__(self, reader: BlockReader, stamp: float | None) -> None:
        self._reader = reader
        self._stamp = None if stamp is None else Timestamp.of(stamp)
        self._block: Block | None = None
        self._at = MIN_TIMESTAMP

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        self._block = self._reader.read(_POLL_SECONDS)
        if self._block is None and self._reader.done:
            self._at = MAX_TIMESTAMP
        else:
            self._at = self._stamp or Timestamp.now()
        return self._block is not None

    def get_current(self) -> Block:
        if self._block is None:
            raise ValueError("there is no current block")
        return self._block

    def get_current_timestamp(self) -> Timestamp:
        return self._at

    def get_watermark(self) -> Timestamp:
        return self._at

    def get_checkpoint_mark(self) -> OffsetMark:
        return OffsetMark(self._reader.next)

    def close(self) -> None:
        self._reader.close()


class _NothingReader(UnboundedReader):
    def start(self) -> bool:
        return False

    def get_watermark(self) -> Timestamp:
        return MAX_TIMESTAMP

    def get_checkpoint_mark(self) -> OffsetMark:
        return OffsetMark(0)
