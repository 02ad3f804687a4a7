"""What a job file takes along to another machine: files beside it, secrets by their names, addresses it talks to."""

import hashlib
import posixpath
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...schemas.encodings import ENCODINGS
from ...schemas.errors import JobError
from ...schemas.options import Options
from ...schemas.secrets import REFERENCE
from ...transforms.sinks import SINKS
from ...transforms.sources import SOURCES
from ..job.load import load_job
from ..job.model import Job
from ..job.yaml_node import YamlNode, read_yaml
from ..runners.image_paths import HOME, USER_HOME

LONGEST_NAME: Final = 45
MOST_BYTES: Final = 900_000
"""Of schemas in a ConfigMap, which Kubernetes refuses beyond 1 MiB (and `kubectl apply` sooner, but --server-side)."""
REGISTRY_FILES: Final = ("ca", "certificate", "certificate_key")
LOCAL: Final = re.compile(r"(file|sqlite)(\+\w+)?:/|(?!\w[\w+.-]*:)(?!\$\{)")
PORT: Final = re.compile(r"[\w.\]-]:(\d{2,5})(?=[/,\s]|$)")
SCHEME: Final = re.compile(r"(https?|hdfs|postgres(?:ql)?)(?:\+\w+)?://")
PORTS: Final = {"http": 80, "https": 443, "hdfs": 8020, "postgres": 5432, "postgresql": 5432}


@dataclass(frozen=True, kw_only=True)
class JobBundle:
    """`name` fits Kubernetes and Dataflow; paths are those inside the containers.

    `secret_variables` are names of environment variables, `secret_files` maps a path to the key under which a
    Secret holds its content; no value of a secret is here. `dead_letters` is a folder in the container, or as written a
    place that all workers reach. `ports` are what the job connects to, as far as it says.
    """

    job: Job
    name: str
    text: str
    schemas: dict[str, str]
    schemas_folder: str | None
    secret_variables: tuple[str, ...]
    secret_files: dict[str, str]
    dead_letters: str
    ports: tuple[int, ...]

    @property
    def digest(self) -> str:
        """Changes when the job file or a schema does, so that what runs from it can be told to start anew."""
        parts = [self.text, *(f"{name}\0{text}" for name, text in sorted(self.schemas.items()))]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def read_job_bundle(file: Path) -> JobBundle:
    """Read the job file and the folder of schemas that it names; looks no secret up.

    Raises JobError where the file is wrong, or names a place that only one machine has.
    """
    job = load_job(file)
    if job.source.typed:
        raise JobError(f"{file}: a source of type {job.source.type} is not rendered; run it with: millrace run {file}")
    top = read_yaml(file)
    texts = [entry for entry in _texts(top) if entry.path != "source.topic_pattern"]
    _refuse_local_target(top.mapping()["target"])
    named = {f"source.{way}" for way in SOURCES.find(job.source.type).files}
    named |= {f"target.{way}" for way in SINKS.find(job.target.type).files}
    named |= {f"format.registry.{name}" for name in REGISTRY_FILES}
    references = [found for entry in texts for found in REFERENCE.finditer(entry.written)]
    files = [_inside(found["name"]) for found in references if found["kind"] == "file"]
    files += [_inside(entry.written, expand=True) for entry in texts if _names_file(entry, named)]
    folder = next((_inside(entry.written, expand=True) for entry in texts if entry.path == "format.schemas"), None)
    letters = next((entry.written for entry in texts if entry.path == "dead_letters.path"), "dead_letters")
    return JobBundle(
        job=job,
        name=_name(job.job),
        text=file.read_text(encoding="utf-8-sig"),
        schemas=_schemas(job),
        schemas_folder=folder,
        secret_variables=tuple(sorted({found["name"] for found in references if found["kind"] == "env"})),
        secret_files=_keys(sorted(set(files))),
        dead_letters=_letters(letters),
        ports=_ports(job, texts),
    )


def _texts(entry: YamlNode) -> Iterator[YamlNode]:
    return (part for part in entry.scalars() if part.kind == "text")


def _refuse_local_target(target: YamlNode) -> None:
    kind = target.mapping()["type"].written
    if SINKS.find(kind).one_process:
        raise target.error(f"{kind} is open in one process only; a cluster needs a target that all workers reach")
    for entry in _texts(target):
        leaf = entry.path.rpartition(".")[2]
        if (leaf == "path" or "://" in entry.written) and LOCAL.match(entry.written):
            raise entry.error(f"{entry.written!r} is a place of one machine, and workers share none: use a URL")


def _letters(path: str) -> str:
    return _inside(path.removeprefix("file://"), expand=True) if LOCAL.match(path) else path


def _names_file(entry: YamlNode, files: Container[str]) -> bool:
    return entry.path in files and not REFERENCE.search(entry.written)


def _inside(path: str, expand: bool = False) -> str:
    """Where a path of the job file lies in a container; with `expand`, `~` is the home folder."""
    if expand and path.startswith("~/"):
        path = f"{USER_HOME}{path[1:]}"
    return posixpath.normpath(posixpath.join(HOME, path))


def _keys(paths: list[str]) -> dict[str, str]:
    """A key of the Secret for each path: its last part, or the whole path where two end alike."""
    last = [posixpath.basename(path) for path in paths]
    return {
        path: re.sub(r"[^\w.-]", "_", name if last.count(name) == 1 else path.strip("/").replace("/", "."))
        for path, name in zip(paths, last, strict=True)
    }


def _schemas(job: Job) -> dict[str, str]:
    if job.format.schemas is None:
        return {}
    job.format.schema_store()
    folder = job.format.schemas
    files = sorted(folder.rglob(f"*{ENCODINGS.find(job.format.encoding).schema_language().suffix}"))
    found = {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8-sig") for file in files}
    size = sum(len(text.encode()) for text in found.values())
    if size > MOST_BYTES:
        raise JobError(
            f"{folder}: the schemas come to {size:,} bytes, and a ConfigMap holds {MOST_BYTES:,}: use a registry"
        )
    return found


def _ports(job: Job, texts: list[YamlNode]) -> tuple[int, ...]:
    source = SOURCES.find(job.source.type).open(job.source.options)
    servers = source.where.split(",")
    ports = {int(server.rpartition(":")[2]) if PORT.search(server) else 9092 for server in servers}
    for entry in texts:
        text = REFERENCE.sub("", entry.written)
        for found in SCHEME.finditer(text):
            authority = text[found.end() :].partition("/")[0]
            port = PORT.search(authority)
            ports.add(int(port[1]) if port else PORTS[found[1]])
    options = job.target.options
    port = (options.model_dump() if isinstance(options, Options) else options).get("port")
    return tuple(sorted(ports | ({*SINKS[job.target.type].ports} if port is None else {port})))


def _name(job: str) -> str:
    """The job's name in the letters that Kubernetes allows; where some were lost, a hash keeps names apart."""
    plain = re.sub(r"[^a-z0-9]+", "-", job.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"job-{plain}".rstrip("-")
    if plain == job and len(plain) <= LONGEST_NAME - 14:
        return plain
    digest = hashlib.sha256(job.encode()).hexdigest()[:6]
    return f"{plain[: LONGEST_NAME - 21].rstrip('-')}-{digest}"
