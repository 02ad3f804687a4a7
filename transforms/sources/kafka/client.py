"""Fetching whole record batches. With `log_tail` the only module that knows the inside of kafka-python (3.0).

kafka-python unpacks every record into a Python object. `_unpack_records` is overridden so that it yields runs of
record batches as they came: 2 M records a CPU-second instead of 0.1 M. Which batches are left out is
decided as in the original: control batches, and batches of aborted transactions.
"""

import logging
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher
from kafka.errors import (
    CorruptRecordError,
    KafkaConfigurationError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from kafka.net.compat import KafkaNetClient
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.structs import OffsetAndMetadata

from ....schemas.errors import JobError, SourceError
from .connection_faults import check_files, connection_fault
from .settings import KafkaSettings

LOGGER: Final = logging.getLogger("millrace")

FETCH_BYTES: Final = 4 << 20
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_PREFIX: Final = struct.Struct(">qi")
_MAGIC_AT: Final = 16
_CONTROL, _TRANSACTIONAL = 0x20, 0x10
_LEGACY_RECORDS: Final = 10_000
_FIXED: Final = {
    "allow_auto_create_topics": False,
    "auto_offset_reset": "none",
    "check_crcs": False,
    "enable_auto_commit": False,
    "group_id": None,
    "isolation_level": "read_committed",
}
_DEFAULTS: Final = {
    "bootstrap_timeout_ms": 8_000,
    "client_id": "millrace",
    "max_partition_fetch_bytes": FETCH_BYTES,
    "max_poll_records": 1 << 30,
    "metrics_enabled": False,
    "reconnect_backoff_max_ms": 5_000,
}


@dataclass(frozen=True, slots=True)
class Run:
    """Adjacent record batches as they came. `offset` is the last that they cover: kafka-python reads it of a record."""

    offset: int
    data: memoryview


class _BatchRecords(Fetcher.PartitionRecords):
    """The answer to one fetch of a partition, which yields runs of record batches instead of records."""

    next_fetch_offset: int
    leader_epoch: int

    def _unpack_records(self, tp: Any, records: Any, key_deserializer: Any, value_deserializer: Any) -> Iterator[Run]:
        data = memoryview(records._buffer)
        if len(data) > _MAGIC_AT and data[_MAGIC_AT] < 2:
            yield from self._legacy(tp, records)
            return
        start = at = 0
        last = self.next_fetch_offset - 1
        while (stop := _batch_end(data, at, tp)) is not None:
            header = _HEADER.unpack_from(data, at)
            keep, last = self._keep(header, data[at:stop]), header[0] + header[6]
            if not keep:
                if at > start:
                    yield Run(header[0] - 1, data[start:at])
                start = stop
            at = stop
            self.leader_epoch, self.next_fetch_offset = header[2], last + 1
        if at > start:
            yield Run(last, data[start:at])
        self.drain()

    def _keep(self, header: tuple[int, ...], raw: memoryview) -> bool:
        """Whether the batch holds committed records; follows kafka-python's `_unpack_records`."""
        attributes, last, producer = header[5], header[0] + header[6], header[9]
        if producer >= 0:
            self._consume_aborted_transactions_up_to(last)
            if attributes & _CONTROL:
                if self._contains_abort_marker(DefaultRecordBatch(raw)):
                    self.aborted_producer_ids.discard(producer)
            elif attributes & _TRANSACTIONAL and producer in self.aborted_producer_ids:
                return False
        return not attributes & _CONTROL

    def _legacy(self, tp: Any, records: Any) -> Iterator[Run]:
        """Message formats 0 and 1, written anew as record batches, 10,000 records each."""
        _say_legacy_once(tp)
        found: list[Any] = []
        for record in super()._unpack_records(tp, records, None, None):
            if found and (len(found) == _LEGACY_RECORDS or record.offset - found[0].offset > 1 << 30):
                yield _reencoded(found)
                found = []
            found.append(record)
        if found:
            yield _reencoded(found)


class _BatchFetcher(Fetcher):
    PartitionRecords = _BatchRecords


def _batch_end(data: memoryview, at: int, tp: Any) -> int | None:
    """Where the batch at `at` ends, or None where it is cut off, as the last one of a fetch may be."""
    if len(data) - at < _PREFIX.size:
        return None
    length = _PREFIX.unpack_from(data, at)[1]
    if length < _HEADER.size - _PREFIX.size:
        raise CorruptRecordError(f"{tp.topic}[{tp.partition}]: a record batch says that it is {length} bytes long")
    stop = at + _PREFIX.size + length
    return stop if stop <= len(data) else None


def _reencoded(records: list[Any]) -> Run:
    # Offsets may have holes; the builder begins at 0, so the batch's base offset is put in afterwards.
    base = records[0].offset
    builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=1 << 40)
    for record in records:
        builder.skip(record.offset - base - builder.next_offset())
        timestamp = -1 if record.timestamp is None else record.timestamp
        builder.append(timestamp, record.key, record.value, record.headers)
    builder.close()
    data = bytearray(builder.buffer())
    data[:8] = base.to_bytes(8, "big")
    return Run(records[-1].offset, memoryview(bytes(data)))


_LEGACY_SAID: set[str] = set()


def _say_legacy_once(tp: Any) -> None:
    if tp.topic not in _LEGACY_SAID:
        _LEGACY_SAID.add(tp.topic)
        LOGGER.warning(
            "topic %s holds messages in a format older than Kafka 0.11: they are read one by one, which is slow",
            tp.topic,
        )


def open_consumer(settings: KafkaSettings, **preferred: Any) -> KafkaConsumer:
    """A consumer without a group whose `poll` returns lists of Run; unassigned. `preferred` goes before the settings.

    Raises SourceError where no broker answers or it refuses us, JobError for settings that cannot work.
    """
    _silence_secrets()
    options, secrets = settings.resolved()
    check_files(options)
    if provider := options.get("sasl_oauth_token_provider"):
        # Asked here, its errors have a reader: inside kafka-python they would only be a connection that fails.
        provider.token()
    clients: list[Any] = []

    def connect(**config: Any) -> Any:
        clients.append(KafkaNetClient(**config))
        return clients[-1]

    try:
        consumer = KafkaConsumer(**{**_DEFAULTS, **options, **preferred, **_FIXED, "kafka_client": connect})
    except (KafkaConfigurationError, AssertionError, ValueError, OSError, ImportError) as error:
        _discard(clients)
        raise JobError(f"source.client: {_clean(error, secrets)}") from None
    except KafkaError as error:
        _discard(clients)
        raise SourceError(f"no Kafka broker lets us in: {_why(error, options, secrets)}") from None
    consumer._fetcher.__class__ = _BatchFetcher
    return consumer


def _discard(clients: list[Any]) -> None:
    """Stop the thread that a consumer which could not be made leaves behind."""
    for client in clients:
        client.close()


def _why(error: Exception, options: dict[str, Any], secrets: list[str]) -> str:
    """What is wrong, with the fix. Of a login that fails kafka-python says nothing: it is what is left."""
    fault = connection_fault(options)
    if fault is not None:
        return fault
    where, said = ",".join(options["bootstrap_servers"]), _clean(error, secrets)
    if "SASL" in str(options.get("security_protocol", "")):
        mechanism = options.get("sasl_mechanism") or "PLAIN"
        check = "user and password in source.client"
        if mechanism == "OAUTHBEARER":
            check = "when the token ends, who it is for, and what the broker asks of it"
        return f"{where}: the login by {mechanism} is refused: check {check} ({said})"
    return f"{where}: {said}; check source.bootstrap_servers and source.client"


def _clean(error: Exception, secrets: list[str]) -> str:
    name = type(error).__name__
    text = f"{name}: {str(error).removeprefix(f'{name}: ')}"
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


def _silence_secrets() -> None:
    """At DEBUG kafka-python logs every byte that it sends, SASL credentials too, and the admin client's settings."""
    for name in ("kafka.protocol.parser", "kafka.net.connection", "kafka.admin.client"):
        logger = logging.getLogger(name)
        if _above_debug not in logger.filters:
            logger.addFilter(_above_debug)


def _above_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def position(consumer: KafkaConsumer, partition: Any) -> int:
    """Where the next fetch begins; the consumer's own `position` may ask the broker, and wait half a minute for it."""
    offset: int = consumer._subscription.assignment[partition].position.offset
    return offset


def epoch(consumer: KafkaConsumer, partition: Any) -> int:
    """The leader's epoch of the last batch before `position`; -1 where it is unknown."""
    found: int = consumer._subscription.assignment[partition].position.leader_epoch
    return found


def seek(consumer: KafkaConsumer, partition: Any, offset: int, leader_epoch: int = -1) -> None:
    """Go on at `offset`. With the epoch of the batch before it, a log that was cut short raises LogTruncationError."""
    consumer._subscription.assignment[partition].seek(OffsetAndMetadata(offset, "", leader_epoch))


def topic_id(consumer: KafkaConsumer, topic: str) -> UUID | None:
    """The topic's id in the metadata that the consumer fetched last."""
    found: UUID | None = consumer._cluster.topic_id(topic)
    return found


def unseen_topics(consumer: KafkaConsumer, topics: Collection[str]) -> set[str]:
    """Those of the topics that this user may not see: asked by name, a broker says so."""
    cluster = consumer._cluster
    try:
        consumer._net.run(consumer._manager.wait_for, cluster.set_topics(topics), None)
    except TopicAuthorizationFailedError:
        return set(topics) & cluster.unauthorized_topics
    except UnknownTopicOrPartitionError:
        return set()
    finally:
        cluster.set_topics(())
    return set()


def newest(data: bytes) -> int | None:
    """The largest timestamp, in milliseconds, that the headers of the batches name; None where none does."""
    times, at = [], 0
    while at < len(data):
        header = _HEADER.unpack_from(data, at)
        times.append(header[8])
        at += _PREFIX.size + header[1]
    return max((time for time in times if time >= 0), default=None)


def until(data: bytes, stop: int) -> bytes:
    """`data` without the batches at its end that begin at `stop` or later."""
    at = 0
    while at < len(data):
        base, length = _PREFIX.unpack_from(data, at)
        if base >= stop:
            return data[:at]
        at += _PREFIX.size + length
    return data
