"""What a ledger remembers of a table's copy and of the log, and what this process knows of it meanwhile.

A MySQL server keeps no place for its readers. So the blocks tell it (`Block.tail`): where the copy goes on, and from
where on the log has what the copy does not see. The ledger has the mark of the offset that a table has reached.
"""

import json
import threading
from dataclasses import asdict, dataclass, field
from typing import Final

from ..offset_marks import OffsetMarks
from .client import MySqlSettings
from .offsets import place_of


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known at the offset `next` of a table.

    `log`: of a copy where its log begins; of the log the end of a transaction, at `next` or shortly before it, where a
    server can begin to send. `after`: the key of the last row that was copied, as texts. `copied`: to the end;
    `counted`: so many rows.
    `begun`: of a copy that is made anew by each run the offset where it began; -1 where the log is read.
    `born`: when the server began the file of `log`, in seconds since 1970; 0 where that is not known.
    """

    server: str
    next: int
    log: int
    after: tuple[str, ...] | None = None
    copied: bool = False
    born: int = 0
    begun: int = -1
    counted: int = 0

    def text(self) -> str:
        """As a block's tail."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def of_text(cls, text: str) -> "Mark":
        """What `text` gave."""
        found = json.loads(text)
        after = found.pop("after")
        return cls(**found, after=None if after is None else tuple(after))


@dataclass(slots=True)
class Marks(OffsetMarks[Mark]):
    """What this process knows of a server.

    `wanted` are the topics that its jobs read. `born`: by file of the binlog when it was begun, in seconds since 1970.
    """

    wanted: set[str] = field(default_factory=set)
    born: dict[int, int] = field(default_factory=dict)

    def begin(self, topic: str, mark: Mark) -> None:
        """As `learn`, where a copy begins: what was known of this part of the log may be of another one."""
        self.learn(topic, mark)
        with self.lock:
            for number in [number for number in self.born if number >= place_of(mark.log)[0]]:
                del self.born[number]


_MARKS: Final[dict[MySqlSettings, Marks]] = {}
_LOCK: Final = threading.Lock()


def marks_of(settings: MySqlSettings) -> Marks:
    """What this process knows of the server."""
    with _LOCK:
        return _MARKS.setdefault(settings, Marks())
