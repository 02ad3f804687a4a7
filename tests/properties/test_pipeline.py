"""Any history of a table, sent in any way and read in any number of runs, ends in the rows of its source."""

import json
import tempfile
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import fastavro
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from kafka import KafkaProducer
from support.jobs import KEY, SOURCE, contracts, run_once, wire, write_job

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.execution import pass_ranges
from millrace.pipelines.execution.job_parts import target_of
from millrace.pipelines.job.load import load_job
from millrace.transforms.proof.report import Outcome

GONE = "__debezium_unavailable_value"
COLUMNS = {
    2: [("name", "string"), ("count", "int")],
    3: [("name", "string"), ("count", "long"), ("note", "string")],
}
TABLE = "orders"
PARTITIONS = 2
EXAMPLES = 25
FEWER = 10
# An example takes seconds: to shrink one would take minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
POISON = (b"", b"\0", b"\0\0\0\0\x63x", b"\0\0\0\0\x02\x02", b"{}", b"\0\0\0\0\x02" + b"\xff" * 12)


def envelope(columns):
    fields = [{"name": name, "type": ["null", kind], "default": None} for name, kind in columns]
    row = {"type": "record", "name": "Value", "fields": [{"name": "id", "type": "long"}, *fields]}
    parts = [("before", ["null", row]), ("after", ["null", "Value"]), ("source", SOURCE), ("op", "string")]
    return {"type": "record", "name": "Envelope", "fields": [{"name": name, "type": kind} for name, kind in parts]}


SCHEMAS = {1: KEY, **{number: envelope(columns) for number, columns in COLUMNS.items()}}
PARSED = {number: fastavro.parse_schema(json.loads(json.dumps(schema))) for number, schema in SCHEMAS.items()}


@dataclass
class Message:
    """One message of the history; `row` is what it says of `id` in truth: its whole row, None for a delete."""

    key: bytes | None
    value: bytes | None
    partition: int
    kind: str
    id: int = 0
    lsn: int = 0
    row: dict | None = None
    headers: list = field(default_factory=list)
    time: int = 0
    snapshot: bool = False

    def __str__(self):
        where = f"[{self.partition}] at {self.time % 10_000}"
        return f"{where}: {self.kind} {self.id} lsn {self.lsn} {self.row} {self.headers} {self.value}"


@dataclass
class Source:
    """A table with a log: each step changes `rows` and gives the messages that Debezium would send of it, in order.

    A key whose values may be unavailable stays in one partition: a value that comes after the change which leaves
    it out, and with an older position, cannot be filled in any more.
    """

    draw: object
    partial_moves: bool
    rows: dict = field(default_factory=dict)
    lsn: int = 100
    time: int = 1_700_000_000_000
    partial: set = field(default_factory=set)

    def one_of(self, *choices):
        return self.draw(st.sampled_from(choices))

    def step(self):
        self.lsn += self.one_of(1, 1, 7)
        self.time += self.one_of(0, 1, 15)
        kinds = ["insert", "poison", "message"]
        if self.rows:
            kinds += ["update"] * 4 + ["delete", "move", "move", "snapshot"]
        return getattr(self, self.one_of(*kinds))()

    def snapshot_of_all(self):
        return [self.changed("r", key) for key in self.rows]

    def insert(self):
        free = [key for key in range(8) if key not in self.rows]
        if not free:
            return []
        key = self.one_of(*free)
        self.rows[key] = self.new_row()
        return [self.changed("c", key)]

    def update(self):
        key = self.one_of(*self.rows)
        left_out = self.one_of(False, key in self.partial)
        old = self.rows[key]
        self.rows[key] = {**self.new_row(), **({"name": old["name"]} if left_out else {})}
        return [self.changed("u", key, left_out)]

    def delete(self):
        return self.deleted(self.one_of(*self.rows))

    def move(self):
        old = self.one_of(*self.rows)
        free = [key for key in range(8) if key not in self.rows]
        if not free:
            return []
        new = self.one_of(*free)
        left_out = self.partial_moves and self.one_of(False, old in self.partial and new in self.partial)
        row = self.rows[old]
        gone = self.deleted(old, [("__debezium.newkey", json.dumps({"id": new}).encode())])
        self.rows[new] = {**row, "count": self.one_of(None, 5)}
        header = [("__debezium.oldkey", json.dumps({"id": old}).encode())]
        return [*gone, self.changed("c", new, left_out, header)]

    def snapshot(self):
        return [self.changed("r", self.one_of(*self.rows))]

    def poison(self):
        return [Message(wire(1, {"id": 3}), self.one_of(*POISON), self.any_partition(), "dead", time=self.time)]

    def message(self):
        value = self.encoded(2, "m", None, None)
        return [Message(None, value, self.any_partition(), "filtered", time=self.time)]

    def new_row(self):
        return {"name": self.one_of(None, "", "a", "ü" * 40), "count": self.one_of(None, 0, -7, 1 << 40), "note": "n"}

    def any_partition(self):
        return self.one_of(*range(PARTITIONS))

    def partition(self, key, op):
        home = key % PARTITIONS
        return home if key in self.partial or op == "r" else self.one_of(home, home, self.any_partition())

    def deleted(self, key, headers=()):
        before = {"id": key, **self.rows.pop(key)}
        place = self.partition(key, "d")
        one = self.message_of("d", key, (before, None, None), list(headers), place)
        tombstone = Message(one.key, None, place, "filtered", time=self.time)
        return [one, tombstone]

    def changed(self, op, key, left_out=False, headers=()):
        truth = self.rows[key]
        if truth["name"] is None:
            left_out = False
        lossless = abs(truth["count"] or 0) < 1 << 31 and not (op == "r" and truth["note"])
        version = self.one_of(2, 3) if lossless else 3
        if version == 2:
            truth = self.rows[key] = {**truth, "note": None}
        sent = {"id": key, **truth, **({"name": GONE} if left_out else {})}
        return self.message_of(op, key, (None, sent, truth, version), list(headers), self.partition(key, op))

    def message_of(self, op, key, rows, headers, place):
        before, after, truth, *version = rows
        value = self.encoded(version[0] if version else 3, op, before, after)
        lsn = 0 if op == "r" else self.lsn
        return Message(wire(1, {"id": key}), value, place, "change", key, lsn, truth, headers, self.time, op == "r")

    def encoded(self, version, op, before, after):
        source = {"sequence": f'["{self.lsn - 1}","{self.lsn}"]', "lsn": self.lsn}
        return wire(version, {"before": before, "after": after, "source": source, "op": op}, PARSED[version])


@dataclass
class History:
    """`sends` are lists of steps (messages that stay together); `rows` the source's last rows by key."""

    sends: list
    rows: dict
    by_event: bool
    budget: int | None


@st.composite
def histories(draw):
    """Where passes are small, one may end between the delete and the create of a key change.

    The old row is then gone before the create asks for its unavailable value, which becomes NULL: the limit that
    the design names. So such values are drawn only where a pass holds all of a send.
    """
    budget = draw(st.sampled_from([None, None, 5, 15]))
    by_event = draw(st.booleans())
    source = Source(draw, partial_moves=budget is None, partial=draw(st.sets(st.integers(0, 7), min_size=2)))
    source.rows = {key: source.new_row() for key in draw(st.sets(st.integers(0, 7), max_size=4))}
    sends = [[[message] for message in source.snapshot_of_all()]]
    for _ in range(draw(st.integers(1, 3))):
        sends.append([step for _ in range(draw(st.integers(1, 12))) if (step := source.step())])
    return History(disturbed(draw, sends), source.rows, by_event, budget)


def disturbed(draw, sends):
    """Some steps twice in a row, as a producer that tries again; and some sends with all that came before again."""
    done, found = [], []
    for send in sends:
        steps = [copy for step in send for copy in [step] * draw(st.sampled_from([1, 1, 1, 2]))]
        back = draw(st.sampled_from([0, 0, 0, 3, 1000]))
        found.append([*done[len(done) - min(back, len(done)) :], *steps])
        # Snapshot rows do not come again: a new snapshot does.
        done += [step for step in send if not any(message.snapshot for message in step)]
    return found


def interleaved(draw_order, steps):
    """The messages with the partitions in any order beside each other, each in its own order."""
    lanes = defaultdict(list)
    for step in steps:
        for message in step:
            lanes[message.partition].append(message)
    order = draw_order(st.permutations([part for part, lane in lanes.items() for _ in lane]))
    return [lanes[part].pop(0) for part in order]


@dataclass
class Oracle:
    """The newest change of each key by (commit, order, offset); snapshot rows stand behind all that came before."""

    newest: dict = field(default_factory=dict)
    ends: dict = field(default_factory=lambda: defaultdict(int))
    kinds: dict = field(default_factory=lambda: defaultdict(int))
    tops: dict = field(default_factory=lambda: defaultdict(lambda: (0, 0)))

    def add(self, message):
        offset = self.ends[message.partition]
        self.ends[message.partition] += 1
        self.kinds[message.kind] += 1
        if message.kind == "change":
            top = self.tops[message.partition]
            position = (top[0], top[1] + 1, offset) if message.snapshot else (message.lsn - 1, message.lsn, offset)
            if not message.snapshot:
                self.tops[message.partition] = max(top, position[:2])
            if position > self.newest.get(message.id, ((-1,), None))[0]:
                self.newest[message.id] = position, message.row

    @property
    def rows(self):
        return {key: row for key, (_, row) in self.newest.items() if row is not None}


def send(servers, topic, messages):
    producer = KafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=2)
    sent = []
    for one in messages:
        more = {"partition": one.partition, "headers": one.headers, "timestamp_ms": one.time}
        sent.append(producer.send(topic, key=one.key, value=one.value, **more))
    producer.flush()
    for future in sent:
        future.get(30)
    producer.close()


def held(file):
    """The target's rows by key, without columns that are NULL."""
    job = load_job(file)
    with closing(target_of(job).open()) as sink:
        found = [row for batch in sink.scan(TABLE) for row in batch.to_pylist()] if TABLE in sink.tables() else []
    rows = {row.pop("id"): given_values(row) for row in found}
    assert len(rows) == len(found)
    return rows


def given_values(row):
    return {name: value for name, value in row.items() if value is not None}


def check_accounts(summary, sent, kinds):
    assert summary.total("read") == sent
    for table in summary.tables.values():
        assert table.error is None
        assert table.read == sent
        assert table.read == table.applied + table.superseded + table.filtered + table.dead
        assert (table.dead, table.filtered) == (kinds["dead"], kinds["filtered"])
        assert (table.unfilled, table.lag) == (0, 0)


@pytest.mark.parametrize("mode", ["mirror", "[mirror, soft_delete, scd2, append]"], ids=["mirror", "every mode"])
def test_any_history_ends_in_the_rows_of_its_source(embedded_broker, monkeypatch, mode):
    servers = embedded_broker.bootstrap_servers
    monkeypatch.setattr(pass_ranges.PassSizer, "learn", lambda *_: None)

    def replay(history, data, folder):
        topic, oracle = f"{TABLE}-{uuid4().hex[:8]}", Oracle()
        embedded_broker.create_topic(topic, PARTITIONS)
        window = "window: {every: 10ms, by: event, allowed_lateness: 1h}\n" if history.by_event else ""
        more = f"tables: [{{from: {topic}, to: {TABLE}, mode: {mode}}}]\n{window}max_dead_letters: 100%\n"
        file = write_job(folder, servers, [topic], more=more)
        contracts(folder / "contracts", SCHEMAS)
        monkeypatch.setattr(pass_ranges, "FEWEST", history.budget or 100_000)
        for steps in history.sends:
            before = dict(oracle.kinds)
            messages = interleaved(data.draw, steps)
            note("\n".join(map(str, [f"-- {len(messages)} sent", *messages])))
            send(servers, topic, messages)
            for message in messages:
                oracle.add(message)
            kinds = defaultdict(int, {kind: count - before.get(kind, 0) for kind, count in oracle.kinds.items()})
            check_accounts(run_once(file), len(messages), kinds)
            expected = {key: given_values(row) for key, row in oracle.rows.items()}
            assert held(file) == expected
        if oracle.ends:
            # Where every message is dead, nothing can be proved.
            outcome = Outcome.EQUAL if oracle.kinds.keys() - {"dead"} else Outcome.UNPROVED
            for report in verify_job(load_job(file)):
                assert report.outcome is outcome, json.dumps(report.to_json(), indent=1)
        assert oracle.rows == history.rows

    @settings(
        max_examples=EXAMPLES if mode == "mirror" else FEWER,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(history=histories(), data=st.data())
    def check(history, data):
        note(f"by event time: {history.by_event}, offsets a pass: {history.budget}")
        with tempfile.TemporaryDirectory() as folder:
            replay(history, data, Path(folder))

    check()
