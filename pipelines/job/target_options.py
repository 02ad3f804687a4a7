"""The job file's `target`: any sink of the registry, with the options of its `SinkSpec`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ...schemas.model.modes import Mode
from ...schemas.secrets import Secret
from ...transforms.sinks import SINKS
from .model import Target
from .yaml_node import YamlNode

PATHS: Final = ("path", "staging")
SQLITE: Final = re.compile(r"(sqlite(?:\+\w+)?:///(?:file:)?)(?!/|:memory:|file:/)(.+)")
WITH_PASSWORD: Final = re.compile(r"[\w+.-]+://[^/@]*:[^/]*@")


def read_target(entry: YamlNode) -> Target:
    """Check `type`, `mode` and the sink's own options. Raises JobError."""
    kind = entry.mapping(None, ("type",))["type"].choice(tuple(SINKS))
    spec = SINKS.find(kind)
    keys = spec.options.keys()
    found = entry.mapping(("type", "mode", *keys), [name for name, field in keys.items() if field.is_required()])
    modes = read_modes(found["mode"], kind) if "mode" in found else spec.modes[:1]
    options = {name: _option(found[name]) for name in keys if name in found}
    return Target(type=kind, options=options, modes=modes)


def read_modes(entry: YamlNode, kind: str) -> tuple[Mode, ...]:
    """One mode or a list of them, all of which the target knows. Raises JobError."""
    able = SINKS.find(kind).modes
    for part in [entry] if entry.kind != "a list" else entry.items():
        mode = Mode(part.choice(tuple(Mode)))
        if mode not in able:
            raise part.error(f"a target of type {kind} has no mode {mode}, only {', '.join(able)}")
    return tuple(Mode(text) for text in entry.texts())


def _option(entry: YamlNode) -> Any:
    value = entry.value()
    if entry.path.rpartition(".")[2] == "catalog" and isinstance(value, dict):
        return {name: _in_catalog(entry, name, value) for name in value}
    return located(entry, value) if entry.path.rpartition(".")[2] in PATHS and isinstance(value, str) else value


def _in_catalog(entry: YamlNode, name: str, properties: Mapping[str, Any]) -> Any:
    """A property of an Iceberg catalog: paths of SQLite files and of warehouses are relative to the job file.

    A warehouse without a scheme is a path for a SQL catalog, or where it begins with a dot; for others it is a name.
    """
    value = properties[name]
    if not isinstance(value, str):
        return value
    database = SQLITE.fullmatch(value) if name == "uri" else None
    if database is not None:
        return database[1] + located(entry, database[2])
    if name == "uri" and WITH_PASSWORD.match(value):
        return Secret(value)
    path = value.startswith((".", "~")) or properties.get("type") == "sql"
    return located(entry, value) if name == "warehouse" and path else value


def located(entry: YamlNode, path: str) -> str:
    """A path of the job file as an absolute one; URLs, references and `:memory:` as they are."""
    if "://" in path or path.startswith(("${", ":")):
        return path
    return str(entry.file.absolute().parent / Path(path).expanduser())
