"""Copies that are made anew by each run (`sync: full`): each is a round of offsets, one offset a chunk.

A round begins at a multiple of `ROUND`, and reaches the next one with its last chunk. Later rounds are newer, so when
one has ended, rows that are older than its beginning are not at the source any more.
"""

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ...schemas.envelopes.decoded import Decoded
from ...schemas.errors import LostOffsetsError
from ...schemas.model.ledger import TopicPartition
from ...schemas.model.position import pack

ROUND: Final = 1 << 24
UNKNOWN: Final = 1 << 62
"""The end of a table of which nobody has told yet where it stands."""
ENDED: Final = ord("W")
"""A record: the copy that began at the offset in its payload (8 bytes, little-endian) has all rows."""
HIGH_BITS: Final = 36
INNER_BITS: Final = 24
"""Bits of a position for the number of a row in its chunk."""

Whole = NDArray[np.int64]


def begins(offset: int) -> bool:
    """Whether a round begins here."""
    return offset % ROUND == 0


def round_end(offset: int) -> int:
    """Where the round of this offset ends."""
    return (offset // ROUND + 1) * ROUND


def unread(offset: int) -> int:
    """How many offsets its round lacks; 0 where none has begun."""
    return -offset % ROUND


class Settings(Protocol):
    """Of a source."""

    @property
    def full(self) -> bool:
        """Each run copies all rows."""

    @property
    def sync(self) -> str:
        """What the job file says."""


class RoundMark(Protocol):
    """What is known of a table at the offset `next`; `begun` is below 0 where its log was read."""

    @property
    def next(self) -> int: ...

    @property
    def begun(self) -> int: ...


def end_after(mark: RoundMark | None) -> int:
    """Where the next run ends, or this one where its round has not ended."""
    return UNKNOWN if mark is None else round_end(mark.next)


def check_sync(settings: Settings, partition: TopicPartition, mark: RoundMark) -> None:
    """Raises LostOffsetsError where the table was read by its log, and is copied anew now, or the other way round."""
    if (mark.begun >= 0) != settings.full:
        before = "full" if mark.begun >= 0 else "hybrid or incremental"
        raise LostOffsetsError(
            f"{partition}: it was read with source.sync: {before}, and source.sync is {settings.sync} now, whose order "
            "is another one; nothing was read. Write it as it was, or remove the table from the target and run again"
        )


def high_and_low(offset: Whole, numbers: Whole) -> tuple[Whole, Whole]:
    """The two words of a copied row's position; `numbers` are those of the rows in their chunks."""
    return offset >> HIGH_BITS, ((offset & ((1 << HIGH_BITS) - 1)) << INNER_BITS) + numbers


def end_copy(done: Decoded, begun: int) -> None:
    """Rows that are older than the copy which began there are gone."""
    before = np.array([begun - 1])
    high, low = high_and_low(before, np.array([(1 << INNER_BITS) - 1]))
    (position,) = pack(high.astype(np.uint64), low.astype(np.uint64), before).to_pylist()
    done.truncate = max(position, done.truncate or b"")
