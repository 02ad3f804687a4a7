"""Fixtures that several test folders share: brokers, and topics of one's own in them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings
from support import go_programs, trino_server
from support.downloads import beam_flink_jar, missing_java
from support.flink_cluster import FlinkCluster
from support.go_programs import PRISM
from support.kafka_broker import KafkaBroker
from support.object_stores import S3, Gcs, gcs_server, hdfs_server, missing_for_gcs, missing_for_hdfs, s3_server
from support.trino_server import TrinoServer

from millrace.pipelines.execution import remembered_beam
from millrace.transforms.sources.kafka.consumer_pool import POOL
from millrace.transforms.sources.kafka.embedded_broker import EmbeddedBroker

# Processes that tests start compile Millrace once, and not each for itself (a second of a processor each time).
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

remembered_beam.remember()
# Each run tries the same examples, so that a failure is the fault of the change; `make campaign` tries others.
settings.register_profile("millrace", deadline=None, derandomize=True)
settings.register_profile("campaign", deadline=None, print_blob=True)
settings.load_profile("millrace")


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """Tansu, in memory; use topic names of your own (`topic_name`)."""
    with EmbeddedBroker() as broker:
        yield broker
        POOL.close()


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[KafkaBroker]:
    """Kafka 4.1 with transactions; a test that stops it starts it again."""
    reason = missing_java("real Kafka")
    if reason is not None:
        pytest.skip(reason)
    with KafkaBroker() as broker:
        yield broker
        POOL.close()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """moto: S3, Glue and others; make a bucket of your own."""
    with s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def gcs() -> Iterator[Gcs]:
    """fake-gcs-server; make a bucket of your own."""
    reason = missing_for_gcs()
    if reason is not None:
        pytest.skip(reason)
    with gcs_server() as server:
        yield server


@pytest.fixture(scope="session")
def hdfs() -> Iterator[str]:
    """MiniDFS, as `hdfs://HOST:PORT`; use a folder of your own."""
    reason = missing_for_hdfs()
    if reason is not None:
        pytest.skip(reason)
    with hdfs_server() as server:
        yield server


@pytest.fixture(scope="session")
def trino(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrinoServer]:
    """Trino 476; use catalogs of your own (`support.trino_catalogs`)."""
    reason = trino_server.missing()
    if reason is not None:
        pytest.skip(reason)
    with TrinoServer(tmp_path_factory.mktemp("trino")) as server:
        yield server


@pytest.fixture(scope="session")
def flink_cluster() -> Iterator[FlinkCluster]:
    """Flink 1.19: two TaskManagers of two slots, a pool of Python workers; a test that kills one starts another."""
    reason = missing_java("Flink")
    if reason is not None:
        pytest.skip(reason)
    with FlinkCluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def flink_jar() -> Path:
    """Beam's job server for Flink 1.19, for --flink_job_server_jar."""
    reason = missing_java("Beam's Flink runner")
    if reason is not None:
        pytest.skip(reason)
    return beam_flink_jar()


@pytest.fixture(scope="session")
def prism_binary() -> Path:
    """Prism, for --prism_location."""
    reason = go_programs.missing(PRISM)
    if reason is not None:
        pytest.skip(reason)
    return go_programs.built(PRISM)


@pytest.fixture
def topic_name() -> Callable[[str], str]:
    """A topic name that no other test uses."""
    return lambda stem="topic": f"{stem}-{uuid4().hex[:8]}"
