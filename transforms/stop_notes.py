"""Notes of tables that stopped, beside the job's dead letters: for `status`, `check` and `verify`, which ask no run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Self
from urllib.parse import quote

import pyarrow as pa

from ..schemas.errors import MillraceError
from ..schemas.model import stored_format
from ..schemas.model.ledger import TopicPartition
from .dead_letter_marks import folder_of
from .stores import Address, Store, open_store

FOLDER: Final = "stopped"
ENDING: Final = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopNote:
    """A table that stopped: `since` when (UTC), why, and the next offsets that its ledger had then."""

    table: str
    since: datetime
    reason: str
    next: Mapping[TopicPartition, int] = field(default_factory=dict)

    @classmethod
    def of(cls, table: str, error: MillraceError, next: Mapping[TopicPartition, int]) -> Self:
        """The note of a table that stops now."""
        reason = str(error).removeprefix(f"table {table}: ")
        return cls(table=table, since=datetime.now(UTC).replace(microsecond=0), reason=reason, next=dict(next))

    def stands(self, next: Mapping[TopicPartition, int]) -> bool:
        """Whether the table is where it stopped; a commit since then means that it goes on."""
        return dict(self.next) == dict(next)

    @property
    def since_text(self) -> str:
        """`2026-01-02 03:04 UTC`."""
        return f"{self.since:%Y-%m-%d %H:%M} UTC"

    def to_json(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {"since": self.since.isoformat(), "reason": self.reason}


@dataclass(frozen=True, slots=True)
class StopNotes:
    """The notes of one job. A place that cannot be read or written is met with SinkError, JobError."""

    address: Address
    job: str

    def write(self, note: StopNote) -> None:
        """Keep the note. Where an earlier one is of the same offsets, `since` stays: it tells when it began."""
        store, name = self._store(), self._name(note.table)
        before = _note(store, name)
        if before is not None:
            if before.stands(note.next):
                note = replace(note, since=before.since)
            if before == note:
                return
            store.delete(name)
        offsets = [[source.topic, source.partition, offset] for source, offset in sorted(note.next.items())]
        content = {"format": stored_format.STOP_NOTES.newest, "table": note.table, "next": offsets, **note.to_json()}
        store.create(name, pa.py_buffer(json.dumps(content, indent=2).encode()))

    def read(self) -> dict[str, StopNote]:
        """All notes by table; none where their place does not answer: whoever asks can do without."""
        try:
            return self._read()
        except MillraceError:
            return {}

    def _read(self) -> dict[str, StopNote]:
        store = self._store()
        names = [name for name in store.names(self._folder) if name.endswith(ENDING)]
        found = [note for name in names if (note := _note(store, name)) is not None]
        return {note.table: note for note in found}

    def clear(self, table: str) -> None:
        """The table goes on."""
        self._store().delete(self._name(table))

    @property
    def _folder(self) -> str:
        return f"{folder_of(self.job)}/{FOLDER}"

    def _name(self, table: str) -> str:
        return f"{self._folder}/{quote(table, safe='')}{ENDING}"

    def _store(self) -> Store:
        return open_store(self.address.resolved())


def _note(store: Store, name: str) -> StopNote | None:
    """The note in this file; None where it was removed meanwhile, or somebody has spoilt it."""
    data = store.read(name)
    try:
        found = json.loads(bytes(data)) if data is not None else None
        if found is None:
            return None
        stored_format.STOP_NOTES.check(found["format"], f"{store.place}/{name}")
        return StopNote(
            table=str(found["table"]),
            since=datetime.fromisoformat(found["since"]),
            reason=str(found["reason"]),
            next={TopicPartition(topic, partition): offset for topic, partition, offset in found["next"]},
        )
    except (ValueError, KeyError, TypeError):
        return None
