"""`millrace compact`: maintenance of what a target keeps, from the command line."""

import json

import pytest
from support.jobs import event, key, run_once, send, write_job

from millrace.pipelines.cli.main import main
from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.job.load import load_job
from millrace.schemas.errors import JobError

ICEBERG = "{type: iceberg, namespace: shop, catalog: {type: sql, uri: 'sqlite:///c.db', warehouse: ./lake}}"
TARGETS = {"iceberg": ICEBERG, "delta": "{type: delta, path: lake}", "duckdb": "{type: duckdb, path: out.duckdb}"}


@pytest.mark.parametrize("target", TARGETS)
def test_compact_rewrites_small_files_and_changes_no_row(target, embedded_broker, topic_name, tmp_path, capsys):
    servers, topic = embedded_broker.bootstrap_servers, topic_name("compacted")
    embedded_broker.create_topic(topic, 2)
    file = write_job(tmp_path, servers, [topic], target=TARGETS[target])
    for at in range(1, 5):
        send(
            servers,
            topic,
            [(n % 2, key(n), event("u", n, f"v{at}", n, 100 * at + n)) for n in range(10 * at, 10 * at + 10)],
        )
        run_once(file)
    assert main(["compact", str(file), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done == {} if target == "duckdb" else done[topic]["rewritten"] > 1
    assert main(["compact", str(file)]) == 0
    said = capsys.readouterr().out
    assert ("keeps them in order itself" if target == "duckdb" else "files rewritten") in said
    (report,) = verify_job(load_job(file))
    assert report.ok and report.expected == 40


def test_paths_of_a_catalog_are_relative_to_the_job_file(tmp_path, monkeypatch):
    file = write_job(tmp_path, "localhost:9", ["t"], target=ICEBERG)
    monkeypatch.chdir("/")
    catalog = load_job(file).target.options.catalog
    assert catalog == {"type": "sql", "uri": f"sqlite:///{tmp_path}/c.db", "warehouse": f"{tmp_path}/lake"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("uri", "sqlite:////data/c.db"),
        ("uri", "sqlite:///:memory:"),
        ("uri", "sqlite:///file:/data/c.db?mode=ro&uri=true"),
        ("uri", "https://catalog/v1"),
        ("warehouse", "file:///lake"),
        ("warehouse", "s3://bucket/lake"),
        ("warehouse", "/lake"),
    ],
)
def test_places_that_are_not_relative_stay(tmp_path, name, value):
    target = f"{{type: iceberg, namespace: shop, catalog: {{type: sql, {name}: '{value}'}}}}"
    file = write_job(tmp_path, "localhost:9", ["t"], target=target)
    assert load_job(file).target.options.catalog[name] == value


def test_the_warehouse_of_another_catalog_is_a_name(tmp_path):
    target = "{type: iceberg, namespace: shop, catalog: {type: rest, uri: 'https://c', warehouse: prod}}"
    file = write_job(tmp_path, "localhost:9", ["t"], target=target)
    assert load_job(file).target.options.catalog["warehouse"] == "prod"


def test_a_password_in_a_catalogs_uri_is_a_reference(tmp_path):
    uri = "postgresql+psycopg://millrace:${env:CATALOG}@host/db"
    target = f"{{type: iceberg, namespace: shop, catalog: {{type: sql, uri: '{uri}', warehouse: lake}}}}"
    job = load_job(write_job(tmp_path, "localhost:9", ["t"], target=target))
    assert job.target.options.catalog["uri"] == uri
    with pytest.raises(JobError, match="has a password in it: write") as refused:
        load_job(write_job(tmp_path, "localhost:9", ["t"], target=target.replace("${env:CATALOG}", "canary-41")))
    assert "canary-41" not in str(refused.value)
