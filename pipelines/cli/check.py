"""`millrace check`: preflight; finds what would fail or lose data before a run does."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa

from ...schemas.errors import MillraceError, SchemaError, TableError, UnknownSchemaError
from ...schemas.model.block import Block
from ...schemas.model.change import POSITION_TYPE
from ...schemas.model.change_batch import ChangeColumns, change_batch
from ...schemas.model.ledger import TopicPartition
from ...schemas.model.position import ZERO
from ...schemas.model.route import Route
from ...schemas.model.table import Table
from ...schemas.plurals import counted
from ...schemas.secrets import shown
from ...transforms.dead_letters import open_letters, place
from ...transforms.sinks import Sink
from ...transforms.sources.database import Advising, Repeating
from ...transforms.sources.source import BlockReader, SourceConnection
from ..execution.job_parts import source_of, target_of
from ..execution.standings import standings, stopped_tables
from ..execution.start_offsets import by_table, find_read_plan, find_routes, held_offsets
from ..job.model import Job
from ..runners.findings import FAIL, OK, WARN, Finding

TOPICS_READ: Final = 20
PATIENCE_SECONDS: Final = 20.0

PROBE: Final = Table("millrace check", ("id",), pa.schema([pa.field("id", pa.int64())]))

_T = TypeVar("_T")
Ranges = dict[TopicPartition, tuple[int, int]]


def check(job: Job) -> list[Finding]:
    """All findings, in the order in which a run would meet them; commits nothing and creates no topic."""
    findings = [Finding(OK, "job file", f"{job.file}: job {job.job}, {_form(job)} to {job.target.type}")]
    schemas = list(_schemas(job))
    findings += schemas
    findings += _dead_letters(job)
    sink = _attempt(findings, "target", lambda: target_of(job).open())
    try:
        if sink is not None:
            findings += _target(sink)
        connection = _attempt(findings, "source", lambda: source_of(job).connect())
        if connection is not None:
            with closing(connection):
                findings += _source(job, connection, sink, decode=all(finding.level == OK for finding in schemas))
    finally:
        if sink is not None:
            sink.close()
    return findings


def _form(job: Job) -> str:
    return job.source.type if job.source.typed else job.format.envelope


def _attempt(findings: list[Finding], what: str, action: Callable[[], _T]) -> _T | None:
    """What the action gives; where it raises, a finding and None."""
    try:
        return action()
    except MillraceError as error:
        findings.append(Finding(FAIL, what, str(error)))
        return None


def _schemas(job: Job) -> Iterator[Finding]:
    if job.format.schemas is not None:
        findings: list[Finding] = []
        if _attempt(findings, "schemas", job.format.schema_store) is not None:
            findings.append(Finding(OK, "schemas", f"{job.format.schemas} can be read"))
        yield from findings
    elif job.format.registry is not None:
        registry = replace(job.format.registry, give_up_after=min(job.format.registry.give_up_after, PATIENCE_SECONDS))
        try:
            registry.by_id(1)
        except (UnknownSchemaError, SchemaError):
            pass
        except MillraceError as error:
            yield Finding(FAIL, "registry", str(error))
            return
        yield Finding(OK, "registry", f"{shown(registry.url)} answers")


def _dead_letters(job: Job) -> Iterator[Finding]:
    try:
        open_letters(job.dead_letters).check()
    except MillraceError as error:
        yield Finding(FAIL, "dead letters", str(error))
        return
    limit = f"max_dead_letters: {job.max_dead_letters}"
    yield Finding(OK, "dead letters", f"go to {job.dead_letters.path}; {limit}")


def _target(sink: Sink) -> Iterator[Finding]:
    try:
        tables = sink.tables()
        sink.stage(PROBE, _probe_row())
    except MillraceError as error:
        yield Finding(FAIL, "target", str(error))
        return
    yield Finding(OK, "target", f"can be written; tables: {', '.join(tables) or 'none yet'}")


def _probe_row() -> pa.RecordBatch:
    marks = ChangeColumns(op=np.zeros(1, np.int8), position=pa.array([ZERO], POSITION_TYPE), source=0)
    return change_batch({"id": pa.array([1])}, marks)


def _held(job: Job, topic: str, held: Ranges) -> str:
    """How much there is; places in a database's log do not tell."""
    if job.source.typed:
        return ""
    count = sum(high - low for source, (low, high) in held.items() if source.topic == topic)
    number = sum(source.topic == topic for source in held)
    return f"{counted(number, 'partition')}, {counted(count, 'offset')} held, "


def _source(job: Job, connection: SourceConnection, sink: Sink | None, decode: bool) -> list[Finding]:
    findings = [Finding(OK, "source", f"{source_of(job).where} answers")]
    what = "tables" if job.source.typed else "topics"
    routes = _attempt(findings, what, lambda: find_routes(job, connection))
    if routes is None:
        return findings
    if isinstance(connection, Advising):
        told = _attempt(findings, "source", partial(connection.advice, list(routes)))
        findings += [Finding(one.level, one.what, one.said, one.fix) for one in told or ()]
    found = _attempt(findings, "offsets", partial(held_offsets, connection, routes))
    if found is None:
        return findings
    held, denied = found
    findings += [Finding(FAIL, topic, str(error)) for topic, error in denied.items()]
    routes = {topic: route for topic, route in routes.items() if topic not in denied}
    for topic, route in routes.items():
        findings.append(
            Finding(OK, topic, f"{_held(job, topic, held)}to {', '.join(part.table for part in route.tables)}")
        )
    if sink is not None:
        findings += _positions(job, connection, sink, routes)
    if not decode or job.source.typed:
        return findings
    read = list(routes.items())[:TOPICS_READ]
    for topic, route in read:
        findings += _first_messages(job, topic, route, held)
    if len(routes) > len(read):
        findings.append(Finding(OK, "messages", f"only the first {TOPICS_READ} topics were read for this check"))
    return findings


def _positions(job: Job, connection: SourceConnection, sink: Sink, routes: dict[str, Route]) -> list[Finding]:
    findings: list[Finding] = []
    frontier = _attempt(findings, "ledger", lambda: find_read_plan(job, connection, sink, routes))
    if frontier is None:
        return findings
    findings += [
        Finding(FAIL, "ledger", str(error), "what was deleted cannot be read: fill the table anew")
        for error in frontier.lost.values()
    ]
    stopped = _attempt(findings, "tables", lambda: stopped_tables(job, standings(job, connection, sink))) or {}
    again = f"once that is mended: millrace run {shlex.quote(str(job.file))} --once"
    findings += [
        Finding(WARN, f"table {name}", f"stopped, since {note.since_text}: {note.reason}", again)
        for name, note in stopped.items()
        if name not in frontier.lost
    ]
    findings += _strangers(job, sink, routes)
    if isinstance(connection, Repeating) and connection.repeats:
        return [*findings, Finding(OK, "ledger", "the next run copies all rows")]
    lag = sum(frontier.end[source] - first for source, first in frontier.next.items())
    return [*findings, Finding(OK, "ledger", f"{counted(lag, 'offset')} to read from where the target stands")]


def _strangers(job: Job, sink: Sink, routes: dict[str, Route]) -> Iterator[Finding]:
    """Tables that are there already and that this job has never written: another job may keep them."""
    try:
        there = set(sink.tables())
        for name, route in by_table(routes).items():
            if name in there and not sink.ledger(job.job, name, route.sources).next:
                found = f"is in the target already, and the job {job.job} has never written it: another job may keep it"
                fix = "name another table with tables: [{from: TOPIC, to: NAME}], or the job as it was named before"
                yield Finding(WARN, f"table {name}", found, fix)
    except TableError:
        # Told already, with the table's ledger.
        return


def _first_messages(job: Job, topic: str, route: Route, held: Ranges) -> Iterator[Finding]:
    """Decode the first block of the topic's first partition that holds anything."""
    source = next((source for source, (low, high) in held.items() if source.topic == topic and low < high), None)
    if source is None:
        yield Finding(WARN, topic, "holds no messages: its format could not be checked", "run check again later")
        return
    low, high = held[source]
    reader = source_of(job).reader(source, low, high, PATIENCE_SECONDS)
    try:
        block = _block(reader)
        if block is not None:
            yield _decoded(job, topic, route, block)
    except MillraceError as error:
        yield Finding(FAIL, topic, str(error))
    finally:
        reader.close()


def _block(reader: BlockReader) -> Block | None:
    while not reader.done:
        block = reader.read(1.0)
        if block is not None and block.data:
            return block
    return None


def _decoded(job: Job, topic: str, route: Route, block: Block) -> Finding:
    # The compiled loops take most of a second to import: a check that decodes nothing does without them.
    from ..execution.job_decoders import decoders_of

    done = decoders_of(job).decoder(topic, route)(block)
    if done.other:
        return Finding(OK, topic, f"holds {done.other} and no changes of a table: they are left out")
    if not done.letters:
        return Finding(
            OK, topic, f"the first {counted(done.read, 'message')} can be decoded; key: {', '.join(done.key)}"
        )
    first = done.letters[0]
    some = f"{len(done.letters):,} of the first {counted(done.read, 'message')} cannot be decoded"
    found = f"{some}; {place(first)}: {first.error}"
    bad = len(done.letters) * 2 > done.read
    return Finding(FAIL if bad else WARN, topic, found, "" if bad else "they go to the dead letters")
