"""How far the connectors of one partition have come: it tells a repeated change from one of a new source."""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from ..errors import NewSourceError, ReplayedError, TableError
from .epoch import NO_EPOCHS, Beginning, Climb, Epochs, Order, PastSource, newest_at
from .snapshot_marks import Ended, Marks, marks_joined, marks_of

MOST_CONNECTORS: Final = 64
"""How many connectors of one partition a mark keeps apart."""
MANY_CONNECTORS: Final = (
    "Several connectors (source.name) write into this partition, so it cannot be followed: fill the table anew"
)


def connector_number(name: str) -> int:
    """The number, not 0 and below 2^64, by which changes of a window tell connectors apart."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") or 1


class Replay(NamedTuple):
    """One replay of dead letters: its name, and by partition (as text) the name of the replay before it."""

    id: str
    before: Mapping[str, str]


class ConnectorMark(NamedTuple):
    """What the streamed changes of one connector in one partition have said of its source.

    `highest` is (source commit order, order inside it) at most, `time` the largest time of the source's clock in
    milliseconds, `servers` the ids of the servers that wrote them. Where positions have been below the highest for a
    while, `below` is the offset at which a new source would have begun, and `lowest` its first position: the last climb
    that began lower than those before it.
    """

    highest: Order
    time: int
    servers: tuple[int, ...] = ()
    below: int | None = None
    lowest: Order | None = None

    def followed(self, climb: Climb, place: str) -> "ConnectorMark":
        """The mark after a climb behind it. Raises NewSourceError where it is of another source.

        A change below the highest position is a repetition if it could have been sent before: its server is known, and
        its time is not above the largest.
        """
        below, lowest = self.below, self.lowest
        if climb.first < self.highest:
            if below is None or (lowest is not None and climb.first < lowest):
                below, lowest = climb.offset, climb.first
            latest = climb.latest if climb.top < self.highest else climb.time
            if latest > self.time >= 0 or (climb.server >= 0 and self.servers and climb.server not in self.servers):
                raise self._new_source(climb, place, below, latest)
        return ConnectorMark(
            max(self.highest, climb.top),
            max(self.time, climb.latest),
            tuple(sorted({*self.servers, *climb.servers})),
            *((below, lowest) if climb.top < self.highest else (None, None)),
        )

    def _new_source(self, climb: Climb, place: str, below: int, latest: int) -> NewSourceError:
        """The error of `place`, a partition; the new source's first change is at `below`, the newest is of `latest`."""
        connector = f"of the connector {climb.connector}" if climb.connector else "of a connector without a name"
        before = f"position {self.highest}, server {_servers(self.servers)}, {_moment(self.time)}"
        now = f"position {climb.first}, server {_servers((climb.server,))}, {_moment(latest)}"
        return NewSourceError(
            f"{place} offset {below}: changes of a new source begin here. They are {connector}. Their positions are "
            f"below those before ({before}) and cannot be compared with them ({now}): the source was failed over, "
            "restored, or its log began anew. Nothing was committed. If the new source holds all that the old one "
            f"held, go on with it: millrace accept-source JOB --table {_table(place)}, or on_new_source: follow in the "
            "job file. Else fill the table anew: remove it from the target and run again",
            first=below,
            proof=climb.offset,
            time=latest,
        )


@dataclass(frozen=True, slots=True)
class SourceMark:
    """What the streamed changes of one partition have said of their sources up to an offset.

    `tail` is what the source remembers of the log there (`Block.tail`), empty where it remembers nothing.
    `partitions` is the number of the topic's partitions when the table was first filled from this one, where offsets
    alone may order its changes; 0 where it does not matter.
    `connectors` has the marks by the connector's name: each has positions and servers of its own, those of the epoch
    `epoch`. `epochs` says which offsets belong to which epoch. `climbs` are those of a range that is on its way to the
    ledger; a ledger has none. `replay` names the last replay of dead letters that was committed. `snapshots` are by
    connector where snapshots begin and end behind the last one that `ended`.
    """

    connectors: Mapping[str, ConnectorMark] = field(default_factory=dict)
    climbs: tuple[Climb, ...] = ()
    tail: str = ""
    epochs: Epochs = NO_EPOCHS
    epoch: int = 0
    partitions: int = 0
    replay: str = ""
    snapshots: Mapping[str, Marks] = field(default_factory=dict)
    ended: Mapping[str, Ended] = field(default_factory=dict)

    def joined(self, later: "SourceMark") -> "SourceMark":
        """This mark, and what the range behind it says; nothing is judged."""
        partitions = self.partitions or later.partitions
        found = replace(self, climbs=self.climbs + later.climbs, tail=later.tail or self.tail, partitions=partitions)
        return found._with_snapshots(later)

    def _with_snapshots(self, later: "SourceMark") -> "SourceMark":
        if not later.snapshots:
            return self
        found = {name: marks_joined(self.snapshots.get(name, ()), marks) for name, marks in later.snapshots.items()}
        return replace(self, snapshots={**self.snapshots, **found})

    def followed(self, later: "SourceMark", place: str, others: Sequence[Epochs] = ()) -> "SourceMark":
        """The mark after a range behind it; `others` are the epochs of the table's other partitions.

        A connector is judged by its own changes alone; one that was not seen before begins a mark. Raises
        NewSourceError where a connector has another source, TableError for more than `MOST_CONNECTORS`.
        """
        mark = self
        for climb in later._in_order():
            mark = mark._behind(climb, place, others)
        partitions = self.partitions or later.partitions
        mark = replace(mark, climbs=(), tail=later.tail or self.tail, partitions=partitions)
        return mark._with_snapshots(later)

    def begun(
        self, later: "SourceMark", place: str, follow: bool, others: Sequence[Epochs] = ()
    ) -> "SourceMark | None":
        """This mark with the epochs that the range behind it brings; None where it brings none.

        A new source begins one where the job follows, or once where a person has accepted it; `others` are the epochs
        of the table's other partitions. Raises NewSourceError where none may begin.
        """
        if not (follow or self.epochs.accepted or self.epochs.begins or any(other.times for other in others)):
            return None
        known = self.epochs
        while True:
            mark = replace(self, epochs=replace(known, past=self.epochs.past))
            try:
                for climb in later._in_order():
                    mark = mark._behind(climb, place, others)
                break
            except NewSourceError as error:
                if not (follow or known.accepted):
                    if known is self.epochs:
                        raise
                    break
                if len(self.connectors.keys() | {one.connector for one in later.climbs}) > 1:
                    raise NewSourceError(f"{error}. {MANY_CONNECTORS}") from None
                # What was found before it stays: changes of earlier sources that came again.
                known = mark.epochs.begun(Beginning(error.first, error.proof, error.time), others)
        if mark.epochs.begins == self.epochs.begins:
            return None
        return replace(self, epochs=replace(mark.epochs, past=self.epochs.past))

    def _in_order(self) -> list[Climb]:
        return sorted(self.climbs, key=lambda climb: climb.offset)

    def replayed(self, replay: Replay, source: object) -> "SourceMark":
        """The mark with this replay. Raises ReplayedError where it, or another one since, is in the ledger already."""
        if self.replay != replay.before.get(str(source), ""):
            again = "this replay was committed before"
            raise ReplayedError(f"{source}: {again if self.replay == replay.id else 'another replay came first'}")
        return replace(self, replay=replay.id)

    def rewound(self, offset: int) -> "SourceMark":
        """The mark at an earlier offset.

        What the source had sent by then is unknown: it is learned again. Which epoch an offset is of stays.
        """
        marks = {name: tuple(one for one in known if one.offset < offset) for name, known in self.snapshots.items()}
        return replace(self, connectors={}, tail="", epoch=self.epochs.at(offset), snapshots=marks)

    def with_ended(self, ended: Mapping[str, Ended]) -> "SourceMark":
        """The mark behind the end of these connectors' snapshots: what stands before it is of no use any more."""
        if not ended:
            return self
        marks = {
            name: tuple(one for one in known if name not in ended or one.time > ended[name].time)
            for name, known in self.snapshots.items()
        }
        return replace(self, snapshots=marks, ended={**self.ended, **ended})

    def accepting(self) -> "SourceMark":
        """The mark that takes the next new source."""
        return replace(self, epochs=replace(self.epochs, accepted=True))

    def _behind(self, climb: Climb, place: str, others: Sequence[Epochs]) -> "SourceMark":
        """The mark after one climb."""
        mark, epochs = self, self.epochs
        if climb.offset <= epochs.judged:
            epoch = epochs.at(climb.offset)
        else:
            earlier = (past.epoch for past in reversed(epochs.past) if past.sent(climb))
            epoch = next(earlier, max(epochs.newest, newest_at(climb.time, others)))
        if epoch > epochs.newest:
            mark = replace(mark, epochs=epochs.joined(climb, epoch))
        if epoch > self.epoch:
            mark = mark._turned(epoch)
        elif epoch < self.epoch:
            # Another cut may have decided on the beginning of this climb alone.
            rest = climb._replace(offset=max(climb.offset, epochs.judged + 1))
            if rest.offset <= climb.last and any(past.epoch == epoch and past.sent(climb) for past in epochs.past):
                return replace(mark, epochs=epochs.repeated(rest, epoch))
            return mark
        connectors = dict(mark.connectors)
        known = connectors.get(climb.connector)
        if known is None:
            connectors[climb.connector] = ConnectorMark(climb.top, climb.latest, climb.servers)
        else:
            connectors[climb.connector] = known.followed(climb, place)
        if len(connectors) > MOST_CONNECTORS:
            raise TableError(
                f"{place}: changes of more than {MOST_CONNECTORS} connectors (source.name) stand in this partition, "
                "more than a ledger keeps apart. Nothing was committed. Let fewer connectors write into one topic"
            )
        return replace(mark, connectors=connectors)

    def _turned(self, epoch: int) -> "SourceMark":
        """The mark at the first change of an epoch: what was known is of an earlier source."""
        past = tuple(PastSource(self.epoch, one.highest, one.time, one.servers) for one in self.connectors.values())
        epochs = replace(self.epochs, past=(*self.epochs.past, *past)[-MOST_CONNECTORS:])
        return replace(self, connectors={}, epoch=epoch, epochs=epochs)

    @property
    def highest(self) -> dict[int, bytes]:
        """The highest position (32 bytes) of each connector, by its number."""
        marks = self.connectors.items()
        return {connector_number(name): struct.pack(">QQQQ", self.epoch, *mark.highest, 0) for name, mark in marks}

    def text(self) -> str:
        """The mark as a ledger keeps it: JSON."""
        kept = {name: mark._asdict() for name, mark in self.connectors.items()}
        found: dict[str, Any] = {"connectors": kept}
        if self.tail:
            found["tail"] = self.tail
        if self.partitions:
            found["partitions"] = self.partitions
        if self.epochs != NO_EPOCHS or self.epoch:
            found |= {"epoch": self.epoch, "epochs": self.epochs.to_json()}
        if self.replay:
            found["replay"] = self.replay
        if any(self.snapshots.values()):
            found["snapshots"] = {name: marks for name, marks in self.snapshots.items() if marks}
        if self.ended:
            found["ended"] = self.ended
        return json.dumps(found, separators=(",", ":"))

    @classmethod
    def of_text(cls, text: str | None) -> "SourceMark":
        """What `text` wrote; an empty mark where a ledger has none."""
        if not text:
            return cls()
        found = json.loads(text)
        connectors = {name: _mark_of(mark) for name, mark in found["connectors"].items()}
        epochs = Epochs.of_json(found["epochs"]) if "epochs" in found else NO_EPOCHS
        numbers = {name: found.get(name, 0) for name in ("epoch", "partitions")}
        texts = {name: found.get(name, "") for name in ("tail", "replay")}
        snapshots = {name: marks_of(marks) for name, marks in found.get("snapshots", {}).items()}
        ended = {name: Ended(*one) for name, one in found.get("ended", {}).items()}
        return cls(connectors, epochs=epochs, snapshots=snapshots, ended=ended, **numbers, **texts)


def _mark_of(found: Mapping[str, Any]) -> ConnectorMark:
    lowest = found.get("lowest")
    return ConnectorMark(
        tuple(found["highest"]),
        found["time"],
        tuple(found["servers"]),
        found["below"],
        None if lowest is None else (lowest[0], lowest[1]),
    )


def _table(place: str) -> str:
    """The table's name in `table NAME: topic[partition]`."""
    return place.removeprefix("table ").partition(": ")[0]


def _servers(servers: tuple[int, ...]) -> str:
    return ", ".join(str(server) for server in servers if server >= 0) or "unknown"


def _moment(milliseconds: int) -> str:
    if not 0 <= milliseconds < 253_402_300_800_000:
        return "at an unknown time"
    return f"at {datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
