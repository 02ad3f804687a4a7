"""Findings of a preflight: what was looked at, what was seen, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """`level` is ok, warn or fail; `what` was looked at, `found` what was seen, `fix` what to do about it."""

    level: str
    what: str
    found: str
    fix: str = ""

    def to_json(self) -> dict[str, str]:
        return {"level": self.level, "what": self.what, "found": self.found, "fix": self.fix}


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """A line a finding, in columns, and a closing one."""
    width = max(len(finding.what) for finding in findings)
    lines = [
        f"{finding.level:<4}  {finding.what:<{width}}  {finding.found}{f'; {finding.fix}' if finding.fix else ''}"
        for finding in findings
    ]
    failed = sum(finding.level == FAIL for finding in findings)
    return [*lines, f"{failed} of {len(findings)} checks failed" if failed else "ready to run"]
