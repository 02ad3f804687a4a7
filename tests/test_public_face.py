"""What `import millrace` promises: its names, that it is cheap, and a job inside a pipeline of one's own."""

import subprocess
import sys
from uuid import uuid4

import apache_beam as beam
import pyarrow.compute as pc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from support.jobs import event, key, rows, send, write_job

import millrace
from millrace.transforms.steps.outcome_queue import OutcomeQueue, collect

FACE = {
    *("ApplyChanges", "Encoding", "EncodingSpec", "Envelope", "EnvelopeSpec", "Job", "JobError", "LostOffsetsError"),
    *("MemorySink", "MillraceError", "MissingExtraError", "ReadChanges", "RegistryError", "Report", "ScriptedSource"),
    *("Sink", "SinkError", "SinkSpec", "Source", "SourceError", "SourceSpec", "Summary", "TableError", "__version__"),
    *("check", "load_job", "run", "verify"),
}


def test_the_face_is_what_is_promised():
    assert set(millrace.__all__) == FACE
    for name in millrace.__all__:
        assert getattr(millrace, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Millrace'"):
        millrace.Millrace  # noqa: B018


def test_the_import_brings_no_library_along():
    code = "import sys, millrace; print([m for m in ('apache_beam', 'pyarrow', 'numba', 'kafka') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def through(job, step):
    """The job with a step of one's own between reading and applying; the outcomes."""
    name = uuid4().hex
    with beam.Pipeline(
        runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner", options=PipelineOptions([])
    ) as pipeline:
        changes = pipeline | millrace.ReadChanges(job) | "Own step" >> beam.MapTuple(step)
        _ = changes | millrace.ApplyChanges(job) | beam.ParDo(OutcomeQueue(name))
    return collect(name)


def masked(table, batch):
    """The names of rows in capitals; rows with a count above 5 are not wanted."""
    if not batch.num_rows or "name" not in batch.schema.names:
        return table, batch
    place = batch.schema.get_field_index("name")
    batch = batch.set_column(place, batch.schema.field(place), pc.utf8_upper(batch.column(place)))
    return table, batch.filter(pc.fill_null(pc.less_equal(batch.column("count"), 5), True))


@pytest.fixture
def job(embedded_broker, topic_name, tmp_path):
    topic = topic_name("orders")
    embedded_broker.create_topic(topic, 2)
    messages = [(i % 2, key(i), event("c", i, f"n{i}", i, at=i)) for i in range(1, 9)]
    messages += [(0, key(2), event("d", 2, at=20)), (0, key(2), None), (1, key(99), b"\0\0\0\0\2bad")]
    send(embedded_broker.bootstrap_servers, topic, messages)
    more = f"tables: [{{from: {topic}, to: orders}}]\n"
    return millrace.load_job(write_job(tmp_path, embedded_broker.bootstrap_servers, [topic], more=more))


def test_a_step_between_reading_and_applying_changes_rows_and_accounts_stay_right(job, tmp_path):
    (outcome,) = through(job, masked)
    assert rows(tmp_path, "orders") == [(1, "N1", 1), (3, "N3", 3), (4, "N4", 4), (5, "N5", 5)]
    sums = {
        name: sum(getattr(account, name) for account in outcome.accounts)
        for name in ("read", "applied", "superseded", "filtered", "dead")
    }
    assert sums == {"read": 11, "applied": 5, "superseded": 1, "filtered": 4, "dead": 1}
    summary = millrace.run(job)
    assert summary.total("read") == 0


def test_without_a_step_the_table_is_the_one_that_a_run_makes(job, tmp_path):
    through(job, lambda table, batch: (table, batch))
    (report,) = millrace.verify(job)
    assert report.ok, report
    assert {finding.level for finding in millrace.check(job)} <= {"ok", "warning"}


def test_a_batch_without_its_metadata_ends_the_pipeline_before_anything_is_committed(job, tmp_path):
    with pytest.raises(millrace.TableError, match=r"keep it: batch\.replace_schema_metadata"):
        through(job, lambda table, batch: (table, batch.replace_schema_metadata(None)))
    assert millrace.run(job).total("read") == 11
