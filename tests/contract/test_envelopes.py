"""What every envelope promises. It runs over the registry: an envelope that is not in it does not exist.

Job and proof share no code; both are compared with a simulated database, whose changes the envelope's messages tell.
"""

import json
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.envelopes import ENVELOPE_PLACES, TOPIC
from support.jobs import rows as rows_in
from support.jobs import run_once
from support.plain_messages import Context

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.job.format import read_format
from millrace.pipelines.job.load import load_job
from millrace.schemas.encodings import ENCODINGS
from millrace.schemas.envelopes import ENVELOPES
from millrace.schemas.envelopes.decoder import TopicDecoder
from millrace.schemas.errors import JobError, TableError
from millrace.schemas.merging.newest_by_key import newest_changes
from millrace.schemas.model.change import DELETE, OP, own_columns
from millrace.schemas.model.declared_type import declared_type
from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.message import Message
from millrace.schemas.model.message_batch import MessageBatch
from millrace.schemas.model.route import Route
from millrace.transforms.proof.message_reader import with_format
from millrace.transforms.proof.reference_table import ReferenceTable
from millrace.transforms.proof.rules import Rules
from millrace.transforms.sources.scripted.source import ScriptedSource

PLACES = [(name, place) for name, places in ENVELOPE_PLACES.items() for place in places]
ROW = {"id": 1, "name": "first", "note": "kept"}


@pytest.fixture(params=PLACES, ids=[f"{name}-{number}" for number, (name, _) in enumerate(PLACES)])
def subject(request):
    return Subject(*request.param)


@dataclass
class Subject:
    """An envelope and its place, read by the job and by the proof."""

    name: str
    place: object
    columns: pa.Schema | None = None
    """Of the table, once there is one."""

    def route(self):
        columns = {name: declared_type(kind) for name, kind in self.place.columns.items()}
        return Route(table="orders", key=self.place.key, sources=(TopicPartition(TOPIC, 0),), columns=columns)

    def format(self):
        short = dict(ENVELOPES[self.name].short)
        written = {**short, "encoding": "json", "framing": "plain", "envelope": self.name, **self.place.options}
        return read_format(written, Context())

    def decode(self, sent, cuts=()):
        """What the job makes of these messages, which come in blocks."""
        form = self.format()
        encoding = ENCODINGS[form.encoding].open(form.encoding_options, None)
        decoder = TopicDecoder(encoding, ENVELOPES[self.name].open(form.envelope_options), TOPIC, self.route())
        bounds = [0, *sorted(cuts), len(sent)]
        return [decoder.decode(batch(sent, *part)) for part in pairwise(bounds)]

    def rows(self, sent, cuts=()):
        """The rows by key as the job merges them, and the dead letters' offsets."""
        blocks = self.decode(sent, cuts)
        for done in blocks:
            counted = sum(int((np.asarray(one.column("_millrace_source")) >= 0).sum()) for one in done.changes)
            assert done.read == counted + done.filtered + done.truncates + len(done.letters)
        changes = [one for done in blocks for one in done.changes]
        letters = [letter.offset for done in blocks for letter in done.letters]
        if not changes:
            return {}, letters
        key = next(done.key for done in blocks if done.key)
        delta = newest_changes("orders", key, changes).delta
        names = own_columns(delta)
        self.columns = pa.schema([delta.schema.field(name) for name in names])
        table = [row for row in delta.to_pylist() if row[OP] != DELETE]
        return self._keyed({name: row[name] for name in names} for row in table), letters

    def proven(self, sent):
        """The rows by key as the proof reads them, and how many messages it cannot read."""
        rules = Rules(
            format="own",
            schemas=None,
            encoding="json",
            framing="plain",
            key=self.place.key,
            declared=self.route().columns,
            columns=self.columns,
        )
        rules = with_format(rules, self.name, self.format().envelope_options.model_dump())
        if rules.format == "own":
            rules = rules.with_reader(ENVELOPES[self.name].proof_reader("json", self.format().envelope_options))
        table = ReferenceTable(rules)
        for offset, (key, value) in enumerate(sent):
            table.add(Message(TOPIC, 0, offset, key, value, (), offset))
        rows = [row for _, _, row in table.rows() if row is not None]
        return self._keyed(rows), table.undecodable

    def _keyed(self, rows):
        """By key the rows, where they are documents what these hold."""
        if hasattr(self.place, "documents"):
            rows = [self._document({**row, "id": int(row["id"])}) for row in rows]
        return {row["id"]: row for row in rows}

    def _document(self, row):
        """The row that a document holds; a text that a test has damaged is kept as it is."""
        try:
            found = json.loads(row["document"])
            return {"id": row["id"], "name": found["name"], "note": found["note"]}
        except (ValueError, KeyError):
            return row


def batch(sent, first, stop):
    """Messages of one block."""
    sent, parts, places = sent[first:stop], [], []
    at = 0
    for pair in sent:
        for part in pair:
            places.append((at, -1 if part is None else len(part)))
            parts.append(part or b"")
            at += len(part or b"")
    data = np.frombuffer(b"".join(parts) + b"\0", np.uint8)
    found = np.array(places, np.int64).reshape(-1, 4)
    offset = np.arange(first, stop, dtype=np.int64)
    return MessageBatch(TOPIC, 0, first, stop, data, offset, offset, *(found[:, i].copy() for i in range(4)))


def whole(rows):
    """Rows with their values alone: columns that only another message has are NULL, or not there."""
    return {key: {name: value for name, value in row.items() if value is not None} for key, row in rows.items()}


def test_every_envelope_of_the_registry_is_tested():
    assert set(ENVELOPE_PLACES) == set(ENVELOPES)


def test_changes_of_a_row_end_in_its_row(subject):
    place, other = subject.place, {"id": 2, "name": None, "note": "x"}
    newer = {**ROW, "name": "second"}
    sent = [*place.insert(ROW, 4), *place.insert(other, 5), *place.update(ROW, newer, 6), *place.delete(other, 7)]
    assert subject.rows(sent) == ({1: newer}, [])
    assert subject.proven(sent) == ({1: newer}, 0)


def test_a_row_that_leaves_its_key_is_under_the_new_one_alone(subject):
    place, moved = subject.place, {**ROW, "id": 9}
    sent = [*place.insert(ROW, 4), *place.update(ROW, moved, 5)]
    assert subject.rows(sent) == ({9: moved}, [])
    assert subject.proven(sent) == ({9: moved}, 0)


def test_copied_rows_stand_where_the_log_has_them(subject):
    place, stale, copied = subject.place, {**ROW, "name": "stale"}, {**ROW, "name": "copied"}
    sent = [*place.insert(stale, 5), *place.snapshot(copied)]
    if len(sent) == 1:
        pytest.skip("the format has no copied rows")
    assert whole(subject.rows(sent)[0]) == whole(subject.proven(sent)[0]) == whole({1: copied})
    sent += place.update(copied, ROW, 9)
    assert whole(subject.rows(sent)[0]) == whole(subject.proven(sent)[0]) == whole({1: ROW})


def test_a_repeated_change_undoes_nothing_where_the_format_has_positions(subject):
    place, newer = subject.place, {**ROW, "name": "newer"}
    first, second = place.insert(ROW, 4), place.update(ROW, newer, 5)
    for sent in ([*first, *second, *first], [*first, *second, *first, *second]):
        told = place.positions or len(sent) > 3
        expected = {1: newer if told else ROW}
        assert subject.rows(sent)[0] == subject.proven(sent)[0] == expected


def test_what_is_no_change_is_filtered(subject):
    sent = [*subject.place.nothing(), *subject.place.insert(ROW, 4), *subject.place.nothing()]
    (done,) = subject.decode(sent)
    assert (done.filtered, done.letters) == (len(sent) - 1, [])
    assert whole(subject.rows(sent)[0]) == whole(subject.proven(sent)[0]) == whole({1: ROW})


def test_what_cannot_be_is_a_dead_letter_and_the_good_rows_land(subject):
    noise = [
        (None, value) for value in (b"", b"{", b"[]", b"7", b'"text"', b"{}", b"\xff\xfe", b"[" * 100_000, b"{}{}")
    ]
    bad = [*subject.place.wrong(), *noise]
    sent = [*subject.place.insert(ROW, 4)]
    for one in bad:
        sent += [one, *subject.place.insert({**ROW, "id": len(sent) + 10}, len(sent) + 4)]
    rows, letters = subject.rows(sent)
    assert sorted(letters) == [sent.index(one) for one in bad]
    assert len(rows) == len(bad) + 1
    proven, unread = subject.proven(sent)
    assert (whole(proven), unread) == (whole(rows), len(bad))


def test_every_letter_of_a_message_may_be_lost(subject):
    """Truncations of one message, and letters of it replaced: the process lives, and its neighbours land."""
    (key, value), *_ = subject.place.update(ROW, {**ROW, "name": "x"}, 6)
    before, after = {**ROW, "id": 7}, {**ROW, "id": 8}
    for at in range(0, len(value), 3):
        for broken in (value[:at], value[: at + 1] + b"\0" + value[at + 2 :], value[:at] + b"9" + value[at + 1 :]):
            sent = [*subject.place.insert(before, 4), (key, broken), *subject.place.insert(after, 8)]
            try:
                rows, letters = subject.rows(sent)
            except TableError as error:
                # Of another table now, or without what tells that a key changed.
                assert str(error).startswith("table orders: ")
                continue
            assert rows.keys() >= {7, 8} and set(letters) <= {1}
            proven, unread = subject.proven(sent)
            if not ENVELOPES[subject.name].open().reads_keys:
                # Else the row's key and the message's may differ, which no source sends.
                assert (whole(proven), unread) == (whole(rows), len(letters)), broken


@st.composite
def histories(draw, positions):
    """A database's rows change; what it sends is cut into blocks, and some of it is sent again."""
    rows, deeds = {}, []
    for at in range(4, 4 + draw(st.integers(1, 14))):
        key, name = draw(st.integers(1, 4)), draw(st.sampled_from([None, "a", "b", "ä"]))
        old = rows.get(key)
        deed = draw(st.sampled_from(["update", "rekey", "delete"])) if old else "insert"
        row = {"id": key, "name": name, "note": str(at)}
        free = [one for one in range(1, 7) if one not in rows]
        if deed == "rekey" and free:
            row["id"] = draw(st.sampled_from(free))
        if old:
            del rows[key]
        if deed != "delete":
            rows[row["id"]] = row
        if deed == "update" and draw(st.booleans()):
            deed, row["name"] = "partial", old["name"]
        deeds.append(("update" if deed == "rekey" else deed, old, row, at))
    again = draw(st.integers(0, len(deeds))) if positions else len(deeds)
    return rows, deeds, again


@settings(max_examples=40, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("number", range(len(PLACES)))
def test_job_and_proof_end_in_the_databases_rows(number, data):
    subject = Subject(*PLACES[number])
    place = subject.place
    rows, deeds, again = data.draw(histories(place.positions))
    sent = []
    several = data.draw(st.booleans()) and hasattr(place, "several")
    if not hasattr(place, "partial"):
        deeds = [("update" if deed == "partial" else deed, *rest) for deed, *rest in deeds]
    for deed, group in groupby([*deeds, *deeds[again:]], key=lambda one: one[0]) if several else ():
        sent += place.several(deed, [(old, row) for _, old, row, _ in group])
    for deed, old, row, at in () if several else [*deeds, *deeds[again:]]:
        if deed == "insert":
            sent += place.insert(row, at)
        elif deed == "delete":
            sent += place.delete(old, at)
        elif deed == "partial":
            sent += place.partial(old, row, at)
        else:
            sent += place.update(old, row, at)
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=2))
    read, letters = subject.rows(sent, cuts)
    proven, unread = subject.proven(sent)
    assert (whole(read), letters, whole(proven), unread) == (whole(rows), [], whole(rows), 0)


def test_a_job_reads_it_and_verify_proves_it(subject, tmp_path):
    place, moved = subject.place, {**ROW, "id": 9}
    source = ScriptedSource(f"envelope-{PLACES.index((subject.name, place))}")
    source.create_topic(TOPIC)
    gone, bad = {**ROW, "id": 3}, place.wrong()[:1]
    for key, value in [
        *place.snapshot(ROW),
        *place.insert(ROW, 4),
        *bad,
        *place.update(ROW, moved, 5),
        *place.insert(gone, 6),
        *place.delete(gone, 7),
    ]:
        source.send(TOPIC, value, key=key)
    short = ENVELOPES[subject.name].only_short
    form = {"type": subject.name} if short else {"encoding": "json", "framing": "plain", "envelope": subject.name}
    table = {"from": TOPIC, "to": "orders", "columns": place.columns}
    modes = ["mirror", "append", "soft_delete", "scd2"]
    if ENVELOPES[subject.name].several_changes:
        modes.remove("append")
    job = {
        "job": "envelopes",
        "source": {"type": "scripted", "name": source.name, "topics": [TOPIC]},
        "format": form | place.options,
        "tables": [table | ({} if place.key is None else {"key": list(place.key)})],
        "target": {"type": "duckdb", "path": "out.duckdb", "mode": modes},
        "max_dead_letters": "90%",
    }
    file = tmp_path / "job.yaml"
    file.write_text(json.dumps(job))
    summary = run_once(file)
    assert (summary.failed, summary.total("dead")) == (False, len(bad)), summary.lines()
    if hasattr(place, "documents"):
        ((key, document),) = rows_in(tmp_path, "orders", "id, document")
        assert (key, json.loads(document)) == ("9", {"_id": 9, "name": "first", "note": "kept"})
    else:
        assert rows_in(tmp_path, "orders", "id, name, note") == [tuple(moved.values())]
    reports = list(verify_job(load_job(file)))
    assert [report.ok for report in reports] == [True] * len(modes), [report.to_json() for report in reports]
    source.clear()


def test_a_table_with_a_row_a_message_is_refused_where_a_message_may_hold_several_changes(tmp_path):
    file = tmp_path / "job.yaml"
    for more in ("target: {type: duckdb, path: a, mode: append}", "target: {type: files, path: a}"):
        file.write_text(f"job: j\nsource: {{type: scripted, name: n, topics: [t]}}\nformat: {{type: canal}}\n{more}\n")
        with pytest.raises(JobError, match=r"target(.mode)?: append keeps a row a message, and a message of canal may"):
            load_job(file)
