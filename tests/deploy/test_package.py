"""The package as a user gets it: sdist and wheel, installed in fresh environments outside of the clone."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.change_logs import places
from support.fresh_environments import uv
from support.object_stores import S3
from support.package_smoke import __file__ as SMOKE
from support.postgres_server import ROLE_PASSWORD

ROOT = Path(__file__).parents[2]
LAYERS = ("schemas", "transforms", "pipelines")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GROUPS = ("image", "test", "check", "bench")
"""Extras that join others, or are for work on Millrace itself."""
EXTRAS = sorted(PROJECT["optional-dependencies"].keys() - GROUPS)
TARGETS = {
    "": ["duckdb", "files-local"],
    "bigquery": ["bigquery"],
    "delta": ["delta"],
    "ducklake": ["ducklake"],
    "gcs": ["files-gcs"],
    "hdfs": ["files-hdfs"],
    "iceberg": ["iceberg"],
    "postgres": ["postgres"],
    "s3": ["files-s3"],
}
"""What runs a job with an extra alone, as `places` names it. The others are imported, and `demo` plays its story."""
OTHER_PYTHONS = ("3.12", "3.13")
CLASSIFIER = "Programming Language :: Python :: "
JOB = """job: smoke
source: {{type: kafka, bootstrap_servers: {servers}, topics: [{topic}]}}
format: {{type: debezium, schemas: contracts}}
target: {target}
"""

FACE = {"millrace/__init__.py", "millrace/api.py", "millrace/py.typed"}
"""What lies in `src/millrace` itself."""

pytestmark = pytest.mark.timeout(900)


class Environment:
    """A fresh environment, always in one folder, so that it finds what an earlier one compiled: loops and byte code."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder, self.wheel, self.python = folder, wheel, folder / "env" / "bin" / "python"

    def make(self, extra: str, python: str = sys.executable) -> None:
        uv("venv", "--clear", "--python", python, self.folder / "env")
        self.install(f"{self.wheel}[{extra}]" if extra else self.wheel)

    def install(self, *packages: object) -> None:
        uv("pip", "install", "--python", self.python, *packages)

    def run(self, *words: object, cwd: Path | None = None) -> str:
        kept = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        # uv links the same files into each environment: what was compiled of them holds in the next one too.
        kept |= {"NUMBA_CACHE_DIR": str(self.folder / "numba"), "PYTHONPYCACHEPREFIX": str(self.folder / "bytecode")}
        kept["PATH"] = f"{self.python.parent}:{kept['PATH']}"
        command = [str(word) for word in words]
        done = subprocess.run(command, capture_output=True, text=True, env=kept, cwd=cwd or self.folder, timeout=600)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory, wheel) -> Iterator[Environment]:
    folder = tmp_path_factory.mktemp("fresh")
    yield Environment(folder, wheel)
    shutil.rmtree(folder)


def in_the_clone() -> set[str]:
    """Each file of the three folders that a user needs."""
    tracked = subprocess.run(["git", "ls-files", *LAYERS], cwd=ROOT, capture_output=True, text=True, check=True)
    return {f"millrace/{name}" for name in tracked.stdout.split()} | FACE


def test_the_wheel_holds_each_file_of_the_clone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("millrace/")}
        assert names == in_the_clone()
        for name in names - FACE:
            assert archive.read(name) == (ROOT / name.removeprefix("millrace/")).read_bytes()


def test_the_sdist_holds_files_where_the_clone_has_links(dist):
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        members = files.getmembers()
    assert not [member.name for member in members if member.issym() or member.islnk()]
    held = {member.name.partition("/src/")[2] for member in members if member.isfile()}
    assert in_the_clone() <= held


@cache
def modules_of(package: str) -> frozenset[str]:
    """The modules in a package's files, and the namespaces above them; none of one that is not installed here."""
    found = set()
    try:
        files = distribution(package).files or ()
    except PackageNotFoundError:
        files = ()
    for file in files:
        if file.suffix in (".py", ".so", ".pyi"):
            parts = (*file.parts[:-1], file.name.partition(".")[0])
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found |= {".".join(parts[:stop]) for stop in range(1, len(parts) + 1)}
    return frozenset(found)


def asked_for(extra: str | None = None) -> list[str]:
    lines = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    return [Requirement(line).name for line in lines]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def test_what_is_imported_is_declared():
    """Also what another package happens to bring: it may stop to do so."""
    names = [*asked_for(), *(name for extra in EXTRAS for name in asked_for(extra))]
    declared = frozenset().union(*map(modules_of, names))
    undeclared = {
        f"{path.relative_to(ROOT)}: {module}"
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*.py")
        for module in imported(path)
        if module.split(".")[0] not in sys.stdlib_module_names and module not in declared
    }
    assert not undeclared


def explained(missing: str, extra: str) -> bool:
    """Whether a module may lack this where `extra` is installed: others bring it, and this one does not."""
    named = re.search(r"needs the extra '(\w+)'", missing)
    if named:
        return named[1] in EXTRAS and named[1] != extra
    bringing = {name for name in EXTRAS if any(missing in modules_of(package) for package in asked_for(name))}
    return bool(bringing) and extra not in bringing


def job_file(folder: Path, servers: str, topic: str, target: tuple[str, dict]) -> Path:
    folder.mkdir()
    kind, options = target
    text = json.dumps({"type": kind, **options})
    for number, secret in enumerate((ROLE_PASSWORD, S3("").secret)):
        (folder / f"secret.{number}").write_text(secret)
        text = text.replace(secret, f"${{file:{folder}/secret.{number}}}")
    file = folder / "job.yaml"
    file.write_text(JOB.format(servers=servers, topic=topic, target=text))
    return file


@pytest.mark.parametrize("extra", ["", *EXTRAS], ids=lambda extra: extra or "none")
def test_an_extra_alone_is_enough(extra, environment, embedded_broker, topic_name, tmp_path, request):
    """Its modules import, and a job runs and is proved; what other extras are for is refused with their name."""
    made = places(tmp_path, request.getfixturevalue)
    jobs = [
        job_file(tmp_path / kind, embedded_broker.bootstrap_servers, topic_name("shop.orders"), made[kind]())
        for kind in TARGETS.get(extra, [])
    ]
    environment.make(extra)
    said = environment.run(environment.python, "-W", "ignore", SMOKE, *jobs)
    first, *rest = said.splitlines()
    unexplained = {module: missing for module, missing in json.loads(first).items() if not explained(missing, extra)}
    assert not unexplained
    assert sum(" EQUAL" in line or line.startswith("EQUAL") for line in rest) == len(jobs), said


def test_each_target_has_an_extra_that_is_tried():
    assert set(TARGETS) - {""} <= set(EXTRAS)


def test_the_demo_ends_equal(environment, tmp_path):
    environment.make("demo")
    assert "EQUAL" in environment.run("millrace", "demo", "--changes", "3000", cwd=tmp_path)


def test_ducklake_in_an_environment_of_its_own(environment):
    """Its extensions are for an older DuckDB than the newest one, with which all other tests run."""
    environment.make("test,ducklake")
    options = ["-q", "-p", "no:cacheprovider", "-o", "pythonpath=tests", "-k", "ducklake"]
    parts = ("crash", "ledger", "modes", "resync", "snapshots", "types")
    contract = [f"tests/contract/test_sinks_{part}.py" for part in parts]
    rooms = ["tests/transforms/sinks/ducklake", *contract]
    said = environment.run(environment.python, "-m", "pytest", *options, *rooms, cwd=ROOT)
    assert " passed" in said and "no DuckLake beside this DuckDB" not in said


def other_python(version: str) -> str | None:
    """An interpreter of this minor version: on the path, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for python in (shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))):
        if python is not None:
            done = subprocess.run(
                [python, "-c", "import sys; print(*sys.version_info[:2], sep='.')"], capture_output=True
            )
            if done.returncode == 0 and done.stdout.decode().strip() == version:
                return str(python)
    return None


@pytest.mark.parametrize("version", OTHER_PYTHONS)
def test_other_pythons(version, environment, tmp_path):
    python = other_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    environment.make("demo", python)
    assert "EQUAL" in environment.run("millrace", "demo", "--changes", "3000", cwd=tmp_path)
    environment.install("pytest", "pytest-timeout", "hypothesis")
    options = ["-q", "-p", "no:cacheprovider", "-o", "pythonpath=tests"]
    rooms = ["tests/schemas/model", "tests/schemas/merging", "tests/schemas/envelopes"]
    said = environment.run(environment.python, "-m", "pytest", *options, *rooms, cwd=ROOT)
    assert " passed" in said


def test_classifiers_name_the_pythons_that_are_tried():
    named = {text.removeprefix(CLASSIFIER) for text in PROJECT["classifiers"] if re.search(r" 3\.\d+$", text)}
    assert named == {"3.11", *OTHER_PYTHONS}
