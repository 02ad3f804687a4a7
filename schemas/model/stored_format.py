"""Versions of what outlives a run: ledgers, positions, staged rows, dead letters, and notes of both.

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
        known = f"version {self.newest}" if self.newest == 1 else f"versions 1 to {self.newest}"
        if found is None:
            said, fix = "bears no version", "an unreleased Millrace wrote it, or another program: fill it anew"
        elif text.isascii() and text.isdigit() and int(text) > self.newest:
            said, fix = f"has version {text}", "a newer Millrace wrote it: use that one, or a newer one still"
        else:
            said, fix = f"has version {text!r}", "no Millrace writes that: it is damaged, fill it anew"
        raise TerminalSinkError(f"{place}: its format of {self.name} {said}, and this Millrace reads {known}; {fix}")


LEDGER: Final = StoredFormat("the ledger", 1)
POSITIONS: Final = StoredFormat("positions", 1)
STAGED_ROWS: Final = StoredFormat("staged rows", 1)
DEAD_LETTERS: Final = StoredFormat("dead letters", 2)
"""Version 2 keeps the message's headers."""
LETTER_MARKS: Final = StoredFormat("marks of dead letters", 1)
STOP_NOTES: Final = StoredFormat("notes of stopped tables", 1)
RESYNC_NOTES: Final = StoredFormat("notes of a resync", 1)

KEY: Final = "millrace.version"
"""Where a file holds its version: in the metadata of an Arrow, Parquet or Avro file."""
