"""What a runner says of a job that failed, told as one sentence."""

import pytest

from millrace.pipelines.runners.errors import error_from_runner
from millrace.schemas.errors import LostOffsetsError, MillraceError, RunnerError

JAVA = """org.apache.flink.runtime.client.JobInitializationException: Could not start the JobMaster.
\tat org.apache.flink.runtime.jobmaster.DefaultJobMasterServiceProcess.lambda$new$0(DefaultJobMasterServiceProcess.java)
Caused by: java.lang.IllegalStateException: {}
\tat org.apache.flink.runtime.checkpoint.Checkpoints.throwNonRestoredStateException(Checkpoints.java:240)
\t... 3 more
"""
FOREIGN = "Failed to rollback to savepoint s3://b/s. Cannot map checkpoint/savepoint state for operator bc76 to the new"


def test_an_error_of_millrace_is_found_in_the_report():
    report = (
        "Error from worker:\nmillrace.schemas.errors.LostOffsetsError: topic a is gone [while running 'Read blocks']"
    )
    found = error_from_runner("Prism", RuntimeError(report))
    assert isinstance(found, LostOffsetsError)
    assert str(found) == "topic a is gone"


def test_of_javas_stack_trace_only_the_innermost_cause_is_told():
    found = error_from_runner("Flink", RuntimeError(JAVA.format("no slots")))
    assert str(found) == "Flink ended the job: java.lang.IllegalStateException: no slots"


def test_a_savepoint_that_does_not_fit_is_told_with_the_way_on():
    found = error_from_runner("Flink", RuntimeError(JAVA.format(FOREIGN)))
    assert isinstance(found, RunnerError)
    assert "start it without --savepoint_path" in str(found)


@pytest.mark.parametrize("report", ["", "\n  \n"])
def test_a_report_that_says_nothing(report):
    assert type(error_from_runner("Flink", ValueError(report))) is MillraceError
    assert str(error_from_runner("Flink", ValueError(report))) == "Flink ended the job: ValueError"
