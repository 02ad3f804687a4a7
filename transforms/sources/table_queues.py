"""Records of several tables that one stream brings: each table's wait until its reader takes them."""

import tempfile
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import IO, Final, NamedTuple

from .log_records import cut_data

BLOCK_BYTES: Final = 4 << 20
HELD_BYTES: Final = 64 << 20
"""What waits in memory; more waits in a temporary file."""
WAITING_BYTES: Final = 256 << 20
"""What may wait for a table that nobody has asked for; beyond it, its reader begins the stream anew."""


class Piece(NamedTuple):
    """Records with the offsets of the first and the last."""

    first: int
    last: int
    data: bytes


class _Placed(NamedTuple):
    """A piece that lies in the file: `size` bytes from `at` on."""

    first: int
    last: int
    at: int
    size: int


@dataclass(slots=True)
class Waiting:
    """Records of one table in order, in pieces; up to `served` none are left. `asked`: a reader has come for them."""

    pieces: deque[Piece | _Placed] = field(default_factory=deque)
    size: int = 0
    served: int = 0
    asked: bool = False


class TableQueues:
    """What waits, by topic. Not thread-safe."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = defaultdict(Waiting)
        self._held = 0
        self._file: IO[bytes] | None = None
        self._placed = 0

    def size(self, topic: str) -> int:
        """Bytes that wait for this table's reader."""
        return self._waiting[topic].size

    def served(self, topic: str) -> int:
        """The offset up to which its records were taken, or thrown away."""
        return self._waiting[topic].served

    def begin(self, topic: str, first: int) -> None:
        """This table's reader needs nothing that ends before `first`: the stream begins where a server can begin."""
        self._waiting[topic].served = first

    def ask(self, topic: str) -> None:
        """A reader has come for this table: nothing of it is thrown away any more."""
        self._waiting[topic].asked = True

    def add(self, topic: str, piece: Piece) -> None:
        """Behind what waits already. Where too much waits that nobody has asked for, all of it is thrown away."""
        waiting = self._waiting[topic]
        if piece.last < waiting.served:
            return
        waiting.size += len(piece.data)
        if waiting.size > WAITING_BYTES and not waiting.asked:
            for thrown in waiting.pieces:
                self._release(thrown)
            waiting.served, waiting.size = piece.last + 1, 0
            waiting.pieces.clear()
            return
        waiting.pieces.append(self._kept(piece))

    def _kept(self, piece: Piece) -> Piece | _Placed:
        size = len(piece.data)
        if self._held + size <= HELD_BYTES:
            self._held += size
            return piece
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="millrace-")  # noqa: SIM115
        at = self._file.seek(0, 2)
        self._file.write(piece.data)
        self._placed += 1
        return _Placed(piece.first, piece.last, at, size)

    def _release(self, piece: Piece | _Placed) -> None:
        """The piece does not wait any more; an empty file gives its room back."""
        if isinstance(piece, Piece):
            self._held -= len(piece.data)
            return
        self._placed -= 1
        if not self._placed and self._file is not None:
            self._file.truncate(0)

    def _data(self, piece: Piece | _Placed) -> bytes:
        if isinstance(piece, Piece):
            return piece.data
        assert self._file is not None
        self._file.seek(piece.at)
        return self._file.read(piece.size)

    def taken(self, topic: str, first: int, limit: int, position: int) -> tuple[int, bytes] | None:
        """Whole transactions up to about `BLOCK_BYTES`, from `first` on and before `limit`, and the offset they reach.

        `position`: all transactions before it have been added whole; none of the others is taken. None where that is
        not behind `first`.
        """
        waiting = self._waiting[topic]
        reached = limit = min(position, limit)
        size, newest = 0, -1
        found: list[bytes] = []
        while waiting.pieces and waiting.pieces[0].first < limit:
            if size >= BLOCK_BYTES and waiting.pieces[0].first > newest:
                # All transactions of the pieces before this one are whole.
                reached = waiting.pieces[0].first
                break
            piece = waiting.pieces.popleft()
            data = self._data(piece)
            self._release(piece)
            waiting.size -= len(data)
            newest = piece.last
            if piece.first < first or piece.last >= limit:
                _, data, after = cut_data(data, [0, first, limit])
                if after:
                    waiting.pieces.appendleft(self._kept(Piece(limit, piece.last, after)))
                    waiting.size += len(after)
            found.append(data)
            size += len(data)
        if reached <= first:
            return None
        waiting.served = reached
        return reached, b"".join(found)

    def close(self) -> None:
        """Forget all; the file is gone."""
        if self._file is not None:
            self._file.close()
