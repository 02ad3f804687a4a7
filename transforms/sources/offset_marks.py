"""What is known of tables at their offsets: a server keeps no place for a reader, so ledgers and blocks tell it."""

import threading
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

KEPT: Final = 1_000


class Mark(Protocol):
    """What is known at the offset `next` of a table."""

    @property
    def next(self) -> int:
        """The offset after what was read."""


M = TypeVar("M", bound=Mark)


@dataclass(slots=True)
class OffsetMarks(Generic[M]):
    """The marks of each table, by their offsets; any thread may ask."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    _marks: dict[str, dict[int, M]] = field(default_factory=dict)
    _reached: dict[str, M] = field(default_factory=dict)

    def learn(self, topic: str, mark: M) -> None:
        """The newest mark of each offset counts."""
        with self.lock:
            known = self._marks.setdefault(topic, {})
            known.pop(mark.next, None)
            known[mark.next] = mark
            if len(known) > KEPT:
                del known[next(iter(known))]

    def reach(self, topic: str, mark: M) -> None:
        """As `learn`; this is where the table's ledger stands."""
        self.learn(topic, mark)
        with self.lock:
            self._reached[topic] = mark

    def reached(self, topic: str) -> M | None:
        """Where the table's ledger stood when it was last asked."""
        with self.lock:
            return self._reached.get(topic)

    def at(self, topic: str, offset: int) -> M | None:
        """What is known of a table at this offset."""
        with self.lock:
            return self._marks.get(topic, {}).get(offset)
