"""CONTRIBUTING is true: a part of each kind is in the files that its list names, and no other file names it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from support.markdown import ROOT, Page

from millrace.schemas.encodings import ENCODINGS
from millrace.schemas.envelopes import ENVELOPES
from millrace.transforms.sinks import SINKS
from millrace.transforms.sources import SOURCES

PAGE = Page(ROOT / "CONTRIBUTING.md")
KINDS = {
    "A target": tuple(SINKS),
    "A source": tuple(SOURCES),
    "An encoding": tuple(ENCODINGS),
    "An envelope": tuple(ENVELOPES),
}
LENGTHS = {"A target": 6, "A source": 6, "An encoding": 3, "An envelope": 4}
WORDS = {"files", "json", "memory", "upsert"}
"""Names of parts that are everyday words as well: code may hold them with another meaning."""
KNOWN = {
    "postgres": ["pipelines/render/job_bundle.py"],
    "debezium": ["pipelines/cli/arguments.py"],
}
"""By part the modules that name it all the same today; nothing is added here."""
APART = (
    "transforms/proof/",
    "pipelines/workload/",
    "transforms/sinks/files/",
    "pipelines/cli/demo.py",
)
"""Users of one part by design: the proof has readers of its own, made-up streams go to Kafka, files may be Avro."""
ALSO_OUTSIDE = dict.fromkeys(("duckdb", "postgres"), ("transforms/sinks/ducklake/",))
"""By part the folders that mean another thing by its name: a lake's catalog is in a database of DuckDB or Postgres."""
LAYERS = ("schemas", "transforms", "pipelines")
PARTS = [(kind, name) for kind, names in KINDS.items() for name in names]


def listed(kind: str) -> list[str]:
    return re.findall(r"^- `([^`]+)`", PAGE.section(kind), re.MULTILINE)


def found(path: str, name: str) -> Path:
    """The file or folder that an item means for a part of this name."""
    file = ROOT / path.replace("NAME", name)
    return file if file.exists() else file.with_suffix("")


@cache
def named() -> dict[Path, set[str]]:
    """By module the texts that it holds, and the parts of the names that it imports from."""
    found: dict[Path, set[str]] = {}
    for file in (file for layer in LAYERS for file in (ROOT / layer).rglob("*.py")):
        nodes = list(ast.walk(ast.parse(file.read_text())))
        texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        imports = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        found[file] = texts | {part for module in imports for part in module.split(".")}
    return found


def test_the_lists_are_as_short_as_they_are_said_to_be():
    assert {kind: len(listed(kind)) for kind in LENGTHS} == LENGTHS


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_a_part_is_in_each_file_of_the_list(kind, name):
    for item in listed(kind):
        file = found(item, name)
        assert file.exists(), item
        if "NAME" not in item and file.name != "pyproject.toml":
            assert re.search(rf"\b{name}\b", file.read_text()), f"{item} does not name {name}"


@pytest.mark.parametrize(("kind", "name"), [part for part in PARTS if part[1] not in WORDS])
def test_no_other_module_names_a_part(kind, name):
    apart = (*(() if kind == "A target" else APART), *ALSO_OUTSIDE.get(name, ()))
    # A target and a source may have one name.
    kinds = [other for other, names in KINDS.items() if name in names]
    items = [item for other in kinds for item in listed(other)]
    allowed = [*(found(item, name) for item in items), *(ROOT / place for place in apart)]
    others = [
        str(file.relative_to(ROOT))
        for file, texts in named().items()
        if name in texts and not any(file.is_relative_to(place) for place in allowed)
    ]
    assert sorted(others) == KNOWN.get(name, [])


def test_every_folder_of_the_tree_that_is_told_of_is_there():
    for cell in PAGE.table("folder", "holds").column("folder"):
        assert (ROOT / cell.strip("`")).is_dir()
