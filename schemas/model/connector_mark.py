"""How far one connector has come in one partition: its highest position, its time, its servers."""

from datetime import UTC, datetime
from typing import NamedTuple

from ..errors import NewSourceError
from .epoch import Climb, Order


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
            f"job file. Else fill the table anew: millrace resync JOB --table {_table(place)}",
            first=below,
            proof=climb.offset,
            time=latest,
        )

    def raised(self, other: "ConnectorMark") -> "ConnectorMark":
        """The mark that has come as far as the other one, too."""
        return self._replace(
            highest=max(self.highest, other.highest),
            time=max(self.time, other.time),
            servers=tuple(sorted({*self.servers, *other.servers})),
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
