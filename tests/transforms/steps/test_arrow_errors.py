"""Each error of Arrow, and a panic of a library, at each step is the stop of one table in one sentence."""

import tempfile
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from millrace.schemas.envelopes.decoded import Decoded
from millrace.schemas.errors import TableError
from millrace.schemas.model.block import Block
from millrace.schemas.model.change import CHANGE_FIELDS, POSITION_TYPE
from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.route import Route
from millrace.schemas.model.source_mark import Replay
from millrace.transforms.dead_letters import DeadLetterFiles, letters_at
from millrace.transforms.sinks.memory.sink import MemorySink
from millrace.transforms.sinks.target import Target
from millrace.transforms.sources.source import TypedSource
from millrace.transforms.steps import decode, early_merge
from millrace.transforms.steps.arrow_errors import told_of
from millrace.transforms.steps.block_decoders import BlockDecoders
from millrace.transforms.steps.commit import CommitSettings, commit
from millrace.transforms.steps.early_merge import marked
from millrace.transforms.steps.replay import commit_letters
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
    pa.ArrowCancelled,
    pa.ArrowException,
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


def rows():
    arrays = [pa.array([1]), pa.array([0], pa.int8()), pa.array([bytes(32)], POSITION_TYPE), pa.array([0], pa.int32())]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([pa.field("id", pa.int64()), *CHANGE_FIELDS]))


def staging(error):
    stage(BreakingSink(error), "job", ROUTE, [marked(rows(), ("id",), {})])


def committing(error):
    letters = DeadLetterFiles(letters_at(tempfile.gettempdir()), "job", datetime.now(UTC))
    settings = CommitSettings(job="job", routes={"orders": ROUTE}, target=Target("memory"), dead_letters=letters)
    commit(BreakingSink(error), settings, "orders", [])


def naming(error):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "of_table", raising(error))
        decode.for_table(ROUTE, Decoded("shop.orders", 0, 7, 9))


def replaying(error):
    found = Decoded("shop.orders", 0, 7, 9, ("id",), [rows()], read=1)
    commit_letters(BreakingSink(error), "job", ROUTE, [found], Replay("id", {}))


def raising(error):
    def call(*args, **more):
        raise error

    return call


def test_there_is_an_error_of_each_class():
    known = {kind for kind in vars(pa.lib).values() if isinstance(kind, type) and issubclass(kind, pa.ArrowException)}
    assert known | {PanicException} == set(ERRORS)


@pytest.mark.parametrize("kind", ERRORS[:-1])
def test_changes_that_cannot_be_gathered_travel_as_they_are_and_fail_with_their_table(kind, monkeypatch):
    monkeypatch.setattr(early_merge, "newest_changes", raising(kind("too wide")))
    gathering = early_merge.EarlyMerge()
    gathering.add("orders", ("id",), 0.0, rows())
    ((table, _, batch),) = gathering.all()
    assert (table, batch.num_rows) == ("orders", 1)


STEPS = {decoding: "decoding", naming: "naming", staging: "staging", committing: "committing"}
STEPS |= {replaying: "committing dead letters"}


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("step", STEPS)
def test_an_error_of_a_step_stops_its_table_and_names_the_step(step, kind):
    with pytest.raises(TableError, match=rf"^table orders: {STEPS[step]}.*\({kind.__name__}: too wide\); nothing of"):
        step(kind("too wide"))


def test_of_a_long_message_the_first_line_is_told():
    sentence = r"^table orders: writing: .*\(ArrowInvalid: too wide\); nothing of this"
    with pytest.raises(TableError, match=sentence), told_of("orders", "writing"):
        raise pa.ArrowInvalid("too wide\nand more")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, TableError])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(error, match=r"^as it was$"), told_of("orders", "writing"):
        raise error("as it was")
