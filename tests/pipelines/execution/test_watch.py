"""What a watched stream makes of what its workers post."""

from pathlib import Path
from threading import Event

from millrace.pipelines.execution.progress import Progress
from millrace.pipelines.execution.run_stream import StreamRun, _take
from millrace.pipelines.execution.summary import Summary
from millrace.pipelines.runners.prism import PrismRunner
from millrace.schemas.errors import IncompatibleSchemaError, LedgerGapError
from millrace.transforms.steps.decode import Failure
from millrace.transforms.steps.outcome_queue import OutcomeQueue


def posted(*failures):
    runner = PrismRunner(None)
    summary = Summary(job="j", file=Path("job.yaml"), dead_letters="dead")
    watch = StreamRun(None, runner, Progress(quiet=True), summary, Event())
    for failure in failures:
        assert list(OutcomeQueue(watch.post).process(failure)) == []
    _take(watch)
    return watch


def test_offsets_that_a_runner_leaves_out_are_read_again_from_the_ledger():
    watch = posted(Failure("t", LedgerGapError("10 to 20 are missing")))
    assert watch.gap
    assert not watch.summary.failed


def test_what_else_stops_a_table_stops_it_for_good():
    watch = posted(Failure("t", IncompatibleSchemaError("no")), Failure("t", IncompatibleSchemaError("later")))
    assert not watch.gap
    assert watch.summary.table("t").error == "no"
