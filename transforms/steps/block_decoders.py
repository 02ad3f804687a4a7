"""How a job's blocks become changes. Imports nothing of Beam: commands that build no pipeline start without it."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa

from ...schemas.encodings.encoding import Encoding, infers
from ...schemas.envelopes.decoded import Decoded
from ...schemas.envelopes.decoder import TopicDecoder
from ...schemas.envelopes.envelope import Envelope
from ...schemas.errors import JobError, LostOffsetsError
from ...schemas.merging.renaming import with_old_names
from ...schemas.model.block import Block
from ...schemas.model.change import DELETE, OP
from ...schemas.model.incompatible_columns import OnIncompatible
from ...schemas.model.ledger import TopicPartition
from ...schemas.model.message_batch import MessageBatch
from ...schemas.model.route import Route
from ..sinks.shared.lookup import columns_of
from ..sinks.target import Target
from ..sources.source import MessageSource, Source, TypedSource
from .arrow_errors import told_of

ASK_SECONDS: Final = 5.0

BlockDecoder = Callable[[Block], Decoded]
"""Changes, counts and dead letters of one topic's block; raises RegistryError, TableError. Not for several threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDecoders:
    """How a job's blocks become changes; travels to the workers, which make a decoder for each topic.

    A source whose log is typed has neither an encoding nor an envelope. `target` is asked for the columns of tables
    with `on_incompatible: dead_letter`, and where the encoding infers types.
    """

    source: Source
    encoding: Encoding | None = None
    envelope: Envelope | None = None
    target: Target | None = None

    def decoder(self, topic: str, route: Route) -> BlockDecoder:
        """A decoder of one topic's blocks. Raises JobError where the source needs a format and there is none."""
        decode = self._decoder(topic, route)

        def decoded(block: Block) -> Decoded:
            place = f"decoding {block.topic}[{block.partition}] from offset {block.first} to {block.stop}"
            with told_of(route.table, place):
                return decode(block)

        return decoded

    def _decoder(self, topic: str, route: Route) -> BlockDecoder:
        source = self.source
        if isinstance(source, TypedSource):
            return lambda block: _with_tail(source.changes(block, route), block)
        decoder = self.messages_of(topic, route)
        return lambda block: decode_block(decoder, block)

    def messages_of(self, topic: str, route: Route) -> "MessagesDecoder":
        """A decoder of one topic's messages, wherever they come from. Raises JobError for a source without any."""
        source = self.source
        if self.encoding is None or self.envelope is None or not isinstance(source, MessageSource):
            raise JobError("format: the source gives messages, so say how they are written: encoding and envelope")
        encoding, envelope = self.encoding, self.envelope
        held = None
        asks = infers(encoding) or route.on_incompatible is OnIncompatible.DEAD_LETTER
        if asks and self.target is not None:
            held = TargetColumns(self.target, route.table, route.renames)
        messages = TopicDecoder(encoding, envelope, topic, route, held)
        before = PrecedingDelete(source, lambda: TopicDecoder(encoding, envelope, topic, route))
        return MessagesDecoder(source, messages, None if envelope.null_deletes else before)


@dataclass(slots=True)
class TargetColumns:
    """Called, it tells a table's columns in the target, which is asked at most once in `ASK_SECONDS`.

    A column that was renamed stands under its old names too: messages are compared as they were written.
    """

    target: Target
    table: str
    renames: Sequence[tuple[str, str]] = ()
    _asked: float = -math.inf

    def __call__(self) -> pa.Schema | None:
        """None where there is no table, and where it was asked a moment ago. Raises SinkError."""
        if time.monotonic() - self._asked < ASK_SECONDS:
            return None
        with closing(self.target.open()) as sink:
            columns = columns_of(sink, self.table)
        self._asked = time.monotonic()
        return columns if columns is None else with_old_names(columns, self.renames)


@dataclass(slots=True)
class PrecedingDelete:
    """Tells whether a tombstone that opens a block belongs to a delete that ended the block before.

    That is read again: where passes are cut is chance, and must not decide whether the tombstone deletes a row. A
    decoder of its own is made for it, since the job's keeps what it has seen.
    """

    source: MessageSource
    make: Callable[[], TopicDecoder]
    _decoder: TopicDecoder | None = None

    def marked(self, messages: MessageBatch) -> MessageBatch:
        """The messages, which say so where they open with a tombstone without its delete. Raises SourceError."""
        opens = len(messages) > 0 and messages.value_len[0] < 0 and messages.offset[0] == messages.first
        return replace(messages, opens_alone=True) if opens and not self._deleted(messages) else messages

    def _deleted(self, messages: MessageBatch) -> bool:
        before = self._message_before(messages)
        if before is None or before.key(0) != messages.key(0):
            return False
        if self._decoder is None:
            self._decoder = self.make()
        changes = self._decoder.decode(before).changes
        return any(np.any(np.asarray(batch.column(OP)) == DELETE) for batch in changes)

    def _message_before(self, messages: MessageBatch) -> MessageBatch | None:
        """The message at the offset before; None where there is none, or it is gone."""
        if messages.first == 0:
            return None
        partition = TopicPartition(messages.topic, messages.partition)
        reader = self.source.reader(partition, messages.first - 1, messages.first)
        try:
            while not reader.done:
                block = reader.read(1.0)
                if block is not None and len(found := self.source.split(block)[0]):
                    return found
        except LostOffsetsError:
            return None
        finally:
            reader.close()
        return None


@dataclass(frozen=True, slots=True)
class MessagesDecoder:
    """Decodes the messages of one topic of a source; `before` where a tombstone may belong to the delete before it."""

    source: MessageSource
    decoder: TopicDecoder
    before: PrecedingDelete | None = None

    def decode(self, messages: MessageBatch) -> Decoded:
        """Changes, counts and dead letters; raises as the decoder does."""
        return self.decoder.decode(messages if self.before is None else self.before.marked(messages))


def decode_block(decoder: MessagesDecoder, block: Block) -> Decoded:
    """Changes, counts and dead letters of a block, corrupt parts among them; raises as the decoder does."""
    messages, letters = decoder.source.split(block)
    done = decoder.decode(messages)
    done.letters = [*letters, *done.letters]
    done.read += len(letters)
    return _with_tail(done, block)


def _with_tail(done: Decoded, block: Block) -> Decoded:
    done.mark = replace(done.mark, tail=block.tail)
    return done
