"""Messages of Avro as Kafka Connect's JSON converter writes them, the schema in each message."""

import base64
import io
import json
import math

import fastavro

TYPES = {
    "int": "int32",
    "long": "int64",
    "float": "float",
    "double": "double",
    "boolean": "boolean",
    "string": "string",
    "bytes": "bytes",
}


def as_json(message, schemas):
    """A recorded message in JSON; `schemas` gives Avro's by id."""
    return message._replace(key=_document(message.key, schemas), value=_document(message.value, schemas))


def as_plain(message, schemas):
    """The same without its schema (`schemas.enable=false`)."""
    parts = [None if one is None else json.loads(one)["payload"] for one in as_json(message, schemas)[3:5]]
    key, value = (None if one is None else json.dumps(one, ensure_ascii=False).encode() for one in parts)
    return message._replace(key=key, value=value)


def _document(payload, schemas):
    if payload is None:
        return None
    schema = schemas.by_id(int.from_bytes(payload[1:5], "big"))
    value = fastavro.schemaless_reader(io.BytesIO(payload[5:]), _unnamed(schema), None)
    connect = connect_schema(schema, {})
    return json.dumps({"schema": connect, "payload": connect_value(value, connect)}, ensure_ascii=False).encode()


def _unnamed(schema):
    if isinstance(schema, list):
        return [_unnamed(part) for part in schema]
    if isinstance(schema, dict):
        return {name: _unnamed(part) for name, part in schema.items() if name not in ("logicalType", "default")}
    return schema


def connect_schema(schema, named):
    """The Connect schema of an Avro schema that Confluent's converter wrote."""
    if isinstance(schema, list):
        (found,) = [branch for branch in schema if branch != "null"]
        return {**connect_schema(found, named), "optional": True}
    if isinstance(schema, str):
        return named[schema] if schema in named else {"type": TYPES[schema], "optional": False}
    if isinstance(schema["type"], dict | list):
        return connect_schema(schema["type"], named)
    made = {"type": schema.get("connect.type") or TYPES.get(schema["type"], schema["type"]), "optional": False}
    made |= {"name": schema["connect.name"]} if "connect.name" in schema else {}
    made |= {"parameters": schema["connect.parameters"]} if "connect.parameters" in schema else {}
    if schema["type"] == "array":
        made["items"] = connect_schema(schema["items"], named)
    elif schema["type"] == "map":
        made |= {"keys": {"type": "string", "optional": False}, "values": connect_schema(schema["values"], named)}
    elif schema["type"] == "record":
        made["type"] = "struct"
        fields = [{**connect_schema(part["type"], named), "field": part["name"]} for part in schema["fields"]]
        made["fields"] = fields
        named[schema["name"]] = made
    return made


def connect_value(value, schema):
    """A value of fastavro as the converter writes it."""
    if value is None:
        return None
    kind = schema["type"]
    if kind == "struct":
        return {part["field"]: connect_value(value[part["field"]], part) for part in schema["fields"]}
    if kind == "array":
        return [connect_value(part, schema["items"]) for part in value]
    if kind == "map":
        return {name: connect_value(part, schema["values"]) for name, part in value.items()}
    if kind == "bytes":
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
