"""The proof: read the topics again up to the ledger's offsets, fold them anew, compare with the target.

Reads through kafka-python's public `poll()` and fastavro. Of the job it shares the settings to connect with.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError

from ...schemas.errors import LostOffsetsError, SourceError
from ...schemas.model.ledger import OffsetRange, TopicPartition
from ...schemas.model.modes import Mode
from ..sinks import Sink
from ..sources.kafka.settings import KafkaSettings
from .compare import compare
from .reference_modes import marks_only, reference_for
from .reference_table import Message, Rules
from .report import Report

POLL_MILLISECONDS: Final = 500
PROBE_MILLISECONDS: Final = 2_000
SILENT_POLLS: Final = 60
RECORDS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Proof:
    """What to prove: that `table` holds what the messages from `starts` to `stops` fold to.

    Both are the ledger's; a partition without a start is read from its beginning. `late`: windows may have been
    committed in another order than the source's, as those by event time are.
    """

    table: str
    stops: Mapping[TopicPartition, int]
    rules: Rules
    starts: Mapping[TopicPartition, int] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    examples: int = 5
    mode: Mode = Mode.MIRROR
    late: bool = False


def verify(kafka: KafkaSettings, sink: Sink, proof: Proof) -> Report:
    """Fold the topics of one table and compare.

    Rows that only messages wrote which the topic no longer holds show as EXTRA: `report.offsets` tells where each
    partition begins. Raises SourceError, LostOffsetsError where a partition ends before its stop, RegistryError.
    """
    ranges = first_to(kafka, proof.stops, proof.starts)
    fold = reference_for(proof.mode, proof.rules, proof.late)
    for message in messages(kafka, ranges):
        fold.add(message)
    key = fold.key_names(proof.key)

    def scan(columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        batches = _scan(sink, proof.table, columns)
        return marks_only(batches, key) if proof.late and proof.mode is Mode.SOFT_DELETE else batches

    report = compare(proof.table, fold, scan, proof.key, proof.examples)
    report.offsets = {str(part.source): (part.first, part.stop) for part in ranges}
    return report


def first_to(
    kafka: KafkaSettings, stops: Mapping[TopicPartition, int], starts: Mapping[TopicPartition, int]
) -> list[OffsetRange]:
    """The offsets from `starts` to `stops` that the topics still hold."""
    with_stop = {KafkaPartition(part.topic, part.partition): stop for part, stop in stops.items() if stop > 0}
    if not with_stop:
        return []
    consumer = _consumer(kafka, "read_uncommitted")
    try:
        first = consumer.beginning_offsets(list(with_stop))
        end = consumer.end_offsets(list(with_stop))
        short = {part for part, stop in with_stop.items() if end[part] < stop}
        end.update({part: _served(consumer, part, end[part], with_stop[part]) for part in short})
    except (KafkaError, ValueError) as error:
        raise SourceError(f"{kafka.bootstrap_servers}: the topics' offsets cannot be read: {error}") from None
    finally:
        consumer.close()
    for part, stop in with_stop.items():
        if end[part] < stop:
            raise LostOffsetsError(
                f"{part.topic}[{part.partition}] ends at offset {end[part]}, and the target holds it up to {stop}: "
                "the topic was recreated or cut, so the target cannot be proved against it"
            )
    return [
        OffsetRange(
            part.topic,
            part.partition,
            min(max(first[part], starts.get(TopicPartition(part.topic, part.partition), 0)), stop),
            stop,
        )
        for part, stop in sorted(with_stop.items())
    ]


def _served(consumer: KafkaConsumer, partition: KafkaPartition, end: int, stop: int) -> int:
    """Where the partition really ends: some brokers (Tansu 0.6) name the last batch's first record as the end."""
    consumer.assign([partition])
    consumer.seek(partition, end)
    while end < stop and consumer.poll(timeout_ms=PROBE_MILLISECONDS):
        end = int(consumer.position(partition))
    return end


def messages(kafka: KafkaSettings, ranges: Sequence[OffsetRange]) -> Iterator[Message]:
    """Every committed message of the ranges, each partition in its order."""
    left = {KafkaPartition(part.topic, part.partition): part for part in ranges if part.first < part.stop}
    if not left:
        return
    consumer = _consumer(kafka, "read_committed")
    try:
        consumer.assign(list(left))
        for partition, part in left.items():
            consumer.seek(partition, part.first)
        yield from _polled(consumer, left)
    except KafkaError as error:
        raise SourceError(f"{kafka.bootstrap_servers}: reading failed: {error}") from None
    finally:
        consumer.close()


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


def _scan(sink: Sink, table: str, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    if table not in sink.tables():
        return iter(())
    return sink.scan(table, columns)
