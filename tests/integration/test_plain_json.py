"""JSON without a schema into a table: the table keeps what is inferred, what cannot be a row is told, all is proved."""

import json
from contextlib import closing

import pytest
from support.jobs import run_once, send

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.execution.job_parts import target_of
from millrace.pipelines.job.load import load_job
from millrace.schemas.errors import JobError

JOB = """job: j
source: {{type: kafka, bootstrap_servers: '{servers}', topics: [{topic}]}}
format: {{encoding: json, envelope: upsert, framing: plain}}
tables: [{{from: {topic}, to: t, columns: {{at: {kind}, cost: 'decimal(9,2)'}}}}]
target: {{type: duckdb, path: out.duckdb}}
max_dead_letters: 90%
"""


def rows_of(job):
    with closing(target_of(job).open()) as sink:
        return {row["id"]: row for batch in sink.scan("t") for row in batch.to_pylist()}


def test_types_that_a_run_infers_are_those_that_the_table_holds(embedded_broker, topic_name, tmp_path):
    topic, file = topic_name("plain"), tmp_path / "job.yaml"
    embedded_broker.create_topic(topic, 1)
    file.write_text(JOB.format(servers=embedded_broker.bootstrap_servers, topic=topic, kind="timestamp"))
    passes = [
        ['{"id":1,"n":0.5,"at":5,"cost":"12.50","none":null}', '{"id":2,"n":7,"big":123456789012345678901234567890}'],
        ['{"id":3,"n":8,"none":"x","more":{"a":[1]}}', '{"id":4,"n":"text"}', '{"id":5,"cost":0.001}'],
    ]
    for number, values in enumerate(passes):
        keyed = [(0, json.dumps({"id": json.loads(value)["id"]}).encode(), value.encode(), []) for value in values]
        send(embedded_broker.bootstrap_servers, topic, keyed)
        summary = run_once(file)
        assert not summary.failed, summary.lines()
        assert summary.total("dead") == 2 * number
    job = load_job(file)
    found = rows_of(job)
    assert [(key, row["n"], row["none"]) for key, row in sorted(found.items())] == [
        (1, 0.5, None),
        (2, 7.0, None),
        (3, 8.0, "x"),
    ]
    assert (str(found[1]["cost"]), int(found[2]["big"])) == ("12.50", 123456789012345678901234567890)
    assert found[1]["at"].microsecond == 5 and found[3]["more"] == {"a": [1]}
    for report in verify_job(job):
        assert report.ok, json.dumps(report.to_json(), indent=1)


def test_a_type_that_is_none_is_told_with_its_place(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(JOB.format(servers="a", topic="x", kind="datetime"))
    with pytest.raises(JobError, match=r"job.yaml:4:\d+: tables\[0\].columns.at: 'datetime' is no type"):
        load_job(file)


def test_a_key_that_is_not_the_rows_is_a_dead_letter(embedded_broker, topic_name, tmp_path):
    topic, file = topic_name("plain"), tmp_path / "job.yaml"
    embedded_broker.create_topic(topic, 1)
    file.write_text(JOB.format(servers=embedded_broker.bootstrap_servers, topic=topic, kind="timestamp"))
    sent = [
        ('{"id":1}', '{"id":1,"n":1}'),
        ('{"id":2}', '{"id":200,"n":2}'),
        ('{"id":3}', '{"id":null,"n":3}'),
        ('{"id":4}', '{"n":4}'),
    ]
    values = [(0, key.encode(), value.encode(), []) for key, value in sent]
    send(embedded_broker.bootstrap_servers, topic, values)
    summary = run_once(file)
    assert not summary.failed and summary.total("dead") == 1, summary.lines()
    job = load_job(file)
    assert {number: row["n"] for number, row in rows_of(job).items()} == {1: 1, 3: 3, 4: 4}
    for report in verify_job(job):
        assert report.ok, json.dumps(report.to_json(), indent=1)


@pytest.mark.parametrize("odd", ['"_millrace_position":"x"', '"Txt":"b"'])
def test_a_field_that_cannot_be_a_column_takes_its_message_alone(embedded_broker, topic_name, tmp_path, odd):
    topic, file = topic_name("plain"), tmp_path / "job.yaml"
    embedded_broker.create_topic(topic, 1)
    file.write_text(JOB.format(servers=embedded_broker.bootstrap_servers, topic=topic, kind="timestamp"))
    values = [f'{{"id":1,"txt":"a",{odd}}}', '{"id":2,"txt":"b"}', f'{{"id":2,"txt":"c",{odd}}}', '{"id":3}']
    keyed = [(0, json.dumps({"id": json.loads(value)["id"]}).encode(), value.encode(), []) for value in values]
    send(embedded_broker.bootstrap_servers, topic, keyed)
    summary = run_once(file)
    assert not summary.failed and summary.total("dead") == 2, summary.lines()
    job = load_job(file)
    assert {number: row["txt"] for number, row in rows_of(job).items()} == {2: "b", 3: None}
    for report in verify_job(job):
        assert report.ok, json.dumps(report.to_json(), indent=1)
