"""Mistakes in a job file: for each the whole sentence with its place, and never a secret."""

import re

import pytest
from support.job_files import FULL, SMALL, load, write

from millrace.pipelines.job.load import load_job
from millrace.schemas.errors import JobError
from millrace.transforms.sinks import SINKS
from millrace.transforms.sources import SOURCES

MISTAKES = [
    ("  topics:", "  topcis:", "5:3: source.topcis: unknown key; did you mean 'topics'?"),
    ("window:", "windows:", "16:1: windows: unknown key; did you mean 'window'?"),
    (
        "job: shop ",
        "zebra: 1\njob: shop ",
        "1:1: zebra: unknown key; known are job, source, format, tables, on_new_source, on_incompatible, window, "
        "target, dead_letters, max_dead_letters, on_unrepresentable",
    ),
    ("job: shop  ", "#", "2:1: the key 'job' is missing"),
    ("job: shop ", "job: 7 ", "1:6: job: expected text, found a number; put it in quotes"),
    ("job: shop ", "job: ", "1:5: job: expected text, found nothing"),
    ("job: shop ", "job: sh/op ", "1:6: job: 'sh/op' is not a name of letters, digits, '_', '-' and '.'"),
    (
        "type: kafka",
        "type: kafak",
        f"3:9: source.type: 'kafak' is not one of {', '.join(SOURCES)}; did you mean 'kafka'?",
    ),
    ("  type: kafka\n", "", "3:3: source: the key 'type' is missing"),
    ("localhost:9092", "http://x:1", "4:22: source.bootstrap_servers: 'http://x:1' is not written host:port"),
    ("localhost:9092", "9092", "4:22: source.bootstrap_servers: expected text, found a number; put it in quotes"),
    ("localhost:9092", "x:99999", "4:22: source.bootstrap_servers: 'x:99999' is not written host:port"),
    ("localhost:9092", "u:hunter2@x:1", "4:22: source.bootstrap_servers: one of the servers is not written host:port"),
    (
        "  start:",
        "  topic_pattern: 'a'\n  start:",
        "6:18: source.topic_pattern: stands beside source.topics; a job has one of the two",
    ),
    (
        "  topics: [shop.public.orders]  ",
        "  #",
        "3:3: source: says no topics: add topics: [NAME, ...] or topic_pattern: 'REGEX'",
    ),
    ("topics: [shop.public.orders]", "topics: []", "5:11: source.topics: the list is empty"),
    (
        "topics: [shop.public.orders]",
        "topics: ['shop.*']",
        "5:12: source.topics[0]: 'shop.*' cannot be a topic: names have letters, digits, '.', '_' and '-' only; "
        "for a pattern use source.topic_pattern",
    ),
    ("topics: [shop.public.orders]", "topics: [a, a]", "5:15: source.topics[1]: 'a' stands twice in the list"),
    (
        "topics: [shop.public.orders]",
        "topic_pattern: 'shop('",
        "5:18: source.topic_pattern: 'shop(' is not a regular expression: "
        "missing ), unterminated subpattern at position 4",
    ),
    (
        "start: earliest",
        "start: earlist",
        "6:10: source.start: 'earlist' is not one of earliest, latest or {timestamp: 2026-01-01T00:00:00Z}; "
        "did you mean 'earliest'?",
    ),
    (
        "start: earliest",
        "start: {timestamp: 2026-01-01}",
        "6:22: source.start.timestamp: '2026-01-01' has no time zone; write it as 2026-01-01T00:00:00Z",
    ),
    (
        "start: earliest",
        "start: {timestamp: yesterday}",
        "6:22: source.start.timestamp: 'yesterday' is not a time; write it as 2026-01-01T00:00:00Z",
    ),
    (
        "client: {}",
        "client: {secuirty_protocol: SSL}",
        "7:31: source.client.secuirty_protocol is not a client option that a job can set; "
        "did you mean 'security_protocol'?",
    ),
    (
        "client: {}",
        "client: {sasl_mechanism: PLAIN}",
        "7:28: source.client.sasl_mechanism: has no effect with security_protocol: PLAINTEXT, the default; "
        "write security_protocol: SASL_PLAINTEXT or SASL_SSL",
    ),
    (
        "client: {}",
        "client: {sasl_mechanism: PLAIN, ssl_cafile: ca.pem}",
        "7:28: source.client.sasl_mechanism: has no effect with security_protocol: PLAINTEXT, the default; "
        "write security_protocol: SASL_SSL",
    ),
    (
        "client: {}",
        "client: {security_protocol: SASL_PLAINTEXT, ssl_cafile: ca.pem}",
        "7:59: source.client.ssl_cafile: has no effect with security_protocol: SASL_PLAINTEXT; "
        "write security_protocol: SASL_SSL",
    ),
    (
        "client: {}",
        "client: {ssl_cafile: ca.pem}",
        "7:24: source.client.ssl_cafile: has no effect with security_protocol: PLAINTEXT, the default; "
        "write security_protocol: SSL",
    ),
    (
        "client: {}",
        "client: {security_protocol: SASL_SSL}",
        "7:31: source.client.security_protocol: SASL_SSL needs a login: add sasl_mechanism: PLAIN, SCRAM-SHA-256, "
        "SCRAM-SHA-512, GSSAPI or OAUTHBEARER",
    ),
    (
        "client: {}",
        "client: {security_protocol: SASL_SSL, sasl_mechanism: PLAIN, sasl_plain_username: me}",
        "7:57: source.client.sasl_mechanism: PLAIN needs a user name and a password: add sasl_plain_password",
    ),
    (
        "client: {}",
        "client: {sasl_plain_password: hunter2}",
        "7:33: source.client.sasl_plain_password is a secret: write ${env:NAME} or ${file:PATH} instead of the value",
    ),
    (
        "client: {}",
        "client: {sasl_plain_password: '${PASSWORD}'}",
        "7:33: source.client.sasl_plain_password: ${PASSWORD}: a secret is written ${env:NAME} or ${file:PATH}",
    ),
    ("client: {}", "client: []", "7:11: source.client: expected a mapping (key: value), found a list"),
    (
        "type: debezium",
        "type: debizium",
        "9:9: format.type: 'debizium' is not one of canal, debezium, dms, goldengate, maxwell, upsert; did you mean "
        "'debezium'?",
    ),
    (
        "  registry: http://localhost:8081",
        "",
        "9:3: format: says no schemas: add registry: URL or schemas: FOLDER (of .avsc files)",
    ),
    (
        "  registry:",
        "  schemas: contracts\n  registry:",
        "10:12: format.schemas: stands beside format.registry; a job has one of the two",
    ),
    (
        "http://localhost:8081",
        "u:hunter2@localhost",
        "10:13: format.registry: is not an http:// or https:// address; a folder is format.schemas",
    ),
    (
        "  type: debezium",
        "  type: debezium\n  framing: bare",
        "10:12: format.framing: bare needs format.schemas, a folder: a registry finds schemas by id only",
    ),
    ("  - from: shop", "  - form: shop", "12:5: tables[0].form: unknown key; did you mean 'from'?"),
    (
        "from: shop.public.orders",
        "from: shop.public.order",
        "12:11: tables[0].from: 'shop.public.order' does not stand in source.topics; "
        "did you mean 'shop.public.orders'?",
    ),
    (
        "tables:\n  - from: shop.public.orders\n    to: orders\n    key: [id]\n    on_truncate: fail",
        "tables: 5",
        "11:9: tables: expected a list, found a number",
    ),
    (
        "to: orders",
        "to: _millrace_x",
        "13:9: tables[0].to: '_millrace_x': names that begin with _millrace_ are Millrace's own",
    ),
    (
        "to: orders",
        "to: a/b",
        "13:9: tables[0].to: 'a/b' cannot be a table: no '/', '\\' or control characters, at most 200 characters",
    ),
    (
        "fail\n",
        "fial\n",
        "15:18: tables[0].on_truncate: 'fial' is not one of fail, apply, ignore; did you mean 'fail'?",
    ),
    ("every: 10s", "every: 10", "16:17: window.every: '10' has no unit; write 10s for seconds, or ms, m, h, d"),
    ("every: 10s", "every: 10 secs", "16:17: window.every: '10 secs': the unit 'secs' is not one of ms, s, m, h, d"),
    (
        "every: 10s",
        "every: soon",
        "16:17: window.every: 'soon' is not a duration; write a number and a unit, as in 500ms, 10s, 5m, 1h or 7d",
    ),
    ("every: 10s", "every: 0s", "16:17: window.every: '0s' is not between 1ms and 36500d"),
    ("every: 10s", "every: 99999999999999d", "16:17: window.every: '99999999999999d' is not between 1ms and 36500d"),
    ("by: arrival", "by: arival", "16:26: window.by: 'arival' is not one of arrival, event; did you mean 'arrival'?"),
    (
        "by: arrival",
        "allowed_lateness: 1h",
        "16:40: window.allowed_lateness: has a meaning with by: event only; windows by arrival are never late",
    ),
    (
        "type: duckdb",
        "type: dukdb",
        f"18:9: target.type: 'dukdb' is not one of {', '.join(SINKS)}; did you mean 'duckdb'?",
    ),
    ("  path: warehouse", "  pth: warehouse", "19:3: target.pth: unknown key; did you mean 'path'?"),
    ("  path: warehouse.duckdb", "", "18:3: target: the key 'path' is missing"),
    (
        "type: duckdb",
        "type: duckdb\n  mode: appned",
        "19:9: target.mode: 'appned' is not one of mirror, soft_delete, append, scd2; did you mean 'append'?",
    ),
    (
        "type: duckdb",
        "type: duckdb\n  mode: [mirror, append, mirror]",
        "19:26: target.mode[2]: 'mirror' stands twice in the list",
    ),
    (
        "type: duckdb",
        "type: files\n  mode: [append, mirror]",
        "19:18: target.mode[1]: a target of type files has no mode mirror, only append",
    ),
    (
        "by: arrival}\ntarget:\n  type: duckdb",
        "by: event}\ntarget:\n  type: files",
        "16:26: window.by: a target of type files takes windows by arrival only; write by: arrival",
    ),
    (
        "on_truncate: fail",
        "on_truncate: apply\n    mode: [mirror, soft_delete]",
        "15:18: tables[0].on_truncate: a table with mode: soft_delete keeps what was deleted, and a TRUNCATE does not "
        "say which rows it deleted; write on_truncate: ignore, or fail",
    ),
    (
        "{path: dead_letters}",
        "{path: ftp://b}",
        "20:22: dead_letters.path: 'ftp://b': ftp:// is not known; known are file, gs, hdfs, s3",
    ),
    (
        "{path: dead_letters}",
        "{path: x, storage_options: {aws_region: y}}",
        "20:42: dead_letters.storage_options: belong to a URL, and dead_letters.path is a local folder",
    ),
    (
        "{path: dead_letters}",
        "{path: 's3://b', storage_option: {}}",
        "20:32: dead_letters.storage_option: unknown key; did you mean 'storage_options'?",
    ),
    (
        "dead_letters: {path",
        "max_dead_letters: lots\ndead_letters: {path",
        "20:19: max_dead_letters: 'lots' is neither a whole number nor a percentage such as 0.1%",
    ),
    (
        "http://localhost:8081",
        "http://u:hunter2@localhost",
        "10:13: format.registry: is a secret: write ${env:NAME} or ${file:PATH} instead of the value",
    ),
    (
        "http://localhost:8081",
        "{url: 'http://r', username: u, password: hunter2}",
        "10:54: format.registry.password: is a secret: write ${env:NAME} or ${file:PATH} instead of the value",
    ),
    (
        "http://localhost:8081",
        "{url: 'http://r', timeout: 10}",
        "10:40: format.registry.timeout: '10' has no unit; write 10s for seconds, or ms, m, h, d",
    ),
    (
        "  type: debezium",
        "  envelope: debezium",
        "9:3: format: the key 'encoding' is missing",
    ),
    (
        "  type: debezium",
        "  type: debezium\n  encoding: avro",
        "10:13: format.encoding: stands beside format.type, which is short for encoding and envelope",
    ),
    (
        "  type: debezium",
        "  encoding: arvo\n  envelope: debezium",
        "9:13: format.encoding: 'arvo' is not one of avro, json, protobuf; did you mean 'avro'?",
    ),
    (
        "  path: warehouse",
        "  memory_limit: 12 apples\n  path: warehouse",
        "19:17: target.memory_limit: '12 apples': the unit 'apples' is not one of KB, MB, GB",
    ),
    (
        "  path: warehouse",
        "  memory_limit: 512\n  path: warehouse",
        "19:17: target.memory_limit: '512' has no unit; write 512MB, or KB, GB",
    ),
    (
        "  path: warehouse",
        "  tombstone_retention: 3 fortnights\n  path: warehouse",
        "19:24: target.tombstone_retention: '3 fortnights': the unit 'fortnights' is not one of ms, s, m, h, d",
    ),
    (
        "  path: warehouse",
        "  memory_limit: [1]\n  path: warehouse",
        "19:17: target.memory_limit: '[1]' is not a size; write a number and a unit, as in 512MB or 2GB",
    ),
    ("  path: warehouse.duckdb", "  path: [w]", "19:9: target.path: expected text, found a list"),
    ("  path: warehouse.duckdb", "  path:", "19:8: target.path: expected text, found nothing"),
    ("key: [id]", "key:", "14:9: tables[0].key: has no value: write one, or leave the key out"),
    (
        "type: duckdb\n  path: warehouse.duckdb",
        "type: files\n  path: log\n  format: parket",
        "20:11: target.format: 'parket' is not one of parquet, avro; did you mean 'parquet'?",
    ),
    (
        "type: duckdb\n  path: warehouse.duckdb",
        "{type: iceberg, namespace: n, catalog: {type: sql, uri: [x]}}",
        "18:59: target.catalog.uri: expected text, found a list",
    ),
    (
        "type: duckdb\n  path: warehouse.duckdb",
        "type: iceberg\n  namespace: n\n  catalog: {}\n  time_travel: 3 fortnights",
        "21:16: target.time_travel: '3 fortnights': the unit 'fortnights' is not one of ms, s, m, h, d",
    ),
    ("job: shop ", "job: shop\njob: shop ", "2:1: job: is written twice, first in line 1"),
    ("  type: kafka", "\ttype: kafka", "3:1: is not YAML: a tab stands where only spaces may indent"),
    (
        "job: shop ",
        "job: a: b ",
        "1:7: is not YAML: a second ': ' in one line; put the text that holds it in quotes, or begin a new line",
    ),
]


@pytest.mark.parametrize(("old", "new", "sentence"), MISTAKES)
def test_mistakes(tmp_path, old, new, sentence):
    assert old in FULL
    file = write(tmp_path, FULL.replace(old, new, 1))
    with pytest.raises(JobError) as caught:
        load_job(file)
    assert str(caught.value) == f"{file}:{sentence}"


TWO_TABLES = SMALL.replace("[x.y]", "[x.y, z.y]")


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        (
            "- {from: x.y, to: t}\n- {from: z.y, to: T}",
            "7:19: tables[1].to: the table 'T' stands twice (tables[0]); several topics into one table are one item: "
            "from: [a, b]",
        ),
        ("- {from: x.y, to: t}\n- {from: x.y, to: u}", "7:10: tables[1].from: 'x.y' already goes to another table"),
        ("- {from: [x.y, z.y]}", "6:3: tables[0]: several topics need the table's name: add to: NAME"),
    ],
)
def test_mistakes_in_tables(tmp_path, tables, sentence):
    file = write(tmp_path, f"{TWO_TABLES}tables:\n{tables}\n")
    with pytest.raises(JobError) as caught:
        load_job(file)
    assert str(caught.value) == f"{file}:{sentence}"


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("target: {type: delta, path: 'ftp://x/y'}", "target.path: ftp:// is not known; known are file, s3"),
        ("target: {type: files, path: 's4://x/y'}", "target.path: s4:// is not known; known are file, gs"),
        ("target: {type: duckdb, path: 's3://x/y'}", "target.path: 's3://x/y' is not a file"),
        (
            "target: {type: iceberg, namespace: n, catalog: {}, partition_by: ['buckt(8, id)']}",
            "target.partition_by: 'buckt(8, id)': 'buckt' is not one of bucket, truncate, year, month, day, hour; "
            "did you mean 'bucket'?",
        ),
        (
            "target: {type: duckdb, path: w}\ntables: [{from: shop.public.orders, to: '${env:NOT_SET_HERE}'}]",
            "tables[0].to: ${env:NOT_SET_HERE}: the environment variable NOT_SET_HERE is not set",
        ),
    ],
)
def test_places_terms_and_names_that_cannot_be_are_told_at_once(tmp_path, part, sentence):
    with pytest.raises(JobError) as refused:
        load(tmp_path, f"{SMALL.partition('target:')[0]}{part}\n")
    assert f": {sentence}" in str(refused.value)


def test_a_topic_that_has_its_table_is_not_proposed(tmp_path):
    tables = "tables: [{from: shop.public.orders}, {from: shop.public.order}]"
    with pytest.raises(JobError) as refused:
        load(tmp_path, f"{SMALL}{tables}\n")
    assert "'shop.public.order' does not stand in source.topics" in str(refused.value)
    assert "did you mean 'shop.public.orders'" not in str(refused.value)


def test_an_endless_value_is_not_echoed_whole(tmp_path):
    with pytest.raises(JobError) as refused:
        load(tmp_path, SMALL.replace("job: ", f"job: {'x!' * 500}", 1))
    assert len(str(refused.value)) < 300 + len(str(tmp_path))


def test_every_mistake_names_a_place():
    assert all(re.match(r"\d+:\d+: ", sentence) for _, _, sentence in MISTAKES)
