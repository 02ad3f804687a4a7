"""Trino writes our tables between two of our commits: what we commit next lands, and nothing is lost or doubled."""

import json
import os

import pyarrow.fs as pafs
import pytest
from support import postgres_server, trino_catalogs
from support.jobs import event, key, run_once, send, write_job
from support.mode_tables import ModeTable, moment
from support.object_stores import S3
from support.targets import Placed, delete, upsert
from support.trino_catalogs import Lake

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.job.load import load_job
from millrace.schemas.model.modes import Mode
from millrace.transforms.proof.report import Verdict
from millrace.transforms.sinks.delta.client import file_system

pytestmark = [pytest.mark.java, pytest.mark.timeout(600)]
S3_SECRET = S3("").secret
SECRETS = {postgres_server.ROLE_PASSWORD: postgres_server.IN_A_JOB, S3_SECRET: "MILLRACE_TEST_S3_SECRET"}
"""By secret the environment variable that a job file names in its place."""
os.environ[SECRETS[S3_SECRET]] = S3_SECRET
UPKEEP = {
    "iceberg": (
        "ALTER TABLE orders EXECUTE optimize",
        "ALTER TABLE orders EXECUTE optimize_manifests",
        "ALTER TABLE orders EXECUTE expire_snapshots(retention_threshold => '0s')",
        "ALTER TABLE orders EXECUTE remove_orphan_files(retention_threshold => '0s')",
        "ANALYZE orders",
    ),
    "delta": ("ALTER TABLE orders EXECUTE optimize", "CALL vacuum", "ANALYZE orders"),
}
ROWS = {
    Mode.MIRROR: "id, v",
    Mode.SOFT_DELETE: 'id, v, "_millrace_deleted"',
    Mode.SCD2: 'id, v, "_millrace_is_current"',
}


@pytest.fixture(params=["iceberg", "delta"])
def lake(request, trino, tmp_path) -> Lake:
    if request.param == "iceberg":
        return trino_catalogs.iceberg_in_postgres(trino, tmp_path)
    return trino_catalogs.delta_in_s3(trino, tmp_path, request.getfixturevalue("s3"))


def upkeep(lake: Lake) -> None:
    """All that Trino offers to tidy a table up, at once."""
    for statement in UPKEEP[lake.kind]:
        if statement == "CALL vacuum":
            lake.trino.sql(f"CALL {lake.catalog}.system.vacuum('{lake.schema}', 'orders', '0s')")
        else:
            lake.sql(statement)


def drop_log_before_checkpoint(lake: Lake, target: Placed) -> int:
    """Remove all of Delta's log that its last checkpoint holds, as its retention does some day; how many files."""
    files = file_system(lake.options["path"], lake.options["storage_options"])
    log = files.get_file_info(pafs.FileSelector("orders/_delta_log"))
    checkpoint = max(info.base_name for info in log if ".checkpoint" in info.base_name)
    old = [info.path for info in log if info.base_name.endswith(".json") and info.base_name[:20] < checkpoint[:20]]
    for path in old:
        files.delete_file(path)
    return len(old)


def theirs(lake: Lake, mode: Mode) -> list:
    return sorted(lake.sql(f"SELECT {ROWS[mode]} FROM orders"), key=repr)


def ours(table: ModeTable) -> list:
    return table.rows(*(name.strip().strip('"') for name in ROWS[table.mode].split(",")))


@pytest.mark.parametrize("again", [False, True], ids=["the sink stays open", "opened again"])
def test_a_mirror_goes_on_after_their_writes(lake, again, tmp_path):
    target = Placed(lake.kind, tmp_path, lake.options)
    table = ModeTable(target, Mode.MIRROR)
    table.feed(*(upsert(1, id=number, v="a") for number in range(10)))
    table.feed(upsert(2, id=1, v="b"), delete(2, id=2))
    lake.sql("UPDATE orders SET v = 'people' WHERE id IN (3, 4, 5)")
    lake.sql("DELETE FROM orders WHERE id IN (6, 7)")
    lake.sql("UPDATE orders SET v = 'people' WHERE id = 8")
    upkeep(lake)
    if again:
        target.reopen()
    # What they wrote stays until a newer change of the key comes: 3 is changed, 4 deleted, 6 changed, 7 deleted.
    window = (upsert(3, id=3, v="c"), delete(3, id=4), upsert(3, id=6, v="c"), delete(3, id=7), upsert(3, id=20, v="c"))
    table.feed(*window)
    rows = [(0, "a"), (1, "b"), (20, "c"), (3, "c"), (5, "people"), (6, "c"), (8, "people"), (9, "a")]
    assert ours(table) == theirs(lake, Mode.MIRROR) == rows
    lake.sql("DELETE FROM orders WHERE id = 20")
    upkeep(lake)
    # Replays and late changes are refused as before; the positions that they left alone tell.
    late = (upsert(1, id=3, v="late"), upsert(2, id=2, v="again"), upsert(1, id=4, v="late"), delete(1, id=9))
    (account,) = table.feed(*late).accounts
    assert (account.applied, account.superseded) == (0, 4)
    table.feed(upsert(4, id=20, v="d"), upsert(4, id=5, v="d"))
    expected = sorted([*(row for row in rows if row[0] not in (5, 20)), (5, "d"), (20, "d")], key=repr)
    assert ours(table) == theirs(lake, Mode.MIRROR) == expected
    assert target.next == table.next
    target.sink.maintain("orders")
    assert ours(table) == theirs(lake, Mode.MIRROR) == expected
    target.close()


def test_soft_deletes_go_on_after_their_writes(lake, tmp_path):
    target = Placed(lake.kind, tmp_path, lake.options)
    table = ModeTable(target, Mode.SOFT_DELETE)
    table.feed(*(upsert(1, id=number, v="a") for number in range(5)), delete(2, id=1))
    lake.sql("UPDATE orders SET v = 'people' WHERE id = 1")
    lake.sql("DELETE FROM orders WHERE id = 2")
    upkeep(lake)
    table.feed(delete(3, id=2), upsert(3, ["v"], id=1), delete(3, id=0))
    marked = [(0, "a", True), (1, "people", False), (2, None, True), (3, "a", False), (4, "a", False)]
    assert ours(table) == theirs(lake, Mode.SOFT_DELETE) == marked
    target.close()


def test_versions_go_on_after_their_writes(lake, tmp_path):
    target = Placed(lake.kind, tmp_path, lake.options)
    table = ModeTable(target, Mode.SCD2)
    table.feed(upsert(1, id=1, v="a"), upsert(2, id=1, v="b"), upsert(3, id=2, v="x"), upsert(3, id=3, v="y"))
    upkeep(lake)
    lake.sql("UPDATE orders SET v = 'people' WHERE id = 2")
    lake.sql("DELETE FROM orders WHERE id = 3")
    upkeep(lake)
    table.feed(upsert(4, id=1, v="c"), upsert(5, id=2, v="z"), upsert(6, id=3, v="w"))
    expected = [(1, "a", False), (1, "b", False), (1, "c", True), (2, "people", False), (2, "z", True), (3, "w", True)]
    assert ours(table) == theirs(lake, Mode.SCD2) == expected
    ends = dict(table.rows("v", "_millrace_valid_to"))
    assert (ends["b"], ends["people"], ends["c"]) == (moment(4), moment(5), None)
    target.close()


def test_the_ledger_outlives_the_checkpoints_of_another_writer(lake, tmp_path):
    """Delta's ledger are transaction identifiers, which a checkpoint of Trino's must hold; Iceberg's are properties."""
    target = Placed(lake.kind, tmp_path, lake.options)
    table = ModeTable(target, Mode.MIRROR)
    table.feed(upsert(1, id=1, v="a"), upsert(1, id=2, v="a"), delete(2, id=2))
    for number in range(12):
        lake.sql(f"INSERT INTO orders (id, v) VALUES ({100 + number}, 'theirs')")
    if lake.kind == "delta":
        assert drop_log_before_checkpoint(lake, target)
    upkeep(lake)
    target.reopen()
    assert target.next == table.next == 3
    (account,) = table.feed(upsert(1, id=2, v="late"), upsert(3, id=100, v="b"), upsert(3, id=1, v="b")).accounts
    assert (account.applied, account.superseded) == (2, 1)
    expected = [(1, "b"), (100, "b"), *((100 + number, "theirs") for number in range(1, 12))]
    assert ours(table) == theirs(lake, Mode.MIRROR) == sorted(expected, key=repr)
    target.close()


def test_verify_shows_what_people_changed(lake, embedded_broker, topic_name, tmp_path):
    topic = topic_name("orders")
    embedded_broker.create_topic(topic, 2)
    servers = embedded_broker.bootstrap_servers
    send(servers, topic, [(n % 2, key(n), event("c", n, f"n{n}", n, 100 + n)) for n in range(12)])
    target = json.dumps({"type": lake.kind, **lake.options})
    for text, name in SECRETS.items():
        target = target.replace(text, f"${{env:{name}}}")
    file = write_job(tmp_path, servers, [topic], target=target, more=f"tables: [{{from: {topic}, to: orders}}]\n")
    assert not run_once(file).failed
    (report,) = verify_job(load_job(file))
    assert report.ok
    lake.sql("UPDATE orders SET name = 'people' WHERE id IN (1, 2)")
    lake.sql("DELETE FROM orders WHERE id IN (3, 4)")
    lake.sql("INSERT INTO orders (id, name) VALUES (77, 'people')")
    upkeep(lake)
    (report,) = verify_job(load_job(file))
    found = {verdict: report.counts[verdict] for verdict in (Verdict.DIFFERS, Verdict.MISSING, Verdict.EXTRA)}
    assert (report.ok, found) == (False, {Verdict.DIFFERS: 2, Verdict.MISSING: 2, Verdict.EXTRA: 1})
    # Newer changes of these keys come through, and what nobody touched is neither doubled nor lost.
    changes = [(n % 2, key(n), event("u", n, f"m{n}", n, 200 + n)) for n in (1, 2, 3, 4, 20)]
    send(servers, topic, [*changes, (1, key(77), event("d", 77, at=300))])
    assert not run_once(file).failed
    (report,) = verify_job(load_job(file))
    assert report.ok, report.to_json()
    assert lake.sql("SELECT count(*), count(DISTINCT id) FROM orders") == [(13, 13)]
