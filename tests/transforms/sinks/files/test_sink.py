"""What is the change log's own: names of files, what is left behind, what readers see, places that are bad."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from support.change_logs import DAY, NOON, LogTarget, log_schema, logged, places
from support.kafka_broker import free_ports
from support.log_files import files, listed_offsets, range_of
from support.object_stores import s3_server
from support.targets import Target, upsert

from millrace.schemas.errors import JobError, MillraceError, TableError, TerminalSinkError
from millrace.schemas.model.ledger import Account
from millrace.schemas.model.table import Table
from millrace.transforms.sinks import open_sink
from millrace.transforms.sinks.files import ledger
from millrace.transforms.sinks.files.names import NO_DATE, cuts, read_name


def test_names_say_date_job_topic_partition_and_offset(local):
    local.log(*range_of(0, 1, time=NOON - 1), *range_of(2, 3), *range_of(4, time=NOON - DAY), *range_of(5, time=None))
    local.log(*range_of(9, time=None), first=6)
    assert files(local) == [
        "orders/date=2026-11-24/shop+orders+0+00000000000000000000.parquet",
        "orders/date=2026-11-25/shop+orders+0+00000000000000000002.parquet",
        "orders/date=__HIVE_DEFAULT_PARTITION__/shop+orders+0+00000000000000000009.parquet",
    ]
    assert read_name(files(local)[1]).first == 2


@pytest.mark.parametrize(
    ("offsets", "days", "held", "expected"),
    [
        ([0, 1, 2], [5, 5, 5], [], [(0, 3)]),
        ([0, 1, 2, 3], [5, 4, 6, 5], [], [(0, 2), (2, 4)]),
        ([0, 1, 1, 2], [NO_DATE, NO_DATE, NO_DATE, 5], [], [(0, 3), (3, 4)]),
        ([0, 1, 2, 3, 4, 5], [5] * 6, [(1, 2), (4, 9)], [(0, 1), (2, 4)]),
        ([3, 4], [5, 5], [(0, 9)], []),
        ([], [], [], []),
    ],
)
def test_ranges_are_cut_at_later_dates_and_at_what_files_hold(offsets, days, held, expected):
    assert list(cuts(np.array(offsets, np.int64), np.array(days, np.int32), held)) == expected


def test_rows_of_one_offset_stay_in_one_file(monkeypatch):
    monkeypatch.setattr("millrace.transforms.sinks.files.names.MOST_ROWS", 2)
    assert list(cuts(np.array([0, 1, 1, 2, 3]), np.zeros(5, np.int32), [])) == [(0, 3), (3, 5)]


def test_rows_by_key_and_windows_of_event_time_are_refused(local):
    mirror = Target("files", local.folder)
    with pytest.raises(TableError, match="set mode: append"):
        mirror.apply(upsert(1, id=1, v="a"))
    with pytest.raises(TableError, match=r"orders\[0\] without them: set window.by: arrival"):
        local.commit([local.put(logged(0, id=1))], Account("orders", 0, -1, -1, read=1))


def test_old_versions_of_the_ledger_go(local):
    for offset in range(45):
        local.log(*range_of(offset))
    kept = sorted(Path(local.folder / "logs" / "orders" / "_millrace").glob("*.json"))
    assert len(kept) <= 2 * ledger.KEPT
    assert json.loads(kept[-1].read_text())["streams"][0]["sums"]["applied"] == 45
    assert local.next == 45


def test_other_readers_see_the_same_rows(local):
    local.schema = log_schema(pa.field("id", pa.int64()), pa.field("a b", pa.decimal256(50, 0)))
    local.log(*range_of(0, 1), *range_of(2, time=NOON + DAY))
    pattern = local.sink.describe("orders")
    query = (
        f"SELECT date::VARCHAR, _millrace_offset, id FROM read_parquet('{pattern}', hive_partitioning=true) ORDER BY 2"
    )
    assert duckdb.sql(query).fetchall() == [("2026-11-25", 0, 0), ("2026-11-25", 1, 1), ("2026-11-26", 2, 2)]
    found = ds.dataset(local.folder / "logs" / "orders", format="parquet", partitioning="hive").to_table()
    assert sorted(found["_millrace_offset"].to_pylist()) == [0, 1, 2]


def test_a_store_that_ignores_preconditions_is_refused(local):
    store = local.sink._store
    store.create = lambda name, data: True
    store.read = lambda name: None
    with pytest.raises(TerminalSinkError, match="writes over an object though it was told not to"):
        local.sink.commit(Table("orders", local.key, local.schema), [], local.order(Account("orders", 0, 0, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "ftp://x/y"}, r"target.path: ftp:// is not known; known are file, gs, hdfs, s3"),
        ({"path": "s3://"}, "names no bucket"),
        ({"path": "hdfs:///x"}, "names no name node"),
        ({"path": "x", "format": "csv"}, "target.format: 'csv' is not known"),
        (
            {"path": "s3://b", "storage_options": {"key": "x"}},
            "storage_options: 'key' is not known; known are aws_access",
        ),
    ],
)
def test_wrong_settings_are_named(options, message):
    with pytest.raises(JobError, match=message):
        open_sink("files", options)


@pytest.mark.parametrize(
    ("module", "path", "extra"),
    [("google.cloud", "gs://b", "gcs"), ("boto3", "s3://b", "s3"), ("hdfs_native", "hdfs://h/x", "hdfs")],
)
def test_a_missing_extra_is_named(module, path, extra):
    script = f"import sys; sys.modules[{module!r}] = None; from millrace.transforms.sinks import open_sink"
    command = [sys.executable, "-c", f"{script}; open_sink('files', {{'path': {path!r}}})"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert f"MissingExtraError: target.path: {path.partition('://')[0]}://" in done.stderr
    assert f"[{extra}]" in done.stderr


class TestBadPlaces:
    """Each is one clear sentence, and when the fault is gone the same commit goes through."""

    def test_a_bucket_that_is_not_there(self, request, tmp_path):
        for name in ("s3", "gcs"):
            kind, options = places(tmp_path, request.getfixturevalue)[f"files-{name}"]()
            server = request.getfixturevalue(name)
            scheme = options["path"].partition("://")[0]
            missing = LogTarget(kind, tmp_path, {**options, "path": f"{scheme}://not-made-{name}/log"})
            with pytest.raises(MillraceError, match=f"there is no bucket 'not-made-{name}'; make it"):
                missing.log(*range_of(0, 1))
            server.create_bucket(f"not-made-{name}")
            missing.reopen()
            missing.log(*range_of(0, 1))
            assert missing.offsets() == [0, 1]

    def test_credentials_that_are_not_there(self, tmp_path, monkeypatch):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        key = tmp_path / "key.json"
        key.write_text('{"private_key": "s3cr3t-canary", "type": "service_account"}')
        for options, message in (
            (
                {"path": "s3://bucket/log", "storage_options": {"aws_region": "us-east-1"}},
                "s3://bucket/log: .*credentials",
            ),
            ({"path": "gs://bucket/log", "storage_options": {"service_account_file": str(key)}}, "gs://bucket/log: "),
            ({"path": "gs://bucket/log", "storage_options": {"service_account_file": "/no/such"}}, "/no/such"),
        ):
            with pytest.raises(TerminalSinkError, match=message) as caught:
                LogTarget("files", tmp_path, options).log(*range_of(0))
            assert "canary" not in str(caught.value)

    def test_credentials_that_are_refused(self, tmp_path):
        with s3_server(INITIAL_NO_AUTH_ACTION_COUNT="0") as server:
            options = {"aws_endpoint_url": server.endpoint, "aws_access_key_id": "AKIAWRONG", "aws_region": "us-east-1"}
            options["aws_secret_access_key"] = "s3cr3t-canary"
            log = LogTarget("files", tmp_path, {"path": "s3://bucket/log", "storage_options": options})
            with pytest.raises(
                TerminalSinkError, match="check the credentials and their rights on the bucket"
            ) as caught:
                log.log(*range_of(0))
            assert "canary" not in str(caught.value)

    def test_a_folder_that_cannot_be_written(self, tmp_path):
        folder = tmp_path / "logs"
        folder.mkdir(mode=0o555)
        os.chmod(tmp_path, 0o755)
        for parent in tmp_path.parents[:3]:
            os.chmod(parent, 0o755)
        log, user = LogTarget("files", tmp_path), os.geteuid()
        try:
            os.seteuid(user or 65_534)
            with pytest.raises(TerminalSinkError, match=r"logs.*: Permission denied"):
                log.log(*range_of(0, 1))
        finally:
            os.seteuid(user)
        os.chmod(folder, 0o755)
        log.log(*range_of(0, 1))
        assert log.offsets() == [0, 1]

    @pytest.mark.parametrize("free", ["nothing", "a little"])
    def test_a_full_disk(self, tmp_path, free):
        mount = tmp_path / "small"
        mount.mkdir()
        if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(mount)]).returncode:
            pytest.skip("a small tmpfs can be mounted by root only")
        try:
            log = LogTarget("files", mount)
            log.log(*range_of(0))
            big = [logged(offset, id=offset, v=os.urandom(20_000).hex()) for offset in range(1, 20)]
            filler = mount / "filler"
            filler.write_bytes(bytes(1_000_000 if free == "nothing" else 300_000))
            with pytest.raises(MillraceError, match="No space left on device"):
                log.log(*big)
            assert (log.offsets(), log.next) == ([0], 1)
            filler.unlink()
            log.reopen()
            log.log(*big[:9])
            assert listed_offsets(log) == log.offsets() == [*range(10)]
            log.close()
        finally:
            subprocess.run(["umount", "--lazy", str(mount)], check=True)  # a file that was read may be mapped yet

    def test_a_clock_that_jumps(self, local, monkeypatch):
        local.log(*range_of(0))
        for days in (4_000, -4_000):
            with monkeypatch.context() as patch:
                now = time.time() + days * 86_400
                patch.setattr("millrace.transforms.stores.time.time", lambda now=now: now)
                local.log(*range_of(local.next))
                local.reopen()
        local.log(*range_of(3))
        assert listed_offsets(local) == local.offsets() == [0, 1, 2, 3]
        assert len({Path(name).parent.name for name in files(local)}) == 1

    def test_a_store_that_is_away_is_a_transient_error(self, tmp_path):
        (port,) = free_ports(1)
        options = {"aws_endpoint_url": f"http://127.0.0.1:{port}", "aws_access_key_id": "x"}
        options |= {"aws_secret_access_key": "s3cr3t-canary", "aws_region": "us-east-1"}
        log = LogTarget("files", tmp_path, {"path": "s3://bucket/log", "storage_options": options})
        with pytest.raises(MillraceError, match="s3://bucket/log: no good answer from the store") as caught:
            log.log(*range_of(0))
        assert type(caught.value).__name__ == "TransientSinkError" and "canary" not in str(caught.value)
