"""Names of a change log's files, and where a range of changes is cut into files.

    TABLE/date=2026-11-24/JOB+TOPIC+PARTITION+OFFSET.parquet    a file of changes
    TABLE/_millrace/VERSION.json                                the ledger, a new object for each commit

OFFSET is that of the file's first change, in 20 digits, and the date that change's own (Kafka's time of the record,
UTC; `__HIVE_DEFAULT_PARTITION__` where it has none). So the name of the next file follows from the changes themselves
and from where the last file ended: two writers that stand at the same place try the same name, and only one of them
gets it. Later changes with an earlier date stay in the file, a later date begins the next one.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..shared.names import folder_name

LEDGER: Final = "_millrace"
NO_DATE: Final = np.int32(-(1 << 31))
NO_DATE_NAME: Final = "__HIVE_DEFAULT_PARTITION__"
MOST_ROWS: Final = 1 << 20
UNSAFE: Final = re.compile(r"^[._]|[^A-Za-z0-9_.-]")
NAME: Final = re.compile(r"date=(?P<date>[^/]*)/(?P<stream>[^/]+\+[^/+]+\+\d+)\+(?P<first>\d{20})\.[a-z]+")

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, order=True)
class Stream:
    """One partition of one topic as one job reads it."""

    job: str
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{_safe(self.job)}+{_safe(self.topic)}+{self.partition}"


@dataclass(frozen=True, slots=True)
class FileName:
    """A file as its name tells it: `stream` is the Stream's text."""

    name: str
    date: str
    stream: str
    first: int


def file_name(table: str, stream: Stream, date: str, first: int, ending: str) -> str:
    """Where the file that begins with the change at offset `first` stands."""
    return f"{folder_name(table)}/date={date}/{stream}+{first:020d}.{ending}"


def read_name(name: str) -> FileName | None:
    """The parts of a file's name; None for what is no file of changes."""
    found = NAME.fullmatch(name.partition("/")[2])
    return None if found is None else FileName(name, found["date"], found["stream"], int(found["first"]))


def ledger_name(table: str, version: int) -> str:
    """Where a version of the table's ledger stands."""
    return f"{folder_name(table)}/{LEDGER}/{version:020d}.json"


def date_name(days: int) -> str:
    """A day's number since 1970 as it stands in names."""
    return NO_DATE_NAME if days == NO_DATE else str(np.datetime64(int(days), "D"))


def cuts(offsets: NDArray[np.int64], days: NDArray[np.int32], held: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """Rows [low, high) of each file, of one stream in the order of its offsets; those that files hold are left out.

    `held` are spans [first, stop) of offsets. Rows of one offset stay together.
    """
    free = np.ones(len(offsets), np.bool_)
    for first, stop in held:
        free[np.searchsorted(offsets, first) : np.searchsorted(offsets, stop)] = False
    borders = np.flatnonzero(np.diff(np.concatenate(([False], free, [False])).astype(np.int8)))
    for low, high in borders.reshape(-1, 2).tolist():
        while low < high:
            later = np.flatnonzero(days[low:high] > days[low])
            end = min(low + int(later[0]) if len(later) else high, low + MOST_ROWS)
            while end < high and offsets[end] == offsets[end - 1]:
                end += 1
            yield low, end
            low = end


def _safe(text: str) -> str:
    return UNSAFE.sub(lambda found: "".join(f"~{byte:02X}" for byte in found[0].encode(errors="surrogatepass")), text)
