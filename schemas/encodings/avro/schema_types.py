"""Avro schemas as a graph of types: names resolved, attributes kept.

Rules: Avro 1.12 specification, "Schema Declaration" and "Names".
"""

from typing import Any, Final

from ...errors import SchemaError
from ..columns.types import Type

PRIMITIVES: Final = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
NAMED: Final = ("record", "error", "enum", "fixed")
MAX_DEPTH: Final = 64
MAX_NODES: Final = 100_000
MAX_SYMBOL: Final = 1_000

Schema = dict[str, Any] | list[Any] | str


def parse_schema(schema: Schema) -> Type:
    """The type that parsed Avro JSON describes; raises SchemaError, naming the place."""
    return _Parser().parse(schema, "", ())


def endless_records(root: Type) -> set[int]:
    """The `id` of each record from which a record that contains itself can be reached."""
    records: dict[int, set[int]] = {}
    waiting = [root]
    seen = set()
    while waiting:
        kind = waiting.pop()
        if id(kind) in seen:
            continue
        seen.add(id(kind))
        if kind.kind == "record":
            inner = [record for child in kind.children for record in nearest_records(child)]
            records[id(kind)] = {id(record) for record in inner}
            waiting += inner
        else:
            waiting += nearest_records(kind)
    return _with_cycles(records)


def _with_cycles(links: dict[int, set[int]]) -> set[int]:
    """What is left when nodes without links to what is left are taken away, again and again."""
    users: dict[int, list[int]] = {name: [] for name in links}
    for name, inner in links.items():
        for other in inner:
            users[other].append(name)
    count = {name: len(inner) for name, inner in links.items()}
    ended = [name for name, inner in count.items() if not inner]
    left = set(links)
    while ended:
        name = ended.pop()
        left.discard(name)
        for user in users[name]:
            count[user] -= 1
            if not count[user]:
                ended.append(user)
    return left


def nearest_records(kind: Type) -> list[Type]:
    """The records that a type holds without another record around them; the record itself if it is one."""
    if kind.kind == "record":
        return [kind]
    if kind.kind in ("union", "array", "map"):
        return [record for child in kind.children for record in nearest_records(child)]
    return []


class _Parser:
    def __init__(self) -> None:
        self.named: dict[str, Type] = {}
        self.count = 0

    def parse(self, schema: Any, namespace: str, path: tuple[str, ...]) -> Type:
        self.count += 1
        if self.count > MAX_NODES:
            raise SchemaError(f"the schema has more than {MAX_NODES} types")
        if len(path) > MAX_DEPTH:
            raise SchemaError(f"the schema is nested more than {MAX_DEPTH} deep")
        if isinstance(schema, str):
            return Type(schema) if schema in PRIMITIVES else self._reference(schema, namespace, path)
        if isinstance(schema, list):
            return self._union(schema, namespace, path)
        if isinstance(schema, dict):
            return self._object(schema, namespace, path)
        raise SchemaError(f"{_where(path)} is neither a type's name nor an object nor a list")

    def _reference(self, name: str, namespace: str, path: tuple[str, ...]) -> Type:
        for full in (_full_name(name, namespace), name):
            if full in self.named:
                return self.named[full]
        raise SchemaError(f"unknown type {name!r} in {_where(path)}; a type is defined at its first use")

    def _union(self, schema: list[Any], namespace: str, path: tuple[str, ...]) -> Type:
        if not schema:
            raise SchemaError(f"the union in {_where(path)} has no branches")
        branches = [self.parse(branch, namespace, (*path, f"[{i}]")) for i, branch in enumerate(schema)]
        if any(branch.kind == "union" for branch in branches):
            raise SchemaError(f"the union in {_where(path)} holds a union directly")
        return Type("union", children=branches)

    def _object(self, schema: dict[str, Any], namespace: str, path: tuple[str, ...]) -> Type:
        kind = schema.get("type")
        if kind in NAMED:
            return self._named(schema, kind, namespace, path)
        attributes = {name: value for name, value in schema.items() if name not in ("type", "items", "values")}
        if kind in PRIMITIVES:
            return Type(kind, attributes=attributes)
        if kind in ("array", "map"):
            part = "items" if kind == "array" else "values"
            if part not in schema:
                raise SchemaError(f"the {kind} in {_where(path)} has no {part!r}")
            return Type(kind, children=[self.parse(schema[part], namespace, (*path, part))], attributes=attributes)
        if isinstance(kind, dict):
            return self.parse({**attributes, **kind}, namespace, (*path, "type"))
        if kind is None:
            raise SchemaError(f"the object in {_where(path)} has no 'type'")
        return self.parse(kind, namespace, (*path, "type"))

    def _named(self, schema: dict[str, Any], kind: str, namespace: str, path: tuple[str, ...]) -> Type:
        name = schema.get("name")
        if not isinstance(name, str) or not name:
            raise SchemaError(f"the {kind} in {_where(path)} has no name")
        space = schema.get("namespace", namespace)
        if not isinstance(space, str):
            raise SchemaError(f"the namespace of {kind} {name} is no text")
        full = _full_name(name, space)
        if full in self.named or full in PRIMITIVES:
            raise SchemaError(f"type {full} is defined twice")
        made = Type("record" if kind == "error" else kind, full)
        made.attributes = {key: value for key, value in schema.items() if key not in ("type", "fields")}
        self.named[full] = made
        if kind == "enum":
            made.names = _texts(schema.get("symbols"), f"symbols of enum {full}")
        elif kind == "fixed":
            made.size = _size(schema.get("size"), full)
        else:
            self._fields(made, schema.get("fields"), path)
        return made

    def _fields(self, record: Type, fields: Any, path: tuple[str, ...]) -> None:
        if not isinstance(fields, list) or not all(isinstance(part, dict) for part in fields):
            raise SchemaError(f"record {record.name} has no list of fields")
        record.names = _texts([part.get("name") for part in fields], f"fields of record {record.name}")
        space = record.name.rpartition(".")[0]
        for name, part in zip(record.names, fields, strict=True):
            if "type" not in part:
                raise SchemaError(f"field {name} of record {record.name} has no type")
            record.children.append(self.parse(part["type"], space, (*path, name)))


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _where(path: tuple[str, ...]) -> str:
    return f"field {'.'.join(path)}" if path else "the schema"


def _texts(texts: Any, what: str) -> list[str]:
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise SchemaError(f"the {what} must be a list of names")
    if len(set(texts)) != len(texts):
        raise SchemaError(f"the {what} repeat a name")
    if any("\ud800" <= letter <= "\udfff" for text in texts for letter in text):
        raise SchemaError(f"the {what} hold half a character (a lone surrogate)")
    if any(len(text) > MAX_SYMBOL for text in texts):
        raise SchemaError(f"the {what} hold a name of more than {MAX_SYMBOL} characters")
    return texts


def _size(size: Any, name: str) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 31:
        raise SchemaError(f"the size of fixed {name} is not a number of bytes")
    return size
