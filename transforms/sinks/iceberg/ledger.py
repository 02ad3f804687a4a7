"""The ledger of an Iceberg table: properties that change in the same commit as the rows, and the snapshot's summary.

`millrace.ledger.<job>` is JSON, `{"format": version, "topics": {topic: {"id": number, "partitions": {partition: [next,
start, mark]}}}}`; it outlives the snapshots, which expire.

`millrace.truncate` is the last TRUNCATE's position in hexadecimal. Each snapshot's summary has
`millrace.job`, `millrace.commit` (an id) and `millrace.accounts` (JSON) of its own commit.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import quote, unquote

from ....schemas.model.ledger import Account, Commit, TopicPartition
from ....schemas.model.source_mark import SourceMark
from ....schemas.model.stored_format import LEDGER as LEDGER_FORMAT
from .. import Staged
from ..shared.damage import intact
from ..shared.ledger import JobLedger, LedgerChange, PartitionEntry
from .table_format.columns import TABLE
from .table_format.snapshots import COMMIT

LEDGER: Final = "millrace.ledger."
TRUNCATE: Final = "millrace.truncate"
JOB: Final = "millrace.job"
ACCOUNTS: Final = "millrace.accounts"


def read(properties: Mapping[str, str], job: str, partitions: Sequence[TopicPartition]) -> JobLedger:
    """The job's entries of these partitions, without sums, and their topics' ids."""
    with intact(_name(properties), f"the table property {LEDGER + quote(job, safe='')}"):
        topics = _topics(properties, job)
        entries = {
            source: PartitionEntry(
                entry[0], Account(source.topic, source.partition, 0, 0), entry[1], SourceMark.of_text(entry[2])
            )
            for source in partitions
            if (entry := _entry(topics, source)) is not None
        }
        ids = {topic: topics[topic].get("id") for topic in {source.topic for source in partitions} if topic in topics}
    return JobLedger(entries, {topic: number for topic, number in ids.items() if number is not None})


def _name(properties: Mapping[str, str]) -> str:
    """The table's name; empty where that is damaged too."""
    try:
        return str(json.loads(properties.get(TABLE, "{}")).get("name", ""))
    except ValueError:
        return ""


def last_truncate(properties: Mapping[str, str]) -> bytes | None:
    """The newest TRUNCATE's position."""
    with intact(_name(properties), f"the table property {TRUNCATE}"):
        return bytes.fromhex(properties.get(TRUNCATE, "")) or None


def jobs(properties: Mapping[str, str]) -> tuple[str, ...]:
    """The jobs that have a ledger here, sorted."""
    return tuple(sorted(unquote(name.removeprefix(LEDGER)) for name in properties if name.startswith(LEDGER)))


def whole_properties(properties: Mapping[str, str], change: LedgerChange, truncate: bytes | None) -> dict[str, str]:
    """The properties that say all of a ledger; `properties` are what the table has, which counts no more."""
    forgotten = {TRUNCATE: ""} if TRUNCATE in properties else {}
    return {**forgotten, **changed_properties({}, change, truncate)}


def changed_properties(properties: Mapping[str, str], change: LedgerChange, truncate: bytes | None) -> dict[str, str]:
    """The properties that this commit changes, and no others."""
    topics = _topics(properties, change.job)
    for source, entry in change.after.entries.items():
        if entry.next is not None:
            parts = topics.setdefault(source.topic, {}).setdefault("partitions", {})
            start = entry.next if entry.start is None else entry.start
            parts[str(source.partition)] = [entry.next, start, entry.mark.text()]
    for topic, number in change.after.topic_ids.items():
        topics.setdefault(topic, {})["id"] = number
    name = LEDGER + quote(change.job, safe="")
    wanted = {name: json.dumps({"format": LEDGER_FORMAT.newest, "topics": topics}, sort_keys=True)} if topics else {}
    if truncate is not None:
        wanted[TRUNCATE] = truncate.hex()
    return {name: value for name, value in wanted.items() if properties.get(name) != value}


def commit_id(commit: Commit, staged: Sequence[Staged]) -> str:
    """The same for a commit that is repeated."""
    parts = [commit.job, *sorted(part.uri for part in staged), *(repr(account) for account in commit.accounts)]
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


def commit_properties(job: str, identity: str) -> dict[str, str]:
    """The property that names the job's last commit when its snapshot has expired."""
    return {f"{COMMIT}.{quote(job, safe='')}": identity}


def summary(change: LedgerChange, identity: str) -> dict[str, str]:
    """What the snapshot says of its commit."""
    accounts = [asdict(account) for account in change.accounts if account.stop >= 0 or account.read]
    return {JOB: change.job, COMMIT: identity, ACCOUNTS: json.dumps(accounts, ensure_ascii=False)}


def recorded(table: Any, commit: Commit, identity: str) -> tuple[Account, ...] | None:
    """The accounts of this commit, where a snapshot of the table has it already."""
    for snapshot in reversed(table.snapshots()):
        told = snapshot.summary.additional_properties if snapshot.summary else {}
        if told.get(COMMIT) == identity:
            found = {(one["topic"], one["partition"]): Account(**one) for one in json.loads(told[ACCOUNTS])}
            return tuple(found.get((part.topic, part.partition), part) for part in commit.accounts)
    return None


def _topics(properties: Mapping[str, str], job: str) -> dict[str, Any]:
    name = LEDGER + quote(job, safe="")
    if name not in properties:
        return {}
    found = json.loads(properties[name])
    LEDGER_FORMAT.check(found.get("format"), f"the table property {name}")
    topics: dict[str, Any] = found["topics"]
    return topics


def _entry(topics: Mapping[str, Any], source: TopicPartition) -> tuple[int, int, str] | None:
    found: tuple[int, int, str] | None = topics.get(source.topic, {}).get("partitions", {}).get(str(source.partition))
    return found
