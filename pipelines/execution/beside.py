"""One table of a job that is built again beside the live one: what is read for it, and up to where."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...schemas.model.ledger import TopicPartition
from ...schemas.model.route import Route
from .start_offsets import ReadPlan


@dataclass(frozen=True, slots=True)
class Beside:
    """A table of a job that is built again under another name; with `stops` up to these offsets alone."""

    table: str
    name: str
    stops: Mapping[TopicPartition, int] | None = None

    def routes(self, routes: Mapping[str, Route]) -> dict[str, Route]:
        """Of these routes that of the table alone, by topic, which fills the other name."""
        found: dict[str, Route] = {}
        for topic, first in routes.items():
            for part in first.tables:
                if part.table == self.table:
                    found[topic] = replace(part, table=self.name, copies=(), copy=False)
        return found

    def limited(self, plan: ReadPlan) -> ReadPlan:
        """The plan up to the stops; nothing of a partition that has none."""
        if self.stops is None:
            return plan
        ends = {source: min(plan.end[source], self.stops.get(source, first)) for source, first in plan.next.items()}
        return replace(plan, end=ends)
