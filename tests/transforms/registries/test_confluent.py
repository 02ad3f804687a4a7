"""The HTTP registry, over real sockets: which schemas it gives, what it keeps, what it refuses."""

import io
import pickle
import threading
import time

import fastavro
import pytest
from support.registry_server import Fault

from millrace.schemas.errors import JobError, RegistryError, SchemaError, UnknownSchemaError
from millrace.transforms.registries import confluent
from millrace.transforms.registries.confluent import ConfluentRegistry

RECORD = {"type": "record", "name": "R", "namespace": "shop", "fields": [{"name": "id", "type": "long"}]}


def test_each_id_is_fetched_once_in_a_process(server):
    server.add(7, RECORD)
    copies = [ConfluentRegistry(server.url), pickle.loads(pickle.dumps(ConfluentRegistry(server.url)))]
    found = []
    threads = [threading.Thread(target=lambda i=i: found.append(copies[i % 2].by_id(7))) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [RECORD] * 16
    assert server.requests == {"/schemas/ids/7": 1}


def test_a_primitive_schema_may_be_bare_text(server):
    assert ConfluentRegistry(server.add(1, "string").url).by_id(1) == "string"
    assert ConfluentRegistry(server.add(2, '"string"').url).by_id(2) == "string"


def test_an_unknown_id_is_refused_and_not_asked_for_again_for_a_while(server):
    contracts = ConfluentRegistry(server.url, remember_refusals=0.3)
    for _ in range(3):
        with pytest.raises(UnknownSchemaError, match=r"schema id 9: schema registry .* does not know it"):
            contracts.by_id(9)
    asked = server.requests["/schemas/ids/9"]
    assert asked > 1, "a replica may lag: it is asked again for a while, once"
    with pytest.raises(UnknownSchemaError):
        contracts.by_id(9)
    assert server.requests["/schemas/ids/9"] == asked
    server.add(9, RECORD)
    time.sleep(0.35)
    assert contracts.by_id(9) == RECORD


def test_references_come_in_at_their_first_use(server):
    money = {
        "type": "record",
        "name": "Money",
        "namespace": "shop.types",
        "fields": [{"name": "c", "type": "Currency"}],
    }
    order = {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [{"name": "a", "type": ["null", "shop.types.Money"]}, {"name": "b", "type": "shop.types.Money"}],
    }
    currency = {"type": "enum", "name": "Currency", "namespace": "shop.types", "symbols": ["EUR", "JPY"]}
    server.add_version("types/cur rency", 3, currency)
    up = {"name": "shop.types.Currency", "subject": "types/cur rency", "version": 3}
    server.add_version("money", 1, money, [up])
    server.add(5, order, [{"name": "shop.types.Money", "subject": "money", "version": 1}, up])
    schema = ConfluentRegistry(server.url).by_id(5)
    row = {"a": {"c": "EUR"}, "b": {"c": "JPY"}}
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, row)
    assert fastavro.schemaless_reader(io.BytesIO(buffer.getvalue()), schema) == row
    assert server.requests["/subjects/types%2Fcur%20rency/versions/3?deleted=true"] == 1


def test_references_in_a_circle_end(server):
    a = {"type": "record", "name": "A", "fields": [{"name": "b", "type": ["null", "B"]}]}
    b = {"type": "record", "name": "B", "fields": [{"name": "a", "type": ["null", "A"]}]}
    to_a = {"name": "A", "subject": "a", "version": 1}
    to_b = {"name": "B", "subject": "b", "version": 1}
    server.add_version("a", 1, a, [to_b]).add_version("b", 1, b, [to_a]).add(1, a, [to_b])
    inner = {**b, "namespace": ""}
    assert ConfluentRegistry(server.url).by_id(1)["fields"] == [{"name": "b", "type": ["null", inner]}]


def test_a_name_that_no_reference_defines_is_a_dead_letter(server):
    server.add(1, {"type": "record", "name": "A", "fields": [{"name": "b", "type": "x.B"}]})
    with pytest.raises(SchemaError, match=r"schema id 1: the type 'x\.B' is defined nowhere"):
        ConfluentRegistry(server.url).by_id(1)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"type": "record"}', "7", '{"name": 1}'])
def test_a_schema_that_is_none_is_a_dead_letter(server, text):
    with pytest.raises(SchemaError, match="schema id 1: "):
        ConfluentRegistry(server.add(1, text).url).by_id(1)


def test_another_schema_type_is_a_dead_letter(server):
    with pytest.raises(SchemaError, match="its type is PROTOBUF, and the job's encoding reads AVRO"):
        ConfluentRegistry(server.add(1, 'syntax = "proto3";', schemaType="PROTOBUF").url).by_id(1)


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"[]", b"{}", b'{"schema": 5, "references": [{}]}'])
def test_an_answer_that_no_registry_gives_is_a_registry_error(server, body):
    server.faults.append(Fault(200, body=body))
    with pytest.raises(RegistryError):
        ConfluentRegistry(server.url).by_id(1)


def test_what_a_registry_cannot_give():
    contracts = ConfluentRegistry("http://localhost:1")
    with pytest.raises(UnknownSchemaError, match="folder"):
        contracts.by_fingerprint(bytes(8))
    with pytest.raises(JobError, match=r"orders-key\.avsc"):
        contracts.by_topic("orders", "key")


def test_a_replica_that_lags_is_waited_for(server, monkeypatch):
    monkeypatch.setattr(confluent, "REPLICA_SECONDS", 5.0)
    registry = ConfluentRegistry(server.url)
    threading.Timer(0.2, lambda: server.add(9, RECORD)).start()
    assert registry.by_id(9) == RECORD


def test_unknown_ids_one_after_another_are_waited_for_once(server):
    """A stream of garbage names many ids: each of them would wait else."""
    registry = ConfluentRegistry(server.url)
    for number in range(10, 20):
        with pytest.raises(UnknownSchemaError):
            registry.by_id(number)
    assert [server.requests[f"/schemas/ids/{number}"] for number in range(11, 20)] == [1] * 9


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b'{"message": "no Route matched with those values"}'),
        (404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}'),
        (404, b'{"error_code": 40499}'),
        (200, b'{"schema": null}'),
        (200, b'{"schema": {"type": "string"}}'),
        (200, b'{"error_code": 50001, "message": "Error in the backend data store"}'),
        (200, b"<html>Bad Gateway</html>"),
    ],
)
def test_what_answers_in_the_registry_s_place_is_no_unknown_schema(server, status, body):
    """An unknown schema is a dead letter, so a gateway's answer must not look like one."""
    server.faults.extend([Fault(status, body=body)] * 3)
    with pytest.raises(RegistryError, match="is the url right"):
        ConfluentRegistry(server.url).by_id(1)


def test_a_namespace_of_null_is_none(server):
    schema = {"type": "record", "name": "A", "namespace": None, "fields": [{"name": "id", "type": "long"}]}
    assert ConfluentRegistry(server.add(1, schema).url).by_id(1)["fields"] == schema["fields"]
