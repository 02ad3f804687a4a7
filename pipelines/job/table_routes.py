"""Which table each topic goes to."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ...schemas.errors import JobError
from ...schemas.model.change import PREFIX
from ...schemas.model.declared_type import DeclaredType
from ...schemas.model.epoch import OnNewSource
from ...schemas.model.incompatible_columns import OnIncompatible
from ...schemas.model.modes import SUFFIXES, Mode
from ...schemas.model.route import OnSnapshot, OnTruncate, OnTwoSources, OrderBy
from .model import Job
from .table_entry import TableEntry


@dataclass(frozen=True, kw_only=True)
class TableRoute:
    """A table and all topics of it, sorted. `key` None: the message key's fields.

    Of several `modes` the first is the table's, each further one that of a table beside it.
    """

    table: str
    key: tuple[str, ...] | None
    on_truncate: OnTruncate
    topics: tuple[str, ...]
    modes: tuple[Mode, ...] = (Mode.MIRROR,)
    on_new_source: OnNewSource = OnNewSource.STOP
    order_by: OrderBy = OrderBy.POSITION
    on_incompatible: OnIncompatible = OnIncompatible.STOP
    renames: tuple[tuple[str, str], ...] = ()
    columns: Mapping[str, DeclaredType] = field(default_factory=dict, hash=False)
    on_snapshot: OnSnapshot = OnSnapshot.UPSERT
    on_two_sources: OnTwoSources = OnTwoSources.STOP

    @property
    def copies(self) -> dict[str, Mode]:
        """The tables beside this one by name, with their modes."""
        return {self.table + SUFFIXES[mode]: mode for mode in self.modes[1:]}


def route(job: Job, topics: Iterable[str]) -> dict[str, TableRoute]:
    """The route of each topic: as `tables` says, else to the table named after its last part.

    Raises JobError where two topics that no item of `tables` joins end in one table; names that differ in case
    only are one table, as they are in most targets.
    """
    listed = {topic: entry for entry in job.tables for topic in entry.topics}
    found = sorted(set(topics))
    routes: dict[str, TableRoute] = {}
    owners: dict[str, str] = {}
    for topic in found:
        entry = listed.get(topic)
        if entry is None:
            routes[topic] = TableRoute(
                table=_default_name(job, topic),
                key=None,
                on_truncate=OnTruncate.FAIL,
                topics=(topic,),
                modes=job.target.modes,
                on_new_source=job.on_new_source,
                on_incompatible=job.on_incompatible,
            )
        else:
            routes[topic] = _listed(job, entry, found)
        for table in (routes[topic].table, *routes[topic].copies):
            other = owners.setdefault(table.casefold(), topic)
            if other not in routes[topic].topics:
                raise JobError(
                    f"{job.file}: the topics {other} and {topic} would both go to the table {table!r}; "
                    f"name one of them under tables: {{from: {topic}, to: ...}}"
                )
    return routes


def _listed(job: Job, entry: TableEntry, found: Collection[str]) -> TableRoute:
    """The route of an item of `tables`, of whose topics those that are `found` count."""
    return TableRoute(
        table=entry.to,
        key=entry.key,
        on_truncate=entry.on_truncate,
        topics=tuple(sorted(set(entry.topics) & set(found))),
        modes=entry.modes or job.target.modes,
        on_new_source=entry.on_new_source or job.on_new_source,
        order_by=entry.order_by,
        on_incompatible=entry.on_incompatible or job.on_incompatible,
        renames=tuple(entry.renames.items()),
        columns=entry.columns,
        on_snapshot=entry.on_snapshot,
        on_two_sources=entry.on_two_sources,
    )


def _default_name(job: Job, topic: str) -> str:
    name = topic.rpartition(".")[2]
    if not name or name.lower().startswith(PREFIX):
        raise JobError(
            f"{job.file}: the topic {topic} gives no table name; name it under tables: {{from: {topic}, to: ...}}"
        )
    return name
