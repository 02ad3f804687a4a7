"""A YAML file with the place of each value in it, and its values as plain Python."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from ...schemas.errors import JobError
from ...schemas.secrets import REFERENCE, has_password, looks_secret
from ...schemas.suggestions import guess

LARGEST: Final = 1 << 20
"""Bytes of a job file: beyond it somebody named a wrong file."""
MOST_VALUES: Final = 100_000
DEEPEST: Final = 50
OPENED: Final = re.compile(rf"(?:[\[{{]\s*){{{DEEPEST + 1}}}")
"""Lists and mappings one in the other: the scanner's time grows with the square of their number."""
PATTERNS: Final = ("topic_pattern",)
"""Keys of regular expressions, where `${` is no reference."""
TAGS: Final = {
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:timestamp": "text",
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
        return JobError(self.sentence(text))

    def sentence(self, text: str) -> str:
        """`FILE:LINE:COLUMN: path: text`; a text that begins with the path itself stays as it is."""
        mark = self.node.start_mark
        named = not self.path or text.startswith(self.path)
        return f"{self.file}:{mark.line + 1}:{mark.column + 1}: {text if named else f'{self.path}: {text}'}"

    @property
    def name(self) -> str:
        """The last key of the path."""
        return self.path.rpartition(".")[2].partition("[")[0]

    @property
    def secret(self) -> bool:
        """Whether the key looks like that of a secret, so that the value is never shown."""
        return looks_secret(self.name)

    @property
    def kind(self) -> str:
        """What stands here, in words."""
        if isinstance(self.node, yaml.MappingNode):
            return "a mapping"
        if isinstance(self.node, yaml.SequenceNode):
            return "a list"
        return TAGS.get(self.node.tag, "text")

    @property
    def written(self) -> str:
        """A text, number or word as it stands in the file; empty for what is none."""
        return str(self.node.value).translate(BRACES_BACK) if isinstance(self.node, yaml.ScalarNode) else ""

    def mapping(self) -> dict[str, "YamlNode"]:
        """The entries by key, each written once."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"expected a mapping (key: value), found {self.kind}")
        found: dict[str, YamlNode] = {}
        for key_node, value_node in self.node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlNode(self.file, self.path, key_node).error("a key must be one word")
            key = str(key_node.value).translate(BRACES_BACK)
            path = f"{self.path}.{key}" if self.path else key
            if key in found:
                text = f"is written twice, first in line {found[key].node.start_mark.line + 1}"
                raise YamlNode(self.file, path, key_node).error(text)
            found[key] = YamlNode(self.file, path, value_node)
        return found

    def items(self) -> list["YamlNode"]:
        """The entries of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(f"expected a list, found {self.kind}")
        return [YamlNode(self.file, f"{self.path}[{i}]", node) for i, node in enumerate(self.node.value)]

    def scalars(self) -> Iterator["YamlNode"]:
        """Every text, number and word at or below this node."""
        if isinstance(self.node, yaml.ScalarNode):
            yield self
        for part in self.mapping().values() if isinstance(self.node, yaml.MappingNode) else ():
            yield from part.scalars()
        for part in self.items() if isinstance(self.node, yaml.SequenceNode) else ():
            yield from part.scalars()

    def at(self, way: tuple[int | str, ...], key: bool = False) -> "YamlNode":
        """The node at the end of a way of keys and places, or the last one on it; with `key` the key of that node."""
        node = self
        for step in way:
            if isinstance(node.node, yaml.MappingNode) and step in (parts := node.mapping()):
                before, node = node, parts[str(step)]
                if key and step == way[-1]:
                    at_key = next(one for one, value in before.node.value if value is node.node)
                    return YamlNode(self.file, node.path, at_key)
            elif isinstance(node.node, yaml.SequenceNode) and isinstance(step, int):
                node = node.items()[step]
        return node

    def value(self) -> Any:
        """The value as plain Python, references as they are written: the caller must not show it. Raises JobError."""
        if isinstance(self.node, yaml.MappingNode):
            return {key: entry.value() for key, entry in self.mapping().items()}
        if isinstance(self.node, yaml.SequenceNode):
            return [entry.value() for entry in self.items()]
        if self.kind != "text":
            try:
                return yaml.SafeLoader("").construct_object(self.node, deep=True)
            except ValueError:
                raise self.error("is no value of YAML; put it in quotes to make it text") from None
        if not self.written.strip():
            raise self.error("is empty")
        return self.written if self.name in PATTERNS else REFERENCE.sub(self._reference, self.written)

    def _reference(self, found: re.Match[str]) -> str:
        """A reference to a secret; a file's path is relative to the job file."""
        if found["kind"] not in ("env", "file") or not found["name"]:
            raise self.error(f"{found[0]}: a secret is written ${{env:NAME}} or ${{file:PATH}}")
        if found["kind"] == "env":
            return found[0]
        return f"${{file:{self.file.absolute().parent / found['name']}}}"

    def secrets(self) -> list[str]:
        """What stands at or below this node below a key that looks secret, or is a URL with a password in it."""
        return [
            part.written
            for part in self.scalars()
            if (part.secret and part.written.strip()) or has_password(part.written)
        ]


class _TooDeepError(yaml.MarkedYAMLError):
    """A list or mapping below more than `DEEPEST` others."""


class _ShallowLoader(yaml.SafeLoader):
    """Gives up at once what is nested too deeply: the parser's time grows with the square of the depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _TooDeepError(problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def read_yaml(file: Path) -> YamlNode:
    """The whole file as one node; raises JobError for what is no YAML, and for what is too large or too deep."""
    text = _text(file)
    # Inside { } a plain YAML text may hold no braces; references may stand there unquoted, and keep their columns.
    marked = re.sub(r"\$\{[^{}\n]*\}", lambda found: found[0].translate(BRACES), text)
    if deep := OPENED.search(marked):
        line = marked.count("\n", 0, deep.start()) + 1
        raise JobError(f"{file}:{line}: is nested too deeply")
    try:
        node = yaml.compose(marked, Loader=_ShallowLoader)
    except _TooDeepError as error:
        raise JobError(f"{file}{_position(error)}: is nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        raise JobError(f"{file}{_position(error)}: is not YAML: {_problem(error)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise JobError(f"{file}:{line}: is not YAML: the character #x{error.character:04x} is not allowed") from None
    if node is None:
        raise JobError(f"{file}: is empty; a job file begins with job: NAME")
    top = YamlNode(file, "", node)
    _count(top, node, {}, 0)
    return top


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise JobError(f"{file}: is larger than 1 MB; is it a job file?")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise JobError(f"{file}: there is no such file{_similar(file)}") from None
    except IsADirectoryError:
        raise JobError(f"{file}: is a folder; name the job file in it") from None
    except UnicodeDecodeError:
        raise JobError(f"{file}: is not UTF-8 text") from None
    except OSError as error:
        raise JobError(f"{file}: cannot be read: {error.strerror}") from None


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


def _count(top: YamlNode, node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """How many values a node comes to with its aliases written out; each node is looked at once.

    `known` holds the counts by the node's id, 0 while a node is being counted: an alias to it would never end.
    """
    count = known.get(id(node))
    if count == 0 or depth > DEEPEST:
        raise YamlNode(top.file, "", node).error("is nested too deeply")
    if count is not None:
        return count
    known[id(node)] = 0
    count = 1
    if isinstance(node, yaml.CollectionNode):
        for part in node.value:
            for inner in part if isinstance(part, tuple) else (part,):
                count += _count(top, inner, known, depth + 1)
    if count > MOST_VALUES:
        raise YamlNode(top.file, "", node).error(f"its aliases come to more than {MOST_VALUES:,} values")
    known[id(node)] = count
    return count
