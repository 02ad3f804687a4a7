"""`rabbitmq_stream_to_arrow` beside rstream: a real stream to Arrow, by chunks and by messages of Python."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather
from rstream import AMQPMessage, Consumer, ConsumerOffsetSpecification, MessageContext, OffsetType, amqp_decoder

from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.message_batch import MessageBatch
from millrace.transforms.sources.rabbitmq.options import RabbitmqOptions
from millrace.transforms.sources.rabbitmq.source import RabbitmqSource

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support.rabbitmq_server import IN_A_JOB, PASSWORD, USER, VHOST, RabbitmqServer, missing
from support.rabbitmq_streams import amqp, publish

STREAM = TopicPartition("bench", 0)
COMPARED = 20_000
"""Messages of which both programs' columns are compared."""
A_BATCH = 50_000
BODY = b'{"id": %d, "customer": "customer %d", "note": "what a person wrote beside the order, and some more"}'


@contextmanager
def written(messages: int) -> Iterator[dict[str, Any] | None]:
    """A server whose stream holds so many messages; None, and why on stderr, where it cannot be had."""
    reason = missing()
    if reason is not None:
        print(f"no figures of RabbitMQ: {reason}", file=sys.stderr)
        yield None
        return
    server = RabbitmqServer()
    try:
        server.create_stream(STREAM.topic)
        for first in range(0, messages, A_BATCH):
            numbers = range(first, min(first + A_BATCH, messages))
            publish(server, STREAM.topic, [amqp(b"%d" % i, BODY % (i, i % 1000)) for i in numbers])
        yield {"port": server.ports["stream"], "messages": messages}
    finally:
        server.close()


def ours(arguments: dict[str, Any]) -> Callable[[], int]:
    """From the socket to Arrow columns of keys and values, the checksum of each chunk verified."""
    os.environ[IN_A_JOB] = PASSWORD
    options = RabbitmqOptions(
        servers=(f"127.0.0.1:{arguments['port']}",),
        virtual_host=VHOST,
        username=USER,
        password=f"${{env:{IN_A_JOB}}}",
    )
    source = RabbitmqSource(options)

    def tables(stop: int) -> Iterator[pa.Table]:
        reader = source.reader(STREAM, 0, stop)
        while not reader.done:
            block = reader.read(1.0)
            if block is not None:
                yield _table(source.split(block)[0])
        reader.close()

    _keep(arguments, pa.concat_tables(tables(COMPARED)))
    return lambda: sum(table.num_rows for table in tables(arguments["messages"]))


def _table(messages: MessageBatch) -> pa.Table:
    places = ((messages.key_at, messages.key_len), (messages.value_at, messages.value_len))
    return pa.table({name: _binary(messages, *place) for name, place in zip(("key", "value"), places, strict=True)})


def _binary(messages: MessageBatch, at: np.ndarray, length: np.ndarray) -> pa.Array:
    """The bytes of a column gathered, none of them null."""
    offsets = np.concatenate(([0], np.cumsum(length)))
    source = np.repeat(at - offsets[:-1], length) + np.arange(offsets[-1])
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(messages.data[source])]
    return pa.Array.from_buffers(pa.binary(), len(length), buffers)


def theirs(arguments: dict[str, Any]) -> Callable[[], int]:
    """A tenth of the messages, as a person would write it: rstream calls back for each, a table is made of them."""
    _keep(arguments, asyncio.run(_consumed(arguments["port"], COMPARED)))
    return lambda: int(asyncio.run(_consumed(arguments["port"], arguments["messages"] // 10)).num_rows)


async def _consumed(port: int, count: int) -> pa.Table:
    rows: list[dict[str, bytes]] = []
    done = asyncio.Event()

    def take(message: AMQPMessage, context: MessageContext) -> None:
        rows.append({"key": message.properties.message_id, "value": message.body})
        if len(rows) == count:
            done.set()

    async with Consumer("127.0.0.1", port, username=USER, password=PASSWORD, vhost=VHOST) as consumer:
        first = ConsumerOffsetSpecification(OffsetType.FIRST, None)
        await consumer.subscribe(STREAM.topic, take, decoder=amqp_decoder, offset_specification=first)
        await done.wait()
    return pa.Table.from_pylist(rows[:count])


def _keep(arguments: dict[str, Any], table: pa.Table) -> None:
    feather.write_feather(table.combine_chunks(), Path(arguments["folder"]) / "first.arrow")


def same_rows(left: Path, right: Path) -> bool:
    """Whether the first messages of both are the same."""
    a, b = (feather.read_table(folder / "first.arrow") for folder in (left, right))
    return bool(a.num_rows == COMPARED and a.equals(b))
