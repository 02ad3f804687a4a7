"""Records of several tables that one stream brings: each table's wait until its reader takes them."""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .log_records import cut_data

BLOCK_BYTES: Final = 4 << 20
WAITING_BYTES: Final = 256 << 20
"""What may wait for one table; beyond it, its reader begins the stream anew."""


class Piece(NamedTuple):
    """Records with the offsets of the first and the last."""

    first: int
    last: int
    data: bytes


@dataclass(slots=True)
class Waiting:
    """Records of one table in order, in pieces; up to `served` none are left."""

    pieces: deque[Piece] = field(default_factory=deque)
    size: int = 0
    served: int = 0


class TableQueues:
    """What waits, by topic. Not thread-safe."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = defaultdict(Waiting)

    def size(self, topic: str) -> int:
        """Bytes that wait for this table's reader."""
        return self._waiting[topic].size

    def served(self, topic: str) -> int:
        """The offset up to which its records were taken, or thrown away."""
        return self._waiting[topic].served

    def add(self, topic: str, piece: Piece) -> None:
        """Behind what waits already. Where too much waits, all of it is thrown away."""
        waiting = self._waiting[topic]
        waiting.pieces.append(piece)
        waiting.size += len(piece.data)
        if waiting.size > WAITING_BYTES and len(waiting.pieces) > 1:
            waiting.served = waiting.pieces[-1].last + 1
            waiting.pieces.clear()
            waiting.size = 0

    def taken(self, topic: str, first: int, limit: int, position: int) -> tuple[int, bytes] | None:
        """Whole transactions up to about `BLOCK_BYTES`, from `first` on and before `limit`, and the offset they reach.

        `position`: all transactions before it have been added. None where that is not behind `first`.
        """
        waiting = self._waiting[topic]
        reached, size = min(position, limit), 0
        found: list[bytes] = []
        while waiting.pieces and waiting.pieces[0].first < limit:
            if size >= BLOCK_BYTES:
                # All pieces before this one are whole: what commits before its first change is in them.
                reached = min(reached, waiting.pieces[0].first)
                break
            piece = waiting.pieces.popleft()
            waiting.size -= len(piece.data)
            data = piece.data
            if piece.first < first or piece.last >= limit:
                _, data, after = cut_data(data, [0, first, limit])
                if after:
                    waiting.pieces.appendleft(Piece(limit, piece.last, after))
                    waiting.size += len(after)
            found.append(data)
            size += len(data)
        if reached <= first:
            return None
        waiting.served = reached
        return reached, b"".join(found)
