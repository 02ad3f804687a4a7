"""Where a log was read last, and whether it still is the log that was read.

A broker may lose the end of a partition (a power failure, an unclean leader election) and write other records at the
same offsets. Every new leader begins a new *epoch*, which each record batch bears: a broker tells where an epoch ends
in its log (KIP-101, KIP-320), and one that ends before the offset that was read has lost records. Where a broker has no
epochs, the last batch is fetched again and its checksum compared.
"""

import json
import struct
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import IncompatibleBrokerVersion, NodeNotReadyError, UnsupportedVersionError, for_code
from kafka.protocol.consumer import OffsetForLeaderEpochRequest

from .client import Run, seek

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_PREFIX: Final = struct.Struct(">qi")
_REWRITTEN: Final = 0x40
"""Attribute of a batch in which compaction has put the time when tombstones may go: its checksum is another one."""
_FETCH_MS: Final = 5_000
NO_EPOCH: Final = -1


class LogTail(NamedTuple):
    """What was read up to the offset `at`: the leader's epoch there, and the last record batch.

    That batch begins at `base` and ends at `last`, and has `records` records and the checksum `crc`. -1 is unknown.
    """

    at: int
    epoch: int = NO_EPOCH
    base: int = -1
    last: int = -1
    records: int = -1
    crc: int = -1

    @property
    def text(self) -> str:
        """As a ledger keeps it."""
        return json.dumps(self, separators=(",", ":"))

    @classmethod
    def of_text(cls, text: str) -> Self:
        """What `text` said."""
        return cls(*json.loads(text))


def epoch_ends(consumer: KafkaConsumer, epochs: Mapping[Any, int], wait_ms: int) -> dict[Any, int] | None:
    """By partition the offset at which that epoch of its leader ends in the log; -1 where the broker does not know it.

    None where the broker has no such question. Raises KafkaError.
    """
    manager, cluster = consumer._fetcher._manager, consumer._cluster

    async def ask() -> dict[Any, int]:
        by_leader: dict[Any, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for partition, leader_epoch in epochs.items():
            asked = OffsetForLeaderEpochRequest.OffsetForLeaderTopic.OffsetForLeaderPartition(
                partition=partition.partition, current_leader_epoch=-1, leader_epoch=leader_epoch
            )
            by_leader[cluster.leader_for_partition(partition)][partition.topic].append(asked)
        ends = {}
        for leader, topics in by_leader.items():
            if leader in (None, -1):
                raise NodeNotReadyError(f"no leader of {', '.join(sorted(topics))}")
            request = OffsetForLeaderEpochRequest(replica_id=-1, topics=list(topics.items()))
            answer = await manager.send(request, node_id=leader, request_timeout_ms=wait_ms)
            for topic in answer.topics:
                for found in topic.partitions:
                    if found.error_code:
                        raise for_code(found.error_code)(f"{topic.topic}[{found.partition}]")
                    ends[KafkaPartition(topic.topic, found.partition)] = found.end_offset
        return ends

    try:
        answered: dict[Any, int] = manager.run(ask)
    except (IncompatibleBrokerVersion, UnsupportedVersionError):
        return None
    return answered


def last_batch(data: bytes) -> tuple[int, ...] | None:
    """The header of the last batch of the data; None where there is none."""
    header, at = None, 0
    while at < len(data):
        header = _HEADER.unpack_from(data, at)
        at += _PREFIX.size + header[1]
    return header


def tail_of(data: bytes, stop: int, epoch: int | None) -> LogTail:
    """The tail of a block that ends at `stop`, whose leader's epoch there is `epoch` (None: look at the batches)."""
    header = last_batch(data)
    if header is None:
        return LogTail(stop, NO_EPOCH if epoch is None else epoch)
    last = header[0] + header[6]
    batch = (header[0], last, header[12], header[4])
    if epoch is None:
        # Control records may stand behind the batch, and bear a later epoch.
        return LogTail(min(stop, last + 1), header[2], *batch)
    return LogTail(stop, epoch, *batch)


def cut_short(consumer: KafkaConsumer, tails: dict[Any, LogTail], wait_ms: int) -> dict[Any, int]:
    """The partitions (kafka-python's) whose log is not the one that was read, and the offset up to which it may be.

    Raises KafkaError where the broker does not answer.
    """
    known = {partition: tail.epoch for partition, tail in tails.items() if tail.epoch >= 0}
    ends = epoch_ends(consumer, known, wait_ms) if known else {}
    if ends is not None:
        lost = {one: max(end, 0) for one, end in ends.items() if end < tails[one].at}
        rest = {one: tail for one, tail in tails.items() if one not in known}
    else:
        lost, rest = {}, tails
    for partition, tail in rest.items():
        if tail.base >= 0 and not _same_batch(consumer, partition, tail):
            lost[partition] = tail.base
    return lost


def _same_batch(consumer: KafkaConsumer, partition: KafkaPartition, tail: LogTail) -> bool:
    """Whether the batch that was read last still stands there, or compaction may have changed it."""
    consumer.assign([partition])
    seek(consumer, partition, tail.base)
    runs: list[Run] = consumer.poll(_FETCH_MS).get(partition, [])
    for header in (_HEADER.unpack_from(run.data) for run in runs[:1]):
        base, last, count = header[0], header[0] + header[6], header[12]
        if base > tail.last or header[5] & _REWRITTEN or (base == tail.base and count < tail.records):
            return True
        return (base, last, header[4]) == (tail.base, tail.last, tail.crc)
    return True
