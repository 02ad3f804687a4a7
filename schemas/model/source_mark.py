"""How far the connectors of one partition have come: it tells a repeated change from one of a new source."""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from ..errors import NewSourceError, ReplayedError, TableError
from .connector_mark import ConnectorMark
from .epoch import NO_EPOCHS, Beginning, Climb, Epochs, PastSource, newest_at
from .snapshot_marks import Ended, Marks, SnapshotMark, marks_joined, marks_of, tables_joined

MOST_CONNECTORS: Final = 64
"""How many connectors of one partition a mark keeps apart."""
MANY_CONNECTORS: Final = (
    "Several connectors (source.name) write into this partition, so it cannot be followed: fill the table anew"
)


def connector_number(name: str) -> int:
    """The number, not 0 and below 2^64, by which changes of a window tell connectors apart."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") or 1


def named_source(connector: str) -> str:
    """How a connector is called where sources are told apart."""
    return f"the connector {connector}" if connector else "a connector without a name"


class Replay(NamedTuple):
    """One replay of dead letters: its name, and by partition (as text) the name of the replay before it."""

    id: str
    before: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SourceMark:
    """What the streamed changes of one partition have said of their sources up to an offset.

    `tail` is what the source remembers of the log there (`Block.tail`), empty where it remembers nothing.
    `partitions` is the number of the topic's partitions when the table was first filled from this one, where offsets
    alone may order its changes; 0 where it does not matter.
    `connectors` has the marks by the connector's name: each has positions and servers of its own, those of the epoch
    `epoch`. `epochs` says which offsets belong to which epoch. `climbs` are those of a range that is on its way to the
    ledger; a ledger has none. `replay` names the last replay of dead letters that was committed. `snapshots` are by
    connector where snapshots begin and end behind the last one that `ended`. `sources` names all whose changes stand in
    the partition, in words (its text leaves out those of `connectors`): positions are compared within one source alone.
    `tables` are the first two tables of the
    source whose changes stand there, with the first change of each; known where the end of a snapshot deletes rows.
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
    sources: tuple[str, ...] = ()
    tables: Mapping[str, SnapshotMark] = field(default_factory=dict)

    def joined(self, later: "SourceMark") -> "SourceMark":
        """This mark, and what the range behind it says; nothing is judged."""
        partitions = self.partitions or later.partitions
        found = replace(self, climbs=self.climbs + later.climbs, tail=later.tail or self.tail, partitions=partitions)
        return found._with_told(later)

    def _with_told(self, later: "SourceMark") -> "SourceMark":
        """With what is never judged: the sources' names, and where snapshots begin and end."""
        if not set(later.sources) <= set(self.sources):
            return replace(self, sources=tuple(sorted({*self.sources, *later.sources})))._with_told(later)
        if not set(later.tables) <= set(self.tables):
            self = replace(self, tables=tables_joined(self.tables, later.tables))
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
        return mark._with_told(later)

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
        names, epoch = tuple(sorted(self.known_sources)), self.epochs.at(offset)
        return replace(self, connectors={}, tail="", epoch=epoch, snapshots=marks, sources=names)

    def anew(self, offset: int) -> "SourceMark":
        """The mark with which a table begins that is built again from this offset, and holds nothing yet.

        What a person has decided stays: which offset is of which epoch.
        """
        return replace(self.rewound(offset), partitions=0, snapshots={}, ended={}, sources=(), tables={})

    def raised(self, other: "SourceMark") -> "SourceMark":
        """The mark with connectors that have come as far as in `other`, which may have seen older changes."""
        if other.epoch != self.epoch:
            return self
        connectors = {**other.connectors, **self.connectors}
        for name in other.connectors.keys() & self.connectors.keys():
            connectors[name] = self.connectors[name].raised(other.connectors[name])
        return replace(self, connectors=connectors)

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
        return replace(self, connectors={}, epoch=epoch, epochs=epochs, sources=tuple(sorted(self.known_sources)))

    @property
    def known_sources(self) -> set[str]:
        """The names of all sources, those of the connectors too."""
        return {*self.sources, *map(named_source, self.connectors)}

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
        if rest := sorted(set(self.sources) - set(map(named_source, self.connectors))):
            found["sources"] = rest
        if self.tables:
            found["tables"] = self.tables
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
        sources = tuple(found.get("sources", ()))
        tables = {name: SnapshotMark(*one) for name, one in found.get("tables", {}).items()}
        marks = cls(connectors, epochs=epochs, snapshots=snapshots, ended=ended, **numbers, **texts)
        return replace(marks, sources=sources, tables=tables)


def _mark_of(found: Mapping[str, Any]) -> ConnectorMark:
    lowest = found.get("lowest")
    return ConnectorMark(
        tuple(found["highest"]),
        found["time"],
        tuple(found["servers"]),
        found["below"],
        None if lowest is None else (lowest[0], lowest[1]),
    )
