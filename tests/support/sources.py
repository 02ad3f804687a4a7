"""A place for each source of the registry: where a test writes messages or rows, and the source reads them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import yaml
from kafka import KafkaProducer

from millrace.schemas.model.block import Block
from millrace.schemas.model.ledger import TopicPartition
from millrace.transforms.sources import SOURCES
from millrace.transforms.sources.kafka.embedded_broker import EmbeddedBroker
from millrace.transforms.sources.kafka.settings import KafkaSettings
from millrace.transforms.sources.kafka.source import KafkaSource
from millrace.transforms.sources.scripted.source import ScriptedSource
from millrace.transforms.sources.source import BlockReader, MessageSource, Source

from . import mysql_server, mysql_source, postgres_server, rabbitmq_server, rabbitmq_streams
from .postgres_source import SourceDatabase

Record = tuple[int, int, bytes | None, bytes | None]
"""Offset, timestamp, key, value."""


class SourcePlace(Protocol):
    """What the contract suite needs of a source."""

    source: Source
    options: dict[str, Any]
    """Options of the job file, with a secret as the reference ${env:CONTRACT_SECRET} where the source takes one."""
    knows_times: bool
    """False for the embedded broker, which answers each question for an offset by time with the beginning."""
    keeps_times: bool
    """False where messages have the time when the server wrote them, not the one that their producer gave."""

    def create(self, topic: str, partitions: int) -> None:
        """A topic with this many partitions."""

    def send(self, topic: str, records: Sequence[tuple[int, bytes | None, bytes | None, int]]) -> None:
        """(partition, key, value, timestamp) in order."""


@dataclass
class KafkaPlace:
    broker: EmbeddedBroker
    knows_times = False
    keeps_times = True

    def __post_init__(self) -> None:
        self.source = KafkaSource(KafkaSettings(self.broker.bootstrap_servers))
        self.options = {
            "bootstrap_servers": "127.0.0.1:1",
            "client": {"bootstrap_timeout_ms": 500, "client_id": "${env:CONTRACT_SECRET}"},
        }

    def create(self, topic: str, partitions: int) -> None:
        self.broker.create_topic(topic, partitions)

    def send(self, topic: str, records: Sequence[tuple[int, bytes | None, bytes | None, int]]) -> None:
        producer = KafkaProducer(bootstrap_servers=self.broker.bootstrap_servers, linger_ms=20)
        for partition, key, value, timestamp in records:
            producer.send(topic, value, key, partition=partition, timestamp_ms=timestamp)
        producer.flush()
        producer.close()


class ScriptedPlace:
    knows_times = True
    keeps_times = True

    def __init__(self) -> None:
        self.source = ScriptedSource(uuid4().hex)
        self.options = {"name": "${env:CONTRACT_SECRET}"}

    def create(self, topic: str, partitions: int) -> None:
        self.source.create_topic(topic, partitions)

    def send(self, topic: str, records: Sequence[tuple[int, bytes | None, bytes | None, int]]) -> None:
        for partition, key, value, timestamp in records:
            self.source.send(topic, value, key=key, partition=partition, timestamp=timestamp)


@contextmanager
def kafka_place() -> Iterator[KafkaPlace]:
    with EmbeddedBroker() as broker:
        place = KafkaPlace(broker)
        yield place
        place.source.close()


@contextmanager
def scripted_place() -> Iterator[ScriptedPlace]:
    place = ScriptedPlace()
    yield place
    place.source.clear()


class RabbitmqPlace:
    """Streams in a virtual host of one's own."""

    knows_times = True
    keeps_times = False

    def __init__(self) -> None:
        self._server = rabbitmq_server.server()
        self._host = f"contract-{uuid4().hex[:8]}"
        self._server.add_host(self._host)
        spec = SOURCES["rabbitmq"]
        self.options = {
            "servers": ["127.0.0.1:1"],
            "password": "${env:CONTRACT_SECRET}",
            "management": "http://127.0.0.1:1",
        }
        options = {
            "servers": [self._server.address],
            "virtual_host": self._host,
            "username": rabbitmq_server.USER,
            "password": f"${{env:{rabbitmq_server.IN_A_JOB}}}",
            "management": self._server.management,
        }
        self.source = spec.open(spec.options.model_validate(options))

    def create(self, topic: str, partitions: int) -> None:
        self._server.create_stream(topic, self._host)

    def send(self, topic: str, records: Sequence[tuple[int, bytes | None, bytes | None, int]]) -> None:
        messages = [rabbitmq_streams.amqp(key, value) for _, key, value, _ in records]
        rabbitmq_streams.publish(self._server, topic, messages, host=self._host)


@contextmanager
def rabbitmq_place() -> Iterator[RabbitmqPlace]:
    yield RabbitmqPlace()


SOURCE_PLACES = {"kafka": kafka_place, "rabbitmq": rabbitmq_place, "scripted": scripted_place}


class TypedPlace(Protocol):
    """What the contract suite needs of a source whose log has types: a table with the columns `id` and `name`."""

    source: Source
    options: dict[str, Any]
    password: str
    """What must not be shown."""
    partition: TopicPartition

    @staticmethod
    def missing() -> str | None:
        """Why its server cannot be started here, or None."""

    def create(self, rows: int) -> TopicPartition:
        """The table, with so many rows from 1 on, whose names are `copied`."""

    def change(self, number: int, name: str | None) -> None:
        """Write this row, or delete it where the name is None."""

    def close(self) -> None:
        """End the source, and remove what was made."""


class PostgresPlace:
    password = postgres_server.PASSWORD
    missing = staticmethod(postgres_server.missing)

    def __init__(self, folder: Path) -> None:
        self._database = SourceDatabase(folder)
        text = self._database.source("public.rows")
        self.options = {name: value for name, value in yaml.safe_load(text).items() if name not in ("type", "tables")}
        spec = SOURCES["postgres"]
        self.source = spec.open(spec.options.model_validate(self.options))

    def create(self, rows: int) -> TopicPartition:
        self._database.sql(f"CREATE TABLE rows (id int PRIMARY KEY, name text); INSERT INTO rows SELECT i, 'copied' "
                           f"FROM generate_series(1, {rows}) i")  # fmt: skip
        partition = TopicPartition("public.rows", 0)
        connection = self.source.connect()
        connection.prepare({partition: 0})
        connection.close()
        return partition

    def change(self, number: int, name: str | None) -> None:
        if name is None:
            self._database.sql(f"DELETE FROM rows WHERE id = {number}")
        else:
            self._database.sql(
                f"INSERT INTO rows VALUES ({number}, '{name}') ON CONFLICT (id) DO UPDATE SET name = '{name}'"
            )

    def close(self) -> None:
        self.source.close()
        self._database.close()


class MySqlPlace:
    """Of a MariaDB."""

    password = mysql_server.ROLE_PASSWORD
    missing = staticmethod(mysql_server.MariaDb.missing)

    def __init__(self, folder: Path) -> None:
        self._database = mysql_source.SourceDatabase(folder, mysql_server.server("mariadb"))
        text = self._database.source("rows_read")
        self.options = {name: value for name, value in yaml.safe_load(text).items() if name not in ("type", "tables")}
        spec = SOURCES["mysql"]
        self.source = spec.open(spec.options.model_validate(self.options))

    def create(self, rows: int) -> TopicPartition:
        values = ", ".join(f"({number}, 'copied')" for number in range(1, rows + 1))
        self._database.sql(
            "CREATE TABLE rows_read (id int PRIMARY KEY, name text)", f"INSERT INTO rows_read VALUES {values}"
        )
        partition = TopicPartition(self._database.topic("rows_read"), 0)
        connection = self.source.connect()
        connection.prepare({partition: 0})
        connection.close()
        return partition

    def change(self, number: int, name: str | None) -> None:
        if name is None:
            self._database.sql(f"DELETE FROM rows_read WHERE id = {number}")
        else:
            self._database.sql(
                f"INSERT INTO rows_read VALUES ({number}, '{name}') ON DUPLICATE KEY UPDATE name = '{name}'"
            )

    def close(self) -> None:
        self.source.close()
        self._database.close()


TYPED_PLACES: dict[str, type[TypedPlace]] = {"mysql": MySqlPlace, "postgres": PostgresPlace}
"""Sources whose log has types: they give changes of rows, not messages."""


def records_of(source: Source, block: Block) -> list[Record]:
    """What a block holds, a row each."""
    assert isinstance(source, MessageSource)
    messages, letters = source.split(block)
    assert letters == []
    assert (messages.topic, messages.partition) == (block.topic, block.partition)
    return [
        (int(messages.offset[i]), int(messages.timestamp[i]), messages.key(i), messages.value(i))
        for i in range(len(messages))
    ]


def blocks_of(reader: BlockReader, tries: int = 60) -> list[Block]:
    """All blocks up to the reader's stop."""
    found = []
    try:
        for _ in range(tries):
            if reader.done:
                return found
            block = reader.read(1.0)
            if block is not None:
                found.append(block)
        raise AssertionError(f"only {len(found)} blocks came, up to offset {reader.next}")
    finally:
        reader.close()
