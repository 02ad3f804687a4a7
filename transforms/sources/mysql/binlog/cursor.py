"""Reading the few events that are read in Python: numbers, lengths and texts, one after another."""

import struct

from .....schemas.errors import SourceError


class Cursor:
    """A place in an event's body. Each method takes what stands there; raises SourceError past the end."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        """Bytes that are not read yet."""
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if size < 0 or size > self.left:
            raise SourceError(f"{size} bytes are wanted where {self.left} are left")
        self._at += size
        return self._data[self._at - size : self._at]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)

    def number(self, size: int) -> int:
        """A number without a sign, the lowest byte first."""
        return int.from_bytes(self.take(size), "little")

    def packed(self) -> int:
        """A number of one, three, four or nine bytes."""
        first = self.number(1)
        if first < 251:
            return first
        sizes = {252: 2, 253: 3, 254: 8}
        if first not in sizes:
            raise SourceError(f"{first} begins no length")
        return self.number(sizes[first])

    def counted(self) -> bytes:
        """Bytes behind their packed length."""
        return self.take(self.packed())

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        """Numbers of a fixed layout."""
        return layout.unpack(self.take(layout.size))
