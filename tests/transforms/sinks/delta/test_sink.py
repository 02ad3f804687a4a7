"""What is Delta Lake's own: other writers, its log, its folders."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from support.concurrent_commits import Meddling
from support.targets import Target, delete, delta, position, upsert

from millrace.schemas.errors import MillraceError, MissingExtraError, TerminalSinkError, TransientSinkError
from millrace.schemas.model.ledger import Account
from millrace.transforms.sinks.delta import client
from millrace.transforms.sinks.delta.columns import column_name
from millrace.transforms.sinks.shared.names import folder_name, table_name
from millrace.transforms.sinks.shared.staging import Staging
from millrace.transforms.sinks.shared.staging_folders import RemoteFolder


@pytest.fixture
def target(tmp_path):
    found = Target("delta", tmp_path)
    yield found
    found.close()


def opened(target):
    return DeltaTable(str(target.folder / "lake" / folder_name(target.name)))


def test_a_commit_is_decided_again_on_top_of_another_writers(target):
    target.apply(upsert(1, id=1, v="a"))
    other = Target("delta", target.folder, job="other", topic="elsewhere")
    meddle = [lambda: other.apply(upsert(5, id=1, v="other")), lambda: other.apply(upsert(9, id=2, v="other"))]
    staged = [target.stage(upsert(4, id=1, v="late"), upsert(4, id=2, v="late"), upsert(4, id=3, v="mine"))]
    commit = Meddling(target.job, (Account("orders", 0, 1, 4, read=3),), meddle=meddle)
    (settled,) = target.sink.commit(target.table(), staged, commit)
    assert (settled.applied, settled.superseded) == (1, 2)
    assert target.rows() == [(1, "other"), (2, "other"), (3, "mine")]
    assert (target.next, other.next) == (4, 2)
    other.close()


def test_a_writer_that_is_always_faster_is_a_transient_error(target):
    target.apply(upsert(1, id=1, v="a"))
    other = Target("delta", target.folder, job="other", topic="elsewhere")
    meddle = [lambda at=at: other.apply(upsert(at, id=1, v="other")) for at in range(20)]
    staged = [target.stage(upsert(100, id=1, v="mine"))]
    with pytest.raises(TransientSinkError, match="other writers were faster 5 times"):
        target.sink.commit(
            target.table(), staged, Meddling(target.job, (Account("orders", 0, 1, 2, read=1),), meddle=meddle)
        )
    assert (target.rows(), target.next) == ([(1, "other")], 1)
    other.close()


def test_a_tombstone_of_a_commit_that_failed_does_not_refuse_its_delete(target, monkeypatch):
    target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v="b"))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(client, "merge", killed)
        target.apply(delete(5, id=1), delete(5, id=7))
    target.reopen()
    assert (target.rows(), target.next) == ([(1, "a"), (2, "b")], 2)
    assert sum(target.apply(delete(5, id=1), delete(5, id=7))) == 2
    assert target.rows() == [(2, "b")]
    assert target.apply(upsert(4, id=1, v="late"), upsert(4, id=7, v="late")) == (0, 2)


def test_the_ledger_survives_the_clean_up_of_the_log(target):
    target.apply(upsert(1, id=1, v="a"), truncate=position(0))
    for at in range(2, 6):
        target.apply(upsert(at, id=1, v=str(at)))
    table = opened(target)
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 seconds"})
    opened(target).create_checkpoint()
    opened(target).cleanup_metadata()
    target.reopen()
    assert (target.next, target.ledger.truncate) == (5, position(0))
    assert not (target.folder / "lake" / "orders" / "_delta_log" / f"{1:020}.json").exists()


def test_the_rows_and_the_ledger_are_one_commit(target):
    target.apply(upsert(1, id=1, v="a"))
    before = opened(target).version()
    target.apply(upsert(2, id=1, v="b"), delete(2, id=2))
    table = opened(target)
    assert table.version() == before + 1
    account = json.loads(table.history(1)[0]["millrace"])["accounts"][0]
    assert (account["read"], account["applied"], account["first"], account["stop"]) == (2, 2, 1, 3)


def keys_of(kind, *numbers: int) -> list:
    if kind == pa.string():
        return [f"{number:09}" for number in numbers]
    return pa.array(numbers, pa.int32() if kind == pa.date32() else pa.int64()).cast(kind).to_pylist()


@pytest.mark.parametrize("hidden", [True, False], ids=["far files are hidden", "all files are there"])
@pytest.mark.parametrize("kind", [pa.int64(), pa.date32(), pa.string(), pa.timestamp("us")], ids=str)
def test_files_far_from_the_keys_are_neither_read_nor_written(target, kind, hidden):
    """A commit that opened a hidden file would fail. MERGE itself opens all of them for texts and times."""
    target.schema = pa.schema([("id", kind), ("v", pa.string())])
    for first in (0, 100, 200):
        target.apply(*(upsert(1, id=key, v="old") for key in keys_of(kind, *range(first, first + 100))))
    replaced, deleted, late = keys_of(kind, 250, 260, 299)
    changes = [upsert(2, id=replaced, v="new"), delete(2, id=deleted), upsert(0, id=late, v="late")]
    far = [Path(unquote(uri.removeprefix("file://"))) for uri in opened(target).file_uris()]
    far.remove(max(far, key=lambda file: pq.read_table(file)["id"][0].as_py()))
    hidden = hidden and kind in (pa.int64(), pa.date32())
    for file in far if hidden else ():
        file.rename(file.with_suffix(".hidden"))
    assert target.apply(*changes) == (2, 1)
    for file in far if hidden else ():
        file.with_suffix(".hidden").rename(file)
    held = {row["id"]: row["v"] for row in target.read().to_pylist()}
    assert len(held) == 299 and held[replaced] == "new" and held[late] == "old"


def test_a_full_disk_is_named_and_the_next_commit_after_it_goes_through(tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(mount)]).returncode:
        pytest.skip("a small tmpfs can be mounted by root only")
    try:
        target = Target("delta", mount)
        target.apply(upsert(1, id=1, v="a"))
        filler = mount / "filler"
        filler.write_bytes(bytes(1_800_000))
        big = [upsert(2, id=key, v=os.urandom(20_000).hex()) for key in range(20)]
        with pytest.raises(MillraceError, match="No space left on device"):
            target.apply(*big)
        assert (target.rows(), target.next) == ([(1, "a")], 1)
        filler.unlink()
        target.reopen()
        assert target.apply(*big) == (20, 0)
        assert len(target.rows()) == 20
        target.close()
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


def test_a_truncate_reaches_files_far_from_the_keys_of_its_commit(target):
    for first in (0, 100):
        target.apply(*(upsert(5 + first, id=first + n, v="old") for n in range(10)))
    target.apply(upsert(200, id=105, v="new"), truncate=position(50))
    assert [row[0] for row in target.rows()] == [*range(100, 110)]


def test_many_deletes_do_not_leave_many_small_files(target):
    for at in range(1, 41):
        target.apply(delete(at, id=at))
    graves = DeltaTable(str(target.folder / "lake" / "_millrace_tombstones" / "orders"))
    assert len(graves.file_uris()) <= 33
    assert target.apply(*(upsert(at - 1, id=at, v="late") for at in range(1, 41))) == (0, 40)


def test_a_delta_table_that_millrace_did_not_make_is_left_alone(target):
    write_deltalake(str(target.folder / "lake" / "orders"), pa.table({"id": [1]}))
    with pytest.raises(TerminalSinkError, match=r"lake/orders is a Delta table that Millrace did not make"):
        target.apply(upsert(1, id=1, v="a"))
    assert target.sink.tables() == ()
    assert opened(target).to_pyarrow_table().to_pydict() == {"id": [1]}


def test_columns_that_others_added_stop_the_table(target):
    target.apply(upsert(1, id=1, v="a"))
    row = opened(target).to_pyarrow_table().append_column("mine", pa.array([1]))
    write_deltalake(opened(target), row, mode="append", schema_mode="merge")
    with pytest.raises(TerminalSinkError, match="other columns by now"):
        target.apply(upsert(2, id=1, v="b"))


def test_deltalake_reads_the_table_without_millrace(target):
    target.schema = pa.schema([("id", pa.int64()), ("a b", pa.uint64()), ("at", pa.timestamp("ms", "UTC"))])
    target.apply(upsert(1, id=1, **{"a b": 2**64 - 1, "at": 5}))
    found = opened(target).to_pyarrow_table()
    assert found.column_names == ["id", "a~20b", "at", "_millrace_position"]
    assert found.schema.field("a~20b").type == pa.decimal128(20, 0)
    assert found.schema.field("at").type == pa.timestamp("us", "UTC")


@pytest.mark.parametrize("name", ["orders", "a b", "..", "~41", "ä/ö", "😀", "C:\\x", "%2e", ".x"])
def test_names_of_folders_are_safe_and_come_back(name):
    assert table_name(folder_name(name)) == name
    assert "/" not in folder_name(name) and not folder_name(name).startswith(".") and folder_name(name).isascii()


def test_different_columns_have_different_names():
    names = ["a b", "a~20b", "a~b", "a,b", "a`b", "ab"]
    assert len({column_name(name) for name in names}) == len(names)


def test_deltas_are_staged_in_any_store_that_deltalake_opens(target):
    store = target.folder / "bucket"
    store.mkdir()
    staging = Staging(RemoteFolder(client.file_system(f"file://{store}", {}), "_millrace_staging", "bucket"))
    rows = delta(target.schema, [upsert(1, id=1, v="a"), upsert(2, id=2, v=None)])
    staged = [staging.put(target.table(), rows), staging.put(target.table(), rows)]
    assert staging.read(staged, target.schema).to_batches()[0].equals(rows)
    staging.taken(staged[:1])
    staging.close()
    assert not list((store / "_millrace_staging").iterdir())


def test_without_deltalake_the_error_names_the_extra():
    script = "import sys; sys.modules['deltalake'] = None; from millrace.transforms.sinks import open_sink"
    command = [sys.executable, "-c", f"{script}; open_sink('delta', {{'path': 'lake'}})"]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{MissingExtraError.__name__}: target.type: delta needs the extra" in done.stderr
    assert "[delta]" in done.stderr
