"""A stream's messages one by one, for the proof: through `rstream`, RabbitMQ's own client, not the job's reader."""

import asyncio
import struct
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from rstream import AMQPMessage, amqp_decoder
from rstream.client import Client
from rstream.compression import CompressionType, NoneCompressionCodec, StreamCompressionCodecs
from rstream.constants import OffsetType
from rstream.exceptions import ServerError
from rstream.schema import Deliver, OffsetSpec

from ....schemas.errors import SourceError
from ....schemas.model.ledger import OffsetRange, TopicPartition
from ....schemas.model.message import Message
from ....schemas.secrets import resolve
from ..compression import LZ4, SNAPPY, ZSTD, CodecError, decompress
from .connecting import address_of, tls_context
from .names import stream_of
from .options import RabbitmqOptions

T = TypeVar("T")
SILENT_SECONDS: Final = 30.0
PROBE_SECONDS: Final = 1.0
CREDIT: Final = 10
FRAME_BYTES: Final = 1 << 20
_NO_MESSAGE: Final = (IndexError, KeyError, TypeError, ValueError, AttributeError, struct.error)
"""What rstream's decoder of AMQP raises for bytes that are none."""
_ERRORS: Final = (ServerError, OSError, asyncio.TimeoutError, EOFError)


class _Codec(NoneCompressionCodec):
    """Sub-batches of the codecs that rstream leaves to its user."""

    number = 0

    def uncompress(self, compressed_data: bytes, uncompressed_data_size: int) -> bytes:
        return decompress(self.number, memoryview(compressed_data), uncompressed_data_size)


for _number in (SNAPPY, LZ4, ZSTD):
    _kind = CompressionType(_number)
    StreamCompressionCodecs.register_codec(_kind, type(f"Codec{_number}", (_Codec,), {"number": _number})())


@dataclass(frozen=True, slots=True)
class RabbitmqMessageLog:
    """The streams of a virtual host, read again."""

    options: RabbitmqOptions

    def held(self, stops: Mapping[TopicPartition, int]) -> dict[TopicPartition, OffsetRange]:
        """What the streams hold of these partitions now. Raises SourceError."""
        with _loop() as run:
            found = {part: run(self._bounds(part)) for part in sorted(stops)}
        return {part: OffsetRange(part.topic, part.partition, *bounds) for part, bounds in found.items()}

    def read(self, ranges: Sequence[OffsetRange]) -> Iterator[Message]:
        """Every message of the ranges, each partition in its order. Raises SourceError.

        A message that is no AMQP 1.0 has no key, and its bytes as the value.
        """
        for part in ranges:
            if part.first < part.stop:
                yield from self._read(part)

    def _read(self, part: OffsetRange) -> Iterator[Message]:
        with _loop() as run:
            chunks = self._chunks(part.source, OffsetSpec.from_params(OffsetType.OFFSET, part.first))
            reached = part.first
            while reached < part.stop:
                try:
                    chunk = run(asyncio.wait_for(anext(chunks), SILENT_SECONDS))
                except TimeoutError:
                    raise SourceError(f"{part.source}: no message came for {SILENT_SECONDS:.0f} s") from None
                for offset, data in enumerate(_messages(part.source, chunk), chunk.chunk_first_offset):
                    if part.first <= offset < part.stop:
                        yield self._message(part, offset, chunk.timestamp, data)
                reached = chunk.chunk_first_offset + chunk.num_records
            run(chunks.aclose())

    async def _bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """The first offset that is held, and the one after the last."""
        first = await self._header(partition, OffsetType.FIRST)
        last = await self._header(partition, OffsetType.LAST)
        if first is None or last is None:
            return 0, 0
        return first.chunk_first_offset, last.chunk_first_offset + last.num_records

    async def _header(self, partition: TopicPartition, place: OffsetType) -> Deliver | None:
        chunks = self._chunks(partition, OffsetSpec.from_params(place, None))
        try:
            return await asyncio.wait_for(anext(chunks), PROBE_SECONDS)
        except TimeoutError:
            return None
        finally:
            await chunks.aclose()

    async def _chunks(self, partition: TopicPartition, place: OffsetSpec) -> AsyncGenerator[Deliver, None]:
        stream = stream_of(self.options, partition)
        host, port = address_of(self.options, stream)
        context = None if self.options.tls is None else tls_context(self.options.tls)
        client = Client(host, port, ssl_context=context, frame_max=FRAME_BYTES, heartbeat=0)
        delivered: asyncio.Queue[Deliver] = asyncio.Queue()
        secret = "guest" if self.options.password is None else resolve(self.options.password)
        try:
            await client.start()
            await client.authenticate(
                resolve(self.options.virtual_host), username=resolve(self.options.username), password=secret
            )
            client.add_handler(Deliver, delivered.put, name="1")
            await client.run_queue_listener_task(1, delivered.put)
            await client.subscribe(stream, 1, place, CREDIT)
            while True:
                chunk = await delivered.get()
                await client.credit(1, 1)
                yield chunk
        except _ERRORS as error:
            raise SourceError(f"{host}:{port}: {partition} cannot be read: {error}") from None
        finally:
            await client.close()

    def _message(self, part: OffsetRange, offset: int, timestamp: int, data: bytes) -> Message:
        place = (part.topic, part.partition, offset)
        if self.options.body == "raw":
            return Message(*place, None, data, (), timestamp)
        try:
            message = amqp_decoder(data)
            key = _key(message, self.options.key)
            value = _body(message)
        except _NO_MESSAGE:
            return Message(*place, None, data, (), timestamp)
        headers = [(_text(name), _bytes(header)) for name, header in (message.application_properties or {}).items()]
        known = [(name, header) for name, header in headers if header is not None]
        return Message(*place, key, value, known, timestamp)


def _messages(partition: TopicPartition, chunk: Deliver) -> list[bytes]:
    try:
        return [bytes(message) for message in chunk.get_messages()]
    except (CodecError, ValueError, OSError) as error:
        raise SourceError(f"{partition}: offset {chunk.chunk_first_offset}: the chunk is corrupt: {error}") from None


def _key(message: AMQPMessage, key: str) -> bytes | None:
    section, _, name = key.partition(".")
    if not name:
        return None if message.properties is None else _bytes(getattr(message.properties, section))
    entries = message.application_properties if section == "application_properties" else message.message_annotations
    return next((_bytes(value) for entry, value in (entries or {}).items() if _text(entry) == name), None)


def _body(message: AMQPMessage) -> bytes | None:
    """Raises TypeError for a value that is neither text nor bytes."""
    if message.body is not None:
        return bytes(message.body)
    if message.value is not None and not isinstance(message.value, str | bytes | bytearray | memoryview):
        raise TypeError(type(message.value).__name__)
    return _bytes(message.value)


def _text(name: Any) -> str:
    return name if isinstance(name, str) else bytes(name).decode("utf-8", "backslashreplace")


def _bytes(value: Any) -> bytes | None:
    """Text and bytes as bytes, null as None; other types have none."""
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else bytes(value) if not isinstance(value, int | float) else None


@contextmanager
def _loop() -> Iterator["_Run"]:
    """What waits for coroutines, in a loop of its own: the proof reads by turns, and has no other."""
    runner = asyncio.Runner()
    try:
        yield _Run(runner)
    finally:
        runner.close()


@dataclass(frozen=True, slots=True)
class _Run:
    runner: asyncio.Runner

    def __call__(self, waited: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(waited)
