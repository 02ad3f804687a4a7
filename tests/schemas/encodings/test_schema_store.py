"""A folder of .avsc files: ids and names from file names, fingerprints as Avro says, types across files."""

import io
import json
import pickle

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.schemas.encodings.avro.schema_text import AVRO, complete, fingerprint, without_defaults
from millrace.schemas.encodings.schema_store import FolderSchemaStore
from millrace.schemas.errors import JobError, SchemaError, UnknownSchemaError
from millrace.schemas.secrets import resolve, resolve_url, shown

ORDER = {"type": "record", "name": "Order", "namespace": "shop", "fields": [{"name": "id", "type": "long"}]}
KEY = {"type": "record", "name": "Key", "namespace": "shop", "fields": [{"name": "id", "type": "long"}]}


def folder(path, **files):
    for name, schema in files.items():
        text = schema if isinstance(schema, str) else json.dumps(schema)
        (path / f"{name}.avsc").write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("schema", "crc"),
    [
        ("null", 7195948357588979594),
        ("boolean", -6970731678124411036),
        ("int", 8247732601305521295),
        ("long", -3434872931120570953),
        ("float", 5583340709985441680),
        ("double", -8181574048448539266),
        ("bytes", 5746618253357095269),
        ("string", -8142146995180207161),
        ({"type": "string", "avro.java.string": "String"}, -8142146995180207161),
        (["int"], -5232228896498058493),
        ({"type": "fixed", "name": "foo", "size": 15}, 1756455273707447556),
        (
            {"type": "record", "name": "foo", "fields": [{"name": "f1", "type": "boolean", "default": True}]},
            7843277075252814651,
        ),
    ],
)
def test_fingerprints_are_those_of_avros_own_test_data(schema, crc):
    """Vectors: share/test/data/schema-tests.txt of Apache Avro."""
    assert fingerprint(schema) == crc.to_bytes(8, "little", signed=True)


@pytest.mark.parametrize("schema", [{}, {"type": "recrod"}, {"type": "enum", "name": "E"}, 5, None, "shop.Order"])
def test_what_is_no_schema_has_no_fingerprint(schema):
    with pytest.raises(SchemaError, match="not an Avro schema"):
        fingerprint(schema)


def test_a_default_of_the_wrong_type_does_not_stop_a_reader():
    wrong = {"type": "record", "name": "R", "fields": [{"name": "default", "type": "int", "default": "x"}]}
    assert without_defaults(wrong)["fields"] == [{"name": "default", "type": "int"}]
    assert len(fingerprint(wrong)) == 8


def test_ids_fingerprints_and_topics(tmp_path):
    deep = tmp_path / "deep"
    deep.mkdir()
    folder(tmp_path, **{"7": KEY, "shop.orders-value.12": ORDER, "plain": "string"})
    folder(deep, **{"shop.orders-key": '"long"'})
    contracts = pickle.loads(pickle.dumps(FolderSchemaStore(tmp_path, AVRO)))
    assert contracts.by_id(7) == KEY
    assert contracts.by_id(12) == ORDER
    assert contracts.by_fingerprint(fingerprint("string")) == "string"
    assert contracts.by_topic("shop.orders", "key") == "long"
    assert contracts.by_topic("shop.orders", "value") == ORDER
    with pytest.raises(UnknownSchemaError, match="schema id 8"):
        contracts.by_id(8)
    with pytest.raises(UnknownSchemaError, match="fingerprint 0000"):
        contracts.by_fingerprint(bytes(8))
    with pytest.raises(JobError, match=r"as other-value\.avsc"):
        contracts.by_topic("other", "value")


def test_of_several_versions_the_plain_file_is_the_one_for_bare_data(tmp_path):
    folder(tmp_path, **{"t-value.1": "int", "t-value.2": "long"})
    with pytest.raises(JobError, match=r"t-value\.1\.avsc or t-value\.2\.avsc\? Name it t-value\.avsc"):
        FolderSchemaStore(tmp_path, AVRO).by_topic("t", "value")
    folder(tmp_path, **{"t-value": "string"})
    assert FolderSchemaStore(tmp_path, AVRO).by_topic("t", "value") == "string"


def test_a_file_may_use_the_types_of_another(tmp_path):
    money = {"type": "record", "name": "Money", "namespace": "m", "fields": [{"name": "kind", "type": "Kind"}]}
    kind = {"type": "enum", "name": "Kind", "namespace": "m", "symbols": ["A", "B"]}
    bill = {
        "type": "record",
        "name": "Bill",
        "fields": [
            {"name": "sum", "type": ["null", "m.Money"]},
            {"name": "rest", "type": {"type": "array", "items": "m.Money"}},
            {"name": "kinds", "type": {"type": "map", "values": "m.Kind"}},
        ],
    }
    contracts = FolderSchemaStore(folder(tmp_path, money=money, kind=kind, **{"bill.1": bill}), AVRO)
    row = {"sum": {"kind": "A"}, "rest": [{"kind": "B"}], "kinds": {"x": "B"}}
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, contracts.by_id(1), row)
    assert fastavro.schemaless_reader(io.BytesIO(buffer.getvalue()), contracts.by_id(1)) == row


def test_versions_of_one_schema_keep_their_own_types(tmp_path):
    def envelope(kind):
        value = {"type": "record", "name": "Value", "fields": [{"name": "x", "type": kind}]}
        fields = [{"name": "before", "type": ["null", value]}, {"name": "after", "type": ["null", "Value"]}]
        return {"type": "record", "name": "Envelope", "namespace": "s", "fields": fields}

    contracts = FolderSchemaStore(folder(tmp_path, **{"o.1": envelope("int"), "o.2": envelope("long")}), AVRO)
    assert contracts.by_id(1) == envelope("int")
    assert contracts.by_id(2) == envelope("long")
    folder(tmp_path, user=["null", "s.Value"])
    with pytest.raises(
        JobError, match=r"user\.avsc: the type 's\.Value' is defined nowhere: o\.1\.avsc and o\.2\.avsc"
    ):
        FolderSchemaStore(tmp_path, AVRO)


def test_a_type_of_no_namespace_keeps_none_inside_another():
    inner = {"type": "fixed", "name": "F", "size": 2}
    outer = {"type": "record", "name": "R", "namespace": "n", "fields": [{"name": "f", "type": "F"}]}
    whole = complete(outer, {"F": {**inner, "namespace": ""}})
    assert fingerprint(whole) == fingerprint({**outer, "fields": [{"name": "f", "type": {**inner, "namespace": ""}}]})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": '{\n "type": "int",\n oops}'}, r"a\.avsc, line 3: not JSON"),
        ({"x.5": "int", "5": "long"}, r"5\.avsc.*two files have the schema id 5"),
        ({"a": ["null", "no.Such"]}, r"a\.avsc: the type 'no\.Such' is defined nowhere"),
        ({"a": {"type": "record", "name": "R"}}, r"a\.avsc: record 'R': 'fields'"),
        ({"a": {"type": "enum", "name": "E"}}, r"a\.avsc: not an Avro schema: 'symbols' is missing"),
        ({"a": {"type": "fixed", "size": 4}}, r"a\.avsc: fixed: a named type without a 'name'"),
        ({"a": "[" * 10_000}, r"a\.avsc, the JSON is nested too deeply"),
        ({}, "holds no .avsc file"),
    ],
)
def test_what_is_wrong_in_a_folder_is_said_with_the_file(tmp_path, files, message):
    with pytest.raises(JobError, match=message):
        FolderSchemaStore(folder(tmp_path, **files), AVRO)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(JobError, match="no such folder"):
        FolderSchemaStore(tmp_path / "no", AVRO)


@given(st.recursive(st.none() | st.integers() | st.text() | st.just("int"), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["type", "name", "fields", "items", "values", "symbols", "size", "namespace"]),
                      inner | st.sampled_from(["record", "array", "map", "enum", "fixed"]), max_size=5)))  # fmt: skip
def test_any_json_is_a_schema_or_a_schema_error(schema):
    try:
        fingerprint(complete(schema, {}))
    except SchemaError:
        return


def test_secrets_are_resolved_late_and_named_when_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PW", "a$b")
    (tmp_path / "pw").write_text("c\n")
    assert resolve(f"x${{env:PW}}-${{file:{tmp_path}/pw}}$") == "xa$b-c$"
    for text, message in {
        "${env:NOT_SET_HERE}": "NOT_SET_HERE is not set",
        f"${{file:{tmp_path}/no}}": "No such file",
        "${evn:PW}": r"written \$\{env:NAME\}",
        "${PW}": r"written \$\{env:NAME\}",
    }.items():
        with pytest.raises(JobError, match=message):
            resolve(text)


def test_a_url_is_taken_apart_before_its_secrets_come_in(monkeypatch, tmp_path):
    monkeypatch.setenv("PW", "p@/:%41")
    assert resolve_url("http://u%40:${env:PW}@h:1/p%20q") == ("http://h:1/p%20q", "u@", "p@/:%41")
    assert resolve_url("http://h:1") == ("http://h:1", None, None)
    assert resolve_url("http://h/a@b") == ("http://h/a@b", None, None)
    assert shown("http://u:${file:/run/pw}@h:1/p") == "http://h:1/p"
    assert shown("http://h/a@b") == "http://h/a@b"
