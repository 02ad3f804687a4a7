"""What a proof found: verdict, counts, examples."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What became of a row: STALE holds an older version than the stream, DIFFERS other values at its position."""

    MATCH = "MATCH"
    MISSING = "MISSING"
    EXTRA = "EXTRA"
    STALE = "STALE"
    DIFFERS = "DIFFERS"


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
    """The proof for one table. `expected` and `actual` count rows; `read` and `undecodable` count messages.

    `offsets` are by `topic[partition]` the first and the next offset that were folded.
    """

    table: str
    counts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(Verdict, 0))
    expected: int = 0
    actual: int = 0
    examples: list[Example] = field(default_factory=list)
    read: int = 0
    undecodable: int = 0
    offsets: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Every row matches."""
        return not any(count for verdict, count in self.counts.items() if verdict is not Verdict.MATCH)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {
            "table": self.table,
            "ok": self.ok,
            **{verdict.lower(): self.counts[verdict] for verdict in Verdict},
            "rows_expected": self.expected,
            "rows_in_target": self.actual,
            "messages": self.read,
            "undecodable": self.undecodable,
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
