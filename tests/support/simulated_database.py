"""A database with a log, and a Debezium connector that reads it: the oracle of the order of changes.

The table of a `Database` is what its committed transactions made of it; its log holds them in commit order, though
they overlap. A `Connector` takes snapshots of the table, follows the log, repeats parts of it, is made anew, and goes
on with another server. `Connector.table` is what a reader of all that it has sent must hold. Nothing here compares
positions.
"""

import io
import json
from dataclasses import dataclass, field
from random import Random

import fastavro

from millrace.schemas.model.message import Message
from support.debezium_stream import ENVELOPE, GONE, KEY, row

TOPIC = "shop.t"
PARTITIONS = 2
KEYS = 6
TEXTS = ("connector", "name", "table", "snapshot", "sequence", "gtid", "file")
LONGS = ("ts_ms", "txId", "lsn", "server_id", "pos", "row")
FIELDS = {"postgres": ("lsn", "sequence", "txId"), "mysql": ("file", "pos", "row", "server_id", "gtid")}
COMMON = ("connector", "name", "table", "ts_ms", "snapshot")
KEY_ID = 1
VALUE_IDS = {"postgres": 2, "mysql": 4}


def envelope(kind):
    names = (*COMMON, *FIELDS[kind])
    fields = [
        {"name": name, "type": ["null", "string" if name in TEXTS else "long"], "default": None} for name in names
    ]
    source = {"type": "record", "name": "Source", "fields": fields}
    parts = [{**part, "type": source} if part["name"] == "source" else part for part in ENVELOPE["fields"]]
    return {**ENVELOPE, "fields": parts}


SCHEMAS = {KEY_ID: KEY, **{number: envelope(kind) for kind, number in VALUE_IDS.items()}}
PARSED = {number: fastavro.parse_schema(json.loads(json.dumps(schema))) for number, schema in SCHEMAS.items()}


def encoded(schema_id, value):
    body = io.BytesIO()
    fastavro.schemaless_writer(body, PARSED[schema_id], value)
    return b"\0" + schema_id.to_bytes(4, "big") + body.getvalue()


@dataclass
class Change:
    """One change. `left_out`: its large value did not change; `moved`: the other key of a key change."""

    op: str
    key: int | None
    before: dict | None
    after: dict | None
    lsn: int
    left_out: bool = False
    moved: int | None = None


@dataclass
class Transaction:
    """Changes that commit together, and the keys that it has locked until then."""

    number: int
    changes: list = field(default_factory=list)
    keys: set = field(default_factory=set)
    commit: int = 0
    time: int = 0
    server: int = 0


@dataclass
class Database:
    """One table of rows by key, transactions that overlap, and the log: committed transactions, in commit order."""

    random: Random
    kind: str = "postgres"
    large: bool = True
    rows: dict = field(default_factory=dict)
    log: list = field(default_factory=list)
    open: list = field(default_factory=list)
    lsn: int = 1000
    time: int = 1_700_000_000_000
    server: int = 101
    file: int = 7
    count: int = 0
    name: str = "shop"
    first_key: int = 0
    truncates: bool = True
    tables: tuple = ("t",)

    def table_of(self, key):
        """Several tables of the source may go to one topic: each has its share of the keys."""
        return self.tables[0 if key is None else (key - self.first_key) * len(self.tables) // KEYS]

    def step(self):
        """Something happens: a write in a new or an open transaction, a commit, a rollback, a TRUNCATE."""
        self.lsn += self.random.choice((1, 8, 50))
        self.time += self.random.choice((0, 1, 1000))
        what = self.random.choice(("write",) * 5 + ("commit",) * 3 + ("rollback", "truncate"))
        if what == "write":
            self._write()
        elif what == "truncate" and self.truncates and not self.open and self.random.random() < 0.3:
            self._end(Transaction(self._number(), [Change("t", None, None, None, self.lsn)]))
        elif self.open:
            ended = self.open.pop(self.random.randrange(len(self.open)))
            if what == "commit":
                self._end(ended)

    def _number(self):
        self.count += 1
        return self.count

    def _write(self):
        """A change of a key that no other open transaction holds."""
        begin = not self.open or (len(self.open) < 3 and self.random.random() < 0.4)
        mine = Transaction(self._number()) if begin else self.random.choice(self.open)
        if begin:
            self.open.append(mine)
        locked = {key for one in self.open if one is not mine for key in one.keys}
        free = [key for key in range(self.first_key, self.first_key + KEYS) if key not in locked]
        if not free:
            return
        seen = self._seen(mine)
        key, other = self.random.choice(free), self.random.choice(free)
        mine.keys |= {key}
        if key not in seen:
            mine.changes.append(Change("c", key, None, self._row(key, None), self.lsn))
        elif self.random.random() < 0.25:
            mine.changes.append(Change("d", key, seen[key], None, self.lsn))
        elif other not in seen and self.random.random() < 0.4:
            mine.keys |= {other}
            self._move(mine, seen[key], other)
        else:
            keep = seen[key]["raw"] is not None and self.random.random() < 0.5
            after = self._row(key, seen[key]["raw"] if keep else None)
            mine.changes.append(Change("u", key, seen[key], after, self.lsn, left_out=keep and self._large(after)))

    def _move(self, mine, before, other):
        after = {**before, "id": other, "text": self._text()}
        mine.changes.append(Change("d", before["id"], before, None, self.lsn, moved=other))
        left_out = self.random.random() < 0.5 and self._large(after)
        mine.changes.append(Change("c", other, None, after, self.lsn, left_out=left_out, moved=before["id"]))

    def _large(self, values):
        return self.large and self.kind == "postgres" and values["raw"] is not None

    def _text(self):
        return f"v{self._number()}"

    def _row(self, key, large):
        raw = large or self.random.choice((None, f"large {self._number()}".encode()))
        return row(key, self._text(), raw=raw)

    def _seen(self, mine):
        rows = dict(self.rows)
        for change in mine.changes:
            apply(rows, change)
        return rows

    def _end(self, done):
        """A commit: only now is it in the log. MySQL gives a transaction its places in the log here."""
        if not done.changes:
            return
        self.lsn += 4
        done.commit, done.time, done.server = self.lsn, self.time, self.server
        if self.kind == "mysql":
            for number, change in enumerate(done.changes):
                change.lsn = self.lsn + number
            self.lsn += len(done.changes)
        for change in done.changes:
            apply(self.rows, change)
        self.log.append(done)

    def fail_over(self, read=None, other_server=True):
        """Another server goes on with the same rows; its log begins with lower numbers. Open transactions are lost.

        Transactions of the log behind the first `read` are in the new server's log too, with its numbers; replicated
        changes keep the server that wrote them, and their time. Without another server, the log of this one began anew.
        """
        self.open, self.lsn, self.file = [], 4, self.file - 1
        for done in self.log[len(self.log) if read is None else read :]:
            for number, change in enumerate(done.changes):
                change.lsn = self.lsn + 1 + number
            self.lsn += 10 + len(done.changes)
            done.commit = self.lsn
        self.server += 101 if other_server else 0
        self.time += 60_000

    def touch_all(self):
        """A transaction of its own for each key, after all others have ended."""
        self.open = []
        for key in range(self.first_key, self.first_key + KEYS):
            self.lsn, self.time = self.lsn + 8, self.time + 1000
            op, before = ("u", self.rows[key]) if key in self.rows else ("c", None)
            self._end(Transaction(self._number(), [Change(op, key, before, self._row(key, None), self.lsn)]))


def apply(rows, change):
    """What one change makes of the rows."""
    if change.op == "t":
        rows.clear()
    elif change.op == "d":
        rows.pop(change.key, None)
    else:
        rows[change.key] = change.after


@dataclass
class Sent:
    """A message and where it goes; those of one `group` stand together in the log of the connector."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: list
    group: int
    about: str = ""
    time: int = 0


@dataclass
class Connector:
    """Sends what happens in the database. `read` transactions of the log have been sent; `table` is what that makes."""

    database: Database
    sent: list = field(default_factory=list)
    table: dict = field(default_factory=dict)
    read: int = 0
    stored: int = 0
    commit: int | None = None
    groups: int = 0
    snapshot_at: int = 0
    sources: dict = field(default_factory=dict)
    replaces: bool = False
    clock: int = 1_700_000_000_000

    @property
    def settled(self):
        """Whether all that the newest snapshot had seen has been streamed: before, older values may show."""
        return self.read >= self.snapshot_at

    def snapshot(self):
        """A whole snapshot of what is committed; what is streamed afterwards may be older, or not be in it.

        Rows that were deleted while nobody listened stay in the table of a reader, but where it `replaces` them: then a
        snapshot of two rows or more, which has a first and a last one, is the whole table.
        """
        rows = list(self.database.rows.values())
        for name in self.database.tables:
            self.snapshot_of(name)
        if self.replaces and len(rows) > 1:
            self.table.clear()
        self.table.update({values["id"]: values for values in rows})

    def snapshot_of(self, name):
        """A whole snapshot of one of the source's tables."""
        rows = [values for key, values in self.database.rows.items() if self.database.table_of(key) == name]
        self._send_snapshot(rows, len(rows))
        self.table.update({values["id"]: values for values in rows})

    def broken_off(self):
        """A snapshot that does not come to its end: it will begin again."""
        rows = list(self.database.rows.values())
        most = self.database.random.randint(0, max(0, len(rows) - 1))
        self._send_snapshot(rows, most)
        self.table.update({values["id"]: values for values in rows[:most]})

    def _send_snapshot(self, rows, most):
        """The first `most` rows of a snapshot, marked as Debezium does; no other change has their time."""
        ending = ("", "_in_data_collection")[self.groups % 2]
        self.clock += 10
        for number, values in enumerate(rows[:most]):
            place = "last" if number == len(rows) - 1 else "first" if number == 0 else None
            source = self._snapshot_source(place + ending if place else "true", values["id"])
            self._send("r", values["id"], None, values, source)
        self.clock += 10
        self.snapshot_at = len(self.database.log)

    def incremental(self):
        """Some rows, as they are where the stream stands."""
        self.stream()
        for key, values in list(self.database.rows.items()):
            if self.database.random.random() < 0.6:
                self._send("r", key, None, values, self._snapshot_source("incremental", key))
                self.table[key] = values

    def made_anew(self):
        """The connector's place was lost: what is in the log up to now is never streamed, a snapshot has it.

        Postgres makes a slot only when all transactions have ended that were open when it began; those that began
        meanwhile may be open still, and have written before the snapshot's LSN.
        """
        before = list(self.database.open)
        while any(one in self.database.open for one in before):
            self.database.step()
        self.read = self.stored = len(self.database.log)
        self.commit = None
        self.snapshot()

    def stream(self, most=None):
        """Send what has been committed, in the log's order."""
        stop = len(self.database.log) if most is None else min(len(self.database.log), self.read + most)
        for number in range(self.read, stop):
            self._send_transaction(number)
            for change in self.database.log[number].changes:
                apply(self.table, change)
        self.read = stop

    def store(self):
        """Remember the place, from which it begins again."""
        self.stored = self.read

    def restart(self):
        """Begin again at the last stored place: the same messages once more."""
        for number in range(self.stored, self.read):
            self._send_transaction(number)

    def repeat(self):
        """A producer that tries again: one transaction that was sent before, alone."""
        known = [number for number in self.sources if number < self.read]
        if known:
            self._send_transaction(self.database.random.choice(known))

    def _send_transaction(self, number):
        done = self.database.log[number]
        if number not in self.sources:
            self.sources[number] = [self._source(done, change) for change in done.changes]
            self.commit = done.commit
        self.groups += 1
        for change, source in zip(done.changes, self.sources[number], strict=True):
            self._send_change(change, source)

    def _send_change(self, change, source):
        after = change.after
        if change.left_out:
            after = {**after, "raw": GONE.encode()}
        headers = []
        if change.moved is not None:
            name = "__debezium.newkey" if change.op == "d" else "__debezium.oldkey"
            headers = [(name, json.dumps({"id": change.moved}).encode())]
        self._send(change.op, change.key, change.before, after, source, headers)

    def _send(self, op, key, before, after, source, headers=()):
        before = None if op in "rcu" else before
        value = {"before": before, "after": after, "op": op, "source": source}
        body = encoded(VALUE_IDS[self.database.kind], value)
        name = None if key is None else encoded(KEY_ID, {"id": key})
        place = PARTITIONS - 1 if key is None else key % PARTITIONS
        stands = source.get("sequence") or (source.get("file"), source.get("pos"))
        about = f"{op} {key} {(after or {}).get('text')} {(after or {}).get('raw')} {stands}"
        if op == "r":
            self.groups += 1
        self.clock += 1 + (op != "r")
        self.sent.append(Sent(place, name, body, list(headers), self.groups, about, self.clock))
        if op == "d":
            self.sent.append(Sent(place, name, None, list(headers), self.groups, f"tombstone {key}", self.clock))

    def _source(self, done, change):
        place = {"connector": self.database.kind, "name": self.database.name, "ts_ms": done.time, "snapshot": "false"}
        place["table"] = self.database.table_of(change.key)
        if self.database.kind == "mysql":
            number = done.changes.index(change)
            file = f"binlog.{self.database.file:06}"
            return {
                **place,
                "file": file,
                "pos": done.commit,
                "row": number,
                "server_id": done.server,
                "gtid": f"u:{done.number}",
            }
        before = None if self.commit is None else str(self.commit)
        return {**place, "lsn": change.lsn, "sequence": json.dumps([before, str(change.lsn)]), "txId": done.number}

    def _snapshot_source(self, mark, key):
        base = self.database
        place = {"connector": base.kind, "name": base.name, "ts_ms": base.time, "snapshot": mark}
        place["table"] = base.table_of(key)
        if base.kind == "mysql":
            return {**place, "file": f"binlog.{base.file:06}", "pos": base.lsn, "row": 0, "server_id": 0}
        if mark == "incremental":
            at = str(self.commit or base.lsn)
            return {**place, "sequence": json.dumps([at, at])}
        return {**place, "lsn": base.lsn, "sequence": json.dumps([None, str(base.lsn)])}


def messages(sent, offsets):
    """The sent messages with their offsets; `offsets` counts on by partition."""
    found = []
    for one in sent:
        found.append(Message(TOPIC, one.partition, offsets[one.partition], one.key, one.value, one.headers, one.time))
        offsets[one.partition] += 1
    return found
