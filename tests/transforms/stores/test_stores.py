"""What every store promises: names are given once, what is at the top, and nothing where nothing was made."""

import errno
import os
import threading

import pytest
from support.change_logs import places

from millrace.schemas.errors import TerminalSinkError
from millrace.transforms.stores import Address, open_store


@pytest.fixture(params=["local", "s3", "gcs", "hdfs"])
def store(request, tmp_path):
    _, options = places(tmp_path, request.getfixturevalue)[f"files-{request.param}"]()
    return open_store(Address(options["path"], options.get("storage_options", {})))


def test_a_name_is_given_once(store):
    assert store.create("x/a", b"first")
    assert not store.create("x/a", b"second")
    assert bytes(store.read("x/a")) == b"first"
    assert store.read("x/b") is None
    store.delete("x/a")
    assert store.read("x/a") is None


def test_the_top_holds_files_and_folders(store):
    assert (store.files(), store.folders(), store.names("x")) == ([], [], [])
    for name in ("b", "a", "x/y/c", "x/d"):
        store.create(name, b"1")
    assert store.files() == ["a", "b"]
    assert [name for name in store.folders() if not name.startswith("_")] == ["x"]
    assert store.names("x") == ["x/d", "x/y/c"]
    assert store.names("x", "x/d") == ["x/y/c"]


@pytest.fixture
def no_links(tmp_path, monkeypatch):
    """A local store on a file system without hard links, as that of a Windows share."""

    def link(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    return open_store(Address(str(tmp_path / "place")))


def test_names_are_given_once_without_hard_links_too(no_links):
    made = []

    def create(text):
        if no_links.create("x", text):
            made.append(text)

    threads = [threading.Thread(target=create, args=(bytes([number]) * 1_000,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert bytes(no_links.read("x")) == made[0]
    assert no_links.names("_millrace_staging") == []


def test_a_file_system_that_can_do_neither_is_said(no_links, monkeypatch):
    monkeypatch.setattr("millrace.transforms.stores.local._renamed", lambda part, target: False)
    with pytest.raises(TerminalSinkError, match="the file system has no hard links"):
        no_links.create("x", b"1")
    assert no_links.files() == []


def test_a_folder_above_that_is_missing_is_refused_unless_it_may_be_made(tmp_path):
    place = str(tmp_path / "deep" / "er" / "place")
    for tried in (open_store(Address(place)).check, lambda: open_store(Address(place)).create("x", b"1")):
        with pytest.raises(
            TerminalSinkError, match=r"the folder above it does not exist; make it, or correct target\.path"
        ):
            tried()
    open_store(Address(place, section="dead_letters", parents=True)).create("x", b"1")
    assert os.listdir(tmp_path) == ["deep"]


def test_a_url_of_a_local_folder_is_the_folder(tmp_path):
    store = open_store(Address(f"file://{tmp_path}/a%20b"))
    store.create("x", b"1")
    assert (tmp_path / "a b" / "x").read_bytes() == b"1"
