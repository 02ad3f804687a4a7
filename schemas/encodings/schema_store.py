"""Schemas of messages: by registry id, by fingerprint or by topic, each whole (types defined at their first use)."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from fastavro.schema import SchemaParseException, UnknownType, to_parsing_canonical_form
from fastavro.schema import fingerprint as canonical_fingerprint

from ..errors import JobError, SchemaError, UnknownSchemaError

Side = Literal["key", "value"]

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
NAMED: Final = frozenset({"record", "error", "enum", "fixed"})
MAX_ID: Final = (1 << 32) - 1
ID_IN_NAME: Final = re.compile(r"(?:(?P<label>.*)\.)?(?P<id>\d+)", re.DOTALL)


class SchemaStore(Protocol):
    """Where the schemas of a job come from. Safe to share between threads, and picklable.

    Each answer is parsed Avro JSON that stands alone: a type of another schema is defined at its first use.
    Raises UnknownSchemaError or SchemaError (the message becomes a dead letter), RegistryError (the registry
    does not answer) or JobError (the job asks for what this kind of contracts cannot give).
    """

    def by_id(self, schema_id: int) -> Any:
        """The schema that the Confluent wire format names."""

    def by_fingerprint(self, fingerprint: bytes) -> Any:
        """The schema that single-object encoding names: 8 bytes, CRC-64-AVRO, little-endian."""

    def by_topic(self, topic: str, side: Side) -> Any:
        """The one fixed schema of a topic's bare data."""


class FolderSchemaStore:
    """The `.avsc` files of a folder and the folders below it, all read at once.

    `<anything>.<id>.avsc` and `<id>.avsc` have a registry id, every file has its fingerprint, and
    `<topic>-key.avsc` and `<topic>-value.avsc` (also with an id) serve bare data. A file may use the named
    types of another by full name. Raises JobError with the file's name, and the line where the JSON is wrong.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise JobError(f"{self.path}: there is no such folder of .avsc files")
        parsed = {file: _parsed(file) for file in sorted(self.path.rglob("*.avsc"))}
        if not parsed:
            raise JobError(f"{self.path}: the folder holds no .avsc file")
        shared = _Shared(parsed)
        schemas = {file: shared.complete(file) for file in parsed}
        self._ids = _ids(schemas)
        self._fingerprints = {_file_fingerprint(file, schema): schema for file, schema in schemas.items()}
        self._labels = _labels(schemas)

    def by_id(self, schema_id: int) -> Any:
        """The schema of the file that ends in this id."""
        if schema_id not in self._ids:
            raise UnknownSchemaError(f"schema id {schema_id}: {self.path} holds no file named <name>.{schema_id}.avsc")
        return self._ids[schema_id]

    def by_fingerprint(self, fingerprint: bytes) -> Any:
        """The schema with this CRC-64-AVRO (8 bytes, little-endian)."""
        if fingerprint not in self._fingerprints:
            raise UnknownSchemaError(f"schema fingerprint {fingerprint.hex()}: no file in {self.path} has it")
        return self._fingerprints[fingerprint]

    def by_topic(self, topic: str, side: Side) -> Any:
        """The schema of `<topic>-<side>.avsc`; a file without an id stands before those with one."""
        label = f"{topic}-{side}"
        files = self._labels.get(label, {})
        if not files:
            raise JobError(f"{topic}: bare data need the schema of the {side}s in {self.path}, as {label}.avsc")
        plain = f"{label}.avsc"
        if len(files) > 1 and plain not in files:
            raise JobError(f"{topic}: which schema wrote the {side}s, {' or '.join(sorted(files))}? Name it {plain}")
        return files[plain] if plain in files else next(iter(files.values()))

    def __repr__(self) -> str:
        return f"FolderContracts({str(self.path)!r})"


def fingerprint(schema: Any) -> bytes:
    """8 bytes: CRC-64-AVRO of the parsing canonical form, little-endian as single-object encoding carries it.

    Raises SchemaError where the schema is no Avro schema.
    """
    try:
        canonical = to_parsing_canonical_form(without_defaults(schema))
    except (SchemaParseException, UnknownType, KeyError, TypeError) as error:
        raise SchemaError(f"not an Avro schema: {_reason(error)}") from None
    return bytes.fromhex(canonical_fingerprint(canonical, "CRC-64-AVRO"))


def parse(text: str) -> Any:
    """Parsed Avro JSON; a bare type name such as `string` is taken as well. Raises SchemaError with the line."""
    if text.strip() in PRIMITIVES:
        return text.strip()
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SchemaError(f"line {error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise SchemaError("the JSON is nested too deeply") from None


def complete(schema: Any, others: Mapping[str, Any]) -> Any:
    """The schema with types of `others` (full name -> definition) put in at their first use.

    A schema that uses no other comes back equal. Raises SchemaError for a name that nothing defines.
    """
    try:
        return _complete(schema, "", others, set())
    except RecursionError:
        raise SchemaError("the schema is nested too deeply") from None


def definitions(schema: Any) -> Iterator[tuple[str, Any]]:
    """(full name, definition that says its own namespace) of each named type in a schema, outermost first."""
    return _definitions(schema, "")


def without_defaults(schema: Any) -> Any:
    """The schema without default values: fastavro refuses some that registries serve, and reading needs none."""
    if isinstance(schema, list):
        return [without_defaults(part) for part in schema]
    if isinstance(schema, dict):
        return {name: without_defaults(part) for name, part in schema.items() if name != "default"}
    return schema


class _Shared:
    """The named types of all files; a name with two definitions serves only the files that hold one."""

    def __init__(self, parsed: Mapping[Path, Any]) -> None:
        self.parsed = parsed
        self.types: dict[str, Any] = {}
        self.twice: dict[str, set[Path]] = {}
        origin: dict[str, Path] = {}
        for file, schema in parsed.items():
            for name, definition in definitions(schema):
                if name in self.types and self.types[name] != definition:
                    self.twice.setdefault(name, {origin[name]}).add(file)
                self.types.setdefault(name, definition)
                origin.setdefault(name, file)

    def complete(self, file: Path) -> Any:
        usable = {name: definition for name, definition in self.types.items() if name not in self.twice}
        try:
            return complete(self.parsed[file], usable)
        except SchemaError as error:
            raise JobError(f"{file}: {error}{self._hint(str(error))}") from None

    def _hint(self, text: str) -> str:
        for name, files in self.twice.items():
            if f"'{name}'" in text:
                return f": {' and '.join(sorted(file.name for file in files))} define it in different ways"
        return ""


def _complete(schema: Any, namespace: str, others: Mapping[str, Any], known: set[str]) -> Any:
    if isinstance(schema, str):
        return _named(schema, namespace, others, known)
    if isinstance(schema, list):
        return [_complete(branch, namespace, others, known) for branch in schema]
    if not isinstance(schema, dict) or "type" not in schema:
        raise SchemaError(f"an Avro type is a name, a list or an object with a 'type', not {json.dumps(schema)[:80]}")
    kind = schema["type"]
    if kind in ("array", "map"):
        part = "items" if kind == "array" else "values"
        return {**schema, part: _complete(schema.get(part), namespace, others, known)}
    if kind in ("enum", "fixed"):
        known.add(_full_name(schema, namespace)[0])
        return schema
    if kind in ("record", "error"):
        return _record(schema, namespace, others, known)
    return {**schema, "type": _complete(kind, namespace, others, known)}


def _record(schema: dict[str, Any], namespace: str, others: Mapping[str, Any], known: set[str]) -> Any:
    name, inner = _full_name(schema, namespace)
    known.add(name)
    fields = schema.get("fields")
    if not isinstance(fields, list) or not all(isinstance(field, dict) and "name" in field for field in fields):
        raise SchemaError(f"record {name!r}: 'fields' is not a list of objects with a 'name'")
    return {
        **schema,
        "fields": [{**field, "type": _complete(field.get("type"), inner, others, known)} for field in fields],
    }


def _named(name: str, namespace: str, others: Mapping[str, Any], known: set[str]) -> Any:
    if name in PRIMITIVES:
        return name
    candidates = (f"{namespace}.{name}", name) if namespace and "." not in name else (name,)
    for full in candidates:
        if full in known:
            return name
    for full in candidates:
        if full in others:
            return _complete(others[full], "", others, known)
    raise SchemaError(f"the type {candidates[0]!r} is defined nowhere")


def _definitions(schema: Any, namespace: str) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, list):
        for branch in schema:
            yield from _definitions(branch, namespace)
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind in NAMED and "name" in schema:
        name, namespace = _full_name(schema, namespace)
        yield name, {**schema, "namespace": namespace}
    for field in schema.get("fields") or () if kind in ("record", "error") else ():
        yield from _definitions(field.get("type") if isinstance(field, dict) else None, namespace)
    for part in (kind, schema.get("items"), schema.get("values")):
        if isinstance(part, dict | list):
            yield from _definitions(part, namespace)


def _full_name(schema: Mapping[str, Any], namespace: str) -> tuple[str, str]:
    """(full name, namespace of what is inside), by the rules of the Avro specification."""
    name = schema.get("name")
    if not isinstance(name, str) or not name:
        raise SchemaError(f"{schema['type']}: a named type without a 'name'")
    if "." in name:
        return name, name.rpartition(".")[0]
    own = schema.get("namespace", namespace) or ""
    return (f"{own}.{name}" if own else name), own


def _parsed(file: Path) -> Any:
    try:
        return parse(file.read_text(encoding="utf-8-sig"))
    except SchemaError as error:
        raise JobError(f"{file}, {error}") from None
    except UnicodeDecodeError:
        raise JobError(f"{file}: not UTF-8 text") from None


def _file_fingerprint(file: Path, schema: Any) -> bytes:
    try:
        return fingerprint(schema)
    except SchemaError as error:
        raise JobError(f"{file}: {error}") from None


def _ids(schemas: Mapping[Path, Any]) -> dict[int, Any]:
    files: dict[int, Path] = {}
    for file in schemas:
        match = ID_IN_NAME.fullmatch(file.stem)
        if match is None or int(match["id"]) > MAX_ID:
            continue
        other = files.setdefault(int(match["id"]), file)
        if other is not file:
            raise JobError(f"{file} and {other}: two files have the schema id {int(match['id'])}")
    return {schema_id: schemas[file] for schema_id, file in files.items()}


def _labels(schemas: Mapping[Path, Any]) -> dict[str, dict[str, Any]]:
    labels: dict[str, dict[str, Any]] = {}
    for file, schema in schemas.items():
        match = ID_IN_NAME.fullmatch(file.stem)
        label = match["label"] if match and match["label"] else file.stem
        labels.setdefault(label, {})[file.name] = schema
    return labels


def _reason(error: Exception) -> str:
    if isinstance(error, UnknownType):
        return f"the type {str(error.args[0])[:80]!r} is defined nowhere"
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing"
    return str(error)[:200]
