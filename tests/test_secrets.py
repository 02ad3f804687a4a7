"""Secrets of a job file appear nowhere: not where a job is shown, sent to workers, logged, refused or written down."""

import base64
import json
import logging
import pickle
from datetime import UTC, datetime

import apache_beam as beam
import pytest
from support import mysql_target, postgres_server
from support.jobs import SCHEMAS, event, key, send
from support.packed_pipeline import opened
from support.registry_server import RegistryServer

from millrace.pipelines.cli.main import main
from millrace.pipelines.execution.graph import JobGraph, Windows, build
from millrace.pipelines.execution.job_decoders import decoders_of
from millrace.pipelines.job.load import load_job
from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.route import Route
from millrace.transforms import dead_letters
from millrace.transforms.dead_letters import DeadLetterFiles
from millrace.transforms.sinks.target import Target
from millrace.transforms.sources.bounded import BoundedRead
from millrace.transforms.sources.source import PartitionSpan
from millrace.transforms.steps.commit import CommitSettings

SECRETS = {name: f"canary-{name.lower()}-5d0c9a" for name in ("KAFKA_SECRET", "REGISTRY_SECRET", "STORAGE_SECRET")}
JOB = """job: secret
source:
  type: kafka
  bootstrap_servers: '{servers}'
  topics: [{topic}]
  client:
    security_protocol: '${{env:PROTOCOL}}'
    sasl_mechanism: PLAIN
    sasl_plain_username: ann
    sasl_plain_password: '${{env:KAFKA_SECRET}}'
format:
  type: debezium
  registry: {{url: '{registry}', username: ann, password: '${{env:REGISTRY_SECRET}}', give_up_after: 1s}}
tables: [{{from: {topic}, to: orders}}]
target: {{type: delta, path: '{path}', storage_options: {{{options}}}}}
"""
STORAGE = "aws_secret_access_key: '${env:STORAGE_SECRET}'"
NO_STORE = (
    f"{STORAGE}, aws_access_key_id: ann, aws_endpoint_url: 'http://127.0.0.1:1', aws_region: nowhere, "
    "aws_allow_http: 'true', max_retries: '0', retry_timeout: 1s, connect_timeout: 1s"
)


@pytest.fixture(autouse=True)
def in_environment(monkeypatch):
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("PROTOCOL", "PLAINTEXT")


@pytest.fixture
def registry():
    with RegistryServer(user="ann", password=SECRETS["REGISTRY_SECRET"]) as server:
        for number, schema in SCHEMAS.items():
            server.add(number, schema)
        yield server


@pytest.fixture
def topic(embedded_broker, topic_name):
    name = topic_name("orders")
    embedded_broker.create_topic(name, 1)
    send(embedded_broker.bootstrap_servers, name, [(0, key(1), event("c", 1, "a")), (0, key(2), b"poison")])
    return name


def write_job(folder, servers, topic="t", registry="http://127.0.0.1:1", path="lake", options=STORAGE):
    file = folder / "job.yaml"
    file.write_text(JOB.format(servers=servers, topic=topic, registry=registry, path=path, options=options))
    return file


def no_secret_in(*places):
    """Each place as text or bytes, found free of every secret, also base64-encoded as HTTP and SASL send it."""
    for place in places:
        raw = place if isinstance(place, bytes) else str(place).encode()
        for secret in SECRETS.values():
            spelled = (secret.encode(), base64.b64encode(b"ann:" + secret.encode()), secret[::-1].encode())
            assert not any(one in raw for one in spelled), f"a secret stands in: {raw[:2000]!r}"


def graph_of(job):
    """The source of a job, and the pipeline that `run` would build of it."""
    routes = {"t": Route(table="orders", sources=(TopicPartition("t", 0),))}
    letters = DeadLetterFiles(job.dead_letters, job.job, datetime.now(UTC))
    target = Target(job.target.type, job.target.options)
    commits = CommitSettings(job=job.job, routes={"orders": routes["t"]}, target=target, dead_letters=letters)
    format = decoders_of(job)
    source = BoundedRead(format.source, [PartitionSpan("t", 0, 0, 10, 1.0)])
    sync = JobGraph(routes=routes, decoders=format, commits=commits, windows=Windows())
    pipeline = beam.Pipeline()
    build(pipeline, sync, source)
    return source, sync, pipeline


def test_a_job_its_parts_and_its_graph_hold_references_only(tmp_path):
    job = load_job(write_job(tmp_path, "127.0.0.1:1"))
    source, sync, pipeline = graph_of(job)
    parts = (job, job.source.options.kafka, job.format.registry, job.target, source, sync, sync.commits.target)
    no_secret_in(*map(repr, parts), *[repr(vars(part)) for part in (job, job.target, source)])
    no_secret_in(*[pickle.dumps(part) for part in (source, job.source.options.kafka, sync, job.format.schema_store())])
    graph = b"\n".join(opened(pipeline.to_runner_api().SerializeToString()))
    no_secret_in(graph)
    for name in SECRETS:
        assert f"${{env:{name}}}".encode() in graph


def test_a_run_shows_no_secret(embedded_broker, registry, topic, tmp_path, monkeypatch, caplog, capsys):
    monkeypatch.setenv("LAKE", str(tmp_path / "lake"))
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, topic, registry.url, path="${env:LAKE}")
    with caplog.at_level(logging.DEBUG):
        statuses = [main([command, str(file), *more, "--json"]) for command, *more in (["run", "--once"], ["verify"])]
        assert main(["check", str(file), "--json"]) in (0, 1)
        assert main(["dead-letters", "ls", str(file), "--json"]) == 0
    said = capsys.readouterr()
    assert statuses == [0, 0], said.err
    (letter,) = dead_letters.read(dead_letters.letters_at(tmp_path / "dead_letters"))
    assert letter.letter.value == b"poison"
    assert "kafka" in caplog.text and "apache_beam" in caplog.text
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 3
    no_secret_in(said.out, said.err, caplog.text, repr(letter), *written)
    no_secret_in(*[repr(vars(record)) for record in caplog.records])


def failing(command, file, caplog, capsys):
    """What a failing command says on stderr; nothing that it leaves behind shows a secret."""
    with caplog.at_level(logging.DEBUG):
        more = ["--once"] if command == "run" else []
        assert main([command, str(file), *more, "--json"]) == 1
    said = capsys.readouterr()
    no_secret_in(said.out, said.err, caplog.text, *[repr(vars(record)) for record in caplog.records])
    assert "Traceback" not in said.out + said.err
    return said


@pytest.mark.parametrize("command", ["run", "check", "verify"])
def test_no_broker(command, tmp_path, caplog, capsys):
    file = write_job(tmp_path, "127.0.0.1:1")
    file.write_text(file.read_text().replace("client: {", "client: {bootstrap_timeout_ms: 1000, "))
    said = failing(command, file, caplog, capsys)
    assert "127.0.0.1:1" in said.out + said.err


def test_a_registry_that_refuses_the_password(embedded_broker, registry, topic, tmp_path, caplog, capsys):
    registry.credentials = "other"
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, topic, registry.url)
    said = failing("run", file, caplog, capsys)
    (table,) = json.loads(said.out)["tables"]
    assert "user name and password are missing or wrong" in table["error"]
    assert "Basic" not in caplog.text


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_store_that_does_not_answer(command, embedded_broker, registry, topic, tmp_path, caplog, capsys):
    servers = embedded_broker.bootstrap_servers
    file = write_job(tmp_path, servers, topic, registry.url, path="s3://bucket/lake", options=NO_STORE)
    said = failing(command, file, caplog, capsys)
    assert "s3://bucket/lake" in said.out + said.err


def postgres_job(folder, monkeypatch, servers, topic, registry, schema, password="${env:DSN_SECRET}"):
    """The job with a Postgres target; the password of its role is a secret of this file too."""
    monkeypatch.setitem(SECRETS, "DSN_SECRET", postgres_server.ROLE_PASSWORD)
    monkeypatch.setenv("DSN_SECRET", postgres_server.ROLE_PASSWORD)
    file = write_job(folder, servers, topic, registry)
    dsn = postgres_server.server().dsn(postgres_server.ROLE, password).replace("'", "''")
    text = file.read_text()
    file.write_text(f"{text[: text.index('target:')]}target: {{type: postgres, dsn: '{dsn}', schema: '{schema}'}}\n")
    return file


def test_a_run_into_postgres_shows_no_password(embedded_broker, registry, topic, tmp_path, monkeypatch, caplog, capsys):
    schema = postgres_server.place(tmp_path)["schema"]
    file = postgres_job(tmp_path, monkeypatch, embedded_broker.bootstrap_servers, topic, registry.url, schema)
    job = load_job(file)
    _, sync, pipeline = graph_of(job)
    no_secret_in(*map(repr, (job, vars(job.target), sync)), pickle.dumps(sync))
    no_secret_in(*opened(pipeline.to_runner_api().SerializeToString()))
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "psycopg"):
        statuses = [main([command, str(file), *more]) for command, *more in (["run", "--once"], ["verify"])]
        assert main(["check", str(file)]) in (0, 1)
    said = capsys.readouterr()
    assert statuses == [0, 0], said.err
    assert "psql" in said.out and "psycopg" in caplog.text
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    no_secret_in(said.out, said.err, caplog.text, *written, *[repr(vars(record)) for record in caplog.records])


def mysql_job(folder, monkeypatch, servers, topic, registry, password="${env:MYSQL_SECRET}"):
    """The job with a MySQL target; the password of its user is a secret of this file too."""
    monkeypatch.setitem(SECRETS, "MYSQL_SECRET", mysql_target.WRITER_PASSWORD)
    monkeypatch.setenv("MYSQL_SECRET", mysql_target.WRITER_PASSWORD)
    options = json.dumps({"type": "mysql", **mysql_target.place(folder), "password": password})
    file = write_job(folder, servers, topic, registry)
    text = file.read_text()
    file.write_text(f"{text[: text.index('target:')]}target: {options}\n")
    return file


def test_a_run_into_mysql_shows_no_password(embedded_broker, registry, topic, tmp_path, monkeypatch, caplog, capsys):
    file = mysql_job(tmp_path, monkeypatch, embedded_broker.bootstrap_servers, topic, registry.url)
    job = load_job(file)
    _, sync, pipeline = graph_of(job)
    no_secret_in(*map(repr, (job, vars(job.target), sync)), pickle.dumps(sync))
    no_secret_in(*opened(pipeline.to_runner_api().SerializeToString()))
    with caplog.at_level(logging.DEBUG):
        statuses = [main([command, str(file), *more]) for command, *more in (["run", "--once"], ["verify"])]
        assert main(["check", str(file)]) in (0, 1)
    said = capsys.readouterr()
    assert statuses == [0, 0], said.err
    assert "mysql -h" in said.out
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    no_secret_in(said.out, said.err, caplog.text, *written, *[repr(vars(record)) for record in caplog.records])


@pytest.mark.parametrize("command", ["run", "check", "verify"])
def test_a_mysql_that_refuses_the_password(
    command, embedded_broker, registry, topic, tmp_path, monkeypatch, caplog, capsys
):
    servers = embedded_broker.bootstrap_servers
    file = mysql_job(tmp_path, monkeypatch, servers, topic, registry.url, "${env:MYSQL_SECRET}x")
    said = failing(command, file, caplog, capsys)
    assert "target.username or target.password are wrong" in said.out + said.err


@pytest.mark.parametrize("command", ["run", "check", "verify"])
def test_a_postgres_that_refuses_the_password(
    command, embedded_broker, registry, topic, tmp_path, monkeypatch, caplog, capsys
):
    password = "${env:DSN_SECRET}x"
    servers = embedded_broker.bootstrap_servers
    file = postgres_job(tmp_path, monkeypatch, servers, topic, registry.url, "public", password)
    said = failing(command, file, caplog, capsys)
    assert "user name or password of target.dsn are wrong" in said.out + said.err


def test_a_secret_that_is_not_set_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("KAFKA_SECRET")
    assert main(["run", str(write_job(tmp_path, "127.0.0.1:1")), "--once"]) == 2
    assert "source.client.sasl_plain_password: ${env:KAFKA_SECRET}" in capsys.readouterr().err
