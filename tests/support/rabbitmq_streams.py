"""Messages for RabbitMQ's streams: AMQP 1.0 written by hand, sent by rstream's client."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rstream.client import Client
from rstream.schema import (
    Message,
    Publish,
    PublishConfirm,
    PublishSubBatching,
)

from .rabbitmq_server import PASSWORD, USER, VHOST, RabbitmqServer


@dataclass(frozen=True)
class SubBatch:
    """A codec's number, and what compresses."""

    codec: int
    pack: Callable[[bytes], bytes] = bytes

    def frame(self, messages: Sequence[bytes]) -> PublishSubBatching:
        plain = b"".join(struct.pack(">I", len(one)) + one for one in messages)
        packed = bytes(self.pack(plain))
        return PublishSubBatching(1, 1, 0, 0x80 | self.codec << 4, len(messages), len(plain), len(packed), packed)


def binary(data: bytes | None) -> bytes:
    """AMQP's null, or its bytes."""
    if data is None:
        return b"\x40"
    return b"\xa0" + bytes([len(data)]) + data if len(data) < 256 else b"\xb0" + struct.pack(">I", len(data)) + data


def text(data: bytes) -> bytes:
    return b"\xa1" + bytes([len(data)]) + data


def compound(kind: int, parts: Sequence[bytes]) -> bytes:
    """A list (0xd0) or a map (0xd1) of encoded values."""
    body = struct.pack(">I", len(parts)) + b"".join(parts)
    return bytes([kind]) + struct.pack(">I", len(body)) + body


def section(number: int, value: bytes) -> bytes:
    return b"\0\x53" + bytes([number]) + value


def amqp(
    key: bytes | None, value: bytes | None, headers: Sequence[tuple[bytes, bytes]] = (), place: str = "message_id"
) -> bytes:
    """A message with its key at the place; a value of None is AMQP's null."""
    found = b""
    if place.startswith("message_annotations."):
        found += section(0x72, compound(0xD1, [b"\xa3" + text(place.partition(".")[2].encode())[1:], binary(key)]))
    if place in ("message_id", "subject"):
        found += section(
            0x73, compound(0xD0, [b"\x40"] * ("message_id", "", "", "subject").index(place) + [binary(key)])
        )
    named = [(text(name), binary(header)) for name, header in headers]
    if place.startswith("application_properties."):
        named.append((text(place.partition(".")[2].encode()), binary(key)))
    if named:
        found += section(0x74, compound(0xD1, [part for pair in named for part in pair]))
    return found + (section(0x77, b"\x40") if value is None else section(0x75, binary(value)))


def publish(
    server: RabbitmqServer, stream: str, messages: Sequence[bytes], batch: SubBatch | None = None, host: str = VHOST
) -> None:
    """The messages, confirmed; with `batch` as one sub-batch."""
    asyncio.run(_publish(server, stream, messages, batch, host))


async def _publish(
    server: RabbitmqServer, stream: str, messages: Sequence[bytes], batch: SubBatch | None, host: str
) -> None:
    client = Client("127.0.0.1", server.ports["stream"], frame_max=1 << 20, heartbeat=0)
    await client.start()
    await client.authenticate(host, username=USER, password=PASSWORD)
    try:
        await client.declare_publisher(stream, None, 1)
        confirmed: asyncio.Queue[PublishConfirm] = asyncio.Queue()
        client.add_handler(PublishConfirm, confirmed.put, name="test")
        left = len(messages) if batch is None else 1
        if batch is not None:
            await client.send_frame(batch.frame(messages))
        for at in range(0, len(messages) if batch is None else 0, 500):
            part = messages[at : at + 500]
            await client.send_publish_frame(Publish(1, [Message(at + i, None, one) for i, one in enumerate(part)]))
        while left > 0:
            left -= len((await asyncio.wait_for(confirmed.get(), 30)).publishing_ids)
    finally:
        await client.close()
