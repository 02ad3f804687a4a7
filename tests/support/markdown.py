"""Pages of the documentation as data: tables, code blocks, commands, links and headings."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Table:
    """A table of a page: its head, and by row the cells as written."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, name: str) -> list[str]:
        return [row[self.head.index(name)] for row in self.rows]


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return FENCED.sub("", self.text)

    @property
    def anchors(self) -> set[str]:
        """The names that GitHub gives the headings."""
        return {anchor(text) for text in re.findall(r"^#+ (.*)", self.prose, re.MULTILINE)}

    @property
    def links(self) -> list[str]:
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)

    def blocks(self, *languages: str) -> list[str]:
        """The fenced blocks of these languages."""
        return [body for language, body in FENCED.findall(self.text) if language in languages]

    def section(self, heading: str) -> str:
        """The prose below a heading, up to the next one."""
        found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", self.prose, re.MULTILINE | re.DOTALL)
        assert found is not None, f"{self.name} has no section {heading!r}"
        return found[1]

    @cached_property
    def tables(self) -> list[Table]:
        return [
            Table(cells(head), tuple(cells(row) for row in body.strip().splitlines()))
            for head, body in re.findall(r"^(\|.*\|)\n\|[-| ]+\|\n((?:\|.*\|\n?)+)", self.prose, re.MULTILINE)
        ]

    def table(self, *head: str) -> Table:
        """The one table whose head begins so."""
        (found,) = (table for table in self.tables if table.head[: len(head)] == head)
        return found

    @property
    def commands(self) -> Iterator[str]:
        """Each `millrace ...` that the page shows, in code or between backticks, its options behind it."""
        shell = "".join(self.blocks("sh", "console")).replace("\\\n", " ")
        for line in [*re.findall(r"`([^`\n]+)`", self.prose), *shell.splitlines()]:
            found = re.match(r"(?:\$ )?millrace ([a-z][^#]*)", line)
            if found:
                yield " ".join(found[1].split())


def cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split(" | "))


def code(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def anchor(heading: str) -> str:
    plain = re.sub(r"[^\w -]", "", heading.lower())
    return plain.replace(" ", "-")


def pages() -> list[Page]:
    """README, CONTRIBUTING, CHANGELOG and all of docs/."""
    files = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
    return [Page(file) for file in files]


WHOLE: Mapping[str, Any] = {
    "job": "shown",
    "source": {"type": "kafka", "bootstrap_servers": "localhost:9092", "topics": ["shop.public.orders"]},
    "format": {"type": "debezium", "registry": "http://localhost:8081"},
    "target": {"type": "duckdb", "path": "warehouse.duckdb"},
}
"""What a page leaves out where it shows a part of a job file."""


def as_job(block: str) -> str:
    """A YAML block as a whole job file: as written where it is one, else with what it leaves out."""
    shown = yaml.safe_load(block)
    assert isinstance(shown, dict), block
    return block if "job" in shown else yaml.safe_dump({**WHOLE, **shown})
