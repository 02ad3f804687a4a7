"""What the Delta target uses of deltalake: tables, commits and the ledger in them. No other module imports it.

Every commit here fails with `Conflict` where another was made since the version was read: nothing is decided on an
old version.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import quote

import pyarrow as pa
import pyarrow.fs as pafs
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError as Conflict
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler

from ....schemas.errors import TableError
from ....schemas.model.change import OP, POSITION, UPSERT
from ....schemas.model.ledger import Account, TopicPartition
from ....schemas.model.source_mark import SourceMark
from ....schemas.model.stored_format import LEDGER
from ..shared.damage import WHOLE, intact, way_out
from ..shared.ledger import JobLedger, LedgerChange, PartitionEntry
from ..shared.names import table_name

__all__ = ["Conflict", "DeltaError", "DeltaTable"]

TRUNCATE: Final = "millrace-truncate"
NO_TRUNCATE: Final = "millrace-truncate/none"
"""The transaction identifier whose version is 1 where the table has no TRUNCATE, whatever its log has of one."""
FORMAT: Final = "millrace-format"
"""The transaction identifier whose version is that of the ledger's format."""
TOMBSTONES: Final = "millrace-tombstones"
"""The one whose version is that of the table of tombstones with which the commit goes."""
ACCOUNTS: Final = "millrace"
"""The key of the commit information under which the accounts stand."""
TORN: Final = (
    "Json error",
    "No table metadata",
    "Truncated",
    "EOF while parsing",
    "Invalid JSON",
    "Generic DeltaTable",
)
"""What deltalake says of a log that is not whole."""
WORDS: Final = 4
TEXT_BYTES: Final = 7
SIGN: Final = 1 << 63


def open_table(uri: str, options: Mapping[str, str]) -> DeltaTable | None:
    """The table's newest version; None where there is no table."""
    try:
        return DeltaTable(uri, storage_options=dict(options))
    except TableNotFoundError:
        return None
    except DeltaError as error:
        if not any(words in str(error) for words in TORN):
            raise
        line = (str(error).strip().splitlines() or [""])[0]
        name = table_name(uri.rpartition("/")[2])
        out = way_out(name) if "/_millrace_tombstones/" in uri else WHOLE
        raise TableError(f"table {name}: the log {uri}/_delta_log is damaged ({line}); {out}") from error


class _Bytes:
    """A stream of deltalake that takes Arrow's buffers too, not only bytes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, data: Any) -> int:
        return self._stream.write(bytes(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Files(DeltaStorageHandler):
    def open_output_stream(self, path: str, metadata: dict[str, str] | None = None) -> pa.PythonFile:
        return pa.PythonFile(_Bytes(self._handler.open_output_stream(path, metadata)))


def file_system(uri: str, options: Mapping[str, str]) -> pafs.FileSystem:
    """The files below a URL, by paths relative to it."""
    return pafs.PyFileSystem(_Files(uri, dict(options)))


def create(uri: str, schema: pa.Schema, options: Mapping[str, str]) -> DeltaTable:
    """An empty table; the one that is there where another writer was faster."""
    return DeltaTable.create(uri, schema, storage_options=dict(options), mode="ignore")


def columns(target: DeltaTable) -> pa.Schema:
    """The stored columns with their metadata."""
    return pa.schema(target.schema().to_arrow())


def columns_of_last_commit(target: DeltaTable, options: Mapping[str, str]) -> pa.Schema:
    """The stored columns as Millrace's last commit left them; those of now where the log does not reach back to it."""
    made = next((one["version"] for one in target.history() if ACCOUNTS in one), None)
    if made is None or made == target.version():
        return columns(target)
    try:
        return columns(DeltaTable(target.table_uri, version=made, storage_options=dict(options)))
    except DeltaError:
        return columns(target)


def add_columns(target: DeltaTable, added: pa.Schema) -> None:
    """Widen the table by columns that are NULL in every row."""
    target.alter.add_columns(DeltaSchema.from_arrow(added).fields, commit_properties=_properties())


def replace(
    target: DeltaTable, rows: pa.Table | pa.RecordBatchReader, told: str = "", entry: "LedgerEntry | None" = None
) -> None:
    """Put these rows and columns in place of all the table has; the ledger stays, but for what `entry` says.

    `told` stands in the commit information where this is no part of a commit of changes.
    """
    properties = CommitProperties(max_commit_retries=0, custom_metadata={ACCOUNTS: told} if told else None)
    properties = properties if entry is None else _properties(entry)
    write_deltalake(target, rows, mode="overwrite", schema_mode="overwrite", commit_properties=properties)


def append(target: DeltaTable, rows: pa.Table, entry: "LedgerEntry | None" = None) -> None:
    """Add rows whose keys the table does not hold."""
    write_deltalake(target, rows, mode="append", commit_properties=_properties(entry))


def record(target: DeltaTable, entry: "LedgerEntry") -> None:
    """A commit that changes no row."""
    target.create_write_transaction([], "append", target.schema(), commit_properties=_properties(entry))


def merge(target: DeltaTable, key: Sequence[str], rows: pa.Table, entry: "LedgerEntry", pruned: bool) -> None:
    """Insert, replace and delete by key (`_millrace_op` says which), and remove what the entry's TRUNCATE covers.

    `pruned`: files are left out by the smallest and largest key of the rows (deltalake looks at the source only where
    it is not streamed).

    deltalake commits nothing where no file changes: then the ledger has a commit of its own.
    """
    same = " AND ".join(
        f'(t."{name}" {"IS NOT DISTINCT FROM" if rows.column(name).null_count else "="} s."{name}")' for name in key
    )
    upsert, hidden = f's."{OP}" = {UPSERT}', [OP]
    merger = (
        target.merge(rows, same, "s", "t", streamed_exec=not pruned, commit_properties=_properties(entry))
        .when_matched_delete(f's."{OP}" <> {UPSERT}')
        .when_matched_update_all(upsert, except_cols=hidden)
        .when_not_matched_insert_all(upsert, except_cols=hidden)
    )
    if entry.truncate is not None:
        # A row without a position was added by others.
        covered = f't."{POSITION}" <= X\'{entry.truncate.hex()}\' OR t."{POSITION}" IS NULL'
        merger = merger.when_not_matched_by_source_delete(covered)
    version = target.version()
    merger.execute()
    if target.version() == version:
        record(target, entry)


def maintain(target: DeltaTable) -> dict[str, int]:
    """Merge small files, and delete those that no version of the table's retention needs; how many of each."""
    merged = target.optimize.compact(commit_properties=_properties())
    deleted = target.vacuum(dry_run=False, commit_properties=_properties())
    return {"rewritten": int(merged["numFilesRemoved"]), "deleted": len(deleted)}


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What a commit adds to the ledger: `transactions` by identifier, a TRUNCATE that is new, the accounts as JSON."""

    transactions: Mapping[str, int]
    truncate: bytes | None
    accounts: str


def ledger_entry(change: LedgerChange, truncate: bytes | None) -> LedgerEntry:
    """The entry for a change of the ledger and a newer TRUNCATE, if there is one."""
    before, after = change.before, change.after
    transactions: dict[str, int] = {}
    for source, entry in after.entries.items():
        old = before.entries.get(source)
        if entry.next is not None and (old is None or entry.next != old.next):
            transactions[_app_id(change.job, source)] = entry.next
        if old is None and entry.start is not None:
            transactions[f"{_app_id(change.job, source)}/start"] = entry.start
        if entry.mark != (SourceMark() if old is None else old.mark):
            transactions |= _text_numbers(f"{_app_id(change.job, source)}/mark", entry.mark.text())
    for topic, number in after.topic_ids.items():
        if before.topic_ids.get(topic) != number:
            transactions[_topic_app_id(change.job, topic)] = number
    if truncate is not None:
        for number in range(WORDS):
            word = int.from_bytes(truncate[number * 8 : number * 8 + 8], "big")
            transactions[f"{TRUNCATE}/{number}"] = word - SIGN
        transactions[NO_TRUNCATE] = 0
    if transactions:
        transactions[FORMAT] = LEDGER.newest
    accounts = [asdict(account) for account in change.accounts]
    text = json.dumps({"job": change.job, "accounts": accounts}, ensure_ascii=False)
    return LedgerEntry(transactions, truncate, text)


def whole_entry(change: LedgerChange, truncate: bytes | None) -> LedgerEntry:
    """The entry that says all of a ledger, whatever the table's log has of it before."""
    entry = ledger_entry(change, truncate)
    unmarked = [source for source, one in change.after.entries.items() if one.mark == SourceMark()]
    none = {f"{_app_id(change.job, source)}/mark": 0 for source in unmarked} | {NO_TRUNCATE: int(truncate is None)}
    return LedgerEntry({**entry.transactions, **none}, truncate, entry.accounts)


def tombstones_at(target: DeltaTable) -> int | None:
    """The version of the tombstones as of the table's last commit; None where an older Millrace wrote it."""
    found: int | None = target.transaction_version(TOMBSTONES)
    return 0 if found is None and target.transaction_version(FORMAT) is None else found


def with_tombstones(entry: "LedgerEntry", target: DeltaTable, tombstones: DeltaTable) -> "LedgerEntry":
    """The entry, which says with which version of the tombstones the commit goes."""
    version = tombstones.version()
    if target.transaction_version(TOMBSTONES) == version:
        return entry
    return LedgerEntry({**entry.transactions, TOMBSTONES: version}, entry.truncate, entry.accounts)


def restore(target: DeltaTable, version: int) -> None:
    """Take back what was written after a version, by a commit of its own."""
    target.restore(version, commit_properties=_properties())


def job_ledger(target: DeltaTable, job: str, partitions: Sequence[TopicPartition]) -> JobLedger:
    """The job's entries of these partitions, without sums, and their topics' ids. It is all in memory."""
    entries, topic_ids = {}, {}
    for source in partitions:
        reached = target.transaction_version(_app_id(job, source))
        if reached is not None:
            LEDGER.check(target.transaction_version(FORMAT), target.table_uri)
            start = target.transaction_version(f"{_app_id(job, source)}/start")
            with intact(_name(target), f"the mark of {source} in the log of {target.table_uri}"):
                mark = SourceMark.of_text(_text(target, f"{_app_id(job, source)}/mark"))
            entries[source] = PartitionEntry(reached, Account(source.topic, source.partition, 0, 0), start, mark)
    for topic in {source.topic for source in partitions}:
        number = target.transaction_version(_topic_app_id(job, topic))
        if number is not None:
            topic_ids[topic] = number
    return JobLedger(entries, topic_ids)


def _name(target: DeltaTable) -> str:
    return table_name(str(target.table_uri).rstrip("/").rpartition("/")[2])


def _text_numbers(name: str, text: str) -> dict[str, int]:
    """A text as transaction identifiers, which hold numbers alone: its length, and 7 bytes in each."""
    data = text.encode()
    pieces = range(0, len(data), TEXT_BYTES)
    return {name: len(data)} | {f"{name}/{at}": int.from_bytes(data[at : at + TEXT_BYTES], "big") for at in pieces}


def _text(target: DeltaTable, name: str) -> str:
    """What `_text_numbers` wrote; empty where there is none."""
    length, data = target.transaction_version(name) or 0, b""
    for at in range(0, length, TEXT_BYTES):
        number = target.transaction_version(f"{name}/{at}") or 0
        data += number.to_bytes(min(TEXT_BYTES, length - at), "big")
    return data.decode()


def last_truncate(target: DeltaTable) -> bytes | None:
    """The newest TRUNCATE's position: four unsigned numbers, kept as signed ones from the smallest up."""
    words = [target.transaction_version(f"{TRUNCATE}/{number}") for number in range(WORDS)]
    if None in words or target.transaction_version(NO_TRUNCATE):
        return None
    return b"".join((word + SIGN).to_bytes(8, "big") for word in words if word is not None)


def _app_id(job: str, source: TopicPartition) -> str:
    return f"millrace/{quote(job, safe='')}/{quote(source.topic, safe='')}/{source.partition}"


def _topic_app_id(job: str, topic: str) -> str:
    return f"millrace/{quote(job, safe='')}/{quote(topic, safe='')}/topic_id"


def _properties(entry: LedgerEntry | None = None) -> Any:
    if entry is None:
        return CommitProperties(max_commit_retries=0)
    transactions = [Transaction(identifier, version) for identifier, version in entry.transactions.items()]
    return CommitProperties(
        max_commit_retries=0, app_transactions=transactions, custom_metadata={ACCOUNTS: entry.accounts}
    )
