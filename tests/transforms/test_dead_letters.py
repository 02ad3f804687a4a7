"""Dead letters on disk: nothing lost, nothing twice, whole files only; and the limit."""

import itertools
import os
import pickle
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.schemas.errors import DeadLetterLimitError, JobError, SinkError
from millrace.schemas.model.dead_letter import DeadLetter
from millrace.transforms.dead_letter_limit import DEFAULT_LIMIT, Limit
from millrace.transforms.dead_letter_reasons import most_frequent
from millrace.transforms.dead_letters import DeadLetterFiles, letters_at, listing, place, read, show

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LETTERS = st.lists(
    st.builds(
        DeadLetter,
        st.sampled_from(["a", "b.c-d_e"]),
        st.integers(0, 2),
        st.integers(0, 5) | st.just((1 << 63) - 1),
        st.just(-1) | st.integers(0, 1 << 41),
        st.none() | st.binary(max_size=40),
        st.none() | st.binary(max_size=40),
        st.none() | st.integers(0, (1 << 32) - 1),
        st.sampled_from(["split", "decode"]),
        st.text(st.characters(codec="utf-8")),
    ),
    max_size=8,
)


def letter(offset=42, **more):
    fields = {"key": b"\x00k", "value": b"\xff\x00", "schema_id": 7, "step": "decode", "error": "cut off"}
    return DeadLetter("shop.orders", 3, offset, 1767323045123, **{**fields, **more})


@given(runs=st.lists(LETTERS, max_size=4))
def test_each_place_comes_back_once_with_its_newest_letter(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("letters")
    for run, letters in enumerate(runs):
        DeadLetterFiles(letters_at(folder), "shop", START.replace(minute=run)).write(letters)
    expected = {(one.topic, one.partition, one.offset): one for one in itertools.chain(*runs)}
    found = [written.letter for written in read(letters_at(folder))]
    assert len(found) == len(expected)
    assert {(one.topic, one.partition, one.offset): one for one in found} == expected


def test_files_are_named_by_job_run_and_counter_and_are_plain_avro(tmp_path):
    files = DeadLetterFiles(letters_at(tmp_path / "deep" / "er"), "my/job", START)
    made = [Path(files.write([letter(1)])), Path(files.write([letter(2)]))]
    assert made[0].name.startswith("20260102T030405Z-000001-")
    assert made[1].name.startswith("20260102T030405Z-000002-")
    assert {file.parent for file in made} == {tmp_path / "deep" / "er" / "my_job"}
    with made[0].open("rb") as file:
        (record,) = fastavro.reader(file)
    assert record["value"] == b"\xff\x00"
    assert record["job"] == "my/job"


def test_jobs_that_share_a_place_see_their_own(tmp_path):
    for number, job in enumerate(("a", "b")):
        DeadLetterFiles(letters_at(tmp_path), job, START).write([letter(number)])
    assert [written.letter.offset for written in read(letters_at(tmp_path), "b")] == [1]
    assert len(list(read(letters_at(tmp_path)))) == 2


def test_dead_letters_of_before_lie_at_the_top_and_are_read(tmp_path):
    written = Path(DeadLetterFiles(letters_at(tmp_path), "a", START).write([letter()]))
    written.rename(tmp_path / written.name)
    assert len(list(read(letters_at(tmp_path), "a"))) == 1
    assert not list(read(letters_at(tmp_path), "b"))


def test_dead_letters_are_their_owners_alone(tmp_path):
    file = Path(DeadLetterFiles(letters_at(tmp_path / "letters"), "j", START).write([letter()]))
    assert file.stat().st_mode & 0o777 == 0o600
    assert [folder.stat().st_mode & 0o777 for folder in list(file.parents)[:2]] == [0o700, 0o700]


@pytest.mark.parametrize("link", ["letters", "letters/j"])
def test_links_are_not_followed(tmp_path, link):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(elsewhere)
    with pytest.raises(SinkError, match=f"{link} is a link, and none is followed here; write the folder"):
        DeadLetterFiles(letters_at(tmp_path / "letters"), "j", START).write([letter()])
    assert not list(elsewhere.iterdir())


def test_a_link_to_a_file_is_not_read(tmp_path):
    file = Path(DeadLetterFiles(letters_at(tmp_path / "a"), "j", START).write([letter()]))
    (tmp_path / "b" / "j").mkdir(parents=True)
    (tmp_path / "b" / "j" / file.name).symlink_to(file)
    assert not list(read(letters_at(tmp_path / "b")))


def test_copies_in_two_workers_do_not_overwrite_each_other(tmp_path):
    files = DeadLetterFiles(letters_at(tmp_path), "j", START)
    for number, copy in enumerate([files, pickle.loads(pickle.dumps(files))]):
        copy.write([letter(number)])
    assert {written.letter.offset for written in read(letters_at(tmp_path))} == {0, 1}


def test_no_letters_no_file(tmp_path):
    assert DeadLetterFiles(letters_at(tmp_path / "none"), "j", START).write([]) is None
    assert not (tmp_path / "none").exists()


def test_a_write_that_fails_leaves_nothing_to_read(tmp_path):
    with pytest.raises(ValueError):
        DeadLetterFiles(letters_at(tmp_path), "j", START).write([letter(1), letter(2, schema_id=1 << 70)])
    assert os.listdir(tmp_path) == []
    (tmp_path / ".j-half.avro.tmp").write_bytes(b"Obj\x01")
    assert list(read(letters_at(tmp_path))) == []


def test_an_error_with_a_lone_surrogate_is_written(tmp_path):
    DeadLetterFiles(letters_at(tmp_path), "j", START).write([letter(error="bad \ud800 text")])
    assert [written.letter.error for written in read(letters_at(tmp_path))] == ["bad \\ud800 text"]


def test_listing_is_ready_for_json_and_show_finds_by_both_spellings(tmp_path):
    file = DeadLetterFiles(letters_at(tmp_path), "shop", START).write(
        [letter(), letter(43, key=None, value=None, schema_id=None)]
    )
    first, second = listing(letters_at(tmp_path))
    assert first.pop("written_at").endswith("+00:00")
    assert first == {
        "place": "shop.orders[3]@42",
        "timestamp": "2026-01-02T03:04:05.123+00:00",
        "step": "decode",
        "error": "cut off",
        "schema_id": 7,
        "key_bytes": 2,
        "value_bytes": 2,
        "job": "shop",
        "file": Path(file).name,
        "state": "open",
        "why": None,
    }
    assert [one["state"] for one in listing(letters_at(file))] == ["open", "open"]
    assert second["key_bytes"] is None
    assert show(letters_at(tmp_path), place(letter())).letter == letter()
    assert show(letters_at(file), "shop.orders/3/42").letter == letter()
    with pytest.raises(JobError, match=r"holds no dead letter of shop\.orders/3/44"):
        show(letters_at(tmp_path), "shop.orders/3/44")
    with pytest.raises(JobError, match="is no place of a message"):
        show(letters_at(tmp_path), "shop.orders")


@pytest.mark.parametrize("damage", [b"", b"plain text", None])
def test_a_file_that_is_no_dead_letter_file_is_named(tmp_path, damage):
    file = Path(DeadLetterFiles(letters_at(tmp_path), "j", START).write([letter()]))
    file.write_bytes(file.read_bytes()[:-30] if damage is None else damage)
    with pytest.raises(JobError, match=f"{file.name}: not a file of dead letters"):
        list(read(letters_at(tmp_path)))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(JobError, match="no dead letters there"):
        list(read(letters_at(tmp_path / "no")))


@pytest.mark.parametrize(
    ("value", "dead", "read_", "stops"),
    [
        (None, 10**9, 10**9, False),
        (0, 0, 10, False),
        (0, 1, 10, True),
        ("100", 100, 100, False),
        (100, 101, 10**9, True),
        ("0.1%", 1, 1, False),
        ("0.1%", 2, 1_000, True),
        ("0.1%", 1_000, 1_000_000, False),
        ("0.1 %", 1_001, 1_000_000, True),
        ("0%", 1, 10**6, True),
        ("100%", 5, 5, False),
    ],
)
def test_the_limit(value, dead, read_, stops):
    limit = Limit.parse(value)
    if not stops:
        limit.check(dead, read_)
        return
    with pytest.raises(DeadLetterLimitError, match=f"^{dead:,} dead letters? among {read_:,} messages"):
        limit.check(dead, read_)


def test_the_limit_says_where_the_first_ones_are():
    with pytest.raises(DeadLetterLimitError) as stopped:
        Limit.parse("2").check(5, 50, [letter(n) for n in range(5)])
    lines = str(stopped.value).splitlines()
    assert lines[0] == "5 dead letters among 50 messages, and max_dead_letters: 2 allows 2; the first:"
    assert lines[1:] == [f"  shop.orders[3]@{n}: decode: cut off" for n in range(3)]


@pytest.mark.parametrize("value", ["0.1", 0.1, "-1", "-1%", "101%", "nan%", "many", "", True, "1e999%"])
def test_a_limit_that_is_none_is_refused(value):
    with pytest.raises(JobError, match="neither a whole number nor a percentage"):
        Limit.parse(value)


def test_the_most_frequent_reason_leaves_numbers_out():
    letters = [replace(letter(n), error=f"schema id {n} is unknown") for n in range(3)]
    assert most_frequent([letter(7), *letters]) == "decode: schema id 0 is unknown"
    assert most_frequent([]) == ""


def test_a_given_limit_lets_the_first_messages_be_dead():
    letters = [letter(n) for n in range(3)]
    Limit.parse("100%").check_first(3, letters)
    DEFAULT_LIMIT.check_first(4, letters)
    with pytest.raises(DeadLetterLimitError, match="all of the first 3 messages are dead letters"):
        DEFAULT_LIMIT.check_first(3, letters)
