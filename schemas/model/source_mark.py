"""How far a source has come in one partition: it tells a repeated change from a new one, and sources apart."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceMark:
    """What the changes of one partition have said of their source up to an offset.

    `highest` is the highest streamed position (32 bytes), `time` the largest source time in milliseconds, `servers` the
    ids of the servers that wrote them. `epochs` are the offsets at which another server took over: the changes from the
    n-th of them on are of epoch n. `below` is the offset since when positions have been below the highest, if they are.
    """

    highest: bytes | None = None
    time: int = -1
    servers: tuple[int, ...] = ()
    epochs: tuple[int, ...] = ()
    below: int | None = None

    def joined(self, later: "SourceMark") -> "SourceMark":
        """This mark, and what a later range of the partition says."""
        return SourceMark(
            max(filter(None, (self.highest, later.highest)), default=None),
            max(self.time, later.time),
            tuple(sorted({*self.servers, *later.servers})),
            later.epochs or self.epochs,
            later.below,
        )

    def text(self) -> str:
        """The mark as a ledger keeps it: JSON."""
        return json.dumps(
            {
                "highest": None if self.highest is None else self.highest.hex(),
                "time": self.time,
                "servers": self.servers,
                "epochs": self.epochs,
                "below": self.below,
            },
            separators=(",", ":"),
        )

    @classmethod
    def of_text(cls, text: str | None) -> "SourceMark":
        """What `text` wrote; an empty mark where a ledger has none."""
        if not text:
            return cls()
        found = json.loads(text)
        highest = None if found["highest"] is None else bytes.fromhex(found["highest"])
        return cls(highest, found["time"], tuple(found["servers"]), tuple(found["epochs"]), found["below"])
