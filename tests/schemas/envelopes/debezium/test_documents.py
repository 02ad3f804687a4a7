"""Documents of MongoDB in the shapes that Debezium's documentation shows."""

import json

import pytest
from support.jobs import rows, run_once
from support.plain_messages import decoded, words

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.job.load import load_job
from millrace.schemas.errors import TableError
from millrace.transforms.sources.scripted.source import ScriptedSource

ANNE = '{"_id" : {"$numberLong" : "1004"},"first_name" : "Anne"}'
SOURCE = {
    "type": "struct",
    "field": "source",
    "fields": [
        {"type": "string", "field": "name"},
        {"type": "int64", "field": "ts_ms"},
        {"type": "string", "field": "collection"},
        {"type": "string", "field": "snapshot", "optional": True},
        {"type": "int32", "field": "ord"},
    ],
}
TEXT = {"type": "string", "optional": True}
ENVELOPE = {
    "type": "struct",
    "fields": [
        {**TEXT, "name": "io.debezium.data.Json", "field": "after"},
        SOURCE,
        {**TEXT, "field": "op"},
    ],
}
KEY = {"type": "struct", "fields": [{"type": "string", "field": "id"}]}


def message(op, after, ord=31, **source):
    about = {"name": "fulfillment", "ts_ms": 1_558_965_508_000, "collection": "customers", "snapshot": "false"}
    return {"after": after, "source": about | {"ord": ord} | source, "op": op}


def test_the_oplogs_time_is_the_position():
    sent = [message("c", ANNE), message("d", None, 1, ts_ms=1_558_965_509_000)]
    found = decoded("debezium", sent, options={"documents": True})
    # Without a key nothing is a row, and each message says so.
    assert [letter.step for letter in found.letters] == ["apply", "apply"]
    assert found.mark.climbs[0].first == (1_558_965_508 << 32 | 31, 0)
    assert found.mark.climbs[0].top == (1_558_965_509 << 32 | 1, 0)
    assert words(found) == []


def test_an_update_that_only_describes_itself_is_a_dead_letter_with_the_setting():
    (letter,) = decoded("debezium", [message("u", None)], options={"documents": True}).letters
    assert "capture.mode: change_streams_update_full" in letter.error


def test_a_key_of_the_jobs_own_is_refused():
    with pytest.raises(TableError, match=r"key: \[first_name\] in the job file: documents have the key"):
        decoded("debezium", [message("c", ANNE)], options={"documents": True}, key=("first_name",))


def test_documents_with_the_schema_in_each_message(tmp_path):
    source, topic = ScriptedSource("documents"), "fulfillment.customers"
    source.create_topic(topic)

    def send(number, value, *, tombstone=False):
        key = json.dumps({"schema": KEY, "payload": {"id": str(number)}}).encode()
        body = None if tombstone else json.dumps({"schema": ENVELOPE, "payload": value}).encode()
        source.send(topic, body, key=key)

    send(1004, message("r", ANNE, snapshot="first"))
    send(1005, message("r", '{"_id": 1005}', snapshot="last"))
    newer = ANNE.replace("Anne", "Anne Marie")
    send(1004, message("u", newer, 32))
    send(1004, message("u", ANNE, 31))
    send(1004, message("u", newer, 32))
    send(1005, message("d", None, 33))
    send(1005, None, tombstone=True)
    file = tmp_path / "job.yaml"
    file.write_text(
        f"job: d\nsource: {{type: scripted, name: documents, topics: [{topic}]}}\n"
        "format: {encoding: json, envelope: debezium, documents: true}\n"
        "target: {type: duckdb, path: out.duckdb}\n"
    )
    summary = run_once(file)
    assert (summary.failed, summary.total("dead")) == (False, 0), summary.lines()
    assert rows(tmp_path, "customers", "id, document") == [("1004", newer)]
    for report in verify_job(load_job(file)):
        assert report.ok, report.to_json()
    source.clear()
