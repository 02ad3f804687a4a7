"""Send ten random integers to the topic data_changes, as Avro in the Confluent wire format.

The whole example, with a Kafka broker at localhost:9092:

    python produce.py
    millrace run job.yaml --once
    millrace verify job.yaml
    python read.py

A broker elsewhere: name it in job.yaml, and as the argument of produce.py.
"""

import io
import json
import random
import sys
from pathlib import Path

import fastavro
from kafka import KafkaProducer

SCHEMAS = Path(__file__).parent / "schemas"


def encode(name: str, schema_id: int, datum: dict[str, int]) -> bytes:
    """A zero byte, the schema's id in four bytes, the Avro datum."""
    schema = json.loads((SCHEMAS / f"{name}.{schema_id}.avsc").read_text())
    data = io.BytesIO(b"\0" + schema_id.to_bytes(4, "big"))
    data.seek(5)
    fastavro.schemaless_writer(data, schema, datum)
    return data.getvalue()


def main(servers: str) -> None:
    """Ten messages with the keys 1 to 10."""
    producer = KafkaProducer(bootstrap_servers=servers)
    for number in range(1, 11):
        row = {"id": number, "number": random.randrange(1_000_000)}
        key = encode("data_changes-key", 1, {"id": number})
        value = encode("data_changes-value", 2, row)
        producer.send("data_changes", key=key, value=value).get(30)
        print(row)
    producer.close()


if __name__ == "__main__":
    main(*sys.argv[1:] or ["localhost:9092"])
