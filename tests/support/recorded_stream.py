"""The recorded Debezium stream in tests/data: its messages, its contracts, and the final rows of its source."""

import json
from functools import cache
from pathlib import Path

import fastavro

from millrace.schemas.encodings.avro.schema_text import AVRO
from millrace.schemas.encodings.schema_store import FolderSchemaStore
from millrace.schemas.model.message import Message
from millrace.transforms.proof.canonical import number, parse_time

FOLDER = Path(__file__).parents[1] / "data" / "debezium-postgres"


@cache
def messages():
    with (FOLDER / "messages.avro").open("rb") as file:
        return [
            Message(
                record["topic"],
                record["partition"],
                record["offset"],
                record["key"],
                record["value"],
                [(header["key"], header["value"]) for header in record["headers"]],
            )
            for record in fastavro.reader(file)
        ]


def contracts(folder):
    """The recorded schemas as a folder of .avsc files."""
    for schema_id, schema in json.loads((FOLDER / "schemas.json").read_text()).items():
        text = schema if isinstance(schema, str) else json.dumps(schema)
        (folder / f"recorded.{schema_id}.avsc").write_text(text)
    return FolderSchemaStore(folder, AVRO)


@cache
def final(table):
    """Key columns, and the source's last rows as canonical values by key."""
    found = json.loads((FOLDER / "final.json").read_text())["tables"][f"public.{table}"]
    columns = [(column["name"], column["type"]) for column in found["columns"]]
    return found["primary_key"], rows_of_texts(columns, found["rows"], found["primary_key"])


def rows_of_texts(columns, rows, key):
    """Rows that Postgres cast to text, as canonical values by key; `columns` are names and Postgres' types."""
    made = {}
    for texts in rows:
        row = {
            name: None if text is None else _value(kind, text)
            for (name, kind), text in zip(columns, texts, strict=True)
        }
        made[tuple(row[name] for name in key)] = row
    return made


def _value(kind, text):
    if kind in ("bigint", "integer", "smallint"):
        return int(text)
    if kind.startswith("numeric"):
        whole, _, fraction = text.partition(".")
        return number(int(whole + fraction), len(fraction))
    if kind in ("real", "double precision"):
        return float(text)
    if kind == "boolean":
        return text == "true"
    if kind == "bytea":
        return bytes.fromhex(text[2:])
    if kind == "text[]":
        return _array(text)
    time = {"date": "date", "time without time zone": "time"}.get(kind, "instant" if "timestamp" in kind else None)
    return parse_time(text, time) if time else text


def _array(text):
    """PostgreSQL's text form of a one-dimensional text array."""
    items, at = [], 1
    while text[at] != "}":
        at += text[at] == ","
        if text[at] == '"':
            item, at = "", at + 1
            while text[at] != '"':
                at += text[at] == "\\"
                item, at = item + text[at], at + 1
            items.append(item)
            at += 1
        else:
            end = min(i for i in (text.find(",", at), text.find("}", at)) if i >= 0)
            items.append(None if text[at:end] == "NULL" else text[at:end])
            at = end
    return items
