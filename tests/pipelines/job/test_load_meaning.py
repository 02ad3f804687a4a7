"""What a job file means: its settings, their defaults, and the paths in it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.job_files import FULL, SMALL, load, write

from millrace.pipelines.job.load import load_job
from millrace.schemas.model.route import OnTruncate
from millrace.transforms.dead_letter_limit import DEFAULT_LIMIT, Limit
from millrace.transforms.dead_letters import letters_at
from millrace.transforms.sinks.duckdb.options import DuckDBOptions


def test_the_file_of_the_design(tmp_path):
    job = load(tmp_path, FULL)
    assert job.job == "shop"
    assert job.source.options.kafka.bootstrap_servers == "localhost:9092"
    assert (job.source.topics, job.source.topic_pattern, job.source.start) == (
        ("shop.public.orders",),
        None,
        "earliest",
    )
    assert (job.format.envelope, job.format.registry.url, job.format.schemas) == (
        "debezium",
        "http://localhost:8081",
        None,
    )
    (table,) = job.tables
    assert (table.topics, table.to, table.key) == (("shop.public.orders",), "orders", ("id",))
    assert table.on_truncate is OnTruncate.FAIL
    assert (job.window.every, job.window.by, job.window.allowed_lateness) == (
        timedelta(seconds=10),
        "arrival",
        timedelta(0),
    )
    assert (job.target.type, job.target.modes) == ("duckdb", ("mirror",))
    assert job.target.options == DuckDBOptions(path=str(tmp_path / "warehouse.duckdb"))
    assert job.dead_letters == letters_at(tmp_path / "dead_letters")
    assert (job.file, job.folder) == (tmp_path / "job.yaml", tmp_path)


def test_defaults_and_relative_paths(tmp_path, monkeypatch):
    write(tmp_path, SMALL)
    monkeypatch.chdir(tmp_path.parent)
    job = load_job(Path(tmp_path.name) / "job.yaml")
    assert job.source.options.kafka.bootstrap_servers == "a:1,b:2"
    assert job.format.schemas == tmp_path / "contracts"
    assert job.format.framing == "auto"
    assert (job.source.start, job.tables, job.dead_letters) == ("earliest", (), letters_at(tmp_path / "dead_letters"))
    assert (job.window.every, job.max_dead_letters) == (timedelta(seconds=10), DEFAULT_LIMIT)


@pytest.mark.parametrize(
    ("old", "new", "get", "value"),
    [
        ("start: earliest", "start: latest", lambda job: job.source.start, "latest"),
        (
            "start: earliest",
            "start: {timestamp: 2026-01-01T00:00:00Z}",
            lambda job: job.source.start,
            datetime(2026, 1, 1, tzinfo=UTC),
        ),
        (
            "start: earliest",
            "start: {timestamp: '2026-01-01 02:00:00+02:00'}",
            lambda job: job.source.start,
            datetime(2026, 1, 1, tzinfo=UTC),
        ),
        ("10s", "500ms", lambda job: job.window.every, timedelta(milliseconds=500)),
        ("10s", "1.5h", lambda job: job.window.every, timedelta(minutes=90)),
        ("10s", "90 M", lambda job: job.window.every, timedelta(minutes=90)),
        ("10s", "7d", lambda job: job.window.every, timedelta(days=7)),
        (
            "by: arrival",
            "by: event, allowed_lateness: 1h",
            lambda job: job.window.allowed_lateness,
            timedelta(hours=1),
        ),
        ("key: [id]", "key: id", lambda job: job.tables[0].key, ("id",)),
        ("    to: orders\n", "", lambda job: job.tables[0].to, "orders"),
        ("fail\n", "apply\n", lambda job: job.tables[0].on_truncate, OnTruncate.APPLY),
        (
            "dead_letters: {",
            "max_dead_letters: 0.1%\ndead_letters: {",
            lambda job: job.max_dead_letters,
            Limit.parse("0.1%"),
        ),
        (
            "dead_letters: {",
            "max_dead_letters: 100\ndead_letters: {",
            lambda job: job.max_dead_letters,
            Limit(count=100),
        ),
        ("[shop.public.orders] ", "shop.public.orders", lambda job: job.source.topics, ("shop.public.orders",)),
        ("localhost:9092", "[a:1, '[::1]:2']", lambda job: job.source.options.kafka.bootstrap_servers, "a:1,[::1]:2"),
        ("warehouse.duckdb", "/data/w.duckdb", lambda job: job.target.options.path, "/data/w.duckdb"),
        (
            "registry: http://localhost:8081",
            "registry: {url: 'http://r', username: u, password: '${env:P}', timeout: 2s}",
            lambda job: (job.format.registry.username, job.format.registry.timeout),
            ("u", 2.0),
        ),
        (
            "registry: http://localhost:8081",
            "registry: {url: 'http://r', timeout: 0.5m, give_up_after: 1.5h, remember_refusals: 250 ms}",
            lambda job: (
                job.format.registry.timeout,
                job.format.registry.give_up_after,
                job.format.registry.remember_refusals,
            ),
            (30.0, 5400.0, 0.25),
        ),
        (
            "type: debezium",
            "encoding: avro\n  envelope: upsert",
            lambda job: (job.format.encoding, job.format.envelope),
            ("avro", "upsert"),
        ),
        (
            "type: duckdb",
            "type: duckdb\n  tombstone_retention: 1.5d\n  memory_limit: 0.5 gb",
            lambda job: (job.target.options.tombstone_retention, job.target.options.memory_limit),
            (timedelta(hours=36), 512 << 20),
        ),
    ],
)
def test_settings(tmp_path, old, new, get, value):
    assert old in FULL
    assert get(load(tmp_path, FULL.replace(old, new))) == value


LOGIN = "security_protocol: SASL_SSL, sasl_mechanism: PLAIN, sasl_plain_username: me"


def test_references_may_stand_unquoted_in_braces(tmp_path):
    text = FULL.replace(
        "client: {}", f"client: {{{LOGIN}, sasl_plain_password: ${{env:PW}}, ssl_password: ${{file:key.txt}}}}"
    )
    client = load(tmp_path, text).source.options.kafka.client
    secrets = {name: client[name] for name in ("sasl_plain_password", "ssl_password")}
    assert secrets == {"sasl_plain_password": "${env:PW}", "ssl_password": f"${{file:{tmp_path}/key.txt}}"}


def test_certificates_are_looked_for_beside_the_job(tmp_path):
    text = FULL.replace("client: {}", "client: {security_protocol: SSL, ssl_cafile: ca.pem}")
    assert load(tmp_path, text).source.options.kafka.client["ssl_cafile"] == str(tmp_path / "ca.pem")


def test_several_topics_into_one_table(tmp_path):
    text = FULL.replace("[shop.public.orders] ", "[a.orders, b.orders]").replace(
        "from: shop.public.orders", "from: [a.orders, b.orders]"
    )
    assert load(tmp_path, text).tables[0].topics == ("a.orders", "b.orders")
