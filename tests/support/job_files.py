"""Job files of tests: one that says everything, and one that says as little as it can."""

from millrace.pipelines.job.load import load_job

FULL = r"""job: shop                              # names the ledger and the metrics
source:
  type: kafka
  bootstrap_servers: localhost:9092
  topics: [shop.public.orders]         # or topic_pattern: 'shop\.public\..*'
  start: earliest
  client: {}
format:
  type: debezium
  registry: http://localhost:8081
tables:
  - from: shop.public.orders
    to: orders
    key: [id]
    on_truncate: fail
window: {every: 10s, by: arrival}
target:
  type: duckdb
  path: warehouse.duckdb
dead_letters: {path: dead_letters}
"""
SMALL = """\
job: shop
source: {type: kafka, bootstrap_servers: 'a:1,b:2', topics: [x.y]}
format: {type: upsert, schemas: contracts}
target: {type: duckdb, path: w.duckdb}
"""


def write(folder, text):
    file = folder / "job.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def load(folder, text):
    return load_job(write(folder, text))
