"""Extensions of DuckDB from Python packages: nothing is downloaded while a job runs."""

import importlib.util
from pathlib import Path
from typing import Final

import duckdb

from ....schemas.errors import JobError, MissingExtraError

EXTRA: Final = "ducklake"
WHAT: Final = "target.type: ducklake"


def extension(name: str) -> Path:
    """The file of an extension for this DuckDB.

    Raises MissingExtraError where its package is not installed, JobError where it is one for another version.
    """
    found = importlib.util.find_spec(f"duckdb_extension_{name}")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(WHAT, EXTRA)
    files = sorted(Path(found.submodule_search_locations[0]).rglob(f"{name}.duckdb_extension"))
    version = f"v{duckdb.__version__}"
    for file in files:
        if version in file.parts:
            return file
    package = f"duckdb-extension-{name.replace('_', '-')}"
    raise JobError(
        f"{WHAT}: the package {package} is not for duckdb {duckdb.__version__}, which is installed: "
        f"pip install '{package}=={duckdb.__version__}'"
    )
