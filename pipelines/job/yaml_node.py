"""A value of the job file together with its place: every complaint says file:line:column and the nearest right word."""

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml

from ...schemas.errors import JobError
from ...schemas.secrets import REFERENCE, Secret, looks_secret
from ...schemas.suggestions import guess, nearest

UNITS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
DURATION: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[a-z]*)", re.IGNORECASE)
LONGEST: Final = timedelta(days=36_500)
TAGS: Final = {
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:timestamp": "a date",
}
BRACES: Final = str.maketrans("{}", "\ue0f0\ue0f1")
BRACES_BACK: Final = str.maketrans("\ue0f0\ue0f1", "{}")


@dataclass(frozen=True)
class YamlNode:
    """A node of the YAML file `file`, at `path` (`source.topics[0]`, empty for the whole file)."""

    file: Path
    path: str
    node: yaml.Node

    def error(self, text: str) -> JobError:
        """A JobError that begins with the place; the caller sees to it that `text` holds no secret."""
        return self.placed(f"{self.path}: {text}" if self.path else text)

    def placed(self, text: str) -> JobError:
        """A JobError of a sentence that names the key itself."""
        mark = self.node.start_mark
        return JobError(f"{self.file}:{mark.line + 1}:{mark.column + 1}: {text}")

    @property
    def secret(self) -> bool:
        """Whether the key looks like that of a secret, so that the value is never shown."""
        return looks_secret(self.path.rpartition(".")[2])

    @property
    def kind(self) -> str:
        """What stands here, in words."""
        if isinstance(self.node, yaml.MappingNode):
            return "a mapping"
        if isinstance(self.node, yaml.SequenceNode):
            return "a list"
        return TAGS.get(self.node.tag, "text")

    def mapping(self, known: Collection[str] | None = None, needed: Iterable[str] = ()) -> dict[str, "YamlNode"]:
        """The entries by key; each key is in `known` (None: any) and written once, and all of `needed` are there."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"expected a mapping (key: value), found {self.kind}")
        found: dict[str, YamlNode] = {}
        for key_node, value_node in self.node.value:
            key = self._key(key_node)
            entry = YamlNode(self.file, f"{self.path}.{key}" if self.path else key, value_node)
            at_key = YamlNode(self.file, entry.path, key_node)
            if key in found:
                raise at_key.error(f"is written twice, first in line {found[key].node.start_mark.line + 1}")
            if known is not None and key not in known:
                raise at_key.error(f"unknown key{nearest(key, known, 'known are')}")
            found[key] = entry
        for name in needed:
            if name not in found:
                raise self.error(f"the key {name!r} is missing")
        return found

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise YamlNode(self.file, self.path, node).error("a key must be one word")
        return str(node.value).translate(BRACES_BACK)

    def items(self) -> list["YamlNode"]:
        """The entries of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(f"expected a list, found {self.kind}")
        return [YamlNode(self.file, f"{self.path}[{i}]", node) for i, node in enumerate(self.node.value)]

    def text(self) -> str:
        """Non-empty text as written, with `${file:...}` made relative to the job file."""
        if self.kind != "text":
            advice = "; put it in quotes" if isinstance(self.node, yaml.ScalarNode) and self.node.value else ""
            raise self.error(f"expected text, found {self.kind}{advice}")
        written = str(self.node.value).translate(BRACES_BACK)
        if not written.strip():
            raise self.error("is empty")
        return REFERENCE.sub(self._reference, written)

    def _reference(self, found: re.Match[str]) -> str:
        if found["kind"] not in ("env", "file") or not found["name"]:
            raise self.error(f"{found[0]}: a secret is written ${{env:NAME}} or ${{file:PATH}}")
        if found["kind"] == "env":
            return found[0]
        return f"${{file:{self.file.absolute().parent / found['name']}}}"

    def raw_text(self) -> str:
        """Text as written, where `${` means nothing."""
        if self.kind != "text":
            raise self.error(f"expected text, found {self.kind}; put it in quotes")
        return str(self.node.value).translate(BRACES_BACK)

    def texts(self) -> tuple[str, ...]:
        """A list of texts without repetition; one text alone is a list of one."""
        if isinstance(self.node, yaml.ScalarNode):
            return (self.text(),)
        entries = self.items()
        if not entries:
            raise self.error("the list is empty")
        found: list[str] = []
        for entry in entries:
            text = entry.text()
            if text in found:
                raise entry.error(f"{text!r} stands twice in the list")
            found.append(text)
        return tuple(found)

    def choice(self, known: Sequence[str], form: str | None = None) -> str:
        """One of the words `known`; `form` is what else may stand here."""
        word = str(self.node.value) if isinstance(self.node, yaml.ScalarNode) else None
        if word not in known:
            shown = repr(word) if word is not None else self.kind
            other = f" or {form}" if form else ""
            raise self.error(f"{shown} is not one of {', '.join(known)}{other}{guess(word or '', known)}")
        return str(word)

    def duration(self) -> timedelta:
        """A length of time above zero: 500ms, 10s, 5m, 1h, 7d."""
        written = str(self.node.value) if isinstance(self.node, yaml.ScalarNode) else self.kind
        match = DURATION.fullmatch(written)
        if match is None:
            raise self.error(
                f"{written!r} is not a duration; write a number and a unit, as in 500ms, 10s, 5m, 1h or 7d"
            )
        unit = match["unit"].lower()
        if not unit:
            raise self.error(f"{written!r} has no unit; write {written}s for seconds, or ms, m, h, d")
        if unit not in UNITS:
            raise self.error(f"{written!r}: the unit {match['unit']!r} is not one of {', '.join(UNITS)}")
        length = min(float(match["number"]) * UNITS[unit], LONGEST / timedelta(milliseconds=1) + 1)
        if not timedelta(milliseconds=1) <= timedelta(milliseconds=length) <= LONGEST:
            raise self.error(f"{written!r} is not between 1ms and {LONGEST.days}d")
        return timedelta(milliseconds=length)

    def moment(self) -> datetime:
        """A point in time with its zone."""
        written = str(self.node.value) if isinstance(self.node, yaml.ScalarNode) else self.kind
        try:
            found = datetime.fromisoformat(written)
        except ValueError:
            raise self.error(f"{written!r} is not a time; write it as 2026-01-01T00:00:00Z") from None
        if found.tzinfo is None:
            raise self.error(f"{written!r} has no time zone; write it as 2026-01-01T00:00:00Z")
        return found

    def number(self) -> float:
        """A finite number that is not negative."""
        value = self.plain()
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise self.error(f"expected a number, found {self.kind if self.kind != 'a number' else value}")
        return value

    def value(self) -> Any:
        """Any YAML value as Python; texts below keys that look secret are a Secret."""
        if isinstance(self.node, yaml.MappingNode):
            return {key: entry.value() for key, entry in self.mapping().items()}
        if isinstance(self.node, yaml.SequenceNode):
            return [entry.value() for entry in self.items()]
        if self.secret and self.kind != "nothing":
            return Secret(self.text() if self.kind == "text" else str(self.node.value))
        return self.plain()

    def plain(self) -> Any:
        """Any YAML value as Python, secrets as they are written: the caller must not show it."""
        if isinstance(self.node, yaml.MappingNode):
            return {key: entry.plain() for key, entry in self.mapping().items()}
        if isinstance(self.node, yaml.SequenceNode):
            return [entry.plain() for entry in self.items()]
        if self.kind == "text":
            return self.text()
        try:
            return yaml.SafeLoader("").construct_object(self.node, deep=True)
        except ValueError:
            raise self.error("is no value of YAML; put it in quotes to make it text") from None


def read_yaml(file: Path) -> YamlNode:
    """The whole file as one entry; raises JobError for what is no YAML."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise JobError(f"{file}: there is no such file{_similar(file)}") from None
    except IsADirectoryError:
        raise JobError(f"{file}: is a folder; name the job file in it") from None
    except UnicodeDecodeError:
        raise JobError(f"{file}: is not UTF-8 text") from None
    except OSError as error:
        raise JobError(f"{file}: cannot be read: {error.strerror}") from None
    # Inside { } a plain YAML text may hold no braces; references may stand there unquoted, and keep their columns.
    marked = re.sub(r"\$\{[^{}\n]*\}", lambda found: found[0].translate(BRACES), text)
    try:
        node = yaml.compose(marked, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise JobError(f"{file}{_position(error)}: is not YAML: {_problem(error)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise JobError(f"{file}:{line}: is not YAML: the character #x{error.character:04x} is not allowed") from None
    except RecursionError:
        raise JobError(f"{file}: is nested too deeply") from None
    if node is None:
        raise JobError(f"{file}: is empty; a job file begins with job: NAME")
    _refuse_cycles(file, node, ())
    return YamlNode(file, "", node)


def _similar(file: Path) -> str:
    if not file.parent.is_dir():
        return f", nor the folder {file.parent}"
    return guess(file.name, [other.name for other in file.parent.iterdir() if other.suffix in (".yaml", ".yml")])


def _position(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f":{mark.line + 1}:{mark.column + 1}" if mark else ""


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = (error.problem or error.context or "it cannot be parsed").translate(BRACES_BACK)
    if "'\\t'" in problem:
        return "a tab stands where only spaces may indent"
    if "mapping values are not allowed here" in problem:
        return "a second ': ' in one line; put the text that holds it in quotes, or begin a new line"
    return problem


def _refuse_cycles(file: Path, node: yaml.Node, above: tuple[int, ...]) -> None:
    if id(node) in above or len(above) > 50:
        raise YamlNode(file, "", node).error("is nested too deeply")
    if isinstance(node, yaml.CollectionNode):
        for part in node.value:
            for inner in part if isinstance(part, tuple) else (part,):
                _refuse_cycles(file, inner, (*above, id(node)))
