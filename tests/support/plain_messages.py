"""Messages of an envelope in plain JSON, through the decoder: what came out, in a form that a test can read."""

import json

import numpy as np

from millrace.pipelines.job.format import read_format
from millrace.schemas.encodings import ENCODINGS
from millrace.schemas.envelopes import ENVELOPES
from millrace.schemas.envelopes.decoder import TopicDecoder
from millrace.schemas.model.change import DELETE, OP, POSITION, own_columns
from millrace.schemas.model.declared_type import declared_type
from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.message_batch import MessageBatch
from millrace.schemas.model.position import unpack
from millrace.schemas.model.route import Route


class Context:
    """Of a job file that is nowhere."""

    context = None


def topic_decoder(name, topic, options=None, **route):
    """A decoder of one topic's messages; `columns` of the route are texts."""
    written = {"encoding": "json", "framing": "plain", "envelope": name, **(options or {})}
    form = read_format(written, Context())
    columns = {column: declared_type(kind) for column, kind in route.pop("columns", {}).items()}
    made = Route(table="t", sources=(TopicPartition(topic, 0),), columns=columns, **route)
    encoding = ENCODINGS[form.encoding].open(form.encoding_options, None)
    return TopicDecoder(encoding, ENVELOPES[name].open(form.envelope_options), topic, made)


def batch(values, topic):
    """Messages without keys: bytes, None, or what is written as JSON."""
    raw = [value if value is None or isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    length = np.array([-1 if value is None else len(value) for value in raw], np.int64)
    at = np.concatenate(([0], np.cumsum(np.maximum(length, 0))))[:-1].astype(np.int64)
    data = np.frombuffer(b"".join(value or b"" for value in raw) + b"\0", np.uint8)
    offset, nothing = np.arange(len(raw), dtype=np.int64), np.full(len(raw), -1, np.int64)
    return MessageBatch(topic, 0, 0, len(raw), data, offset, offset, np.zeros_like(offset), nothing, at, length)


def decoded(name, values, topic="e", options=None, **route):
    """What the block comes to."""
    return topic_decoder(name, topic, options, **route).decode(batch(values, topic))


def changes(done):
    """("+", row) or ("-", key) of each change, in their order; columns that are NULL are left out."""
    found = []
    for one in done.changes:
        names = own_columns(one)
        for row in one.to_pylist():
            gone = row[OP] == DELETE
            kept = done.key if gone else names
            found.append(("-" if gone else "+", {name: row[name] for name in kept if row[name] is not None}))
    return found


def words(done):
    """(commit order, order inside it, offset) of each change."""
    return [tuple(int(word) for word in row[1:]) for one in done.changes for row in unpack(one.column(POSITION))]
