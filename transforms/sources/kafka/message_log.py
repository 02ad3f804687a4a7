"""Kafka's messages one by one, for the proof: through kafka-python's public `poll()`, not the job's reader."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError

from ....schemas.errors import SourceError
from ....schemas.model.ledger import OffsetRange, TopicPartition
from ....schemas.model.message import Message
from .settings import KafkaSettings

POLL_MILLISECONDS: Final = 500
PROBE_MILLISECONDS: Final = 2_000
SILENT_POLLS: Final = 60
RECORDS: Final = 10_000


@dataclass(frozen=True, slots=True)
class KafkaMessageLog:
    """The topics behind these settings, read again."""

    kafka: KafkaSettings

    def held(self, stops: Mapping[TopicPartition, int]) -> dict[TopicPartition, OffsetRange]:
        """What the topics hold of these partitions now. Raises SourceError."""
        wanted = {KafkaPartition(part.topic, part.partition): stop for part, stop in stops.items()}
        if not wanted:
            return {}
        consumer = _consumer(self.kafka, "read_uncommitted")
        try:
            first, end = consumer.beginning_offsets(list(wanted)), consumer.end_offsets(list(wanted))
            for part, stop in wanted.items():
                least = max(stop, first[part] + 1)
                if end[part] < least:
                    end[part] = _served(consumer, part, end[part], least)
        except (KafkaError, ValueError) as error:
            raise SourceError(f"{self.kafka.bootstrap_servers}: the topics' offsets cannot be read: {error}") from None
        finally:
            consumer.close()
        ranges = [OffsetRange(part.topic, part.partition, first[part], end[part]) for part in sorted(wanted)]
        return {part.source: part for part in ranges}

    def read(self, ranges: Sequence[OffsetRange]) -> Iterator[Message]:
        """Every committed message of the ranges, each partition in its order. Raises SourceError."""
        left = {KafkaPartition(part.topic, part.partition): part for part in ranges if part.first < part.stop}
        if not left:
            return
        consumer = _consumer(self.kafka, "read_committed")
        try:
            consumer.assign(list(left))
            for partition, part in left.items():
                consumer.seek(partition, part.first)
            yield from _polled(consumer, left)
        except KafkaError as error:
            raise SourceError(f"{self.kafka.bootstrap_servers}: reading failed: {error}") from None
        finally:
            consumer.close()


def _served(consumer: KafkaConsumer, partition: KafkaPartition, end: int, stop: int) -> int:
    """Where the partition really ends: some brokers (Tansu 0.6) name the last batch's first record as the end."""
    consumer.assign([partition])
    consumer.seek(partition, end)
    while end < stop and consumer.poll(timeout_ms=PROBE_MILLISECONDS):
        end = int(consumer.position(partition))
    return end


def _polled(consumer: KafkaConsumer, left: dict[KafkaPartition, OffsetRange]) -> Iterator[Message]:
    silent = 0
    while left:
        polled = consumer.poll(timeout_ms=POLL_MILLISECONDS, max_records=RECORDS)
        silent = 0 if polled else silent + 1
        if silent > SILENT_POLLS:
            part = next(iter(left.values()))
            raise SourceError(f"{part.source}: no message came for {SILENT_POLLS * POLL_MILLISECONDS // 1000} s")
        for partition, records in polled.items():
            for record in records:
                if partition in left and record.offset < left[partition].stop:
                    place = (record.topic, record.partition, record.offset)
                    yield Message(*place, record.key, record.value, record.headers, record.timestamp)
        done = [partition for partition, part in left.items() if consumer.position(partition) >= part.stop]
        for partition in done:
            del left[partition]
        if done:
            consumer.pause(*done)


def _consumer(kafka: KafkaSettings, isolation: str) -> KafkaConsumer:
    options, secrets = kafka.resolved()
    try:
        return KafkaConsumer(
            **{"max_partition_fetch_bytes": 4 << 20, **options},
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level=isolation,
        )
    except (KafkaError, ValueError, OSError) as error:
        text = str(error)
        for secret in secrets:
            text = text.replace(secret, "***")
        raise SourceError(f"{kafka.bootstrap_servers}: cannot be reached: {text}") from None
