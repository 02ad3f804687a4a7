"""What is DuckLake's own: readers beside a writer, writers beside one another, names that its catalog keeps."""

import json
import subprocess
import sys
import threading

import duckdb
import pyarrow as pa
import pytest
from support import postgres_server
from support.targets import Target, delete, skip_without_ducklake, upsert

from millrace.schemas.errors import JobError, SinkError, TerminalSinkError, TransientSinkError
from millrace.transforms.sinks import open_sink
from millrace.transforms.sinks.ducklake import extensions, sink
from millrace.transforms.sinks.ducklake.extensions import extension
from millrace.transforms.sinks.shared.duckdb_tables import merge


@pytest.fixture(autouse=True)
def ducklake():
    skip_without_ducklake("ducklake")


READER = """
import duckdb, sys
con = duckdb.connect()
for extension in sys.argv[2:]:
    con.execute(f"LOAD '{extension}'")
con.execute(f"ATTACH 'ducklake:sqlite:{sys.argv[1]}' AS lake (READ_ONLY)")
con.execute("BEGIN")
print(con.execute("SELECT count(*) FROM lake.orders").fetchall()[0][0], flush=True)
sys.stdin.readline()
print(con.execute("SELECT count(*) FROM lake.orders").fetchall()[0][0], flush=True)
"""


@pytest.fixture
def target(tmp_path):
    found = Target("ducklake", tmp_path)
    yield found
    found.close()


def lake(folder):
    """What another program sees."""
    con = duckdb.connect()
    for name in ("ducklake", "sqlite_scanner"):
        con.execute(f"LOAD '{extension(name)}'")
    con.execute(f"ATTACH 'ducklake:sqlite:{folder / 'lake.db'}' AS lake")
    return con


def test_people_read_it_while_it_is_written(target):
    """Another process holds a snapshot open across a commit: neither waits for the other."""
    target.apply(upsert(1, id=1, v="a"))
    names = [str(extension(name)) for name in ("ducklake", "sqlite_scanner")]
    command = [sys.executable, "-c", READER, str(target.folder / "lake.db"), *names]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "1\n"
        assert target.apply(upsert(2, id=2, v="b")) == (1, 0)
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "1\n"
    assert len(target.rows()) == 2


def test_a_snapshot_names_the_job_the_table_and_its_offsets(target):
    target.apply(upsert(1, id=1, v="a"))
    with lake(target.folder) as con:
        author, message, extra = con.execute(
            "SELECT author, commit_message, commit_extra_info FROM lake.snapshots() ORDER BY snapshot_id DESC LIMIT 1"
        ).fetchall()[0]
    assert (author, message) == ("Millrace", f"job {target.job}: table orders")
    assert json.loads(extra) == {"job": target.job, "table": "orders", "next": {"orders/0": 1}}


@pytest.mark.parametrize("name", ["rowid", "ROWID", "row_id", "begin_snapshot", "_ducklake_internal_row_id"])
def test_columns_may_have_the_names_that_the_catalog_keeps_for_itself(target, name):
    target.schema = pa.schema([("id", pa.int64()), (name, pa.string())])
    target.apply(upsert(1, id=1, **{name: "a"}), upsert(1, id=2, **{name: "b"}))
    target.apply(upsert(2, id=1, **{name: "c"}), delete(2, id=2))
    target.sink.maintain("orders")
    assert target.rows() == [(1, "c")]


def test_small_files_are_merged_and_old_snapshots_forgotten(target, monkeypatch):
    monkeypatch.setattr(sink, "COMMITS_BETWEEN", 4)
    target.options["snapshot_retention"] = "1ms"
    for number in range(1, 10):
        target.apply(*(upsert(number, id=number * 100 + n, v="x" * 10) for n in range(20)))
    with lake(target.folder) as con:
        (files,) = con.execute("SELECT count(*) FROM ducklake_list_files('lake', 'orders')").fetchall()[0]
        (snapshots,) = con.execute("SELECT count(*) FROM lake.snapshots()").fetchall()[0]
    assert files <= 3 and snapshots <= 6
    assert len(target.rows()) == 180


def test_two_writers_of_one_table_are_one_after_the_other(tmp_path, monkeypatch):
    """Over Postgres, where both can commit at once: two new jobs have looked for a key before either writes it."""
    if postgres_server.missing():
        pytest.skip(postgres_server.missing())
    server = postgres_server.server()
    server.sql('CREATE DATABASE "ducklake-two"')
    options = {"catalog": f"postgres:{server.dsn(dbname='ducklake-two')}", "data_path": str(tmp_path / "lake")}
    first, *writers = (Target("ducklake", tmp_path, options=options, job=f"job-{n}") for n in range(3))
    first.apply(upsert(1, id=0, v="first"))
    both, looked, judge, failed = threading.Barrier(2), set(), merge.judge, []

    def together(*given):
        found = judge(*given)
        if threading.get_ident() not in looked:
            looked.add(threading.get_ident())
            both.wait(60)
        return found

    def write(writer, at):
        try:
            writer.apply(upsert(at, id=7, v=f"{at}"))
        except SinkError as error:
            failed.append(error)

    monkeypatch.setattr(merge, "judge", together)
    threads = [threading.Thread(target=write, args=(writer, 2 + n)) for n, writer in enumerate(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert writers[0].rows() == [(0, "first"), (7, "3")]
    for writer in (first, *writers):
        writer.close()


def test_a_password_of_the_catalog_stands_in_no_error(tmp_path):
    options = {"catalog": "postgres:host=127.0.0.1 port=1 password=canary dbname=x", "data_path": str(tmp_path)}
    with pytest.raises(TransientSinkError, match="cannot be reached") as raised:
        open_sink("ducklake", options).tables()
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"catalog": "lake.db", "data_path": "lake"}, "'lake.db' is no catalog; write sqlite:lake.db"),
        ({"catalog": "sqlit:lake.db", "data_path": "lake"}, "did you mean 'sqlite'"),
        ({"catalog": "sqlite:lake.db", "data_path": "ftp://x"}, "ftp:// is not known"),
    ],
)
def test_wrong_options_are_found_before_anything_is_opened(options, said):
    with pytest.raises(JobError) as raised:
        open_sink("ducklake", options)
    assert said in str(raised.value)


def test_another_data_path_is_refused(target, tmp_path):
    target.apply(upsert(1, id=1, v="a"))
    target.close()
    other = open_sink(
        "ducklake", {"catalog": f"sqlite:{tmp_path / 'lake.db'}", "data_path": str(tmp_path / "elsewhere")}
    )
    with pytest.raises(TerminalSinkError, match=r"another data_path; correct target.data_path"):
        other.tables()


def test_an_extension_for_another_duckdb_says_what_to_install(monkeypatch):
    monkeypatch.setattr(extensions.duckdb, "__version__", "9.9.9")
    with pytest.raises(JobError, match=r"pip install 'duckdb-extension-sqlite-scanner==9.9.9'"):
        extension("sqlite_scanner")


def test_the_data_may_lie_in_an_object_store(tmp_path, s3):
    bucket = s3.create_bucket("ducklake-data")
    endpoint = s3.endpoint.partition("://")[2]
    secret = {"KEY_ID": s3.key, "SECRET": s3.secret, "REGION": s3.region, "ENDPOINT": endpoint}
    options = {
        "data_path": f"s3://{bucket}/lake",
        "storage_options": {**secret, "USE_SSL": "false", "URL_STYLE": "path"},
    }
    target = Target("ducklake", tmp_path, options=options)
    target.apply(*(upsert(1, id=key, v="a") for key in range(20)))
    target.apply(upsert(2, id=1, v="b"), delete(2, id=2))
    target.reopen()
    assert len(target.rows()) == 19 and (1, "b") in target.rows()
    assert not (tmp_path / "lake").exists()
    target.close()
