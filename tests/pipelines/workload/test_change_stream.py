"""The made-up stream: the same seed gives the same bytes, fastavro reads them, and they lead to the table it names."""

import io
import json
from datetime import datetime, timedelta
from itertools import pairwise

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.pipelines.workload.change_stream import Stream, Workload
from millrace.pipelines.workload.orders import SCHEMAS as FOLDER
from millrace.pipelines.workload.orders import Encoder
from millrace.schemas.encodings.avro.schema_text import AVRO
from millrace.schemas.encodings.schema_store import FolderSchemaStore

KEY, VALUE = 1, 2


def schema(name):
    return fastavro.parse_schema(json.loads((FOLDER / f"{name}.avsc").read_text()))


SCHEMAS = {KEY: schema("orders-key"), "debezium": schema("orders-envelope"), "upsert": schema("orders-row")}


def stream(**options):
    return Stream(Workload(**options), Encoder(KEY, VALUE))


def decode(payload, kind, schema_id):
    """The datum, or None where it is not this schema's from the first byte to the last."""
    if payload[:1] != b"\x00" or payload[1:5] != schema_id.to_bytes(4, "big"):
        return None
    data = io.BytesIO(payload[5:])
    try:
        datum = fastavro.schemaless_reader(data, SCHEMAS[kind])
    except (EOFError, IndexError, ValueError, OverflowError):
        return None
    return None if data.read(1) else datum


def position(envelope):
    return tuple(int(part) for part in json.loads(envelope["source"]["sequence"]))


def fold_debezium(messages):
    """The table as envelopes tell it, newest position wins; and how many values cannot be decoded."""
    rows, newest, dead = {}, {}, 0
    for _, key, value in messages:
        if value is None:
            continue
        envelope = decode(value, "debezium", VALUE)
        if envelope is None:
            dead += 1
            continue
        name = decode(key, KEY, KEY)["id"]
        if position(envelope) > newest.get(name, ()):
            newest[name], rows[name] = position(envelope), envelope["after"]
    return {name: row for name, row in rows.items() if row is not None}, dead


def fold_upsert(messages):
    rows, dead = {}, 0
    for _, key, value in messages:
        row = None if value is None else decode(value, "upsert", VALUE)
        if value is not None and row is None:
            dead += 1
            continue
        rows[decode(key, KEY, KEY)["id"]] = row
    return {name: row for name, row in rows.items() if row is not None}, dead


def expected(made):
    epoch = datetime(1970, 1, 1)
    rows = {key: row.values() for key, row in made.rows.items()}
    return {
        key: {**row, "updated_at": (row["updated_at"] - epoch) // timedelta(microseconds=1)}
        for key, row in rows.items()
    }


OPTIONS = {
    "changes": st.integers(0, 400),
    "keys": st.integers(1, 60),
    "deletes": st.floats(0, 0.5),
    "key_changes": st.floats(0, 0.5),
    "replays": st.floats(0, 1),
    "poison": st.floats(0, 0.3),
    "partitions": st.integers(1, 5),
    "seed": st.integers(0, 1000),
    "after": st.integers(0, 10_000),
}


@settings(max_examples=40, deadline=None)
@given(st.fixed_dictionaries(OPTIONS), st.sampled_from(["debezium", "upsert"]))
def test_the_messages_lead_to_the_rows(options, form):
    made = stream(format=form, **options)
    messages = list(made.messages())
    rows, dead = (fold_debezium if form == "debezium" else fold_upsert)(messages)
    assert rows == expected(made)
    assert dead == made.counts["poison"]
    assert len({key: partition for partition, key, _ in messages}) == len({(key, part) for part, key, _ in messages})
    counts = made.counts
    assert sum(counts[name] for name in ("inserts", "updates", "deletes", "key_changes")) == options["changes"]
    assert len(rows) == counts["inserts"] - counts["deletes"] <= options["keys"]


def test_the_same_seed_makes_the_same_bytes():
    assert list(stream(changes=2000).messages()) == list(stream(changes=2000).messages())
    assert list(stream(changes=2000).messages()) != list(stream(changes=2000, seed=8).messages())


def test_shares_are_about_what_was_asked_for():
    made = stream(changes=50_000, keys=1000, deletes=0.1, key_changes=0.02, replays=0.05, poison=0.01)
    list(made.messages())
    old = 50_000 - made.counts["inserts"]
    for name, share, of in (
        ("deletes", 0.1, old),
        ("key_changes", 0.02, old),
        ("replays", 0.05, 50_000),
        ("poison", 0.01, 50_000),
    ):
        assert made.counts[name] / of == pytest.approx(share, rel=0.35), name


def test_a_tombstone_follows_its_delete_directly():
    messages = list(stream(changes=3000, keys=50, deletes=0.2, replays=0.5, poison=0.2, partitions=1).messages())
    for before, message in pairwise(messages):
        if message[2] is None:
            assert before[1] == message[1]
            assert decode(before[2], "debezium", VALUE)["op"] == "d"


def test_a_later_workload_wins_over_an_earlier_one():
    first, second = stream(changes=500, keys=20), stream(changes=500, keys=20, after=600)
    early = [position(found) for _, _, v in first.messages() if v and (found := decode(v, "debezium", VALUE))]
    late = [position(found) for _, _, v in second.messages() if v and (found := decode(v, "debezium", VALUE))]
    assert max(early) < min(late)


def test_going_on_is_the_same_as_going_through():
    whole, parts = stream(changes=1000), stream(changes=1000)
    assert list(whole.messages()) == [*parts.messages(300), *parts.messages(700)]


def test_the_contracts_can_be_read_as_a_folder(tmp_path):
    for number, name in enumerate(("orders-key", "orders-envelope", "orders-row")):
        (tmp_path / f"{name}.{number}.avsc").write_text((FOLDER / f"{name}.avsc").read_text())
    assert FolderSchemaStore(tmp_path, AVRO).by_id(1)["name"] == "Envelope"
