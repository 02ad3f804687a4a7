"""Avro schemas as text: parsed, made whole with the types of others, and named by their fingerprint."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastavro.schema import SchemaParseException, UnknownType, to_parsing_canonical_form
from fastavro.schema import fingerprint as canonical_fingerprint

from ...errors import SchemaError

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
NAMED: Final = frozenset({"record", "error", "enum", "fixed"})


class AvroSchemas:
    """Keeps the contract of `SchemaLanguage`: a type of another schema is defined at its first use."""

    registry_type = "AVRO"
    suffix = ".avsc"

    def parse(self, text: str) -> Any:
        return parse(text)

    def complete(self, schema: Any, types: Mapping[str, Any]) -> Any:
        return complete(schema, types)

    def types(self, name: str, schema: Any) -> Iterator[tuple[str, Any]]:
        return definitions(schema)

    def fingerprint(self, schema: Any) -> bytes:
        return fingerprint(schema)


AVRO: Final = AvroSchemas()


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


def _reason(error: Exception) -> str:
    if isinstance(error, UnknownType):
        return f"the type {str(error.args[0])[:80]!r} is defined nowhere"
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing"
    return str(error)[:200]
