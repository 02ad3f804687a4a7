"""What a proof found: verdict, counts, examples."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class Verdict(StrEnum):
    """What became of a row.

    STALE holds an older version than the stream, DIFFERS other values at its position. UNPROVEN rests on messages
    that the topic no longer holds: nothing speaks against it. DISPUTED counts keys, beside what their rows count as:
    the last message of the key is not the one that the positions call the newest.
    """

    MATCH = "MATCH"
    MISSING = "MISSING"
    EXTRA = "EXTRA"
    STALE = "STALE"
    DIFFERS = "DIFFERS"
    UNPROVEN = "UNPROVEN"
    DISPUTED = "DISPUTED"


HARMLESS: Final = frozenset({Verdict.MATCH, Verdict.UNPROVEN})


class Outcome(StrEnum):
    """What can be said of a table: UNPROVED where there was nothing to compare, or an error."""

    EQUAL = "EQUAL"
    DIFFERENT = "DIFFERENT"
    UNPROVED = "UNPROVED"


@dataclass(frozen=True, slots=True)
class Example:
    """One row that is not right: its key, and the first value that shows it."""

    verdict: Verdict
    key: Mapping[str, Any]
    column: str | None
    expected: Any
    actual: Any
    note: str = ""

    def __str__(self) -> str:
        key = ", ".join(f"{name}={value!r}" for name, value in self.key.items())
        where = f" {self.column}: expected {self.expected!r}, found {self.actual!r}" if self.column else ""
        return f"{self.verdict} {key}{where}{f' ({self.note})' if self.note else ''}"


@dataclass(slots=True)
class Report:
    """The proof for one table. `expected` and `actual` count rows; `read`, `undecodable` and `ahead` count messages.

    `offsets` are by `topic[partition]` the first and the next offset that were compared, `ahead` are the messages
    after them, which are not in the target yet. `cut`: the topics no longer hold all that the table was made of.
    `error`: why the table could not be proved, in a sentence. `stopped`: since when and why the run has left the table
    where it is.
    """

    table: str
    counts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(Verdict, 0))
    expected: int = 0
    actual: int = 0
    examples: list[Example] = field(default_factory=list)
    read: int = 0
    undecodable: int = 0
    offsets: dict[str, tuple[int, int]] = field(default_factory=dict)
    ahead: int = 0
    cut: bool = False
    error: str = ""
    stopped: str = ""

    @property
    def outcome(self) -> Outcome:
        """Equal only where something was compared, or where there is nothing: no message and no row."""
        if self.error:
            return Outcome.UNPROVED
        if any(count for verdict, count in self.counts.items() if verdict not in HARMLESS):
            return Outcome.DIFFERENT
        return Outcome.UNPROVED if self.reason else Outcome.EQUAL

    @property
    def reason(self) -> str:
        """Why nothing was proved; empty where something was."""
        if self.error:
            return self.error
        if self.read and self.read == self.undecodable:
            return f"none of {self.read:,} messages can be decoded"
        if self.counts[Verdict.UNPROVEN] and not self.counts[Verdict.MATCH]:
            return "the topics no longer hold the messages of any of its rows"
        if not self.read and not self.actual and self.ahead:
            return f"none of {self.ahead:,} messages is in the target yet"
        return ""

    @property
    def ok(self) -> bool:
        """Every row that can be proved matches, and there was something to prove."""
        return self.outcome is Outcome.EQUAL

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {
            "table": self.table,
            "ok": self.ok,
            "outcome": str(self.outcome),
            "reason": self.reason,
            "stopped": self.stopped or None,
            **{verdict.lower(): self.counts[verdict] for verdict in Verdict},
            "rows_expected": self.expected,
            "rows_in_target": self.actual,
            "messages": self.read,
            "undecodable": self.undecodable,
            "messages_ahead": self.ahead,
            "offsets": {place: list(span) for place, span in self.offsets.items()},
            "examples": [
                {
                    "verdict": str(example.verdict),
                    "key": dict(example.key),
                    "column": example.column,
                    "expected": example.expected,
                    "actual": example.actual,
                    "note": example.note,
                }
                for example in self.examples
            ],
        }
