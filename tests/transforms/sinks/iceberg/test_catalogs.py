"""Iceberg in real catalogs and stores: Postgres, the Java REST catalog, Hive, Glue, S3, GCS; and what they refuse."""

import os
import sqlite3
import subprocess
import sys
import textwrap
import threading

import pyarrow as pa
import pytest
from support import iceberg_engines, postgres_server
from support.kafka_broker import free_ports
from support.targets import Placed, Target, delete, upsert

from millrace.schemas.errors import MillraceError, SinkError, TerminalSinkError, TransientSinkError
from millrace.transforms.sinks.iceberg.pyiceberg import load_catalog


def story(target: Target) -> None:
    """What each catalog has to carry: rows, deletes, late changes, growth, partitions, the ledger, a second opening."""
    target.apply(*(upsert(5, id=n, v="five") for n in range(6)))
    assert target.apply(upsert(6, id=1, v="six"), delete(6, id=2), upsert(4, id=3, v="late")) == (2, 1)
    target.apply(upsert(7, id=9, v="new", w=1.5), schema=pa.schema([*target.schema, ("w", pa.float64())]))
    target.reopen()
    assert target.apply(upsert(5, id=2, v="late"), upsert(8, id=9, v="newer")) == (1, 1)
    assert target.rows() == [
        (0, "five", None), (1, "six", None), (3, "five", None), (4, "five", None), (5, "five", None), (9, "newer", None)
    ]  # fmt: skip
    assert target.next == 12
    assert target.sink.tables() == ("orders",)
    assert "orders" in target.sink.describe("orders")
    target.sink.maintain("orders")
    assert len(target.rows()) == 6
    target.close()


def postgres_url(password: str = postgres_server.ROLE_PASSWORD) -> str:
    """A database of one's own, as SQLAlchemy opens it with psycopg 3."""
    server, name = postgres_server.server(), f"catalog_{os.urandom(4).hex()}"
    server.sql(f"CREATE DATABASE {name} OWNER {postgres_server.ROLE}")
    return f"postgresql+psycopg://{postgres_server.ROLE}:{password}@127.0.0.1:{server.port}/{name}"


def test_a_catalog_in_postgres(tmp_path):
    catalog = {"type": "sql", "uri": postgres_url(), "warehouse": f"file://{tmp_path}/lake"}
    story(Placed("iceberg", tmp_path, {"namespace": "shop", "catalog": catalog, "partition_by": ["bucket(2, id)"]}))


@pytest.fixture(scope="module")
def rest(tmp_path_factory):
    reason = iceberg_engines.missing_for_java()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("rest")
    with iceberg_engines.rest_catalog(folder) as url:
        yield url, folder


@pytest.mark.java
@pytest.mark.timeout(300)
def test_the_rest_catalog_of_the_java_implementation(rest, tmp_path):
    url, folder = rest
    options = {
        "namespace": "shop",
        "catalog": {"type": "rest", "uri": url},
        "staging": f"file://{folder}",
        "partition_by": {"orders": ["bucket(2, id)"]},
    }
    story(Placed("iceberg", tmp_path, options))


@pytest.mark.java
@pytest.mark.timeout(300)
def test_snapshots_expire_in_the_rest_catalog_and_the_ledger_stays(rest, tmp_path):
    url, folder = rest
    options = {"namespace": "old", "catalog": {"type": "rest", "uri": url}, "staging": f"file://{folder}"}
    target = Placed("iceberg", tmp_path, {**options, "time_travel": "0s"})
    for at in range(1, 36):
        target.apply(upsert(at, id=at % 3, v=str(at)), delete(at, id=9))
    catalog = load_catalog("default", type="rest", uri=url)
    assert len(catalog.load_table(("old", "orders")).snapshots()) <= 30
    target.reopen()
    assert (target.rows(), target.next) == ([(0, "33"), (1, "34"), (2, "35")], 70)
    target.close()


@pytest.mark.java
@pytest.mark.timeout(300)
def test_two_writers_through_the_rest_catalog(rest, tmp_path):
    url, folder = rest
    options = {"namespace": "two", "catalog": {"type": "rest", "uri": url}, "staging": f"file://{folder}"}
    two_writers(options, tmp_path)


def two_writers(options: dict, tmp_path) -> None:
    """Two jobs write keys of one table at the same time; each change ends where its position says."""
    writers = [Placed("iceberg", tmp_path, options, job=f"job{n}", topic=f"t{n}") for n in range(2)]
    writers[0].apply(*(upsert(0, id=n, v="start") for n in range(10)))
    failures: list[Exception] = []

    def write(number: int) -> None:
        try:
            for at in range(1, 6):
                retried(writers[number], upsert(2 * at + number, id=at, v=f"{number}"), upsert(2 * at, id=0, v="x"))
        except (MillraceError, AssertionError) as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=[n]) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert writers[0].rows() == [(0, "x"), *((n, "1") for n in range(1, 6)), *((n, "start") for n in range(6, 10))]
    for writer in writers:
        writer.close()


def retried(target: Target, *changes) -> None:
    """As the job does: a transient error is worth another try."""
    for _ in range(100):
        try:
            target.apply(*changes)
        except TransientSinkError:
            continue
        return
    raise AssertionError("still refused")


@pytest.fixture(scope="module")
def hive(tmp_path_factory):
    reason = iceberg_engines.missing_for_hive()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("hive")
    with iceberg_engines.hive_metastore(folder) as url:
        yield iceberg_engines.hive_settings(url, folder)


@pytest.mark.java
@pytest.mark.timeout(300)
def test_a_hive_metastore(hive, tmp_path):
    options = {"namespace": "shop", "catalog": hive, "partition_by": {"orders": ["bucket(2, id)"]}}
    story(Placed("iceberg", tmp_path, options))


@pytest.mark.java
@pytest.mark.timeout(300)
def test_two_writers_through_a_hive_metastore(hive, tmp_path):
    two_writers({"namespace": "two", "catalog": hive}, tmp_path)


@pytest.mark.java
@pytest.mark.timeout(300)
def test_what_a_hive_metastore_refuses_is_one_sentence_and_changes_nothing(hive, tmp_path):
    """Its default is to compare the types of columns place by place, so a column cannot be written anew."""
    old, new = (pa.schema([("id", pa.int64()), ("n", kind), ("v", pa.binary())]) for kind in (pa.int32(), pa.float64()))
    target = Placed("iceberg", tmp_path, {"namespace": "typed", "catalog": hive}, schema=old)
    target.apply(upsert(1, id=1, n=1, v=b"a"))
    with pytest.raises(TerminalSinkError, match="types incompatible with the existing columns") as refused:
        target.apply(upsert(2, id=1, n=2.5, v=b"b"), schema=new)
    assert "\n" not in str(refused.value)
    target.reopen()
    assert target.apply(upsert(2, id=1, n=2, v=b"b")) == (1, 0)
    assert (target.rows(), target.next) == ([(1, 2, b"b")], 2)
    target.close()


@pytest.mark.java
@pytest.mark.timeout(300)
def test_a_metastore_of_hive_2_that_is_taken_for_a_newer_one(hive, tmp_path):
    catalog = {name: value for name, value in hive.items() if name != "hive.hive2-compatible"}
    schema = pa.schema([("id", pa.int64()), ("t", pa.timestamp("us", "UTC"))])
    target = Placed("iceberg", tmp_path, {"namespace": "newer", "catalog": catalog}, schema=schema)
    with pytest.raises(TerminalSinkError, match=r"hive\.hive2-compatible: true"):
        target.apply(upsert(1, id=1))
        target.apply(upsert(2, id=1))
    target.close()


def test_a_hive_metastore_that_does_not_answer(tmp_path):
    (port,) = free_ports(1)
    catalog = {"type": "hive", "uri": f"thrift://127.0.0.1:{port}", "warehouse": f"file://{tmp_path}/lake"}
    with pytest.raises(TransientSinkError, match="lake: shop: Could not connect"):
        Placed("iceberg", tmp_path, {"namespace": "shop", "catalog": catalog}).apply(upsert(1, id=1, v="a"))


@pytest.fixture
def glue(s3):
    bucket = s3.create_bucket(f"lake-{os.urandom(4).hex()}")
    settings = {"s3.endpoint": s3.endpoint, "s3.access-key-id": s3.key, "s3.secret-access-key": s3.secret}
    settings |= {"s3.region": s3.region, "glue.endpoint": s3.endpoint, "glue.region": s3.region}
    settings |= {"glue.access-key-id": s3.key, "glue.secret-access-key": s3.secret}
    return {"namespace": "shop", "catalog": {"type": "glue", "warehouse": f"s3://{bucket}/lake", **settings}}


@pytest.mark.timeout(300)
def test_glue_and_s3(glue, tmp_path):
    story(Placed("iceberg", tmp_path, glue))


@pytest.mark.timeout(300)
def test_google_cloud_storage(gcs, tmp_path):
    bucket = gcs.create_bucket(f"lake-{os.urandom(4).hex()}")
    settings = {
        "gcs.service.host": gcs.endpoint,
        "gcs.oauth2.token": "any",
        "gcs.oauth2.token-expires-at": "4" + "0" * 12,
    }
    catalog = {"type": "sql", "uri": f"sqlite:///{tmp_path}/c.db", "warehouse": f"gs://{bucket}/lake", **settings}
    story(Placed("iceberg", tmp_path, {"namespace": "shop", "catalog": catalog, "partition_by": ["bucket(2, id)"]}))


@pytest.mark.timeout(300)
def test_a_bucket_that_is_not_there(glue, tmp_path, s3):
    options = {**glue, "catalog": {**glue["catalog"], "warehouse": "s3://nowhere-at-all/lake"}}
    target = Placed("iceberg", tmp_path, options)
    with pytest.raises(SinkError, match="nowhere-at-all") as refused:
        target.apply(upsert(1, id=1, v="a"))
    assert s3.secret not in str(refused.value)


def test_a_catalog_that_does_not_answer(tmp_path):
    options = {"namespace": "shop", "catalog": {"type": "rest", "uri": "http://127.0.0.1:9"}, "staging": f"{tmp_path}"}
    with pytest.raises(TransientSinkError, match="rest: shop"):
        Placed("iceberg", tmp_path, options).apply(upsert(1, id=1, v="a"))


def test_wrong_credentials_are_one_sentence_without_the_password(tmp_path):
    catalog = {"type": "sql", "uri": postgres_url("canary-9f3"), "warehouse": f"file://{tmp_path}/lake"}
    target = Placed("iceberg", tmp_path, {"namespace": "shop", "catalog": catalog})
    with pytest.raises(TerminalSinkError, match="password authentication failed") as refused:
        target.apply(upsert(1, id=1, v="a"))
    assert "canary-9f3" not in str(refused.value) and "\n" not in str(refused.value)


@pytest.fixture
def target(tmp_path):
    found = Target("iceberg", tmp_path)
    yield found
    found.close()


def test_a_catalog_that_is_locked_for_long_is_worth_another_try(target):
    target.apply(upsert(1, id=1, v="a"))
    target.reopen()
    with sqlite3.connect(target.folder / "lake" / "catalog.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TransientSinkError, match="locked"):
            target.apply(upsert(2, id=1, v="b"))
        other.execute("ROLLBACK")
    assert target.apply(upsert(2, id=1, v="b")) == (1, 0)
    other.close()


def test_a_file_that_is_no_catalog(target):
    (target.folder / "lake").mkdir()
    (target.folder / "lake" / "catalog.db").write_bytes(b"id,v\n1,a\n" * 1000)
    with pytest.raises(TerminalSinkError, match="not a database"):
        target.apply(upsert(1, id=1, v="a"))


def test_a_half_written_data_file_is_named_and_nothing_is_committed(target):
    target.apply(*(upsert(1, id=n, v="a") for n in range(10)))
    target.reopen()
    (file,) = (target.folder / "lake" / "shop" / "orders" / "data").glob("*.parquet")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TerminalSinkError, match=f"{file.name}|[Pp]arquet"):
        target.apply(upsert(2, id=1, v="b"))
    file.write_bytes(whole)
    target.reopen()
    assert target.next == 10
    assert target.apply(upsert(2, id=1, v="b")) == (1, 0)
    assert target.rows()[1] == (1, "b")


FULL_DISK = """
    import resource, signal, sys
    from pathlib import Path
    from support.targets import Target, upsert
    from millrace.schemas.errors import TerminalSinkError

    target = Target("iceberg", Path(sys.argv[1]))
    target.apply(upsert(1, id=1, v="a"))
    staged = [target.stage(*(upsert(2, id=n, v=f"{n * 7919:x}") for n in range(30_000)))]
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
    try:
        target.commit(staged)
    except TerminalSinkError as error:
        print("refused", error)
"""


def test_a_full_disk_commits_nothing(target):
    command = [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(target.folder)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert "refused" in done.stdout, done.stderr
    assert (target.rows(), target.next) == ([(1, "a")], 1)
    assert target.apply(upsert(2, id=1, v="b")) == (1, 0)


@pytest.mark.parametrize("jump", [10 * 365 * 86_400.0, -10 * 365 * 86_400.0], ids=["forward", "back"])
def test_a_clock_that_jumps_keeps_snapshots_in_order(target, monkeypatch, jump):
    import time

    target.apply(upsert(1, id=1, v="a"))
    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr("millrace.transforms.sinks.iceberg.table_format.snapshots.time.time", lambda: real() + jump)
        target.apply(upsert(2, id=1, v="b"))
    target.apply(upsert(3, id=1, v="c"))
    catalog = load_catalog("default", type="sql", uri=f"sqlite:///{target.folder}/lake/catalog.db")
    times = [one.timestamp_ms for one in catalog.load_table(("shop", "orders")).snapshots()]
    assert times == sorted(times) and len(set(times)) == 3
    assert target.rows() == [(1, "c")]
