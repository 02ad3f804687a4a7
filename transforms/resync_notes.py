"""Notes of a table that is built again, beside the job's dead letters: a killed resync is taken up by the next one.

<job>/resync/TABLE.json     what is built, with which settings, from which offsets, and since when
<job>/resync/TABLE.swap     it was whole, and the swap begins: without a table beside, the swap was made
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

import pyarrow as pa

from ..schemas.errors import JobError
from ..schemas.model.ledger import TopicPartition
from ..schemas.model.stored_format import RESYNC_NOTES
from .dead_letter_marks import folder_of
from .stores import Address, Store, open_store

FOLDER: Final = "resync"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResyncNote:
    """`settings` are those of the job in short, `starts` the offsets at which it was begun at `since` (UTC).

    `swaps`: the swap had begun.
    """

    table: str
    settings: str
    starts: Mapping[TopicPartition, int]
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    swaps: bool = False


@dataclass(frozen=True, slots=True)
class ResyncNotes:
    """The notes of one job. A place that cannot be read or written is met with SinkError, JobError."""

    address: Address
    job: str

    def begin(self, note: ResyncNote) -> None:
        """Keep the note; durable when this returns."""
        self.clear(note.table)
        offsets = [[source.topic, source.partition, first] for source, first in sorted(note.starts.items())]
        content = {
            "format": RESYNC_NOTES.newest,
            "table": note.table,
            "settings": note.settings,
            "starts": offsets,
            "since": note.since.isoformat(),
        }
        self._store().create(self._name(note.table, "json"), pa.py_buffer(json.dumps(content, indent=2).encode()))

    def swaps(self, table: str) -> None:
        """The swap begins."""
        self._store().create(self._name(table, "swap"), pa.py_buffer(b"{}"))

    def read(self, table: str) -> ResyncNote | None:
        """The note of a table; None where no resync was broken off. Raises JobError for one that is damaged."""
        store, name = self._store(), self._name(table, "json")
        data = store.read(name)
        if data is None:
            return None
        try:
            found = json.loads(bytes(data))
            RESYNC_NOTES.check(found["format"], f"{store.place}/{name}")
            starts = {TopicPartition(topic, int(number)): int(first) for topic, number, first in found["starts"]}
            since = datetime.fromisoformat(found["since"])
            settings = str(found["settings"])
        except (ValueError, KeyError, TypeError) as error:
            raise JobError(f"{store.place}/{name}: not a whole note of a resync; remove it, and run again") from error
        swaps = store.read(self._name(table, "swap")) is not None
        return ResyncNote(table=table, settings=settings, starts=starts, since=since, swaps=swaps)

    def clear(self, table: str) -> None:
        """There is nothing to take up any more."""
        for ending in ("json", "swap"):
            self._store().delete(self._name(table, ending))

    def _name(self, table: str, ending: str) -> str:
        return f"{folder_of(self.job)}/{FOLDER}/{quote(table, safe='')}.{ending}"

    def _store(self) -> Store:
        return open_store(self.address.resolved())
