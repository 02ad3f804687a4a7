"""Jobs for tests: a topic filled by kafka-python, a job file, and the table that comes out."""

import io
import json
from pathlib import Path

import duckdb
import fastavro
from kafka import KafkaProducer

from millrace.pipelines.execution.progress import Progress
from millrace.pipelines.execution.run_passes import run
from millrace.pipelines.job.load import load_job

ROW = {
    "type": "record",
    "name": "Value",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "name", "type": ["null", "string"], "default": None},
        {"name": "count", "type": ["null", "int"], "default": None},
    ],
}
SOURCE = {
    "type": "record",
    "name": "Source",
    "fields": [{"name": "sequence", "type": ["null", "string"]}, {"name": "lsn", "type": ["null", "long"]}],
}
ENVELOPE = {
    "type": "record",
    "name": "Envelope",
    "fields": [
        {"name": "before", "type": ["null", ROW]},
        {"name": "after", "type": ["null", "Value"]},
        {"name": "source", "type": SOURCE},
        {"name": "op", "type": "string"},
    ],
}
KEY = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "long"}]}
SCHEMAS = {1: KEY, 2: ENVELOPE}


def wire(schema_id, datum, schema=None):
    """A message in Confluent wire format."""
    body = io.BytesIO()
    parsed = fastavro.parse_schema(json.loads(json.dumps(schema or SCHEMAS[schema_id])))
    fastavro.schemaless_writer(body, parsed, datum)
    return b"\0" + schema_id.to_bytes(4, "big") + body.getvalue()


def key(number):
    return wire(1, {"id": number})


def event(op, number, name=None, count=None, at=1):
    """A Debezium envelope of the row (number, name, count) at source position `at`."""
    row = {"id": number, "name": name, "count": count}
    source = {"sequence": f'["{at}","{at}"]', "lsn": at}
    before, after = (row, None) if op == "d" else (None, row)
    return wire(2, {"before": before, "after": after, "source": source, "op": op})


def contracts(folder, schemas=SCHEMAS):
    folder.mkdir(exist_ok=True)
    for number, schema in schemas.items():
        (folder / f"schema.{number}.avsc").write_text(json.dumps(schema))
    return folder


def send(servers, topic, messages):
    """Messages are (partition, key, value), with headers and milliseconds behind; each partition keeps their order."""
    producer = KafkaProducer(bootstrap_servers=servers, acks="all", retries=5, linger_ms=5)
    sent = []
    for partition, message_key, value, *more in messages:
        headers, time = (*more, *([], None)[len(more) :])
        options = {"partition": partition, "headers": list(headers), "timestamp_ms": time}
        sent.append(producer.send(topic, key=message_key, value=value, **options))
    producer.flush()
    for future in sent:
        future.get(30)
    producer.close()


def write_job(folder, servers, topics, *, format="debezium", target=None, more=""):
    """A job file with a DuckDB target in `folder` (or the `target` given, as one YAML line)."""
    contracts(folder / "contracts")
    target = target or "{type: duckdb, path: out.duckdb}"
    file = Path(folder) / "job.yaml"
    file.write_text(
        f"job: test\nsource: {{type: kafka, bootstrap_servers: '{servers}', topics: [{', '.join(topics)}]}}\n"
        f"format: {{type: {format}, schemas: ./contracts}}\ntarget: {target}\n{more}"
    )
    return file


def run_once(file):
    """One `run --once` in this process; the summary."""
    return run(load_job(file), once=True, progress=Progress(quiet=True))


def rows(folder, table, columns="*", file="out.duckdb"):
    """The table's rows, sorted, without Millrace's columns."""
    with duckdb.connect(str(Path(folder) / file), read_only=True) as db:
        exclude = " EXCLUDE (_millrace_position)" if columns == "*" else ""
        return sorted(db.execute(f'SELECT {columns}{exclude} FROM "{table}"').fetchall(), key=repr)
