"""Staged rows on a local disk: nobody else reads them, no link is followed, only files of ours are removed."""

import os
import stat
import time

import pyarrow as pa
import pytest
from support.targets import ROW, delta, upsert

from millrace.schemas.errors import TerminalSinkError, TransientSinkError
from millrace.schemas.model.table import Table
from millrace.transforms.sinks.shared.staging import Staging
from millrace.transforms.sinks.shared.staging_folders import LocalFolder, StoreFolder
from millrace.transforms.stores import Address, open_store

TABLE = Table("orders", ("id",), ROW)
ROWS = delta(ROW, [upsert(1, id=1, v="a"), upsert(2, id=2, v=None)])


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "deep" / "staging"


@pytest.fixture
def staging(folder):
    return Staging(LocalFolder(str(folder)))


def mode(path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_only_this_user_reads_what_is_staged(staging, folder):
    before = os.umask(0)
    try:
        staged = staging.put(TABLE, ROWS)
    finally:
        os.umask(before)
    assert (mode(folder), mode(staged.uri)) == (0o700, 0o600)
    assert staging.read([staged], ROW).to_batches()[0].equals(ROWS)


def test_a_folder_that_is_a_link_is_refused(staging, folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TerminalSinkError, match="is a link or a file, not a folder: remove it"):
        staging.put(TABLE, ROWS)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_that_became_a_link_is_not_read(staging, tmp_path):
    staged, other = staging.put(TABLE, ROWS), tmp_path / "other"
    os.rename(staged.uri, other)
    os.symlink(other, staged.uri)
    with pytest.raises(TransientSinkError, match="no file of Millrace"):
        staging.read([staged], ROW)


@pytest.mark.parametrize("kind", ["local", "store"])
def test_what_killed_processes_left_goes_after_a_day_and_nothing_else(kind, tmp_path):
    folder = tmp_path / "_millrace_staging"
    store = StoreFolder(open_store(Address(str(tmp_path))))
    staging = Staging(LocalFolder(str(folder)) if kind == "local" else store)
    mine = staging.put(TABLE, ROWS)
    old, new = int(time.time()) - 90_000, int(time.time())
    left = {name: folder / name for name in (f"{old:012d}-{'a' * 32}.arrow", f"{new:012d}-{'b' * 32}.arrow")}
    notes = folder / "notes.txt"
    for path in (*left.values(), notes):
        path.write_bytes(b"x")
        os.utime(path, (old, old))
    staging.close()
    assert not os.path.lexists(mine.uri)
    assert {path.name for path in folder.iterdir()} == {f"{new:012d}-{'b' * 32}.arrow", "notes.txt"}


def test_committed_rows_stay_until_the_next_commit(staging):
    first, second = staging.put(TABLE, ROWS), staging.put(TABLE, ROWS)
    staging.taken([first])
    assert len(staging.read([first, second], ROW)) == 4
    staging.taken([second])
    with pytest.raises(TransientSinkError, match="run the job again"):
        staging.read([first], ROW)
    assert len(staging.read([second], pa.schema([*ROW, ("new", pa.int8())]))) == 2
