"""Reads one table of a database: what is the same for each, whichever server it is."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from ...schemas.errors import JobError, LostOffsetsError, SourceError
from ...schemas.model.block import Block
from ...schemas.model.ledger import TopicPartition
from .source import LOGGER


class Settings(Protocol):
    """Of a server."""

    @property
    def where(self) -> str:
        """What messages call it."""


class Closing(Protocol):
    """A session with a server."""

    def close(self) -> None:
        """End it."""


S = TypeVar("S", bound=Settings)
C = TypeVar("C", bound=Closing)


@dataclass(slots=True)
class DatabaseReader(ABC, Generic[S, C]):
    """Keeps the contract of `sources.source.BlockReader`; how a block is read is the server's own."""

    settings: S
    partition: TopicPartition
    next: int
    stop: int | None
    patience: float
    tail: str = ""
    end: int | None = None
    _open: C | None = field(default=None, repr=False)
    _away_since: float | None = None

    @abstractmethod
    def block(self, wait: float) -> Block | None:
        """The block at `next`. Raises LostOffsetsError, and SourceError where the server is away."""

    @abstractmethod
    def connected(self) -> C:
        """A new session."""

    @abstractmethod
    def close_stream(self) -> None:
        """End the stream of the log that this process has open."""

    @property
    def place(self) -> tuple[str, int]:
        """The table, as a block names it."""
        return self.partition.topic, self.partition.partition

    @property
    def done(self) -> bool:
        return self.stop is not None and self.next >= self.stop

    @property
    def at_end(self) -> bool:
        return self.end is not None and self.next >= self.end

    def read(self, wait: float) -> Block | None:
        if self.done:
            return None
        try:
            block = self.block(wait)
        except LostOffsetsError:
            raise
        except SourceError as error:
            self._wait_for_server(error, wait)
            return None
        self._away_since = None
        if block is not None:
            self.next = block.stop
        return block

    def _wait_for_server(self, error: SourceError, wait: float) -> None:
        self.close()
        self.close_stream()
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            LOGGER.warning("%s; trying again", error)
        if now - self._away_since >= self.patience:
            raise error
        time.sleep(min(wait, 1.0))

    def session(self) -> C:
        """The open session."""
        if self._open is None:
            self._open = self.connected()
        return self._open

    def gone(self) -> JobError:
        """The error for a table that is not there."""
        return JobError(f"there is no table {self.partition.topic} in {self.settings.where} any more")

    def close(self) -> None:
        session, self._open = self._open, None
        if session is not None:
            session.close()
