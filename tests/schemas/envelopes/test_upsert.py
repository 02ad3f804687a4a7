"""Plain upserts: rows, deletes by null values, keys of every kind, in each framing."""

import io
import json

import fastavro
import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form
from support.decoders import avro_decoder
from support.record_batches import batch

from millrace.schemas.encodings.avro.framing import Framing
from millrace.schemas.encodings.avro.schema_text import AVRO
from millrace.schemas.encodings.schema_store import FolderSchemaStore
from millrace.schemas.model.block import Block
from millrace.schemas.model.change import DELETE, OP, POSITION, UPSERT
from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.position import unpack
from millrace.schemas.model.route import Route

KEY = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "int"}]}
ROW = {
    "type": "record",
    "name": "Row",
    "fields": [{"name": "id", "type": "long"}, {"name": "v", "type": ["null", "string"]}],
}
SCHEMAS = {1: KEY, 2: ROW, 3: "string", 4: {**ROW, "name": "Bare", "fields": ROW["fields"][1:]}}


def body(schema, datum):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(json.dumps(schema))), datum)
    return out.getvalue()


def wire(number, datum):
    return b"\0" + number.to_bytes(4, "big") + body(SCHEMAS[number], datum)


def single(schema, datum):
    mark = fingerprint(to_parsing_canonical_form(json.loads(json.dumps(schema))), "CRC-64-AVRO")
    return b"\xc3\x01" + bytes.fromhex(mark) + body(schema, datum)


@pytest.fixture
def contracts(tmp_path):
    for number, schema in SCHEMAS.items():
        (tmp_path / f"s.{number}.avsc").write_text(json.dumps(schema))
    (tmp_path / "t-key.avsc").write_text(json.dumps(KEY))
    (tmp_path / "t-value.avsc").write_text(json.dumps(ROW))
    return FolderSchemaStore(tmp_path, AVRO)


def decode(contracts, messages, framing=Framing.AUTO, key=None):
    records = [(i, *message, []) for i, message in enumerate(messages)]
    route = Route(table="t", key=key, sources=(TopicPartition("t", 0),))
    return avro_decoder("upsert", contracts, "t", route, framing)(Block("t", 0, 5, 5 + len(records), batch(5, records)))


def changes(done):
    return sorted((c for part in done.changes for c in part.to_pylist()), key=lambda change: change[POSITION])


def test_rows_and_deletes_have_the_offset_as_position(contracts):
    done = decode(contracts, [(wire(1, {"id": 1}), wire(2, {"id": 1, "v": "a"})), (wire(1, {"id": 1}), None)])
    assert [(c["id"], c.get("v"), c[OP]) for c in changes(done)] == [(1, "a", UPSERT), (1, None, DELETE)]
    assert [place for part in done.changes for place in unpack(part.column(POSITION)).tolist()] == [
        [0, 0, 0, 5],
        [0, 0, 0, 6],
    ]
    assert (done.key, done.read) == (("id",), 2)


def test_key_fields_that_the_value_lacks_become_columns(contracts):
    done = decode(contracts, [(wire(1, {"id": 7}), wire(4, {"v": "x"}))])
    assert [(c["id"], c["v"]) for c in changes(done)] == [(7, "x")]


def test_a_key_that_is_no_record_is_the_only_key_column(contracts):
    done = decode(contracts, [(wire(3, "k"), wire(4, {"v": "x"}))])
    assert ([(c["key"], c["v"]) for c in changes(done)], done.key) == ([("k", "x")], ("key",))
    named = decode(contracts, [(wire(3, "k"), wire(4, {"v": "x"})), (wire(3, "k"), None)], key=("code",))
    assert [letter.error for letter in named.letters] == ["no column code, which the job file names as key"]
    assert [(c["code"], c[OP]) for c in changes(named)] == [("k", DELETE)]


def test_a_named_key_needs_no_message_key(contracts):
    done = decode(
        contracts, [(None, wire(2, {"id": 1, "v": "a"})), (b"no avro", wire(2, {"id": 2, "v": None}))], key=("id",)
    )
    assert [(c["id"], c["v"]) for c in changes(done)] == [(1, "a"), (2, None)]
    assert done.letters == []


def test_messages_without_a_key_are_told_what_to_do(contracts):
    done = decode(contracts, [(None, wire(2, {"id": 1, "v": "a"}))])
    assert [letter.error for letter in done.letters] == [
        "the message has no key: name the key columns in the job file, tables: - {from: t, key: [...]}"
    ]


def test_single_object_encoding_is_found_by_fingerprint(contracts):
    done = decode(contracts, [(single(KEY, {"id": 3}), single(ROW, {"id": 3, "v": "s"}))])
    assert [(c["id"], c["v"]) for c in changes(done)] == [(3, "s")]
    unknown = decode(contracts, [(single(KEY, {"id": 3}), b"\xc3\x01" + bytes(8) + b"x")])
    assert [letter.step for letter in unknown.letters] == ["schema"]


def test_bare_data_take_the_schemas_of_the_topic(contracts):
    good, cut = body(ROW, {"id": 4, "v": "b"}), body(ROW, {"id": 4, "v": "b"})[:-1]
    done = decode(contracts, [(body(KEY, {"id": 4}), good), (body(KEY, {"id": 5}), cut), (b"", good)], Framing.BARE)
    assert [(c["id"], c["v"]) for c in changes(done)] == [(4, "b")]
    assert [letter.offset for letter in done.letters] == [6, 7]


def test_null_key_columns_are_dead_letters(contracts):
    done = decode(contracts, [(None, wire(2, {"id": 1, "v": None})), (None, wire(2, {"id": 1, "v": "k"}))], key=("v",))
    assert [letter.error for letter in done.letters] == ["no value for the key (v)"]
    assert [c["v"] for c in changes(done)] == ["k"]
