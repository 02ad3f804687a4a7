"""A Kafka cluster as a source: it keeps the contract of `sources.source`."""

from collections.abc import Sequence
from dataclasses import dataclass

from ....schemas.model.block import Block
from ....schemas.model.dead_letter import DeadLetter
from ....schemas.model.ledger import TopicPartition
from ....schemas.model.message_batch import MessageBatch
from ..source import PATIENCE_SECONDS, MessageSource
from .client import newest
from .cluster import Broker, open_broker
from .consumer_pool import POOL
from .message_log import KafkaMessageLog
from .options import KafkaOptions
from .partition_reader import PartitionReader
from .settings import KafkaSettings


@dataclass(frozen=True, slots=True)
class KafkaSource(MessageSource):
    """A cluster. Blocks are whole record batches as fetched, still compressed; only committed records are read."""

    settings: KafkaSettings

    @property
    def where(self) -> str:
        return self.settings.bootstrap_servers

    def connect(self) -> Broker:
        return open_broker(self.settings)

    def reader(
        self,
        partition: TopicPartition,
        first: int,
        stop: int | None,
        patience: float = PATIENCE_SECONDS,
        tail: str = "",
    ) -> PartitionReader:
        return PartitionReader(self.settings, partition, first, stop, patience, tail)

    def split(self, block: Block) -> tuple[MessageBatch, list[DeadLetter]]:
        # Compiled loops take most of a second to import: what splits no block does without them.
        from .record_batches import split

        return split(block)

    def cut(self, block: Block, starts: Sequence[int]) -> list[Block]:
        from .record_batches import cut

        return cut(block, starts)

    def newest(self, block: Block) -> int | None:
        return newest(block.data)

    def message_log(self) -> KafkaMessageLog:
        return KafkaMessageLog(self.settings)

    def close(self) -> None:
        POOL.close()


def open_source(options: KafkaOptions) -> KafkaSource:
    """The cluster that a job file names."""
    return KafkaSource(options.kafka)
