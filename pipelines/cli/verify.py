"""`millrace verify`: the proof for each table of a job, and its report for people."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial

import pyarrow as pa

from ...schemas.errors import TableError
from ...schemas.model.route import OnTruncate, Route
from ...schemas.secrets import resolved
from ...transforms.proof.changes import Rules
from ...transforms.proof.report import Report, Verdict
from ...transforms.proof.verify import Proof, verify
from ...transforms.sinks import Sink, open_sink
from ...transforms.sources.kafka.cluster import open_broker
from ...transforms.sources.kafka.replay import KafkaReplay
from ..execution.start_offsets import by_table, find_routes
from ..job.formatting import aligned
from ..job.model import Job


def verify_job(job: Job) -> Iterator[Report]:
    """A report for each table, one after the other. Raises TableError for a table that no run has made yet."""
    with open_broker(job.source.kafka) as broker:
        routes = by_table(find_routes(job, broker))
    with closing(open_sink(job.target.type, resolved(job.target.settings()))) as sink:
        for route in routes.values():
            yield verify(KafkaReplay(job.source.kafka), partial(_rows, sink, route.table), _proof(job, sink, route))


def _rows(sink: Sink, table: str, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    return sink.scan(table, columns) if table in sink.tables() else iter(())


def _proof(job: Job, sink: Sink, route: Route) -> Proof:
    ledger = sink.ledger(job.job, route.table, route.sources)
    if not ledger.next:
        raise TableError(
            f"table {route.table}: the target holds nothing of the job {job.job} yet; "
            f"fill it with: millrace run {job.file} --once"
        )
    rules = Rules(
        format=job.format.type,
        schemas=job.format.contracts(),
        key=route.key,
        truncate=route.on_truncate is OnTruncate.APPLY,
        framing=job.format.framing.value,
    )
    late = job.window.by == "event"
    return Proof(route.table, ledger.next, rules, ledger.start, route.key or (), mode=route.mode, late=late)


def report_lines(reports: Sequence[Report]) -> list[str]:
    """Verdicts by table, then examples of what differs, then one sentence."""
    verdicts = list(Verdict)
    rows = [
        [report.table, f"{report.read:,}", f"{report.expected:,}", f"{report.actual:,}"]
        + [f"{report.counts[verdict]:,}" for verdict in verdicts]
        for report in reports
    ]
    lines = aligned([["table", "messages", "expected", "in target", *verdicts], *rows])
    for report in reports:
        lines += [f"  {report.table}: {example}" for example in report.examples]
        if report.undecodable:
            lines.append(f"  {report.table}: {report.undecodable:,} messages cannot be decoded by the proof either")
    wrong = [report.table for report in reports if not report.ok]
    rows_proved = sum(report.counts[Verdict.MATCH] for report in reports)
    if wrong:
        return [*lines, f"DIFFERENT from the topics: {', '.join(wrong)}"]
    return [*lines, f"EQUAL: every value of {rows_proved:,} rows is what the topics say"]
