"""Runners that do not read a database: said by `check` as by `run`."""

import pytest

from millrace.pipelines.job.load import load_job
from millrace.pipelines.runners.registry import RUNNERS, open_runner, runner_findings
from millrace.schemas.errors import JobError

JOB = """job: shop
source: {type: postgres, host: db-1, database: shop, username: millrace, tables: [public.orders]}
target: {type: duckdb, path: w.duckdb}
"""


@pytest.mark.parametrize("runner", sorted(RUNNERS))
def test_a_source_that_only_the_direct_runner_reads_is_refused(runner, tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(JOB)
    (finding,) = runner_findings(runner, load_job(file), [])
    assert (finding.level, finding.fix) == ("fail", "leave --runner out")
    assert finding.found == f"{runner}: a source of type postgres is read by DirectRunner only"
    with pytest.raises(JobError, match=f"--runner {runner}: a source of type postgres is read by DirectRunner only"):
        open_runner(runner, load_job(file), [])
