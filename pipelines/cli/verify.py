"""`millrace verify`: the proof for each table of a job, and its report for people."""

import shlex
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial

import pyarrow as pa

from ...schemas.encodings import ENCODINGS
from ...schemas.envelopes import ENVELOPES
from ...schemas.errors import JobError, MillraceError, SinkError, TableError
from ...schemas.merging.renaming import names_due
from ...schemas.model.incompatible_columns import OnIncompatible
from ...schemas.model.ledger import TopicPartition
from ...schemas.model.modes import Mode
from ...schemas.model.route import OnSnapshot, OnTruncate, OnTwoSources, OrderBy, Route
from ...schemas.plurals import counted
from ...transforms.dead_letter_marks import LetterMarks, read_marks
from ...transforms.dead_letters import read
from ...transforms.proof.message_reader import with_format
from ...transforms.proof.report import Outcome, Report, Verdict
from ...transforms.proof.rules import Rules
from ...transforms.proof.verify import Proof, Tell, verify
from ...transforms.retry import BETWEEN, Retry, retried
from ...transforms.sinks import SINKS, TableSnapshot
from ...transforms.sinks.shared.guarantees import Promise
from ...transforms.stop_notes import StopNotes
from ..execution.job_parts import source_of, target_of
from ..execution.start_offsets import by_table, find_routes
from ..job.formatting import aligned
from ..job.model import Job
from .verify_rows import verify_rows


def verify_job(job: Job, tell: Tell = lambda text: None) -> Iterator[Report]:
    """A report for each table, one after the other; `tell` is called now and then with how far it is.

    What is wrong with one table stands in its report and does not end the proof of the others. Raises SourceError where
    the topics cannot be listed, SinkError where the target cannot be opened.
    """
    if job.source.typed:
        yield from verify_rows(job, tell)
        return
    source = source_of(job)
    with closing(source.connect()) as connection:
        routes = by_table(find_routes(job, connection))
    notes = StopNotes(job.dead_letters, job.job).read()
    marks = _marks(job)
    left_out = marks.discarded if marks.any_discarded() else None
    with closing(target_of(job).open()) as sink:
        retried("waiting for the target", sink.tables, Retry(BETWEEN))
        for name, route in routes.items():
            stops: dict[TopicPartition, int] | None = None
            try:
                with sink.snapshot(name) as table:
                    stops = dict(table.ledger(job.job, route.sources).next)
                    proof = replace(_proof(job, table, route), left_out=left_out)
                    report = verify(source.message_log(), partial(_rows, table), proof, tell)
            except JobError:
                raise
            except (MillraceError, pa.ArrowException) as error:
                report = Report(name, error=str(error))
            if name in notes and (stops is None or notes[name].stands(stops)) and (report.ahead or report.error):
                report.stopped = f"stopped, since {notes[name].since_text}: {notes[name].reason}"
            yield report


def _marks(job: Job) -> LetterMarks:
    """What became of dead letters; nothing where their place does not answer."""
    try:
        return read_marks(job.dead_letters, job.job)
    except SinkError:
        return LetterMarks([])


def _rows(table: TableSnapshot, columns: Sequence[str] | None) -> Generator[pa.RecordBatch]:
    if table.there:
        yield from table.scan(columns)


def _proof(job: Job, table: TableSnapshot, route: Route) -> Proof:
    ledger = table.ledger(job.job, route.sources)
    if not ledger.next and table.there:
        raise TableError(f"table {route.table}: the target has such a table, but nothing of the job {job.job} is in it")
    stops = ledger.next or dict.fromkeys(route.sources, 0)
    late = job.window.by == "event"
    epochs = {source: mark.epochs.begins for source, mark in ledger.marks.items() if mark.epochs.begins}
    columns = _columns(table)
    refuse_old_names(route, columns)
    ended = {name: one for mark in ledger.marks.values() for name, one in mark.ended.items()}
    rules = replace(_rules(job, route, epochs, columns), ended=ended)
    return Proof(route.table, stops, rules, ledger.start, route.key or (), mode=route.mode, late=late)


def refuse_old_names(route: Route, columns: pa.Schema | None) -> None:
    """Raises TableError where the table has columns under names that the job file renames."""
    due = {} if columns is None else names_due(route.table, columns.names, (), dict(route.renames))
    if due:
        said = ", ".join(f"{old}: {new}" for old, new in due.items())
        raise TableError(
            f"table {route.table}: renames: {{{said}}} is not done yet: millrace apply does it, and the next run"
        )


def _columns(table: TableSnapshot) -> pa.Schema | None:
    """The table's columns; None where it is not there, or has no row."""
    with closing(_rows(table, None)) as rows:
        first = next(rows, None)
    return None if first is None else first.schema


def _rules(
    job: Job, route: Route, epochs: Mapping[TopicPartition, Sequence[tuple[int, int]]], columns: pa.Schema | None
) -> Rules:
    """Raises JobError where neither the proof nor the envelope's package has a reader of the job's format."""
    written = (job.format.encoding, job.format.envelope)
    rules = Rules(
        format="own",
        schemas=job.format.schema_store() if ENCODINGS.find(written[0]).schemas else None,
        encoding=written[0],
        key=route.key,
        truncate=route.on_truncate is OnTruncate.APPLY,
        framing=job.format.framing,
        on_unrepresentable=job.on_unrepresentable,
        epochs=epochs,
        by_time=route.order_by is OrderBy.TIMESTAMP,
        by_clock=route.on_two_sources is OnTwoSources.NEWEST_TIME,
        separate_keys=route.on_two_sources is OnTwoSources.SEPARATE_KEYS and route.mode is not Mode.APPEND,
        columns=columns,
        declared=route.columns,
        refuses_others=route.on_incompatible is OnIncompatible.DEAD_LETTER,
        renames=dict(route.renames),
        replaces=route.on_snapshot is OnSnapshot.REPLACE and route.mode is not Mode.APPEND,
    )
    said = job.format.encoding_options.model_dump()
    if "binary" in said:
        rules = replace(rules, json_decimals=str(said["decimals"]), json_binary=str(said["binary"]))
    if "key_message" in said:
        rules = replace(rules, message=said["message"], key_message=said["key_message"])
    rules = with_format(rules, written[1], job.format.envelope_options.model_dump())
    if rules.format != "own":
        return rules
    reader = ENVELOPES.find(written[1]).proof_reader(written[0], job.format.envelope_options)
    if reader is None:
        raise JobError(
            f"{job.file}: format: the proof cannot read the encoding {written[0]} with the envelope {written[1]}"
        )
    return replace(rules, reader=reader)


def report_lines(reports: Sequence[Report], job: Job) -> list[str]:
    """Verdicts by table, then what differs and what could not be proved, then one sentence, then what to do."""
    lines = aligned([["table", "messages", "expected", "in target", *Verdict], *map(_cells, reports)])
    for report in reports:
        lines += [f"  {report.table}: {example}" for example in report.examples]
        if report.undecodable:
            lines.append(
                f"  {report.table}: {counted(report.undecodable, 'message')} cannot be decoded by the proof either"
            )
        if report.counts[Verdict.UNPROVEN]:
            lines.append(f"  {report.table}: unproven rows rest on messages that the topics no longer hold")
        if report.counts[Verdict.DISPUTED]:
            lines.append(
                f"  {report.table}: of a disputed key the table shows another message than the log's last one, "
                "or two sources wrote it"
            )
        if report.stopped:
            unread = f"; {counted(report.ahead, 'message')} wait behind it" if report.ahead else ""
            lines.append(f"  {report.table}: {report.stopped}{unread}")
        if report.reason:
            lines.append(f"  {report.table}: not proved: {report.reason.removeprefix(f'table {report.table}: ')}")
    return [*lines, *_verdict(reports, "rows of the source" if job.source.typed else "topics"), *_next(reports, job)]


def _open_letters(job: Job) -> bool:
    with suppress(MillraceError):
        marks = _marks(job)
        return any(marks.of(one.letter, one.written_at) is None for one in read(job.dead_letters, job.job))
    return False


def _cells(report: Report) -> list[str]:
    numbers = [report.read, report.expected, report.actual, *(report.counts[verdict] for verdict in Verdict)]
    return [report.table, *("-" if report.error else f"{number:,}" for number in numbers)]


def _verdict(reports: Sequence[Report], whose: str) -> Iterator[str]:
    tables = {outcome: [one.table for one in reports if one.outcome is outcome] for outcome in Outcome}
    if tables[Outcome.DIFFERENT]:
        yield f"DIFFERENT from the {whose}: {', '.join(tables[Outcome.DIFFERENT])}"
    if tables[Outcome.UNPROVED]:
        yield f"NOT PROVED: {', '.join(tables[Outcome.UNPROVED])}"
    if tables[Outcome.EQUAL]:
        rows = sum(report.counts[Verdict.MATCH] for report in reports if report.ok)
        some = f" of {', '.join(tables[Outcome.EQUAL])}" if len(tables[Outcome.EQUAL]) < len(reports) else ""
        yield f"EQUAL: every value of {counted(rows, 'row')}{some} is what the {whose} say"


def _next(reports: Sequence[Report], job: Job) -> Iterator[str]:
    """Commands, in the order in which they are typed."""
    file = shlex.quote(str(job.file))
    if any(report.stopped for report in reports):
        yield f"next, once that is mended: millrace run {file} --once"
    elif any(not report.error and report.reason and report.ahead for report in reports):
        yield f"next: millrace run {file} --once"
    if any(report.outcome is Outcome.DIFFERENT for report in reports) and _open_letters(job):
        yield "there are open dead letters: mend their cause, and bring them in again"
        yield f"next: millrace dead-letters replay {file} && millrace verify {file}"
    resyncs = Promise.RESYNCS not in SINKS.find(job.target.type).exceptions
    for report in reports:
        if report.outcome is Outcome.DIFFERENT and resyncs:
            again = f"millrace resync {file} --table {shlex.quote(report.table)}"
            yield f"to mend {report.table}, build it again beside and swap: {again} --plan says what that would do"
            yield f"next: {again} && millrace verify {file}"
        elif report.outcome is Outcome.DIFFERENT and job.source.typed:
            yield f"to mend {report.table}, remove it from the target and copy it again: millrace run {file} --once"
        elif report.outcome is Outcome.DIFFERENT:
            topics = sorted({place.rpartition("[")[0] for place in report.offsets})
            entry = f"{{from: [{', '.join(topics)}], to: {report.table}_2}}"
            yield f"to mend {report.table}, fill it anew beside: write {entry} under tables in {file}, then"
            yield f"next: millrace run {file} --once && millrace verify {file}"
