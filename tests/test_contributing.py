"""CONTRIBUTING is true: a part of each kind is in the files that its list names, and no other file names it."""

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
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
LENGTHS = {
    "A target": 10,
    "A source": 6,
    "An encoding": 5,
    "An envelope": 6,
    "With a library": 5,
    "The proof of it": 4,
}
SOME = (
    *("tests/support/by_hand.py", "tests/support/stored_samples.py", "tests/contract/test_stored_formats.py"),
    ".ci/run",
)
"""Of the lists, what only some parts of the kind take."""
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
ALSO_OUTSIDE = dict.fromkeys(("duckdb", "postgres"), ("transforms/sinks/ducklake/",)) | {
    "protobuf": ("transforms/sinks/bigquery/", "transforms/stores/")
}
"""By part the folders that mean another thing by its name: a lake's catalog is in a database, Google has a library."""
PLAIN = ("bigquery", "ducklake", "iceberg", "mysql", "rabbitmq")
"""Parts whose names mean nothing else: over these all is searched where a part could have a place."""
PLACES = (
    *("schemas/", "transforms/", "pipelines/", "deploy/", ".ci/", "tests/contract/", "tests/support/"),
    *("docs/index.md", "docs/operating.md", "docs/job-file.md", "docs/job-file.schema.json", "README.md"),
    *("pyproject.toml", "Makefile", "tests/test_layers.py", "tests/conftest.py"),
)
OTHER_FILES = {
    # A stand-in for its server, tests of what it alone does, a library that others bring, another program's catalogs.
    "bigquery": ["tests/support/package_smoke.py"],
    "iceberg": [
        "tests/contract/test_sinks_drift.py",
        *(f"tests/support/trino_{part}.py" for part in ("catalogs", "server", "values")),
    ],
    # Types of MySQL that MariaDB lacks; the name of a connector of Debezium.
    "mysql": ["tests/support/binlog_values.py", "tests/support/simulated_database.py"],
}
"""By part the files that name it all the same, and why."""
CASES = re.compile(r'encoding == "|format [!=]= "|FORMATS')
"""A case for an encoding or an envelope in the proof."""
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


def with_library() -> list[tuple[str, str, str]]:
    """Kind, name and extra of each part whose spec names an extra."""
    specs = [("A target", SINKS[name]) for name in SINKS] + [("A source", SOURCES[name]) for name in SOURCES]
    return [(kind, spec.name, spec.extra) for kind, spec in specs if spec.extra is not None]


def tracked() -> list[str]:
    """All files of the repository but the three links."""
    found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [file for file in found if file and (ROOT / file).is_file()]


def test_the_lists_are_as_short_as_they_are_said_to_be():
    assert {kind: len(listed(kind)) for kind in LENGTHS} == LENGTHS


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_a_part_is_in_each_file_of_the_list(kind, name):
    for item in listed(kind):
        file = found(item, name)
        assert file.exists(), item
        if "NAME" not in item and item not in SOME:
            assert re.search(rf"\b{name}\b", file.read_text()), f"{item} does not name {name}"


@pytest.mark.parametrize(("kind", "name", "extra"), with_library())
def test_a_part_with_a_library_is_in_the_files_of_that_list(kind, name, extra):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    in_image = extra in next(iter(Requirement(line).extras for line in extras["image"]))
    pins = re.findall(r"^([\w-]+)==", (ROOT / "deploy/requirements.txt").read_text(), re.MULTILINE)
    for item in listed("With a library"):
        text = (ROOT / item).read_text()
        if item in SOME:
            continue
        if item == "deploy/requirements.txt":
            brought = {Requirement(line).name for line in extras[extra]}
            assert not in_image or brought <= set(pins), f"{item} lacks a pin of {extra}"
        else:
            assert re.search(rf"\b{extra}\b", text), f"{item} does not name {extra}"


@pytest.mark.parametrize("name", PLAIN)
def test_no_other_file_has_a_place_for_a_part(name):
    """Over the whole tree: what is not in the lists of its kind names it in prose or in tests of its own."""
    kinds = [kind for kind, names in KINDS.items() if name in names]
    lists = [*kinds, "With a library"]
    allowed = {found(item, name).relative_to(ROOT) for kind in lists for item in listed(kind)}
    others = [
        file
        for file in tracked()
        if name not in file
        and file.startswith(PLACES)
        and not any(Path(file).is_relative_to(place) for place in allowed)
        and re.search(rf"(?<![\w.-]){name}(?![\w.])", (ROOT / file).read_text(errors="replace"))
    ]
    assert others == OTHER_FILES.get(name, [])


def test_each_part_that_a_folder_holds_is_in_its_registry():
    for folder, registry in (("sources", SOURCES), ("sinks", SINKS)):
        for file in (ROOT / "transforms" / folder).glob("*/__init__.py"):
            if "SPEC" in file.read_text():
                assert file.parent.name in registry, file


@pytest.mark.parametrize(("kind", "name"), [part for part in PARTS if part[0] != "An envelope"])
def test_connectors_of_one_kind_have_the_same_files(kind, name):
    folder = found(listed(kind)[0], name)
    own = {"A target": "sink.py", "A source": "source.py", "An encoding": "encoding.py"}[kind]
    assert {own, "options.py"} <= {file.name for file in folder.iterdir()}


def test_each_protocol_that_a_part_may_keep_is_told_of():
    marked = re.compile(r"@runtime_checkable\nclass (\w+)")
    code = [file for layer in LAYERS for file in (ROOT / layer).rglob("*.py")]
    protocols = {name for file in code for name in marked.findall(file.read_text())}
    assert protocols and protocols <= set(re.findall(r"`(\w+)`", PAGE.text))


def test_the_files_of_the_proof_with_a_case_for_an_encoding_or_envelope_are_all_told():
    proof = ROOT / "transforms/proof"
    cases = {str(file.relative_to(ROOT)) for file in proof.glob("*.py") if CASES.search(file.read_text())}
    assert cases == set(listed("The proof of it"))


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
