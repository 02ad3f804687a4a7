"""How far the connectors of one partition have come: it tells a repeated change from one of a new source."""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

from ..errors import NewSourceError, TableError

Order = tuple[int, int]

MOST_CONNECTORS: Final = 64
"""How many connectors of one partition a mark keeps apart."""


def connector_number(name: str) -> int:
    """The number, not 0 and below 2^64, by which changes of a window tell connectors apart."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") or 1


class Climb(NamedTuple):
    """A stretch of one connector's streamed changes whose positions only grow; a replay begins another one.

    `offset` is that of its first change. `first` and `top` are (source commit order, order inside it) of its first and
    its highest change, `time` and `latest` the source's clock at the first change and at most, `server` the one that
    wrote the first; -1 for unknown. `servers` are all that wrote it.
    """

    connector: str
    offset: int
    first: Order
    top: Order
    time: int
    latest: int
    server: int
    servers: tuple[int, ...]


class ConnectorMark(NamedTuple):
    """What the streamed changes of one connector in one partition have said of its source.

    `highest` is (source commit order, order inside it) at most, `time` the largest time of the source's clock in
    milliseconds, `servers` the ids of the servers that wrote them. `below` is the offset since when positions have been
    below the highest, if they are.
    """

    highest: Order
    time: int
    servers: tuple[int, ...] = ()
    below: int | None = None

    def followed(self, climb: Climb, place: str) -> "ConnectorMark":
        """The mark after a climb behind it. Raises NewSourceError where it is of another source.

        A change below the highest position is a repetition if it could have been sent before: its server is known, and
        its time is not above the largest.
        """
        below = self.below
        if climb.first < self.highest:
            below = climb.offset if below is None else below
            latest = climb.latest if climb.top < self.highest else climb.time
            if latest > self.time >= 0 or (climb.server >= 0 and self.servers and climb.server not in self.servers):
                raise self._new_source(climb, (place, below, latest))
        return ConnectorMark(
            max(self.highest, climb.top),
            max(self.time, climb.latest),
            tuple(sorted({*self.servers, *climb.servers})),
            below if climb.top < self.highest else None,
        )

    def _new_source(self, climb: Climb, found: tuple[str, int, int]) -> NewSourceError:
        place, below, latest = found
        connector = f"of the connector {climb.connector}" if climb.connector else "of a connector without a name"
        before = f"position {self.highest}, server {_servers(self.servers)}, {_moment(self.time)}"
        now = f"position {climb.first}, server {_servers((climb.server,))}, {_moment(latest)}"
        return NewSourceError(
            f"{place} offset {below}: changes of a new source begin here. They are {connector}. Their positions are "
            f"below those before ({before}) and cannot be compared with them ({now}): the source was failed over, "
            "restored, or its log began anew. Nothing was committed. To go on, fill the table anew: remove it from the "
            "target and run again"
        )


@dataclass(frozen=True, slots=True)
class SourceMark:
    """What the streamed changes of one partition have said of their sources up to an offset.

    `tail` is what the source remembers of the log there (`Block.tail`), empty where it remembers nothing.
    `connectors` has the marks by the connector's name: each has
    positions and servers of its own. `climbs` are those of a range that is on its way to the ledger; a ledger has none.
    """

    connectors: Mapping[str, ConnectorMark] = field(default_factory=dict)
    climbs: tuple[Climb, ...] = ()
    tail: str = ""

    def joined(self, later: "SourceMark") -> "SourceMark":
        """This mark, and what the range behind it says; nothing is judged."""
        return SourceMark(self.connectors, self.climbs + later.climbs, later.tail or self.tail)

    def followed(self, later: "SourceMark", place: str) -> "SourceMark":
        """The mark after a range behind it.

        A connector is judged by its own changes alone; one that was not seen before begins a mark. Raises
        NewSourceError where a connector has another source, TableError for more than `MOST_CONNECTORS`.
        """
        connectors = dict(self.connectors)
        for climb in later.climbs:
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
        return SourceMark(connectors, tail=later.tail or self.tail)

    @property
    def highest(self) -> dict[int, bytes]:
        """The highest position (32 bytes) of each connector, by its number."""
        marks = self.connectors.items()
        return {connector_number(name): struct.pack(">QQQQ", 0, *mark.highest, 0) for name, mark in marks}

    def text(self) -> str:
        """The mark as a ledger keeps it: JSON."""
        kept = {name: mark._asdict() for name, mark in self.connectors.items()}
        tail = {"tail": self.tail} if self.tail else {}
        return json.dumps({"connectors": kept, **tail}, separators=(",", ":"))

    @classmethod
    def of_text(cls, text: str | None) -> "SourceMark":
        """What `text` wrote; an empty mark where a ledger has none."""
        if not text:
            return cls()
        found = json.loads(text)
        return cls(
            {
                name: ConnectorMark(tuple(mark["highest"]), mark["time"], tuple(mark["servers"]), mark["below"])
                for name, mark in found["connectors"].items()
            },
            tail=found.get("tail", ""),
        )


def _servers(servers: tuple[int, ...]) -> str:
    return ", ".join(str(server) for server in servers if server >= 0) or "unknown"


def _moment(milliseconds: int) -> str:
    if not 0 <= milliseconds < 253_402_300_800_000:
        return "at an unknown time"
    return f"at {datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
