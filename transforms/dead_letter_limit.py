"""`max_dead_letters`: how many dead letters a table may have before it stops."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, Self

from ..schemas.errors import DeadLetterLimitError, JobError
from ..schemas.model.dead_letter import DeadLetter
from ..schemas.plurals import counted
from .dead_letters import place

FEWEST_READ: Final = 1_000
FEWEST_READ_BY_DEFAULT: Final = 200
EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class Limit:
    """`max_dead_letters`: a whole number, or a percentage of the messages read; None is no limit.

    A percentage is of at least 1,000 messages, so that the first bad message of a small run does not stop it;
    `0%` and `0` stop at the first. A limit that the job file does not give (`given` False) is of at least 200, and
    also stops a table whose first messages are all dead: a wrong registry, folder of schemas or key would drain the
    stream.
    """

    count: int | None = None
    percent: Decimal | None = None
    given: bool = True

    @classmethod
    def parse(cls, value: object) -> Self:
        """From the job file: `100`, `"100"`, `0.1%`, or None. Raises JobError."""
        text = str(value).strip()
        if value is None:
            return cls()
        if re.fullmatch(r"\d+", text):
            return cls(count=int(text))
        try:
            percent = Decimal(text.removesuffix("%").strip())
        except InvalidOperation:
            percent = Decimal(-1)
        if not text.endswith("%") or not percent.is_finite() or not 0 <= percent <= 100:
            raise JobError(f"max_dead_letters: {text!r} is neither a whole number nor a percentage such as 0.1%")
        return cls(percent=percent)

    def __str__(self) -> str:
        """As the job file gives it."""
        setting = f"{self.percent}%" if self.percent is not None else str(self.count)
        return setting if self.given else f"{setting} (the default)"

    def allowed(self, read: int) -> int | None:
        """How many dead letters are good among so many messages; None is any number."""
        if self.percent is not None:
            return int(self.percent * max(read, FEWEST_READ if self.given else FEWEST_READ_BY_DEFAULT) / 100)
        return self.count

    def check(self, dead: int, read: int, letters: Sequence[DeadLetter] = ()) -> None:
        """Raise DeadLetterLimitError with the counts and the first of `letters`, where there are too many."""
        allowed = self.allowed(read)
        if allowed is None or dead <= allowed:
            return
        raise DeadLetterLimitError(
            f"{counted(dead, 'dead letter')} among {counted(read, 'message')}, and max_dead_letters: {self} allows "
            f"{allowed:,}{_examples(letters)}"
        )

    def check_first(self, read: int, letters: Sequence[DeadLetter]) -> None:
        """Raise DeadLetterLimitError where all `read` messages, a table's first, are dead and no limit is given."""
        if self.given or not letters or len(letters) < read:
            return
        raise DeadLetterLimitError(
            f"all of the first {read:,} messages are dead letters, so nothing was committed: the job file may name the "
            "wrong registry, schemas, encoding or key. Mend it and run again; if they are to be left out, say how many "
            f"are good: max_dead_letters: 100%{_examples(letters)}"
        )


DEFAULT_LIMIT: Final = Limit(percent=Decimal(50), given=False)
"""Of a job that names none: where most messages are dead, the job or its registry is wrong and not the messages.

A bad producer among good ones, or a schema that comes late, makes fewer: the good rows go on, and what is dead can be
replayed.
"""


def _examples(letters: Sequence[DeadLetter]) -> str:
    lines = "".join(f"\n  {place(letter)}: {letter.step}: {letter.error}" for letter in letters[:EXAMPLES])
    return f"; the first:{lines}" if lines else ""
