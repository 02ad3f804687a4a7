"""What the newest schemas would do to each table of a job, and what people changed in the target; changes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ...schemas.errors import DeniedTopicsError, IncompatibleSchemaError, JobError, SchemaError, UnknownSchemaError
from ...schemas.merging.renaming import renamed_table
from ...schemas.merging.schema_changes import Label, PlannedChange, Policies, schema_changes
from ...schemas.merging.wanted_table import wanted_table
from ...schemas.model.route import Route
from ...schemas.model.table import Table
from ...transforms.retry import retried
from ...transforms.sinks import Sink
from ...transforms.sinks.shared.drift import Drift, InspectedTable, inspect
from ...transforms.sinks.shared.lookup import widening_of
from ...transforms.sources.source import SourceConnection
from ...transforms.steps.block_decoders import BlockDecoders
from ..job.model import Job
from .job_decoders import decoders_of
from .job_parts import target_of
from .newest_columns import NewestColumns, newest_columns
from .start_offsets import by_table, find_routes


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePlan:
    """What would become of one table: `origins` say by topic where its columns are known from.

    `drift` are the changes that people made by hand. `held` is what the last commit left, None where there is no table
    yet; `planned` what it becomes by all that needs no decision, None where no schema is known.
    """

    table: str
    origins: Mapping[str, str]
    changes: Sequence[PlannedChange]
    drift: Sequence[PlannedChange] = ()
    held: Table | None = None
    planned: Table | None = None

    @property
    def all(self) -> list[PlannedChange]:
        """What people did, then what schemas would do."""
        return [*self.drift, *self.changes]


@dataclass(slots=True)
class _Topics:
    """What the topics of a job bring, asked once each; `refused` says why a topic brings nothing."""

    decoders: BlockDecoders
    connection: SourceConnection
    found: dict[str, NewestColumns] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def ask(self, topic: str, route: Route) -> None:
        try:
            self.found[topic] = newest_columns(self.decoders, self.connection, topic, route)
        except (SchemaError, UnknownSchemaError, IncompatibleSchemaError, DeniedTopicsError) as error:
            self.refused[topic] = str(error)

    def refusals(self, route: Route) -> list[PlannedChange]:
        """The topics of the table whose newest schema brings nothing."""
        told = [(topic, self.refused[topic]) for topic in route.topics if topic in self.refused]
        return [PlannedChange("", Label.LOSES, f"no message of {topic} could be applied: {why}") for topic, why in told]

    def wanted(self, route: Route) -> list[Table]:
        """The tables that the topics ask for. Raises IncompatibleSchemaError where the job's renames cannot be."""
        mine = [self.found[topic] for topic in route.topics if topic in self.found]
        return [wanted_table(route, one) for newest in mine for one in newest.found]


def plan_tables(job: Job, schemas: Path | None = None) -> list[TablePlan]:
    """A plan for each table of the job, with the schemas of this folder where one is named.

    Raises JobError, SourceError, SinkError, RegistryError.
    """
    decoders = decoders_of(_with_schemas(job, schemas))
    with (
        closing(decoders.source) as source,
        closing(source.connect()) as connection,
        closing(target_of(job).open()) as sink,
    ):
        routes = find_routes(job, connection)
        topics = _Topics(decoders, connection)
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
    changes, planned = topics.refusals(route), None
    try:
        wanted = topics.wanted(route)
        held = None if known.table is None else renamed_table(known.table, dict(route.renames))
    except IncompatibleSchemaError as error:
        changes.append(PlannedChange("", Label.DECIDE, str(error)))
        wanted = []
    if wanted:
        changes += _renames(known.table, held)
        # A sink of a package may not tell the key.
        held = held if held is None or held.key else replace(held, key=wanted[0].key)
        found = schema_changes(held, wanted, Policies(route.on_incompatible, widening_of(sink)))
        changes, planned = [*changes, *found.changes], found.table
    return TablePlan(
        table=route.table,
        origins={topic: topics.found[topic].origin for topic in route.topics if topic in topics.found},
        changes=changes,
        drift=list(_drift(known)),
        held=known.table,
        planned=planned,
    )


def _renames(before: Table | None, after: Table | None) -> Iterable[PlannedChange]:
    if before is not None and after is not None:
        for old, new in zip(before.columns.names, after.columns.names, strict=True):
            if old != new:
                yield PlannedChange(old, Label.SAFE, f"is renamed to {new}, and keeps its values")


def _drift(known: InspectedTable) -> Iterable[PlannedChange]:
    for one in known.drift:
        yield PlannedChange(one.column, _label(one), one.said, "" if not one.stops else "commits stop until it is back")


def _label(drift: Drift) -> Label:
    return Label.LOSES if drift.loses else Label.DECIDE if drift.stops else Label.SAFE
