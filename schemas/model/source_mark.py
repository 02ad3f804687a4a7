"""How far a source has come in one partition: it tells a repeated change from a new one, and sources apart."""

import json
import struct
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from ..errors import NewSourceError

Order = tuple[int, int]


class Climb(NamedTuple):
    """A stretch of streamed changes whose positions only grow, from `offset` on; a replay begins another one.

    `first` and `top` are (source commit order, order inside it) of its first and its highest change, `time` and
    `latest` the source's clock at the first change and at most, `server` the one that wrote the first; -1 for unknown.
    """

    offset: int
    first: Order
    top: Order
    time: int
    latest: int
    server: int


@dataclass(frozen=True, slots=True)
class SourceMark:
    """What the streamed changes of one partition have said of their source up to an offset.

    `highest` is the highest position (32 bytes), `time` the largest time of the source's clock in milliseconds,
    `servers` the ids of the servers that wrote them. `below` is the offset since when positions have been below the
    highest, if they are. `climbs` are those of a range that is on its way to the ledger.
    """

    highest: bytes | None = None
    time: int = -1
    servers: tuple[int, ...] = ()
    below: int | None = None
    climbs: tuple[Climb, ...] = ()

    def joined(self, later: "SourceMark") -> "SourceMark":
        """This mark, and what the range behind it says; nothing is judged."""
        return SourceMark(
            max(filter(None, (self.highest, later.highest)), default=None),
            max(self.time, later.time),
            tuple(sorted({*self.servers, *later.servers})),
            self.below,
            self.climbs + later.climbs,
        )

    def followed(self, later: "SourceMark", place: str) -> "SourceMark":
        """The mark after a range behind it. Raises NewSourceError where it is of another source.

        A change below the highest position is a repetition if it could have been sent before: its server is known, and
        its time is not above the largest.
        """
        top, time, servers, below = self._order(), self.time, {*self.servers}, self.below
        for climb in later.climbs:
            if top is not None and climb.first < top:
                below = climb.offset if below is None else below
                latest = climb.latest if climb.top < top else climb.time
                if latest > time >= 0 or (climb.server >= 0 and servers and climb.server not in servers):
                    raise self._new_source(climb, (place, below, latest))
            if top is None or climb.top >= top:
                top, below = climb.top, None
            time = max(time, climb.latest)
            servers |= {climb.server} - {-1}
        return replace(self.joined(later), below=below, climbs=())

    def _order(self) -> Order | None:
        return None if self.highest is None else struct.unpack(">QQQQ", self.highest)[1:3]

    def _new_source(self, climb: Climb, found: tuple[str, int, int]) -> NewSourceError:
        place, below, latest = found
        before = f"position {self._order()}, server {_servers(self.servers)}, {_moment(self.time)}"
        now = f"position {climb.first}, server {_servers((climb.server,))}, {_moment(latest)}"
        return NewSourceError(
            f"{place} offset {below}: changes of a new source begin here, whose positions are below those before "
            f"({before}) and cannot be compared with them ({now}): the source was failed over, restored, or its log "
            "began anew. Nothing was committed. To go on, fill the table anew: remove it from the target and run again"
        )

    def text(self) -> str:
        """The mark as a ledger keeps it: JSON."""
        highest = None if self.highest is None else self.highest.hex()
        kept = {"highest": highest, "time": self.time, "servers": self.servers, "below": self.below}
        return json.dumps(kept, separators=(",", ":"))

    @classmethod
    def of_text(cls, text: str | None) -> "SourceMark":
        """What `text` wrote; an empty mark where a ledger has none."""
        if not text:
            return cls()
        found = json.loads(text)
        highest = None if found["highest"] is None else bytes.fromhex(found["highest"])
        return cls(highest, found["time"], tuple(found["servers"]), found["below"])


def _servers(servers: tuple[int, ...]) -> str:
    return ", ".join(str(server) for server in servers if server >= 0) or "unknown"


def _moment(milliseconds: int) -> str:
    if not 0 <= milliseconds < 253_402_300_800_000:
        return "at an unknown time"
    return f"at {datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
