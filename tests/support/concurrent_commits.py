"""Commits during which something else happens, such as the commit of another writer."""

from collections.abc import Callable
from dataclasses import dataclass, field

from millrace.schemas.model.ledger import Commit


@dataclass(frozen=True)
class Meddling(Commit):
    """Each time that its accounts are made full, the last of `meddle` is taken off and called."""

    meddle: list[Callable[[], object]] = field(default_factory=list)

    def full_accounts(self, applied, superseded):
        settled = super().full_accounts(applied, superseded)
        if self.meddle:
            self.meddle.pop()()
        return settled
