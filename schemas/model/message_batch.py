"""Messages of one partition as columns: what every source splits its blocks into, and every encoding reads."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Headers:
    """The headers of n messages, one after the other: those of message i are `first[i]` to `first[i + 1]`.

    `first` is int64 of length n + 1; the others have one cell a header. A name is `data[name_at:name_at+name_len]` of
    the batch's `data`, a value in the same way, null where `value_len` is -1.
    """

    first: Places
    name_at: Places
    name_len: Places
    value_at: Places
    value_len: Places


@dataclass(frozen=True, slots=True, eq=False)
class MessageBatch:
    """n messages of one partition in ascending offset order, all inside [first, stop).

    `data` is uint8; the other columns are int64 of length n. A key or value is `data[at:at+len]`, null where
    `len` is -1. `timestamp` is in milliseconds since the epoch, -1 where the producer gave none. `headers` is None
    where no message has any. `opens_alone`: the first message is known not to belong to the one before it.
    `server_times`: some times are those of the server that appended the messages, not those of their producer.
    """

    topic: str
    partition: int
    first: int
    stop: int
    data: NDArray[np.uint8]
    offset: Places
    timestamp: Places
    key_at: Places
    key_len: Places
    value_at: Places
    value_len: Places
    headers: Headers | None = None
    opens_alone: bool = False
    server_times: bool = False

    def __len__(self) -> int:
        return len(self.offset)

    def key(self, row: int) -> bytes | None:
        """The key's bytes; for single rows, not for the hot path (also the two below)."""
        return self._bytes(self.key_at[row], self.key_len[row])

    def value(self, row: int) -> bytes | None:
        """The value's bytes."""
        return self._bytes(self.value_at[row], self.value_len[row])

    def headers_of(self, row: int) -> list[tuple[str, bytes | None]]:
        """The headers in order; bytes of a name that are not UTF-8 appear as backslash escapes."""
        if self.headers is None:
            return []
        found = []
        for i in range(int(self.headers.first[row]), int(self.headers.first[row + 1])):
            name = self._bytes(self.headers.name_at[i], self.headers.name_len[i]) or b""
            value = self._bytes(self.headers.value_at[i], self.headers.value_len[i])
            found.append((name.decode("utf-8", "backslashreplace"), value))
        return found

    def _bytes(self, at: np.int64, length: np.int64) -> bytes | None:
        return None if length < 0 else self.data[at : at + length].tobytes()
