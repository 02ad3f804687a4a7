"""Secrets in a job file: refused in clear wherever they stand, references for names too, and never shown."""

import re

import pytest
import yaml
from support.job_files import FULL, load

from millrace.schemas.errors import JobError
from millrace.schemas.options import read_options
from millrace.transforms.sinks import SINKS

CANARY = "c4n4ry-s3cr3t"


def test_a_secret_is_never_shown(tmp_path):
    """Below keys that look secret, in URLs, and in a wrong place."""
    for old, new in (
        ("client: {}", f"client: {{sasl_plain_password: {CANARY}}}"),
        ("client: {}", f"client: {{ssl_password: [{CANARY}]}}"),
        ("client: {}", f"client: {{proxy_url: 'http://u:{CANARY}@p'}}"),
        ("localhost:9092", f"user:{CANARY}@localhost:9092"),
        ("http://localhost:8081", f"user:{CANARY}@localhost:8081"),
        ("http://localhost:8081", f"http://user:{CANARY}@localhost:8081"),
        ("http://localhost:8081", f"{{url: 'http://r', password: {CANARY}}}"),
        ("http://localhost:8081", f"{{url: 'http://r', timeout: 'http://user:{CANARY}@localhost:8081'}}"),
        ("shop.public.orders] ", f"'http://user:{CANARY}@localhost:8081']"),
        ("every: 10s", f"every: 10s, password: {CANARY}"),
        ("http://localhost:8081", f"{{url: http://r, password: [{CANARY}]}}"),
        ("  path: warehouse.duckdb", f"  path: w\n  password: {CANARY}"),
    ):
        with pytest.raises(JobError) as caught:
            load(tmp_path, FULL.replace(old, new))
        assert CANARY not in str(caught.value)


def test_names_may_be_references(tmp_path, monkeypatch):
    monkeypatch.setenv("SERVERS", "a:1,b:2")
    monkeypatch.setenv("TOPIC", "shop.orders")
    source = "source: {type: kafka, bootstrap_servers: '${env:SERVERS}', topics: ['${env:TOPIC}']}"
    text = f"job: '${{env:TOPIC}}-x'\n{source}\n"
    job = load(tmp_path, f"{text}format: {{type: upsert, schemas: c}}\ntarget: {{type: duckdb, path: w}}\n")
    assert (job.job, job.source.topics) == ("shop.orders-x", ("shop.orders",))
    assert job.source.options.kafka.resolved()[0]["bootstrap_servers"] == ["a:1", "b:2"]


@pytest.mark.parametrize(
    "part",
    [
        f"target: {{type: delta, path: s3://b, storage_options: {{aws_secret_access_key: {CANARY}}}}}",
        f"target: {{type: delta, path: s3://b, storage_options: {{account_key: {CANARY}}}}}",
        f"target: {{type: postgres, dsn: 'host=x password={CANARY}'}}",
        f"target: {{type: postgres, dsn: 'postgresql://u:{CANARY}@h/d'}}",
        f"target: {{type: postgres, dsn: 'postgresql://h/d?user=u&password={CANARY}'}}",
        f"target: {{type: iceberg, namespace: n, catalog: {{type: sql, uri: 'postgresql://u:{CANARY}@h/d'}}}}",
        f"target: {{type: iceberg, namespace: n, catalog: {{type: rest, token: {CANARY}}}}}",
        f"target: {{type: iceberg, namespace: n, catalog: {{type: rest, credential: 'u:{CANARY}'}}}}",
        f"target: {{type: delta, path: 's3://u:{CANARY}@b'}}",
        f"dead_letters: {{path: s3://b, storage_options: {{aws_secret_access_key: {CANARY}}}}}",
        f"dead_letters: {{path: 's3://u:{CANARY}@b'}}",
    ],
)
def test_a_secret_in_clear_is_refused_wherever_it_stands_and_never_shown(tmp_path, part):
    """A worker, which has looked the secrets up, reads the same options and does not show them either."""
    kept = FULL.partition("target:")[0]
    section = part.partition(":")[0]
    text = f"{kept}{part}\n" if section == "target" else f"{kept}target: {{type: duckdb, path: w}}\n{part}\n"
    with pytest.raises(JobError) as refused:
        load(tmp_path, text)
    assert CANARY not in str(refused.value)
    assert re.search(rf":\d+:\d+: {section}[.\w]*: (is a secret|has a password in it): write \$", str(refused.value))
    job = load(tmp_path, text.replace(CANARY, "${env:CANARY}"))
    assert CANARY not in repr(job) + str(job)
    if section == "target":
        options = {key: value for key, value in yaml.safe_load(part)["target"].items() if key != "type"}
        options = read_options(SINKS[job.target.type].options, options)
        assert CANARY in repr(options.model_dump())
        assert CANARY not in repr(options) + str(options)
