"""The JSON Schema of the job file, for editors and other tools: `millrace schema` prints it.

It is made from the models that read a job file, those of installed packages too. What JSON Schema cannot say (a table
named twice, a mode that a target lacks) is left to `millrace check`.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ...schemas.encodings import ENCODINGS
from ...schemas.envelopes import ENVELOPES
from ...schemas.model.modes import Mode
from ...transforms.sinks import SINKS
from ...transforms.sources import SOURCES
from .format import SHORT, Schemas
from .model import Job
from .source import SourceTables, Topics

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
FILE: Final = "job-file.schema.json"
"""Its name in `docs/` and beside the demo's job file."""

Schema = dict[str, Any]


def job_file_schema() -> Schema:
    """The schema as plain data. Raises JobError where an installed package's part cannot be imported."""
    targets = {kind: SINKS[kind] for kind in SINKS}
    formats: list[type[BaseModel]] = [Schemas]
    formats += [spec.options for spec in ENCODINGS.values()]
    formats += [spec.options for spec in ENVELOPES.values()]
    sources = {kind: SOURCES[kind] for kind in SOURCES}
    models: list[type[BaseModel]] = [Job, Topics, SourceTables, *formats]
    models += [spec.options for spec in targets.values()]
    models += [spec.options for spec in sources.values()]
    by_model, shared = models_json_schema([(model, "validation") for model in dict.fromkeys(models)])
    definitions: Schema = shared["$defs"]

    def body(model: type[BaseModel]) -> Schema:
        return _resolved(by_model[model, "validation"], definitions)

    top = body(Job)
    top["properties"]["format"] = _format(body(model) for model in formats)
    by_type = {
        kind: _source(kind, body(spec.options), body(SourceTables if spec.typed else Topics))
        for kind, spec in sources.items()
    }
    typed = {"properties": {"source": {"properties": {"type": {"enum": [k for k, s in sources.items() if s.typed]}}}}}
    top |= {"if": typed, "then": {"properties": {"format": False}}, "else": {"required": ["format"]}}
    top["properties"]["source"] = {"description": "Where the changes come from.", **_one_of_types(by_type)}
    by_type = {kind: _target(kind, body(spec.options), spec.modes) for kind, spec in targets.items()}
    top["properties"]["target"] = {"description": "Where the tables are.", **_one_of_types(by_type)}
    return {
        "$schema": DIALECT,
        "title": "Millrace job file",
        "description": "A change stream and the tables that are kept equal to it.",
        **_plain(top),
        "$defs": {name: _plain(definitions[name]) for name in sorted(_used(top, definitions))},
    }


def schema_text() -> str:
    """The schema as it is committed."""
    return json.dumps(job_file_schema(), indent=2, ensure_ascii=False) + "\n"


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    """A copy of a model's own schema."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return json.loads(json.dumps(definitions[name] if name else schema))


def _one_of_types(by_type: Schema) -> Schema:
    return {"oneOf": list(by_type.values()), "required": ["type"], "properties": {"type": {"enum": list(by_type)}}}


def _source(kind: str, options: Schema, topics: Schema) -> Schema:
    properties = {"type": {"const": kind}, **options.get("properties", {}), **topics["properties"]}
    return {**topics, **options, "properties": properties, "required": ["type", *options.get("required", [])]}


def _target(kind: str, options: Schema, modes: tuple[Mode, ...]) -> Schema:
    one = {"enum": [str(mode) for mode in modes]}
    mode = {
        "description": "What tables keep of the changes; each of several modes makes a table of its own.",
        "anyOf": [one, {"type": "array", "items": one, "minItems": 1, "uniqueItems": True}],
        "default": str(modes[0]),
    }
    properties = {"type": {"const": kind}, "mode": mode, **options.get("properties", {})}
    return {**options, "properties": properties, "required": ["type", *options.get("required", [])]}


def _format(parts: Iterable[Schema]) -> Schema:
    """`type` or the long form, the place of schemas, and the keys of all encodings and envelopes."""
    properties: Schema = {
        SHORT: {"enum": list(ENVELOPES), "description": "Short for this envelope in its usual encoding."},
        "encoding": {"enum": list(ENCODINGS), "description": "How keys and values are written as bytes."},
        "envelope": {"enum": list(ENVELOPES), "description": "What a message says of its row."},
    }
    for part in parts:
        for name, found in part.get("properties", {}).items():
            # A key that several encodings have takes the values of each.
            properties[name] = {"anyOf": [properties[name], found]} if name in properties else found
    short = {"required": [SHORT], "properties": {"encoding": False, "envelope": False}}
    long = {"required": ["encoding", "envelope"], "properties": {SHORT: False}}
    forms = {"oneOf": [short, long]}
    return {
        "type": "object",
        "description": "How messages are written, and where their schemas are.",
        "properties": properties,
        "additionalProperties": False,
        "allOf": [forms, *_places_of_schemas()],
    }


def _places_of_schemas() -> Iterable[Schema]:
    """At most one place of schemas; an encoding that needs one has it, one that takes none has none."""
    places = ("registry", "schemas")
    yield {"not": {"required": list(places)}}
    for name, spec in ENCODINGS.items():
        named: Schema = {"required": ["encoding"], "properties": {"encoding": {"const": name}}}
        types = [kind for kind, envelope in ENVELOPES.items() if envelope.short["encoding"] == name]
        short: Schema = {"required": [SHORT], "properties": {SHORT: {"enum": types}}}
        here = {"anyOf": [named, short]} if types else named
        if spec.schemas:
            yield {"if": here, "then": {"anyOf": [{"required": [place]} for place in places]}}
        elif spec.language is None:
            yield {"if": here, "then": {"properties": dict.fromkeys(places, False)}}


def _plain(schema: Any) -> Any:
    """Without the titles that pydantic makes of names, which say nothing."""
    if isinstance(schema, dict):
        named = {name: _plain(part) for name, part in schema.items()}
        return {name: part for name, part in named.items() if name != "title" or not isinstance(part, str)}
    return [_plain(part) for part in schema] if isinstance(schema, list) else schema


def _used(part: Any, definitions: Schema, known: frozenset[str] = frozenset()) -> frozenset[str]:
    """The names of the definitions that a part refers to, and those that they refer to."""
    for name in re.findall(r'"#/\$defs/([^"]+)"', json.dumps(part)):
        if name not in known:
            known = _used(definitions[name], definitions, known | {name})
    return known


if __name__ == "__main__":
    print(schema_text(), end="")
