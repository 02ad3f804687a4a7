"""The ledger of a change log: each commit makes a new version of it, one JSON object that says all.

A version is made under the condition that there is none of that number, so of two commits on top of the same version
one fails and is decided again. The newest version counts; older ones are kept for a while for people to look at.
"""

import base64
import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import pyarrow as pa

from ....schemas.errors import TerminalSinkError
from ....schemas.merging.renaming import with_names
from ....schemas.model.ledger import Account, TopicPartition
from ....schemas.model.source_mark import SourceMark
from ....schemas.model.stored_format import LEDGER as LEDGER_FORMAT
from ....schemas.model.table import Table
from ...stores import Store
from ..shared.ledger import JobLedger, LedgerChange, PartitionEntry
from ..shared.names import folder_name
from .names import LEDGER, Span, Stream, ledger_name

KEPT: Final = 20


@dataclass(frozen=True, slots=True)
class Reach:
    """How far files hold a stream: up to `next`, and spans [first, stop) of offsets beyond; the last file's date."""

    next: int | None = None
    ahead: tuple[Span, ...] = ()
    date: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A stream's entry, and the files beyond it."""

    entry: PartitionEntry
    reach: Reach


@dataclass(frozen=True, slots=True)
class FilesAhead:
    """What files hold by now, the ledger not yet: how far the streams go, the table's columns, a newer TRUNCATE."""

    reaches: Mapping[Stream, Reach]
    table: Table | None
    truncate: bytes | None


@dataclass(frozen=True, slots=True)
class State:
    """One version of a table's ledger; `table` is None until rows came, `commit` tells who made it.

    `renames` are by older name the columns of now: files that were written before have the older names.
    """

    version: int = 0
    commit: str = ""
    table: Table | None = None
    streams: Mapping[Stream, Line] = field(default_factory=dict)
    topic_ids: Mapping[tuple[str, str], int] = field(default_factory=dict)
    truncate: bytes | None = None
    renames: Mapping[str, str] = field(default_factory=dict)

    def of_job(self, job: str) -> JobLedger:
        """What the job has in it."""
        entries = {
            TopicPartition(stream.topic, stream.partition): line.entry
            for stream, line in self.streams.items()
            if stream.job == job
        }
        return JobLedger(entries, {topic: number for (owner, topic), number in self.topic_ids.items() if owner == job})

    def other_jobs(self, job: str, topics: Collection[str]) -> dict[str, dict[str, int | None]]:
        """By topic that this job has not read into the log, the jobs that have, and the topic's id as they knew it."""
        mine = {stream.topic for stream in self.streams if stream.job == job}
        others: dict[str, dict[str, int | None]] = {}
        for stream in self.streams:
            if stream.job != job and stream.topic in topics and stream.topic not in mine:
                number = self.topic_ids.get((stream.job, stream.topic))
                others.setdefault(stream.topic, {})[stream.job] = number
        return others

    def reached(self, job: str, sources: Sequence[TopicPartition]) -> dict[Stream, Reach]:
        """How far files hold these partitions."""
        streams = [Stream(job, source.topic, source.partition) for source in sources]
        return {stream: self.streams[stream].reach if stream in self.streams else Reach() for stream in streams}

    def after(self, change: LedgerChange, held: FilesAhead) -> "State":
        """The next version: the entries of this change, and the spans that still lie beyond them."""
        lines = {}
        for stream, reach in held.reaches.items():
            entry = change.after.entries[TopicPartition(stream.topic, stream.partition)]
            ahead = tuple(sorted(span for span in reach.ahead if span[1] > (entry.next or 0)))
            lines[stream] = Line(entry, Reach(entry.next, ahead, reach.date))
        ids = {(change.job, topic): number for topic, number in change.after.topic_ids.items()}
        return State(
            self.version + 1,
            uuid.uuid4().hex,
            held.table or self.table,
            {**self.streams, **lines},
            {**self.topic_ids, **ids},
            max(filter(None, (self.truncate, held.truncate)), default=None),
            self.renames,
        )

    def renamed(self, names: Mapping[str, str]) -> "State":
        """The next version, in which these columns have other names; `renames` leads there from each name of before."""
        assert self.table is not None
        before = {old: names.get(new, new) for old, new in self.renames.items()}
        table = with_names(self.table, names)
        renames = {old: new for old, new in {**before, **names}.items() if old not in table.columns.names}
        return replace(self, version=self.version + 1, commit=uuid.uuid4().hex, table=table, renames=renames)


def newest(store: Store, name: str) -> State:
    """The newest version of a table's ledger; an empty one where there is none. Raises SinkError."""
    folder = f"{folder_name(name)}/{LEDGER}"
    versions = [found for found in store.names(folder) if found.endswith(".json")]
    data = store.read(versions[-1]) if versions else None
    if data is None:
        return State()
    place = f"{store.place}/{versions[-1]}"
    try:
        found = json.loads(data.to_pybytes())
        LEDGER_FORMAT.check(found.get("format"), place)
        return _from_json(name, found)
    except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise TerminalSinkError(
            f"{place} is not a whole ledger that Millrace wrote ({type(error).__name__}): restore it from a copy, or "
            "write the log anew at another path. Without it the version before would count, and its last commit's "
            "changes would be written twice"
        ) from error


def write(store: Store, name: str, state: State) -> bool:
    """Make the version; False where another commit has made it. Old versions are removed."""
    data = pa.py_buffer(json.dumps(_to_json(state), ensure_ascii=False).encode(errors="surrogatepass"))
    place = ledger_name(name, state.version)
    if not store.create(place, data):
        held = store.read(place)
        return held is not None and f'"commit": "{state.commit}"'.encode() in held.to_pybytes()
    if state.version % KEPT == 0:
        for old in store.names(f"{folder_name(name)}/{LEDGER}")[:-KEPT]:
            store.delete(old)
    return True


def _to_json(state: State) -> dict[str, Any]:
    table = state.table
    return {
        "format": LEDGER_FORMAT.newest,
        "version": state.version,
        "commit": state.commit,
        "key": None if table is None else list(table.key),
        "columns": None if table is None else base64.b64encode(table.columns.serialize().to_pybytes()).decode(),
        "truncate": None if state.truncate is None else state.truncate.hex(),
        "renames": dict(state.renames),
        "topic_ids": [{"job": job, "topic": topic, "id": id} for (job, topic), id in state.topic_ids.items()],
        "streams": [
            {
                "job": stream.job,
                "next": line.entry.next,
                "start": line.entry.start,
                "mark": line.entry.mark.text(),
                "ahead": line.reach.ahead,
                "date": line.reach.date,
                "sums": asdict(line.entry.account),
            }
            for stream, line in state.streams.items()
        ],
    }


def _from_json(name: str, found: dict[str, Any]) -> State:
    table = None
    if found["columns"] is not None:
        columns = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(found["columns"])))
        table = Table(name, tuple(found["key"]), columns)
    lines = {}
    for part in found["streams"]:
        account = Account(**part["sums"])
        ahead = tuple((first, stop) for first, stop in part["ahead"])
        stream = Stream(part["job"], account.topic, account.partition)
        entry = PartitionEntry(part["next"], account, part["start"], SourceMark.of_text(part["mark"]))
        lines[stream] = Line(entry, Reach(entry.next, ahead, part["date"]))
    return State(
        found["version"],
        found["commit"],
        table,
        lines,
        {(part["job"], part["topic"]): part["id"] for part in found["topic_ids"]},
        None if found["truncate"] is None else bytes.fromhex(found["truncate"]),
        found.get("renames", {}),
    )
