"""The job file: YAML to frozen dataclasses. Each mistake is one JobError: the place, the wrong word, the nearest right one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from ..schemas.contracts import Contracts, FolderContracts
from ..schemas.decoding import OnTruncate
from ..schemas.errors import JobError
from ..schemas.framing import Framing
from ..schemas.secrets import Secret, resolve, shown
from ..transforms.registry import HttpContracts
from .entry import Entry, guess, read_yaml
from .kafka_settings import CLIENT_SETTINGS, MILLRACES_OWN, PATHS, checked_client
from .target import Target, read_target, rooted

Start = Literal["earliest", "latest"] | datetime

TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
SERVER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\],]+)(:\d{1,5})?")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Which topics of which cluster. Exactly one of `topics` and `topic_pattern` is set; `client` is as written."""

    bootstrap_servers: tuple[str, ...]
    topics: tuple[str, ...] = ()
    topic_pattern: str | None = None
    start: Start = "earliest"
    client: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """kafka-python's settings with the references as written, and no Secret objects: never print them."""
        return {"bootstrap_servers": list(self.bootstrap_servers), **as_written(self.client)}


@dataclass(frozen=True, kw_only=True)
class Format:
    """How messages are encoded. Exactly one of `registry` and `schemas` is set."""

    type: Literal["debezium", "upsert"]
    registry: HttpContracts | None = None
    schemas: Path | None = None
    framing: Framing = Framing.AUTO

    def contracts(self) -> Contracts:
        """The registry (not asked yet) or the folder (read now). Raises JobError."""
        if self.schemas is not None:
            return FolderContracts(self.schemas)
        assert self.registry is not None
        return self.registry


@dataclass(frozen=True, kw_only=True)
class TableEntry:
    """An item of `tables`: the topics `topics` (`from`) go to the table `to`; `key` None means the message key's fields."""

    topics: tuple[str, ...]
    to: str
    key: tuple[str, ...] | None = None
    on_truncate: OnTruncate = OnTruncate.FAIL


@dataclass(frozen=True, kw_only=True)
class Window:
    """`allowed_lateness` is zero where windows are by arrival."""

    every: timedelta = timedelta(seconds=10)
    by: Literal["arrival", "event"] = "arrival"
    allowed_lateness: timedelta = timedelta(0)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Of dead letters: more than `count` of them, or more than `share` (0 to 1) of what was read, stop the run."""

    count: int | None = None
    share: float | None = None

    def exceeded(self, dead: int, read: int) -> bool:
        """Whether a run that has read `read` records may not have `dead` dead letters."""
        if self.count is not None:
            return dead > self.count
        return self.share is not None and dead > self.share * read

    def __str__(self) -> str:
        return f"{self.share:.10g}" if self.count is None and self.share is None else self._words()

    def _words(self) -> str:
        return str(self.count) if self.share is None else f"{self.share * 100:.10g}%"


@dataclass(frozen=True, kw_only=True)
class DeadLetters:
    """Where dead letters go: a folder or a URL; `limit` None means any number of them."""

    path: str
    limit: Limit | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job file. `file` is its path as given, `folder` the absolute folder that relative paths start from."""

    job: str
    source: Source
    format: Format
    tables: tuple[TableEntry, ...] = ()
    window: Window = Window()
    target: Target
    dead_letters: DeadLetters
    file: Path
    folder: Path


def load_job(path: str | Path) -> Job:
    """Read and check a job file; opens nothing else and resolves no secret. Raises JobError."""
    file = Path(path)
    keys = ("job", "source", "format", "tables", "window", "target", "dead_letters", "max_dead_letters")
    top = read_yaml(file).mapping(keys, ("job", "source", "format", "target"))
    source = _source(top["source"])
    return Job(
        job=_name(top["job"]),
        source=source,
        format=_format(top["format"]),
        tables=_tables(top["tables"], source) if "tables" in top else (),
        window=_window(top["window"]) if "window" in top else Window(),
        target=read_target(top["target"]),
        dead_letters=_dead_letters(file, top.get("dead_letters"), top.get("max_dead_letters")),
        file=file,
        folder=file.absolute().parent,
    )


def as_written(value: Any) -> Any:
    """The value with each Secret as its text: references stay references. Never print or log what it gives."""
    return _unwrapped(value, str)


def revealed(value: Any) -> Any:
    """The value with each Secret as its text, and all references resolved. Never print, log or pickle what it gives."""
    return _unwrapped(value, resolve)
