"""What the newest schemas would do to each table of a job, and what people changed in the target; changes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ...schemas.errors import DeniedTopicsError, IncompatibleSchemaError, JobError, SchemaError, UnknownSchemaError
from ...schemas.merging.schema_changes import Label, PlannedChange, Policies, schema_changes
from ...schemas.merging.wanted_table import wanted_table
from ...schemas.model.route import Route
from ...schemas.model.table import Table
from ...transforms.retry import retried
from ...transforms.sinks import Sink
from ...transforms.sinks.shared.drift import Drift, InspectedTable, inspect
from ...transforms.sinks.shared.lookup import widening_of
from ...transforms.sources.source import SourceConnection
from ...transforms.steps.format import Format
from ..job.model import Job
from .job_format import format_of
from .job_parts import target_of
from .newest_columns import NewestColumns, newest_columns
from .start_offsets import by_table, find_routes


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePlan:
    """What would become of one table: `origins` say by topic where its columns are known from.

    `drift` are the changes that people made by hand. `wanted` are the tables that the topics ask for, `held` what the
    last commit left, None where there is no table yet.
    """

    table: str
    origins: Mapping[str, str]
    changes: Sequence[PlannedChange]
    drift: Sequence[PlannedChange] = ()
    wanted: Sequence[Table] = ()
    held: Table | None = None

    @property
    def all(self) -> list[PlannedChange]:
        """What people did, then what schemas would do."""
        return [*self.drift, *self.changes]


@dataclass(slots=True)
class _Topics:
    """What the topics of a job bring, asked once each; `refused` says why a topic brings nothing."""

    format: Format
    connection: SourceConnection
    found: dict[str, NewestColumns] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def ask(self, topic: str, route: Route) -> None:
        try:
            self.found[topic] = newest_columns(self.format, self.connection, topic, route)
        except (SchemaError, UnknownSchemaError, IncompatibleSchemaError, DeniedTopicsError) as error:
            self.refused[topic] = str(error)


def plan_tables(job: Job, schemas: Path | None = None) -> list[TablePlan]:
    """A plan for each table of the job, with the schemas of this folder where one is named.

    Raises JobError, SourceError, SinkError, RegistryError.
    """
    format = format_of(_with_schemas(job, schemas))
    with (
        closing(format.source) as source,
        closing(source.connect()) as connection,
        closing(target_of(job).open()) as sink,
    ):
        routes = find_routes(job, connection)
        topics = _Topics(format, connection)
        for topic, route in routes.items():
            topics.ask(topic, route)
        return [_plan(sink, topics, route) for route in by_table(routes).values()]


def _with_schemas(job: Job, folder: Path | None) -> Job:
    if folder is None:
        return job
    if job.source.typed:
        raise JobError(f"--schemas: a source of type {job.source.type} has types of its own")
    return job.model_copy(update={"format": replace(job.format, registry=None, schemas=folder.absolute())})


def _plan(sink: Sink, topics: _Topics, route: Route) -> TablePlan:
    known = retried(f"table {route.table}", partial(inspect, sink, route.table))
    mine = [topic for topic in route.topics if topic in topics.found]
    wanted = [wanted_table(route, one) for topic in mine for one in topics.found[topic].found]
    changes = [
        PlannedChange("", Label.LOSES, f"no message of {topic} could be applied: {topics.refused[topic]}")
        for topic in route.topics
        if topic in topics.refused
    ]
    if wanted:
        # A table that the last commit left without a key is one of a sink that does not tell keys.
        held = known.table if known.table is None or known.table.key else replace(known.table, key=wanted[0].key)
        changes += schema_changes(held, wanted, Policies(route.on_incompatible, widening_of(sink)))
    return TablePlan(
        table=route.table,
        origins={topic: topics.found[topic].origin for topic in mine},
        changes=changes,
        drift=list(_drift(known)),
        wanted=wanted,
        held=known.table,
    )


def _drift(known: InspectedTable) -> Iterable[PlannedChange]:
    for one in known.drift:
        yield PlannedChange(one.column, _label(one), one.said, "" if not one.stops else "commits stop until it is back")


def _label(drift: Drift) -> Label:
    return Label.LOSES if drift.loses else Label.DECIDE if drift.stops else Label.SAFE
