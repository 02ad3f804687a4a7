"""Each way from blocks to changes gives the new names, and a rename that cannot be stops its table alone."""

import pickle
from types import SimpleNamespace

import pyarrow as pa
import pytest
from support.targets import delta, upsert

from millrace.schemas.envelopes.decoded import Decoded
from millrace.schemas.errors import IncompatibleSchemaError
from millrace.schemas.model.block import Block
from millrace.schemas.model.change import UNAVAILABLE, own_columns
from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.route import Route
from millrace.transforms.steps.accounted_changes import RECEIPT, ReadAccounted
from millrace.transforms.steps.decode import Decode, Failure
from millrace.transforms.steps.stream_decode import StreamDecode

BLOCK = Block("orders", 0, 0, 1, b"x")
ROUTE = Route(table="orders", sources=(TopicPartition("orders", 0),), renames=(("qty", "quantity"),))


class Format:
    """Each block is one change with these columns."""

    def __init__(self, *names: str) -> None:
        schema = pa.schema([("id", pa.int64()), *((name, pa.string()) for name in names)])
        self.changes = delta(schema, [upsert(1, list(names), id=1)])

    def decoder(self, topic, route):
        return lambda block: Decoded(topic, 0, block.first, block.stop, ("id",), [self.changes], read=1)


def by_decode(found):
    step = Decode({"orders": ROUTE}, found)
    step.start_bundle()
    told = [*step.process(BLOCK, time=0.0), *step.finish_bundle()]
    failures = [one.value[1] for one in told if hasattr(one, "tag") and isinstance(one.value[1], Failure)]
    return failures, [one.value[1] for one in told if not hasattr(one, "tag")]


def by_stream(found):
    step = StreamDecode({"orders": ROUTE}, found, SimpleNamespace(pieces=lambda block, time: [(0.0, block)]))
    step.start_bundle()
    (bundle,) = [one.value[1] for one in (*step.process(BLOCK, time=0.0), *step.finish_bundle())]
    return [one for one in [bundle.failure] if one is not None], bundle.batches()


def by_pipeline(found):
    ((_, batch),) = ReadAccounted({"orders": ROUTE}, found).process(BLOCK)
    told = pickle.loads(batch.schema.metadata[RECEIPT])
    return ([told], []) if isinstance(told, Failure) else ([], [batch])


WAYS = [by_decode, by_stream, by_pipeline]


@pytest.mark.parametrize("way", WAYS)
def test_old_and_new_names_lead_to_the_new_one(way):
    for name in ("qty", "QTY", "quantity"):
        failures, (batch,) = way(Format(name))
        assert not failures
        assert own_columns(batch) == ["id", "quantity"]
        assert batch.column(UNAVAILABLE).to_pylist() == [["quantity"]]


@pytest.mark.parametrize("way", WAYS)
def test_messages_with_both_names_stop_the_table(way):
    (failure,), batches = way(Format("qty", "quantity"))
    assert isinstance(failure.error, IncompatibleSchemaError)
    assert not batches
