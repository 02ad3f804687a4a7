"""Dead letters in every store: whole or not there, read once, tried before a run, and a store that refuses says why."""

import os
import pickle
import signal
import subprocess
import sys
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.breakable_connection import wire_to
from support.change_logs import places
from support.kafka_broker import free_ports
from support.object_stores import s3_server

from millrace.schemas.errors import JobError, TerminalSinkError, TransientSinkError
from millrace.schemas.model.dead_letter import DeadLetter
from millrace.transforms.dead_letters import DeadLetterFiles, letters_at, listing, open_letters, place, read, show
from millrace.transforms.retry import Backoff

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STORES = ("local", "s3", "gcs", "hdfs")
SECRET = "s3cr3t-canary"


def address_of(kind, tmp_path, fixture):
    """A new place of dead letters in a store."""
    _, options = places(tmp_path, fixture)[f"files-{kind}"]()
    return letters_at(options["path"], options.get("storage_options"))


@pytest.fixture(params=STORES)
def address(request, tmp_path):
    return address_of(request.param, tmp_path, request.getfixturevalue)


def below(address, name):
    return letters_at(f"{address.path}/{name}", address.options)


def letter(offset=42, **more):
    fields = {"key": b"\x00k", "value": b"\xff\x00", "schema_id": 7, "step": "decode", "error": "cut off"}
    return DeadLetter("shop.orders", 3, offset, 1767323045123, **{**fields, **more})


def at_refused(server, path="s3://bucket/dead"):
    """A place of an S3 server, with keys that it does not know."""
    options = {"aws_endpoint_url": server, "aws_access_key_id": "AKIAWRONG", "aws_region": "us-east-1"}
    return letters_at(path, {**options, "aws_secret_access_key": SECRET})


def test_letters_are_written_listed_and_shown(address):
    file = DeadLetterFiles(address, "my/job", START).write([letter(), letter(43, key=None, value=None)])
    name = file.rpartition("/")[2]
    assert file == f"{address.path}/my_job/{name}"
    assert name.startswith("20260102T030405Z-000001-")
    listed = list(listing(address))
    assert [(one["place"], one["file"], one["value_bytes"]) for one in listed] == [
        ("shop.orders[3]@42", name, 2),
        ("shop.orders[3]@43", name, None),
    ]
    assert show(address, place(letter())).letter == letter()
    assert show(letters_at(file, address.options), "shop.orders/3/42").file == file
    with pytest.raises(JobError, match=r"holds no dead letter of shop\.orders/3/44"):
        show(address, "shop.orders/3/44")


def test_what_was_written_twice_is_read_once_and_the_newest_counts(address):
    files = DeadLetterFiles(address, "j", START)
    files.write([letter(1), letter(2, error="older")])
    pickle.loads(pickle.dumps(files)).write([letter(2, error="newer"), letter(3)])
    assert [(one.letter.offset, one.letter.error) for one in read(address)] == [
        (1, "cut off"),
        (2, "newer"),
        (3, "cut off"),
    ]
    assert len(open_letters(address).names("j")) == 2


LETTERS = st.lists(
    st.builds(letter, st.integers(0, 5), value=st.none() | st.binary(max_size=40), error=st.text(max_size=20)),
    max_size=4,
)


@pytest.mark.parametrize("kind", STORES)
def test_each_place_comes_back_once_with_its_newest_letter(kind, request, tmp_path):
    address = address_of(kind, tmp_path, request.getfixturevalue)

    @settings(max_examples=8)
    @given(st.lists(LETTERS, max_size=3))
    def comes_back(runs):
        own = below(address, uuid4().hex)
        files = DeadLetterFiles(own, "shop", START)
        for letters in runs:
            files.write(letters)
        expected = {one.offset: one for letters in runs for one in letters}
        there = [] if own.folder is not None and not os.path.exists(own.path) else list(read(own))
        assert len(there) == len(expected)
        assert {one.letter.offset: one.letter for one in there} == {
            offset: letter(offset, value=one.value, error=one.error.encode("utf-8", "backslashreplace").decode())
            for offset, one in expected.items()
        }

    comes_back()


def test_other_files_and_folders_beside_them_are_left_alone(address):
    store = open_letters(address)
    DeadLetterFiles(address, "j", START).write([letter(1)])
    store.create("notes.txt", b"no letters")
    store.create("lake/part-0.avro", b"no letters either")
    assert [one.letter.offset for one in read(address)] == [1]


def test_a_check_writes_nothing_that_stays(address):
    """The folder above holds what it held: neither the place nor a probe was made, no upload was left open."""
    above = open_letters(letters_at(address.path.rpartition("/")[0], address.options))
    store = open_letters(address)
    before = above.files(), above.folders()
    store.check()
    assert (above.files(), above.folders()) == before
    if address.scheme == "s3":
        bucket = address.path.split("/")[2]
        assert "Uploads" not in store._client().list_multipart_uploads(Bucket=bucket)
    DeadLetterFiles(address, "j", START).write([letter(1)])
    store.check()
    assert len(store.names("j")) == 1


@pytest.mark.parametrize("kind", ["s3", "gcs"])
def test_an_upload_that_breaks_half_way_leaves_nothing(kind, request, tmp_path, monkeypatch):
    monkeypatch.setattr("millrace.transforms.retry.BRIEF", Backoff(0.01, 0.01, 0))
    monkeypatch.setattr("google.cloud.storage.retry.DEFAULT_RETRY._timeout", 1.0)
    address = address_of(kind, tmp_path, request.getfixturevalue)
    endpoint = "aws_endpoint_url" if kind == "s3" else "endpoint"
    big = letter(1, value=os.urandom(400_000))
    with wire_to(address.options[endpoint], most=150_000) as wire:
        broken = letters_at(address.path, {**address.options, endpoint: wire.url})
        with pytest.raises((TransientSinkError, TerminalSinkError), match="dead letters: "):
            DeadLetterFiles(broken, "j", START).write([big])
        assert list(read(address)) == []
        wire.most = None
        DeadLetterFiles(broken, "j", START).write([big])
    assert [one.letter for one in read(address)] == [big]


@pytest.mark.parametrize(("kind", "lost"), [("s3", 1), ("s3", 6), ("gcs", 1)])
def test_lost_answers_make_no_second_file(kind, lost, request, tmp_path):
    """Six are more than the client's own tries: the next one of ours has the same name."""
    address = address_of(kind, tmp_path, request.getfixturevalue)
    endpoint = "aws_endpoint_url" if kind == "s3" else "endpoint"
    with wire_to(address.options[endpoint], deaf=lost) as wire:
        broken = letters_at(address.path, {**address.options, endpoint: wire.url})
        DeadLetterFiles(broken, "j", START).write([letter(1)])
        assert wire.lost == lost
    assert len(open_letters(address).names("j")) == 1
    assert [one.letter for one in read(address)] == [letter(1)]


DYING = """
import os, pickle, signal, sys
letters, files = pickle.load(sys.stdin.buffer)
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
os.link = die
store = files.open()
if hasattr(store, "_client"):
    client = store._client()
    class Dying:
        rename = die
        def __getattr__(self, name):
            return getattr(client, name)
    store._opened = Dying()
files.write(letters)
"""


@pytest.mark.parametrize("kind", ["local", "hdfs"])
def test_a_writer_killed_before_the_name_is_given_leaves_nothing_to_read(kind, request, tmp_path):
    """All bytes are there, the name is not; the part that stays goes a day later."""
    address = address_of(kind, tmp_path, request.getfixturevalue)
    files = DeadLetterFiles(address, "j", START)
    done = subprocess.run(
        [sys.executable, "-c", DYING],
        input=pickle.dumps(([letter(1)], files)),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    store = open_letters(address)
    assert list(read(address)) == []
    (part,) = store.names("_millrace_staging")
    files.write([letter(2)])
    assert store.names("_millrace_staging") == [part]
    old = part.rpartition("/")[2].partition("-")[0]
    store.create(part.replace(old, f"{int(old) - 90_000:012d}"), b"Obj\x01")
    DeadLetterFiles(address, "j", START).write([letter(3)])
    assert store.names("_millrace_staging") == [part]
    assert {one.letter.offset for one in read(address)} == {2, 3}


@pytest.mark.parametrize("kind", ["s3", "gcs"])
def test_a_bucket_that_is_not_there_is_said_and_when_it_is_made_all_goes_on(kind, request, tmp_path):
    server, options = request.getfixturevalue(kind), address_of(kind, tmp_path, request.getfixturevalue).options
    bucket = f"not-made-{uuid4().hex[:8]}"
    files = DeadLetterFiles(letters_at(f"{'gs' if kind == 'gcs' else kind}://{bucket}/dead", options), "j", START)
    for tried in (files.open().check, lambda: files.write([letter(1)]), lambda: list(read(files.address))):
        with pytest.raises(TerminalSinkError, match=f"there is no bucket '{bucket}'; make it") as caught:
            tried()
        assert "\n" not in str(caught.value)
    server.create_bucket(bucket)
    files.open().check()
    files.write([letter(1)])
    assert [one.letter.offset for one in read(files.address)] == [1]


def test_credentials_that_are_refused_are_said_and_not_shown():
    with s3_server(INITIAL_NO_AUTH_ACTION_COUNT="0") as server:
        files = DeadLetterFiles(at_refused(server.endpoint), "j", START)
        for tried in (files.open().check, lambda: files.write([letter(1)]), lambda: list(read(files.address))):
            with pytest.raises(TerminalSinkError, match="check the credentials and their rights") as caught:
                tried()
            assert SECRET not in repr(caught.value)


def test_a_store_that_is_away_is_asked_again_then_told(monkeypatch, caplog):
    monkeypatch.setattr("millrace.transforms.retry.BRIEF", Backoff(0.01, 0.02, 0.03))
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    (port,) = free_ports(1)
    with pytest.raises(TransientSinkError, match=r"^dead letters: s3://bucket/dead: no good answer from the store"):
        DeadLetterFiles(at_refused(f"http://127.0.0.1:{port}"), "j", START).write([letter(1)])
    again = [record.getMessage() for record in caplog.records if "trying again" in record.getMessage()]
    assert len(again) == 2
    assert all(said.startswith("dead letters: s3://bucket/dead: ") and SECRET not in said for said in again)


def test_a_folder_that_cannot_be_written_is_found_by_a_check(tmp_path):
    (tmp_path / "notes").write_text("")
    with pytest.raises(TerminalSinkError, match=r"notes cannot be written: Not a directory; correct dead_letters.path"):
        open_letters(letters_at(tmp_path / "notes" / "dead")).check()
    open_letters(letters_at(tmp_path / "deep" / "er")).check()
    assert sorted(os.listdir(tmp_path)) == ["notes"]


@pytest.mark.parametrize(
    ("path", "options", "sentence"),
    [
        ("s3://", {}, "dead_letters.path: s3:// names no bucket"),
        ("hdfs:///x", {}, "dead_letters.path: hdfs:///x names no name node"),
        ("gs://b", {"key": "x"}, "dead_letters.storage_options: 'key' is not known; known are project"),
        ("x", {"key": "x"}, "dead_letters.storage_options: 'key' is not known; a local folder has none"),
        ("ftp://b", {}, "dead_letters.path: ftp://b: ftp:// is not known; known are file, gs, hdfs, s3"),
        ("gs://b", {"project": "${env:NOT_SET_AT_ALL}"}, "the environment variable NOT_SET_AT_ALL is not set"),
    ],
)
def test_wrong_settings_are_named(path, options, sentence):
    with pytest.raises(JobError) as caught:
        open_letters(letters_at(path, options))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("module", "path", "extra"),
    [("google.cloud", "gs://b", "gcs"), ("boto3", "s3://b", "s3"), ("hdfs_native", "hdfs://h/x", "hdfs")],
)
def test_a_missing_extra_is_one_sentence_with_the_command(module, path, extra):
    script = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from millrace.transforms.dead_letters import letters_at, open_letters\n"
        "from millrace.schemas.errors import MissingExtraError\n"
        f"try:\n    open_letters(letters_at({path!r}))\n"
        "except MissingExtraError as missing:\n    print(missing)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    scheme = path.partition("://")[0]
    assert said.stdout.startswith(
        f"dead_letters.path: {scheme}:// needs the extra {extra!r}, which is not installed: pip "
    )
    assert f"[{extra}]'" in said.stdout and said.stdout.count("\n") == 1


def test_secrets_stay_references_until_the_store_is_opened(monkeypatch, s3):
    monkeypatch.setenv("LETTERS_SECRET", SECRET)
    address = address_of("s3", None, lambda _: s3)
    held = letters_at(address.path, {**address.options, "aws_secret_access_key": "${env:LETTERS_SECRET}"})
    files = DeadLetterFiles(held, "j", START)
    files.write([letter(1)])
    copy = pickle.dumps(files)
    assert SECRET.encode() not in copy and b"${env:LETTERS_SECRET}" in copy
    assert "aws_" not in repr(files)
    literal = DeadLetterFiles(letters_at(address.path, {"aws_secret_access_key": SECRET}), "j", START)
    assert SECRET not in repr(literal)
    assert pickle.loads(copy).write([letter(2)]) is not None
