"""What a ledger remembers of a table's copy and of the log, and what this process knows of it meanwhile.

The blocks tell it (`Block.tail`), and the ledger has the mark of the offset that a table has reached.
"""

import json
import threading
from dataclasses import asdict, dataclass
from typing import Final

from ..offset_marks import OffsetMarks
from .client import PostgresSettings


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known at the offset `next` of a table.

    `system` is the cluster that was read, `timeline` the line of its history (0 where that is not known). `confirmed`:
    the LSN up to which the log is not needed any more. `entry`: how the publication listed the table.

    Of a copy: `after` is the key of the last row that was read, as texts, or the page where a table without a key goes
    on; `file` is the storage that such pages are of. `rows`: how many the next chunk has; `counted`: how many
    there were in all before it. `copied`: to the end.

    `begun`: of a copy that is made anew by each run the offset where it began; -1 where a log is read.

    `settled` is an LSN: up to it the log may tell of rows that the copy does not have, for they moved meanwhile.
    """

    system: str
    next: int
    confirmed: int
    entry: str
    timeline: int = 0
    after: tuple[str, ...] | None = None
    file: int = 0
    rows: int = 0
    copied: bool = False
    settled: int = 0
    begun: int = -1
    counted: int = 0

    @property
    def newest(self) -> int:
        """The LSN up to which changes may be in the target."""
        return max(self.settled, self.confirmed)

    def text(self) -> str:
        """As a block's tail."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def of_text(cls, text: str) -> "Mark":
        """What `text` gave; of what earlier versions wrote there, which copied by pages, the offset is not known."""
        if not text.startswith("{"):
            system, confirmed, entry, *_ = (*text.split("/"), "", "")
            return cls(system, -1, int(confirmed), entry)
        found = json.loads(text)
        after = found.pop("after")
        return cls(**found, after=None if after is None else tuple(after))


_MARKS: Final[dict[PostgresSettings, OffsetMarks[Mark]]] = {}
_LOCK: Final = threading.Lock()


def marks_of(settings: PostgresSettings) -> OffsetMarks[Mark]:
    """What this process knows of the database."""
    with _LOCK:
        return _MARKS.setdefault(settings, OffsetMarks())
