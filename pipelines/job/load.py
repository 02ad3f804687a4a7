"""Read a job file. Each mistake in it is one sentence: the place, what is wrong, and the nearest right word."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from ...schemas.errors import JobError
from ...schemas.options import KINDS, NO_VALUE, UNKNOWN_KEY
from ...schemas.suggestions import guess
from .model import Job
from .table_routes import TableRoute, route
from .yaml_node import YamlNode, read_yaml

__all__ = ["Job", "TableRoute", "load_job", "route"]

CONSEQUENCES: Final = ("default_factory_not_called",)
"""Errors that another error has caused."""
SHORTEST_SECRET: Final = 4
LONGEST_SHOWN: Final = 60
LONG: Final = re.compile(rf"'[^'\n]{{{2 * LONGEST_SHOWN},}}'")
"""A value that nobody would read to its end."""
SECTION: Final = re.compile(r"(source|format|target|window|dead_letters|max_dead_letters)(\.\w+)*")


def load_job(path: str | Path) -> Job:
    """Read and check a job file; opens nothing else and looks no secret up. JobError has a line a mistake."""
    file = Path(path)
    top = read_yaml(file)
    try:
        job = Job.model_validate(top.value(), context={"file": file, "folder": file.absolute().parent})
    except ValidationError as error:
        raise JobError("\n".join(sentences(top, error))) from None
    try:
        route(job, job.source.topics)
    except JobError as error:
        raise top.at(("source", "topics")).error(str(error).removeprefix(f"{file}: ")) from None
    return job


def placed(file: Path, error: JobError) -> str:
    """The error's text behind the place in the job file that it begins with, as `target.path: ...` does."""
    text = str(error)
    found = SECTION.match(text)
    if found is None:
        return text
    try:
        node = read_yaml(file).at(tuple(found[0].split(".")))
    except JobError:
        return text
    return node.sentence(text) if node.path and text.startswith(node.path) else text


def sentences(top: YamlNode, error: ValidationError) -> Iterator[str]:
    """A sentence for each mistake in the order of the file; none shows a secret."""
    found = [one for one in error.errors(include_url=False, include_input=False) if one["type"] not in CONSEQUENCES]
    placed = [(_node(top, one), _text(_node(top, one), one)) for one in found]
    placed.sort(key=lambda one: (one[0].node.start_mark.line, one[0].node.start_mark.column))
    secrets = [secret for secret in top.secrets() if len(secret) >= SHORTEST_SECRET]
    for node, text in placed:
        for secret in secrets:
            text = text.replace(secret, "***")
        text = LONG.sub(lambda name: f"{name[0][:LONGEST_SHOWN]}...'", text)
        yield node.sentence(text)


def _node(top: YamlNode, error: Mapping[str, Any]) -> YamlNode:
    """Where to point: at the value, at a key that is unknown, or at the mapping in which a key is missing."""
    way = error["loc"][:-1] if error["type"] == "missing" else error["loc"]
    return top.at(way, key=error["type"] == UNKNOWN_KEY)


def _text(node: YamlNode, error: Mapping[str, Any]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return f"the key {error['loc'][-1]!r} is missing"
    if kind in KINDS:
        advice = "; put it in quotes" if KINDS[kind] == "text" and node.written else ""
        return f"expected {KINDS[kind]}, found {node.kind}{advice}"
    if kind in ("enum", "literal_error"):
        known = re.findall(r"'([^']*)'", context["expected"])
        shown = repr(node.written) if node.written else node.kind
        return f"{shown} is not one of {', '.join(known)}{guess(node.written, known)}"
    if node.kind == "nothing" and kind != UNKNOWN_KEY:
        return NO_VALUE
    if kind == "value_error":
        # YAML's numbers and words are shown as they were written: 1e3, yes.
        text = str(context["error"])
        return text if node.kind == "text" else text.replace(repr(_plain(node)), repr(node.written), 1)
    return str(error["msg"])


def _plain(node: YamlNode) -> str:
    return str(node.value()) if node.written else node.kind
