"""How a job's blocks become changes. Imports nothing of Beam: commands that build no pipeline start without it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ...schemas.encodings.encoding import Encoding
from ...schemas.envelopes.decoded import Decoded
from ...schemas.envelopes.decoder import TopicDecoder
from ...schemas.envelopes.envelope import Envelope
from ...schemas.errors import JobError
from ...schemas.model.block import Block
from ...schemas.model.route import Route
from ..sources.source import MessageSource, Source, TypedSource

BlockDecoder = Callable[[Block], Decoded]
"""Changes, counts and dead letters of one topic's block; raises RegistryError, TableError. Not for several threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How a job's blocks become changes; travels to the workers, which make a decoder for each topic.

    A source whose log is typed has neither an encoding nor an envelope.
    """

    source: Source
    encoding: Encoding | None = None
    envelope: Envelope | None = None

    def decoder(self, topic: str, route: Route) -> BlockDecoder:
        """A decoder of one topic's blocks. Raises JobError where the source needs a format and there is none."""
        source = self.source
        if isinstance(source, TypedSource):
            return lambda block: _with_tail(source.changes(block, route), block)
        if self.encoding is None or self.envelope is None or not isinstance(source, MessageSource):
            raise JobError("format: the source gives messages, so say how they are written: encoding and envelope")
        messages = TopicDecoder(self.encoding, self.envelope, topic, route)
        return lambda block: decode_block(source, messages, block)


def decode_block(source: MessageSource, decoder: TopicDecoder, block: Block) -> Decoded:
    """Changes, counts and dead letters of a block, corrupt parts among them; raises as the decoder does."""
    messages, letters = source.split(block)
    done = decoder.decode(messages)
    done.letters = [*letters, *done.letters]
    done.read += len(letters)
    return _with_tail(done, block)


def _with_tail(done: Decoded, block: Block) -> Decoded:
    done.mark = replace(done.mark, tail=block.tail)
    return done
