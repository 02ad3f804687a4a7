"""A pass that cannot go on: its error reaches the caller as it was raised, whatever runner and step it went through."""

from datetime import UTC, datetime

import pytest
from support.decoders import avro_format
from support.jobs import contracts, event, key, send

from millrace.pipelines.execution.bounded_pass import run_pass
from millrace.pipelines.execution.graph import JobGraph, Windows
from millrace.schemas.encodings.avro.schema_text import AVRO
from millrace.schemas.encodings.schema_store import FolderSchemaStore
from millrace.schemas.errors import JobError, LostOffsetsError
from millrace.schemas.model.ledger import OffsetRange, TopicPartition
from millrace.schemas.model.route import Route
from millrace.transforms.dead_letters import DeadLetterFiles, letters_at
from millrace.transforms.sinks.target import Target
from millrace.transforms.sources.kafka.settings import KafkaSettings
from millrace.transforms.sources.kafka.source import KafkaSource
from millrace.transforms.steps.commit import CommitSettings


@pytest.fixture
def topic(embedded_broker, topic_name):
    name = topic_name("orders")
    embedded_broker.create_topic(name, 1)
    send(embedded_broker.bootstrap_servers, name, [(0, key(1), event("c", 1, "a"))])
    return name


def one_pass(servers, folder, topic, path, stop=1):
    routes = {topic: Route(table="orders", sources=(TopicPartition(topic, 0),))}
    commits = CommitSettings(
        job="j",
        routes={"orders": routes[topic]},
        target=Target("duckdb", {"path": path}),
        dead_letters=DeadLetterFiles(letters_at(folder / "dead_letters"), "j", datetime.now(UTC)),
    )
    format = avro_format(
        "debezium", FolderSchemaStore(contracts(folder / "contracts"), AVRO), source=KafkaSource(KafkaSettings(servers))
    )
    sync = JobGraph(routes=routes, decoders=format, commits=commits, windows=Windows())
    return run_pass([OffsetRange(topic, 0, 0, stop)], sync)


def test_an_error_of_the_source_keeps_its_type_and_its_sentence(embedded_broker, topic, tmp_path):
    servers = embedded_broker.bootstrap_servers
    with pytest.raises(LostOffsetsError, match=rf"^{topic}\[0\]: offset 1 is gone.* resync JOB --table TABLE$"):
        one_pass(servers, tmp_path, topic, str(tmp_path / "out.duckdb"), stop=50)


def test_an_error_of_a_worker_that_opens_the_target_does_too(embedded_broker, topic, tmp_path):
    with pytest.raises(JobError, match=r"^\$\{env:NOT_SET\}: the environment variable NOT_SET is not set$"):
        one_pass(embedded_broker.bootstrap_servers, tmp_path, topic, "${env:NOT_SET}")


def test_a_pass_gives_what_it_committed(embedded_broker, topic, tmp_path):
    done = one_pass(embedded_broker.bootstrap_servers, tmp_path, topic, str(tmp_path / "out.duckdb"))
    (outcome,) = done.outcomes
    assert (outcome.table, outcome.accounts[0].applied, done.failures) == ("orders", 1, ())
