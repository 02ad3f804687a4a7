"""Debezium envelopes: each op, key rules, tombstones, placeholders and bad messages, one block at a time."""

import io
import json

import fastavro
import pytest
from support.decoders import NOWHERE, avro_decoder, avro_format
from support.record_batches import batch

from millrace.schemas.envelopes.decoder import TopicDecoder
from millrace.schemas.errors import IncompatibleSchemaError, TruncateError, UnknownSchemaError
from millrace.schemas.model.block import Block
from millrace.schemas.model.change import AFTER, DELETE, MOVED, OP, POSITION, SOURCE, UNAVAILABLE, UPSERT
from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.position import unpack
from millrace.schemas.model.route import OnTruncate, Route
from millrace.schemas.model.source_mark import connector_number

ROW = {
    "type": "record",
    "name": "Value",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "name", "type": ["null", "string"], "default": None},
        {"name": "photo", "type": ["null", "bytes"], "default": None},
        {"name": "tags", "type": ["null", {"type": "array", "items": ["null", "string"]}], "default": None},
    ],
}
SOURCE_BLOCK = {
    "type": "record",
    "name": "Source",
    "fields": [{"name": "sequence", "type": ["null", "string"]}, {"name": "lsn", "type": ["null", "long"]}],
}
ENVELOPE = {
    "type": "record",
    "name": "Envelope",
    "fields": [
        {"name": "before", "type": ["null", ROW]},
        {"name": "after", "type": ["null", "Value"]},
        {"name": "source", "type": SOURCE_BLOCK},
        {"name": "op", "type": "string"},
    ],
}
KEY = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "long"}]}
SCHEMAS = {1: KEY, 2: ENVELOPE, 3: {**ROW, "name": "Plain"}, 4: "string"}
PARSED = {number: fastavro.parse_schema(json.loads(json.dumps(schema))) for number, schema in SCHEMAS.items()}
PLACEHOLDER = "__debezium_unavailable_value"

NAMELESS = connector_number("")


class Known:
    """The schemas of this module by id."""

    def by_id(self, schema_id):
        if schema_id not in SCHEMAS:
            raise UnknownSchemaError(f"there is no schema {schema_id}")
        return SCHEMAS[schema_id]

    def by_fingerprint(self, fingerprint):
        raise UnknownSchemaError("none")

    def by_topic(self, topic, side):
        return SCHEMAS[1 if side == "key" else 2]


def wire(schema_id, datum):
    body = io.BytesIO()
    fastavro.schemaless_writer(body, PARSED[schema_id], datum)
    return b"\0" + schema_id.to_bytes(4, "big") + body.getvalue()


def key(number):
    return wire(1, {"id": number})


def row(number, name="n", **more):
    return {"id": number, "name": name, "photo": None, "tags": None, **more}


def event(op, after=None, before=None, at=1):
    source = {"sequence": f'["{at}","{at}"]', "lsn": at}
    return wire(2, {"before": before, "after": after, "source": source, "op": op})


def decode(messages, first=0, hole=0, decoder=None, **route):
    """Messages are (key, value) or (key, value, headers), at offsets from `first + hole`."""
    records = [
        (1000 + i, *message[:2], list(message[2]) if len(message) > 2 else []) for i, message in enumerate(messages)
    ]
    start = first + hole
    block = Block("t", 3, first, start + len(records), batch(start, records))
    return (decoder or decoder_of(**route))(block)


def decoder_of(**route):
    settings = Route(table="t", sources=(TopicPartition("t", 0), TopicPartition("t", 3)), **route)
    return avro_decoder("debezium", Known(), "t", settings)


def changes(done):
    return [change for part in done.changes for change in part.to_pylist()]


def summed(done):
    counted = sum(change[SOURCE] >= 0 for change in changes(done))
    return counted + done.filtered + done.truncates + len(done.letters) == done.read


def test_upserts_and_deletes_have_key_position_and_source():
    done = decode([(key(5), event("c", row(5), at=7)), (key(5), event("d", None, row(5), at=9)), (key(5), None)])
    first, second = changes(done)
    assert (first["id"], first["name"], first[OP], first[SOURCE]) == (5, "n", UPSERT, 3)
    assert (second["id"], second[OP]) == (5, DELETE)
    assert [unpack(part.column(POSITION)).tolist() for part in done.changes] == [[[0, 7, 7, 0], [0, 9, 9, 1]]]
    assert (done.key, done.filtered, done.read) == (("id",), 1, 3)
    assert summed(done)


def after(commit, inner, of=NAMELESS):
    return b"".join(number.to_bytes(8, "big") for number in (commit, inner, of))


def test_a_snapshot_row_says_what_stands_before_it():
    sent = [
        (key(5), event("r", row(5), at=70)),
        (key(5), event("u", row(5), at=60)),
        (key(6), event("r", row(6), at=9)),
    ]
    done = decode(sent)
    assert [change[AFTER] for change in changes(done)] == [after(0, 0), None, after(60, 60)]
    assert [(climb.connector, climb.top) for climb in done.mark.climbs] == [("", (60, 60))]


def test_a_block_that_comes_again_is_not_told_of_what_stands_behind_it():
    first = [(key(5), event("r", row(5), at=70))]
    blocks = (5, first), (6, [(key(5), event("u", row(5), at=60))]), (7, first), (5, first)
    decoder = decoder_of()
    told = [decode(sent, first=at, decoder=decoder).changes[0] for at, sent in blocks]
    assert [part.column(AFTER)[0].as_py() for part in told if AFTER in part.schema.names] == [
        after(0, 0),
        after(60, 60),
        after(0, 0),
    ]


def test_messages_are_filtered_and_truncates_do_as_told():
    truncate = [(key(1), event("c", row(1))), (None, event("t", at=8)), (key(2), event("m"))]
    done = decode(truncate, on_truncate=OnTruncate.APPLY)
    assert (done.truncates, done.filtered, len(changes(done))) == (1, 1, 1)
    assert done.truncate == bytes(8) + bytes.fromhex(f"{8:016x}{8:016x}{1:016x}")
    assert decode(truncate, on_truncate=OnTruncate.IGNORE).filtered == 2
    with pytest.raises(TruncateError, match=r"table t: a TRUNCATE stands at t\[3\] offset 1; .*on_truncate: apply"):
        decode(truncate)


def test_placeholders_are_null_and_named():
    photo = PLACEHOLDER.encode()
    done = decode(
        [
            (key(1), event("u", row(1, PLACEHOLDER, photo=photo, tags=[PLACEHOLDER]))),
            (key(2), event("u", row(2, "x" * 28, tags=[PLACEHOLDER, "b"]))),
            (key(3), event("u", row(3, PLACEHOLDER))),
        ]
    )
    one, two, three = changes(done)
    assert sorted(one[UNAVAILABLE]) == ["name", "photo", "tags"]
    assert (one["name"], one["photo"], one["tags"]) == (None, None, None)
    assert two[UNAVAILABLE] is None and two["tags"] == [PLACEHOLDER, "b"] and two["name"] == "x" * 28
    assert three[UNAVAILABLE] == ["name"]


def test_key_changes_name_the_other_key():
    context = ("__debezium.context.taskId", b"0")
    done = decode(
        [
            (key(1), event("d", None, row(1)), [context, ("__debezium.newkey", b'{"id":2}')]),
            (key(1), None, [context, ("__debezium.newkey", b'{"id":2}')]),
            (key(2), event("c", row(2, PLACEHOLDER)), [context, ("__debezium.oldkey", b'{"id":1}')]),
            (key(3), event("c", row(3)), [context, ("__debezium.oldkey", b'{"id":9}')]),
        ]
    )
    assert [change[MOVED] for change in changes(done)] == [b'{"id":2}', b'{"id":1}', None]


def test_a_lone_tombstone_says_what_stands_before_it():
    done = decode([(key(1), event("c", row(1), at=50)), (key(2), None), (key(3), event("c", row(3), at=60))])
    gone = next(change for change in changes(done) if change[OP] == DELETE)
    assert gone["id"] == 2
    assert (gone[POSITION], gone[AFTER]) == (bytes(24) + (1).to_bytes(8, "big"), after(50, 50, of=0))
    assert summed(done)


def test_a_tombstone_that_opens_a_block_is_lone_only_behind_a_hole():
    # At the messages: a job's decoder would ask the log for the message before the block.
    form = avro_format("debezium", Known())
    route = Route(table="t", sources=(TopicPartition("t", 0), TopicPartition("t", 3)))
    messages, _ = NOWHERE.split(Block("t", 3, 8, 9, batch(8, [(1000, key(2), None, [])])))
    assert TopicDecoder(form.encoding, form.envelope, "t", route).decode(messages).filtered == 1
    lone = decode([(key(2), None), (key(3), event("c", row(3), at=60))], first=8, hole=2)
    gone = next(change for change in changes(lone) if change[OP] == DELETE)
    assert (gone[POSITION], gone[AFTER]) == (bytes(24) + (10).to_bytes(8, "big"), after(0, 0, of=0))


def test_a_delete_of_another_key_does_not_accompany_a_tombstone():
    done = decode([(key(1), event("d", None, row(1))), (key(2), None)])
    assert [(change["id"], change[OP]) for change in changes(done)] == [(1, DELETE), (2, DELETE)]


def test_a_named_key_comes_from_the_row_and_key_changes_become_two_changes():
    done = decode(
        [
            (None, event("c", row(1, "a"), at=1)),
            (None, event("u", row(1, "b"), row(1, "a"), at=2)),
            (None, event("d", None, row(1, "b"), at=3)),
            (None, event("d", None, None, at=4)),
            (None, event("u", row(1, None), row(1, "b"), at=5)),
        ],
        key=("name",),
    )
    found = [(change["name"], change[OP], change[SOURCE]) for change in changes(done)]
    assert sorted(found) == [("a", UPSERT, 3), ("a", DELETE, -1), ("b", UPSERT, 3), ("b", DELETE, 3)]
    assert [letter.error for letter in done.letters] == ["no value for the key (name)"] * 2
    assert summed(done)


BAD = {
    "empty": (b"", "frame", "value: the value is empty"),
    "one byte": (b"\0", "frame", "value: the message ends inside its header, behind byte 1"),
    "wrong magic": (b"\x05\0\0\0\2ab", "frame", "value: unknown framing: the first byte is 0x05"),
    "unknown id": (b"\0\0\0\0\x63abc", "schema", "there is no schema 99"),
    "truncated": (event("c", row(1))[:-3], "decode", "value: "),
    "trailing": (event("c", row(1)) + b"\0", "decode", "value: "),
    "no envelope": (wire(3, row(1)), "envelope", "not a Debezium envelope"),
    "no record": (wire(4, "text"), "envelope", "not a Debezium envelope"),
    "no row": (event("c"), "envelope", "an upsert without a row: after is null"),
    "unknown op": (event("x", row(1)), "envelope", "unknown op"),
    "no position": (
        wire(2, {"before": None, "after": row(1), "source": {"sequence": "[]", "lsn": 1}, "op": "c"}),
        "envelope",
        "the source block holds no position",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_values_are_dead_letters_and_their_neighbours_are_not(name):
    value, step, error = BAD[name]
    done = decode([(key(1), event("c", row(1))), (key(2), value, [("h", b"1")]), (key(3), event("c", row(3)))])
    (letter,) = done.letters
    assert (letter.topic, letter.partition, letter.offset, letter.timestamp) == ("t", 3, 1, 1001)
    assert (letter.key, letter.value, letter.step) == (key(2), value, step)
    assert letter.error.startswith(error)
    assert [change["id"] for change in changes(done)] == [1, 3]
    assert summed(done)


@pytest.mark.parametrize("bad", [b"", b"\0\0\0\0\1", key(1) + b"x", None])
def test_bad_keys_are_dead_letters(bad):
    done = decode([(key(1), event("c", row(1))), (bad, event("c", row(2)))])
    assert [letter.offset for letter in done.letters] == [1]
    assert [change["id"] for change in changes(done)] == [1]
    assert summed(done)


def test_many_unknown_schemas_in_one_block_are_told_one_by_one():
    messages = [(key(i), b"\0" + (1000 + i).to_bytes(4, "big") + b"abc") for i in range(200)]
    done = decode([*messages, (key(7), event("c", row(7)))])
    assert len(done.letters) == 200
    assert {letter.schema_id for letter in done.letters} == set(range(1000, 1200))
    assert [change["id"] for change in changes(done)] == [7]


def test_a_column_with_millraces_prefix_stops_the_table(monkeypatch):
    stolen = json.loads(json.dumps(ENVELOPE).replace('"photo"', '"_millrace_op"'))
    monkeypatch.setitem(SCHEMAS, 5, stolen)
    monkeypatch.setitem(PARSED, 5, fastavro.parse_schema(json.loads(json.dumps(stolen))))
    after = {"id": 1, "name": None, "_millrace_op": None, "tags": None}
    value = wire(5, {"before": None, "after": after, "source": {"sequence": None, "lsn": 1}, "op": "c"})
    with pytest.raises(IncompatibleSchemaError, match="names that begin with _millrace_ are Millrace's"):
        decode([(key(1), value)])
