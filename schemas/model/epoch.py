"""Epochs of one partition: from which offset on the positions of another source count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple

from ..errors import TableError

Order = tuple[int, int]

MOST_BEGINNINGS: Final = 256
"""How many beginnings of epochs a partition may have; each change of an earlier source that comes again makes two."""


class OnNewSource(StrEnum):
    """What happens where the changes of a new source begin."""

    STOP = "stop"
    FOLLOW = "follow"


class Climb(NamedTuple):
    """A stretch of one connector's streamed changes whose positions only grow; a replay begins another one.

    `offset` is that of its first change, `last` that of its last. `first` and `top` are (source commit order, order
    inside it) of its first and its highest change, `time` and `latest` the source's clock at the first change and at
    most, `server` the one that wrote the first; -1 for unknown. `servers` are all that wrote it.
    """

    connector: str
    offset: int
    first: Order
    top: Order
    time: int
    latest: int
    server: int
    servers: tuple[int, ...]
    last: int = -1

    def falls_behind(self, before: "Climb") -> bool:
        """Whether it does not go on where the climb before it ended."""
        back = self.server < 0 and self.time < before.latest
        return self.first < before.top or self.server != before.server or back


class Beginning(NamedTuple):
    """Where a new source begins: its first offset, that of the change which shows it, and that change's time."""

    first: int
    proof: int
    time: int


class PastSource(NamedTuple):
    """What the source of an earlier epoch had sent at most: position, time and servers."""

    epoch: int
    highest: Order
    time: int
    servers: tuple[int, ...]

    def sent(self, climb: Climb) -> bool:
        """Whether all of a climb may be a repetition of what this source sent."""
        known = climb.server < 0 or not self.servers or set(climb.servers) <= set(self.servers)
        return known and max(climb.first, climb.top) <= self.highest and max(climb.time, climb.latest) <= self.time


@dataclass(frozen=True, slots=True)
class Epochs:
    """Which epoch each offset of a partition belongs to; what a ledger has said of an offset never changes.

    `begins` are (offset, epoch) in the order of offsets: an epoch goes on until the next one begins, and where a change
    of an earlier source comes again, its epoch begins for that change alone. Offsets up to `judged` are decided for
    good. `times` are (epoch, source's clock) of the changes that have shown each epoch. `past` are the sources of
    earlier epochs. `accepted`: a person said that the next new source is right.
    """

    begins: tuple[tuple[int, int], ...] = ()
    judged: int = -1
    times: tuple[tuple[int, int], ...] = ()
    past: tuple[PastSource, ...] = ()
    accepted: bool = False

    @property
    def newest(self) -> int:
        """The number of the last epoch."""
        return max((epoch for _, epoch in self.begins), default=0)

    def at(self, offset: int) -> int:
        """The epoch of an offset."""
        return next((epoch for begin, epoch in reversed(self.begins) if begin <= offset), 0)

    def begun(self, beginning: Beginning, others: Sequence["Epochs"]) -> "Epochs":
        """With the epoch that begins there.

        A source has one number in all partitions of a table, so that their positions can be compared: it is that which
        the others had given to the source of this time, `others`, where that is larger than the next one.
        """
        epoch = max(self.newest + 1, newest_at(beginning.time, others))
        kept = tuple(part for part in self.begins if part[0] < beginning.first)
        return replace(
            self,
            begins=(*kept, (beginning.first, epoch)),
            judged=beginning.proof,
            times=(*self.times, (epoch, beginning.time)),
            accepted=False,
        )

    def joined(self, climb: Climb, epoch: int) -> "Epochs":
        """With an epoch that another partition has shown: the climb is later than the change that did."""
        return replace(self, begins=(*self.begins, (climb.offset, epoch)), judged=climb.offset, accepted=False)

    def repeated(self, climb: Climb, epoch: int) -> "Epochs":
        """With a climb that repeats what the source of an earlier epoch sent."""
        if len(self.begins) >= MOST_BEGINNINGS:
            raise TableError(
                f"at offset {climb.offset} changes of an earlier source come again, the {MOST_BEGINNINGS // 2}th time: "
                "two servers seem to write into the topic. Stop the connector of the old one"
            )
        back = (climb.last + 1, self.newest)
        return replace(self, begins=(*self.begins, (climb.offset, epoch), back), judged=climb.last)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a ledger."""
        past = [one._asdict() for one in self.past]
        own = {"begins": self.begins, "judged": self.judged, "times": self.times, "accepted": self.accepted}
        return {**own, "past": past}

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> "Epochs":
        """What `to_json` gave."""
        past = tuple(
            PastSource(one["epoch"], _pair(one["highest"]), one["time"], tuple(one["servers"])) for one in found["past"]
        )
        begins, times = (tuple(_pair(part) for part in found[name]) for name in ("begins", "times"))
        return cls(begins, found["judged"], times, past, found["accepted"])


NO_EPOCHS: Final = Epochs()


def newest_at(time: int, partitions: Sequence[Epochs]) -> int:
    """The newest epoch that one of these partitions had shown by this time of the source's clock."""
    return max((epoch for one in partitions for epoch, since in one.times if 0 <= since <= time), default=0)


def _pair(numbers: Any) -> tuple[int, int]:
    first, second = numbers
    return int(first), int(second)
