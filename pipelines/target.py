"""The job file's `target`: any sink of the registry, with the options that its constructor names."""

import inspect
from pathlib import Path
from typing import Any, Final

from ..transforms.sinks import SINKS, sink_class
from .entry import Entry
from .job import Target

MODES: Final = ("mirror",)
LATER_MODES: Final = ("soft_delete", "append", "scd2")
PATHS: Final = ("path",)


def read_target(entry: Entry) -> Target:
    """Check `type`, `mode` and the sink's own options. Raises JobError, MissingExtraError."""
    kind = entry.mapping(None, ("type",))["type"].choice(tuple(sorted(SINKS)))
    parameters = inspect.signature(sink_class(kind)).parameters
    needed = [name for name, part in parameters.items() if part.default is inspect.Parameter.empty]
    found = entry.mapping(("type", "mode", *parameters), needed)
    mode = _mode(found["mode"]) if "mode" in found else MODES[0]
    options = {name: _option(found[name]) for name in parameters if name in found}
    return Target(type=kind, options=options, mode=mode)


def _mode(entry: Entry) -> str:
    if entry.kind == "text" and entry.raw_text() in LATER_MODES:
        raise entry.error(f"{entry.raw_text()!r} does not exist in this version; only {', '.join(MODES)} does")
    return entry.choice(MODES)


def _option(entry: Entry) -> Any:
    value = entry.value()
    return located(entry, value) if entry.path.rpartition(".")[2] in PATHS and isinstance(value, str) else value


def located(entry: Entry, path: str) -> str:
    """A path of the job file as an absolute one; URLs, references and `:memory:` as they are."""
    if "://" in path or path.startswith(("${", ":")):
        return path
    return str(entry.file.absolute().parent / Path(path).expanduser())
