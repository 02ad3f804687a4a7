"""Versions of what outlives a run: ledgers, positions, staged rows, dead letters and notes of stopped tables.

Each stored thing bears the version of its format. An older version is read, and replaced by the newest one when the
thing is written again; a version of a newer Millrace, or none at all, is refused. To change a format, raise its number
here, read the older one where it is read today, and keep the old sample in `tests/data/stored`.
"""

from dataclasses import dataclass
from typing import Final

from ..errors import TerminalSinkError


@dataclass(frozen=True, slots=True)
class StoredFormat:
    """A format by its name in sentences, and its newest version; the first was 1."""

    name: str
    newest: int

    def check(self, found: int | str | bytes | None, place: str) -> int:
        """The version that `place`, a file or table, bears. Raises TerminalSinkError for one that cannot be read."""
        text = found.decode(errors="replace") if isinstance(found, bytes) else str(found)
        if text.isascii() and text.isdigit() and 1 <= int(text) <= self.newest:
            return int(text)
        bears = "bears no version" if found is None else f"has version {text}"
        known = f"version {self.newest}" if self.newest == 1 else f"versions 1 to {self.newest}"
        raise TerminalSinkError(
            f"{place}: its format of {self.name} {bears}, and this Millrace reads {known}; use the Millrace that wrote "
            "it, or a newer one"
        )


LEDGER: Final = StoredFormat("the ledger", 1)
POSITIONS: Final = StoredFormat("positions", 1)
STAGED_ROWS: Final = StoredFormat("staged rows", 1)
DEAD_LETTERS: Final = StoredFormat("dead letters", 1)
STOP_NOTES: Final = StoredFormat("notes of stopped tables", 1)

KEY: Final = "millrace.version"
"""Where a file holds its version: in the metadata of an Arrow, Parquet or Avro file."""
