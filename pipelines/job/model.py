"""A job as its file describes it; immutable, and its repr shows no secret."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from ...schemas.encodings.schema_store import FolderSchemaStore, SchemaStore
from ...schemas.encodings.wire_format import Framing
from ...schemas.model.modes import Mode
from ...schemas.model.route import OnTruncate
from ...schemas.secrets import Secret
from ...transforms.dead_letters import DEFAULT_LIMIT, Limit
from ...transforms.registries.confluent import ConfluentRegistry
from ...transforms.sources.kafka.settings import KafkaSettings
from ...transforms.stores import Address

Start = Literal["earliest", "latest"] | datetime
FormatType = Literal["debezium", "upsert"]
By = Literal["arrival", "event"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Which topics of which cluster; exactly one of `topics` and `topic_pattern` is set."""

    kafka: KafkaSettings
    topics: tuple[str, ...] = ()
    topic_pattern: str | None = None
    start: Start = "earliest"

    def reads(self, topic: str) -> bool:
        """Whether a topic of this name belongs to the job."""
        if self.topic_pattern is None:
            return topic in self.topics
        return re.fullmatch(self.topic_pattern, topic) is not None


@dataclass(frozen=True, kw_only=True)
class Format:
    """How messages are written; exactly one of `registry` and `schemas` is set."""

    type: FormatType
    registry: ConfluentRegistry | None = None
    schemas: Path | None = None
    framing: Framing = Framing.AUTO

    def contracts(self) -> SchemaStore:
        """The registry, not asked yet, or the folder, read now. Raises JobError."""
        return self.registry or FolderSchemaStore(self.schemas or "")


@dataclass(frozen=True, kw_only=True)
class TableEntry:
    """An item of `tables`: `topics` (its `from`) go to the table `to`. `key` None: the message key's fields.

    `modes` None: those of the target.
    """

    topics: tuple[str, ...]
    to: str
    key: tuple[str, ...] | None = None
    on_truncate: OnTruncate = OnTruncate.FAIL
    modes: tuple[Mode, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Window:
    """`allowed_lateness` is zero where windows are by arrival."""

    every: timedelta = timedelta(seconds=10)
    by: By = "arrival"
    allowed_lateness: timedelta = timedelta(0)


@dataclass(frozen=True, kw_only=True)
class Target:
    """`options` are the sink's; a text below a key that looks secret is a Secret, so the repr shows none.

    Each of `modes` is a table of its own for each topic.
    """

    type: str
    options: Mapping[str, Any] = field(default_factory=dict)
    modes: tuple[Mode, ...] = (Mode.MIRROR,)

    def settings(self) -> dict[str, Any]:
        """The sink's options as written: references unresolved, literals in the clear. Never print or log it."""
        return {name: as_written(value) for name, value in self.options.items()}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job file: `file` as it was given, `folder` absolute, where its relative paths start."""

    job: str
    source: Source
    format: Format
    tables: tuple[TableEntry, ...] = ()
    window: Window = Window()
    target: Target
    dead_letters: Address
    max_dead_letters: Limit = DEFAULT_LIMIT
    file: Path
    folder: Path


def as_written(value: Any) -> Any:
    """The value with each Secret as its text. Never print or log what it gives."""
    if isinstance(value, Secret):
        return value.text
    if isinstance(value, Mapping):
        return {name: as_written(part) for name, part in value.items()}
    return [as_written(part) for part in value] if isinstance(value, list) else value
