"""Each error of Arrow, and a panic of a library, at each step is the stop of one table in one sentence."""

import tempfile
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from millrace.schemas.errors import TableError
from millrace.schemas.model.block import Block
from millrace.schemas.model.change import CHANGE_FIELDS, POSITION_TYPE
from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.route import Route
from millrace.transforms.dead_letters import DeadLetterFiles, letters_at
from millrace.transforms.sinks.memory.sink import MemorySink
from millrace.transforms.sinks.target import Target
from millrace.transforms.sources.source import TypedSource
from millrace.transforms.steps.arrow_errors import told_of
from millrace.transforms.steps.block_decoders import BlockDecoders
from millrace.transforms.steps.commit import CommitSettings, commit
from millrace.transforms.steps.early_merge import marked
from millrace.transforms.steps.stage import stage

ROUTE = Route(table="orders", sources=(TopicPartition("shop.orders", 0),))


class PanicException(BaseException):
    """As PyO3 raises it: no Exception."""


ERRORS = [
    pa.ArrowInvalid,
    pa.ArrowTypeError,
    pa.ArrowKeyError,
    pa.ArrowIndexError,
    pa.ArrowNotImplementedError,
    pa.ArrowCapacityError,
    pa.ArrowSerializationError,
    pa.ArrowMemoryError,
    PanicException,
]


class BreakingSource(TypedSource):
    """A source whose typed log cannot be read as changes."""

    def __init__(self, error):
        self.error = error

    def changes(self, block, route):
        raise self.error


class BreakingSink(MemorySink):
    """A target that fails while rows are staged, and while they are committed."""

    def __init__(self, error):
        super().__init__("breaking")
        self.error = error

    def stage(self, table, delta):
        raise self.error

    def commit(self, table, staged, commit):
        raise self.error


def decoding(error):
    BlockDecoders(source=BreakingSource(error)).decoder("shop.orders", ROUTE)(Block("shop.orders", 0, 7, 9, b""))


def staging(error):
    arrays = [pa.array([1]), pa.array([0], pa.int8()), pa.array([bytes(32)], POSITION_TYPE), pa.array([0], pa.int32())]
    rows = pa.RecordBatch.from_arrays(arrays, schema=pa.schema([pa.field("id", pa.int64()), *CHANGE_FIELDS]))
    stage(BreakingSink(error), "job", ROUTE, [marked(rows, ("id",), {})])


def committing(error):
    letters = DeadLetterFiles(letters_at(tempfile.gettempdir()), "job", datetime.now(UTC))
    settings = CommitSettings(job="job", routes={"orders": ROUTE}, target=Target("memory"), dead_letters=letters)
    commit(BreakingSink(error), settings, "orders", [])


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("step", [decoding, staging, committing])
def test_an_error_of_a_step_stops_its_table_and_names_the_step(step, kind):
    with pytest.raises(TableError, match=rf"^table orders: {step.__name__}.*\({kind.__name__}: too wide\); nothing of"):
        step(kind("too wide"))


def test_of_a_long_message_the_first_line_is_told():
    sentence = r"^table orders: writing: .*\(ArrowInvalid: too wide\); nothing of this"
    with pytest.raises(TableError, match=sentence), told_of("orders", "writing"):
        raise pa.ArrowInvalid("too wide\nand more")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, TableError])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(error, match=r"^as it was$"), told_of("orders", "writing"):
        raise error("as it was")
