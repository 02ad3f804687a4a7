"""Loads in any order, in any panes, end in the oracle's table, in one ledger without a hole."""

import itertools
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.schemas.errors import IncompatibleSchemaError, LedgerGapError, TransientSinkError
from millrace.schemas.model.change_batch import ChangeColumns, change_batch
from millrace.schemas.model.ledger import Account, Commit, OffsetRange, TopicPartition
from millrace.schemas.model.position import pack
from millrace.schemas.model.route import Route
from millrace.schemas.model.table import Table
from millrace.transforms.coders import RecordBatchCoder
from millrace.transforms.dead_letters import DeadLetterFiles, letters_at
from millrace.transforms.retry import Backoff
from millrace.transforms.sinks.target import Target
from millrace.transforms.steps import stream_commit as stream_commit
from millrace.transforms.steps.commit import CommitSettings
from millrace.transforms.steps.decode import Failure, Receipt
from millrace.transforms.steps.early_merge import marked
from millrace.transforms.steps.stream_commit import (
    GAP_SECONDS,
    StreamCommit,
    TableProgress,
    WaitingBundle,
    commit_ready,
    continuing,
)
from millrace.transforms.steps.stream_decode import DecodedBundle

ROUTE = Route(table="orders", sources=(TopicPartition("t", 0), TopicPartition("t", 1)))


def changes(partition, first, stop):
    """Offset `n` writes n to the row n % 5 of its partition."""
    numbers = np.arange(first, stop)
    zeros = np.zeros(len(numbers), np.uint64)
    columns = {"id": pa.array(numbers % 5 + 10 * partition), "v": pa.array(numbers)}
    source = ROUTE.number("t", partition)
    marks = ChangeColumns(op=np.zeros(len(numbers), np.int8), position=pack(zeros, zeros, numbers), source=source)
    return marked(change_batch(columns, marks), ("id",), {})


def bundle_of(*spans):
    receipts, batches = [], []
    for partition, first, stop in spans:
        span = OffsetRange("t", partition, first, stop)
        counts = {"read": stop - first, "changes": stop - first, "size": 1}
        receipts.append(Receipt(span=span, **counts, filtered=0, truncates=0, truncate=None, letters=()))
        batches.append(RecordBatchCoder().encode(changes(partition, first, stop)))
    return DecodedBundle(tuple(receipts), tuple(batches))


def anchored(settings_):
    """The sink, with a ledger that begins at 0, as a stream's beginning writes it."""
    sink = settings_.target.open()
    accounts = tuple(Account("t", partition, 0, 0) for partition in range(2))
    sink.commit(Table("orders", (), pa.schema([])), [], Commit("j", accounts))
    return sink


def job(folder):
    target = Target("duckdb", {"path": str(folder / "out.duckdb")})
    letters = DeadLetterFiles(letters_at(folder / "dead"), "j", datetime.now(UTC))
    return CommitSettings(job="j", routes={"orders": ROUTE}, target=target, dead_letters=letters)


def table_of(sink):
    return sorted((row["id"], row["v"]) for batch in sink.scan("orders") for row in batch.to_pylist())


def oracle(ends):
    rows = {}
    for partition, end in enumerate(ends):
        for offset in range(end):
            rows[offset % 5 + 10 * partition] = offset
    return sorted(rows.items())


@st.composite
def histories(draw):
    """Ends of two partitions; their offsets cut into spans, shuffled into bundles, dealt to panes."""
    ends = draw(st.tuples(st.integers(1, 60), st.integers(0, 60)))
    spans = []
    for partition, end in enumerate(ends):
        cuts = sorted({0, end, *draw(st.lists(st.integers(0, end), max_size=8))})
        spans += [(partition, first, stop) for first, stop in itertools.pairwise(cuts)]
    spans = draw(st.permutations(spans))
    bundles: list[list[tuple[int, int, int]]] = [[]]
    for span in spans:
        if draw(st.booleans()):
            bundles.append([])
        bundles[-1].append(span)
    panes = [[] for _ in range(draw(st.integers(1, 3)))]
    for bundle in bundles:
        draw(st.sampled_from(panes)).append(bundle)
    return ends, [[bundle_of(*bundle) for bundle in pane if bundle] for pane in panes]


def held(*bundles, since=None):
    return [WaitingBundle(time.time() if since is None else since, bundle) for bundle in bundles]


def committed(sink, settings_, progress, *bundles):
    """What these bundles come to; none may be left."""
    found, left = commit_ready(sink, settings_, "orders", progress, held(*bundles))
    assert left == []
    return found


@given(histories())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_and_any_panes_end_in_the_oracles_table(tmp_path, history):
    ends, panes = history
    folder = tmp_path / uuid.uuid4().hex
    folder.mkdir()
    settings_ = job(folder)
    sink, progress, found, left = anchored(settings_), TableProgress(), [], []
    for number, bundles in enumerate(panes):
        # Half of the panes reach a process that knows nothing of those before.
        progress = TableProgress() if number % 2 == 0 else progress
        outcomes, left = commit_ready(sink, settings_, "orders", progress, [*left, *held(*bundles)])
        found += outcomes
    assert left == []
    assert table_of(sink) == oracle(ends)
    partitions = [TopicPartition("t", 0), TopicPartition("t", 1)]
    ledger = sink.ledger("j", "orders", partitions).next
    assert [ledger.get(source, 0) for source in partitions] == list(ends)
    accounts = [account for outcome in found for account in outcome.accounts]
    assert sum(account.read for account in accounts) == sum(ends)
    assert not any(account.balance for account in accounts)
    sink.close()


def test_a_replayed_load_changes_nothing(tmp_path):
    settings_ = job(tmp_path)
    sink = settings_.target.open()
    committed(sink, settings_, TableProgress(), bundle_of((0, 0, 30)), bundle_of((0, 30, 40)))
    (again,) = committed(sink, settings_, TableProgress(), bundle_of((0, 10, 40)))
    assert again.accounts[0].applied == 0
    (later,) = committed(sink, settings_, TableProgress(), bundle_of((0, 35, 50)))
    assert later.accounts[0].stop == 50
    assert table_of(sink) == oracle((50,))
    sink.close()


def test_a_gap_behind_the_ledger_is_refused_with_the_offsets_and_stops_the_table(tmp_path):
    settings_, progress = job(tmp_path), TableProgress()
    sink = settings_.target.open()
    committed(sink, settings_, progress, bundle_of((0, 0, 10)))
    waiting = held(bundle_of((0, 12, 20)), since=time.time() - GAP_SECONDS)
    (failure,), _ = commit_ready(sink, settings_, "orders", progress, waiting)
    assert isinstance(failure, Failure) and isinstance(failure.error, LedgerGapError)
    assert "the ledger of t[0] stands at 10, but what the runner brings begins at 12" in str(failure.error)
    (after,) = committed(sink, settings_, progress, bundle_of((0, 10, 12)))
    assert after.error is failure.error
    assert table_of(sink) == oracle((10,))
    sink.close()


def test_what_does_not_continue_the_ledger_is_held_for_those_between(tmp_path):
    settings_, progress = job(tmp_path), TableProgress()
    sink = settings_.target.open()
    committed(sink, settings_, progress, bundle_of((0, 0, 10)))
    later = bundle_of((0, 30, 40))
    found, left = commit_ready(sink, settings_, "orders", progress, held(bundle_of((0, 10, 20)), later))
    assert [part.bundle for part in left] == [later]
    assert found[0].accounts[0].stop == 20
    found, left = commit_ready(sink, settings_, "orders", progress, left)
    assert (found, [part.bundle for part in left]) == ([], [later])
    (outcome,) = committed(sink, settings_, progress, *[part.bundle for part in left], bundle_of((0, 20, 30)))
    assert outcome.accounts[0].stop == 40
    assert table_of(sink) == oracle((40,))
    sink.close()


class State:
    """A runner's bag and timer of one key."""

    def __init__(self):
        self.bag, self.due = [], None

    def read(self):
        return list(self.bag)

    def add(self, part):
        self.bag.append(part)

    def clear(self):
        self.bag.clear()

    def set(self, when):
        self.due = when


def test_held_loads_are_in_the_runners_state_until_they_are_committed(tmp_path):
    """So a worker may die with none of them lost."""
    state = State()

    def worker():
        found = StreamCommit(job(tmp_path), uuid.uuid4().hex)
        found.setup()
        return found

    first, second = worker(), worker()
    assert list(first.process(("orders", [bundle_of((0, 0, 10)), bundle_of((0, 20, 30))]), state, state))
    assert len(state.bag) == 1 and state.due > time.time()
    first.teardown()
    assert list(second.try_again("orders", state, state)) == []
    assert len(state.bag) == 1
    (outcome,) = second.process(("orders", [bundle_of((0, 10, 20))]), state, state)
    assert (state.bag, outcome.accounts[0].stop) == ([], 30)
    second.teardown()


def test_a_table_put_back_is_noticed(tmp_path):
    """The progress remembers how far it came; where the ledger says less, the ledger is right."""
    settings_, progress = job(tmp_path), TableProgress()
    sink = settings_.target.open()
    committed(sink, settings_, progress, bundle_of((0, 0, 10)))
    sink.close()
    (tmp_path / "out.duckdb").unlink()
    sink = settings_.target.open()
    sink.commit(Table("orders", (), pa.schema([])), [], Commit("j", (Account("t", 0, 0, 4),)))
    waiting = held(bundle_of((0, 10, 20)), since=time.time() - GAP_SECONDS)
    (failure,), _ = commit_ready(sink, settings_, "orders", progress, waiting)
    assert "stands at 4, but what the runner brings begins at 10" in str(failure.error)
    sink.close()


class Away:
    """A target that refuses the first commits, as one does that is being restarted."""

    def __init__(self, sink, times):
        self._sink, self.times = sink, times

    def __getattr__(self, name):
        return getattr(self._sink, name)

    def commit(self, table, staged, order):
        self.times -= 1
        if self.times >= 0:
            raise TransientSinkError("the server is being restarted")
        return self._sink.commit(table, staged, order)


def test_a_target_that_is_away_is_waited_for_and_then_given_back_to_the_runner(tmp_path, monkeypatch):
    monkeypatch.setattr(stream_commit, "PATIENT", Backoff(0.01, 0.01, 0.02))
    monkeypatch.setattr("millrace.transforms.retry.BRIEF", Backoff(0.01, 0.01, 0))
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    settings_ = job(tmp_path)
    sink = Away(settings_.target.open(), 2)
    (outcome,) = committed(sink, settings_, TableProgress(), bundle_of((0, 0, 10)))
    assert outcome.accounts[0].applied == 5
    sink.times = 3
    progress = TableProgress()
    with pytest.raises(TransientSinkError):
        committed(sink, settings_, progress, bundle_of((0, 10, 20)))
    assert progress.stopped is None
    committed(sink, settings_, progress, bundle_of((0, 10, 20)))
    assert table_of(sink) == oracle((20,))
    sink.close()


def test_a_table_that_cannot_be_decoded_stops_and_loses_nothing(tmp_path):
    settings_, progress = job(tmp_path), TableProgress()
    sink = settings_.target.open()
    committed(sink, settings_, progress, bundle_of((0, 0, 10)))
    broken = replace(bundle_of((0, 10, 20)), failure=Failure("orders", IncompatibleSchemaError("no")))
    assert committed(sink, settings_, progress, broken) == [broken.failure]
    assert committed(sink, settings_, progress, bundle_of((0, 20, 30))) == [broken.failure]
    assert sink.ledger("j", "orders", [TopicPartition("t", 0)]).next == {TopicPartition("t", 0): 10}
    sink.close()


@given(histories(), st.integers(0, 20))
def test_what_continues_is_closed_and_as_large_as_can_be(history, known):
    waiting = [WaitingBundle(0.0, bundle) for pane in history[1] for bundle in pane]
    following = {TopicPartition("t", 0): known, TopicPartition("t", 1): known}
    kept = continuing(waiting, following)
    covered = {
        (span.source, offset) for one in kept for span in one.bundle.spans for offset in range(span.first, span.stop)
    }
    for one in kept:
        for span in one.bundle.spans:
            assert all((span.source, offset) in covered for offset in range(following[span.source], span.first))
    for left in (one for one in waiting if one not in kept):
        assert left not in continuing([*kept, left], following)
