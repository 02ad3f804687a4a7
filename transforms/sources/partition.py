"""One partition, read as contiguous blocks."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kafka import TopicPartition as KafkaPartition
from kafka.errors import (
    AuthenticationFailedError,
    AuthorizationError,
    KafkaError,
    LogTruncationError,
    OffsetOutOfRangeError,
)

from ...schemas.block import Block
from ...schemas.errors import LostOffsetsError, SourceError
from ...schemas.ledger import TopicPartition
from .fetch import LOGGER, Run, open_consumer
from .pool import POOL, PooledConsumer
from .settings import KafkaSettings
