"""Whatever outlives a run bears a version: samples of each are read, and an unknown one is refused in a sentence."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import fastavro
import pyarrow as pa
import pytest
from support import mysql_target, postgres_server
from support.change_logs import LogTarget
from support.stored_samples import LETTER, MARK, NEXT, RESTORE, ROWS, VERSION, VERSIONS, fill, sample_of
from support.targets import PLACES, Target, bigquery_tables, delete, position, upsert

from millrace.schemas.errors import MillraceError, TerminalSinkError
from millrace.schemas.model.ledger import OffsetRange, TopicPartition
from millrace.schemas.model.stored_format import DEAD_LETTERS, KEY, LEDGER, POSITIONS, STAGED_ROWS, StoredFormat
from millrace.transforms.dead_letter_marks import read_marks, replay_under_way
from millrace.transforms.dead_letters import letters_at, read
from millrace.transforms.stop_notes import StopNotes

MIRRORS = [kind for kind in RESTORE if kind != "files"]
UNKNOWN = re.compile(r".+: its format of .+ has version 99, and this Millrace reads versions? 1")


@pytest.fixture(params=MIRRORS)
def stored(request, tmp_path):
    """A target that another run has filled."""
    RESTORE[request.param](sample_of(request.param), tmp_path)
    target = Target(request.param, tmp_path)
    yield target
    target.close()


def test_there_is_a_sample_of_each_version():
    assert {LEDGER.newest, POSITIONS.newest, STAGED_ROWS.newest} == {VERSION}
    assert DEAD_LETTERS.newest == VERSIONS["dead_letters"]
    assert all(any(sample_of(kind).iterdir()) for kind in [*RESTORE, "iceberg", "dead_letters"])


def test_a_sample_is_read_and_goes_on(stored):
    assert (stored.rows(), stored.next) == (ROWS, NEXT)
    assert (stored.ledger.truncate, *stored.ledger.marks.values()) == (position(5), MARK)
    stored.apply(upsert(9, id=2, v="late"), upsert(21, id=3, v="more"), delete(21, id=1))
    assert (stored.rows(), stored.next) == ([(3, "more")], NEXT + 3)


def test_a_sample_of_the_note_of_a_stopped_table_is_read():
    note = StopNotes(letters_at(sample_of("stop_notes")), "shop").read()["orders"]
    assert note.stands({TopicPartition("orders", 0): 7}) and note.since_text == "2026-01-02 03:04 UTC"
    assert note.reason == "a TRUNCATE stands at orders[0] offset 7"


def test_samples_of_what_became_of_dead_letters_are_read():
    address = letters_at(sample_of("letter_marks"))
    marks, replay = read_marks(address, "shop"), replay_under_way(address, "shop")
    assert marks.discarded(TopicPartition("orders", 0), 7) and not marks.discarded(TopicPartition("orders", 0), 8)
    assert replay is not None and (replay.id, replay.before) == ("d33d4f6f", {"orders": {"orders[0]": "f00d"}})
    assert replay.ranges == (OffsetRange("orders", 0, 9, 10),)


def test_a_sample_of_a_log_is_read(tmp_path):
    RESTORE["files"](sample_of("files"), tmp_path)
    log = LogTarget("files", tmp_path, PLACES["files"](tmp_path))
    assert (log.offsets(), log.next) == ([0, 1, 2], 3)


def test_a_sample_of_icebergs_properties_is_read():
    from millrace.transforms.sinks.iceberg import ledger
    from millrace.transforms.sinks.iceberg.table_format.columns import TABLE

    properties = json.loads((sample_of("iceberg") / "properties.json").read_text())
    source = TopicPartition("orders", 0)
    entry = ledger.read(properties, "shop", [source]).entries[source]
    assert (entry.next, entry.mark) == (NEXT, MARK)
    assert ledger.last_truncate(properties) == position(5)
    assert POSITIONS.check(json.loads(properties[TABLE])["format"], "x") == VERSION
    spoilt = {name: text.replace('"format": 1', '"format": 99') for name, text in properties.items()}
    with pytest.raises(TerminalSinkError, match=UNKNOWN):
        ledger.read(spoilt, "shop", [source])


def test_a_sample_of_dead_letters_is_read():
    (written,) = read(letters_at(sample_of("dead_letters")))
    assert (written.letter, written.job) == (LETTER, "shop")
    (older,) = read(letters_at(sample_of("dead_letters", 1)))
    assert (older.letter, older.job) == (replace(LETTER, headers=()), "shop")


def spoil_sql(run: Callable[[str], object], ledger: str, tables: str) -> dict[str, Callable[[], object]]:
    return {
        "ledger": lambda: run(f"UPDATE {ledger} SET format = 99"),
        "positions": lambda: run(f"UPDATE {tables} SET format = 99"),
    }


def spoil_bigquery(folder: Path, table: str) -> None:
    for row in bigquery_tables(folder)[table].rows.values():
        row.values["format"] = 99


def spoilers(kind: str, folder: Path) -> dict[str, Callable[[], object]]:
    """By format a way to give it an unknown version."""
    if kind == "duckdb":

        def run(statement: str) -> None:
            with duckdb.connect(str(folder / "warehouse.duckdb")) as con:
                con.execute(statement)

        return spoil_sql(run, "_millrace_ledger", "_millrace_tables")
    if kind == "postgres":
        schema = postgres_server.schema_of(folder)
        return spoil_sql(postgres_server.server().sql, f'"{schema}"._millrace_ledger', f'"{schema}"._millrace_tables')
    if kind == "mysql":
        database = mysql_target.database_of(folder)
        return spoil_sql(
            lambda statement: mysql_target.server().sql(statement, database=database),
            "_millrace_ledger",
            "_millrace_tables",
        )
    if kind == "bigquery":
        return {
            "ledger": lambda: spoil_bigquery(folder, "_millrace_ledger"),
            "positions": lambda: spoil_bigquery(folder, "_millrace_tables"),
        }
    log = folder / "lake" / "orders" / "_delta_log"

    def replace(old: str, new: str) -> None:
        for file in log.glob("*.json"):
            assert file.write_text(file.read_text().replace(old, new))

    return {
        "ledger": lambda: replace('"appId":"millrace-format","version":1', '"appId":"millrace-format","version":99'),
        "positions": lambda: replace(r"\"millrace.version\":\"1\"", r"\"millrace.version\":\"99\""),
    }


@pytest.mark.parametrize("format", ["ledger", "positions"])
def test_an_unknown_version_is_refused(stored, format):
    spoilers(stored.kind, stored.folder)[format]()
    with pytest.raises(TerminalSinkError, match=UNKNOWN):
        _ = stored.ledger if format == "ledger" else stored.rows()
    with pytest.raises(TerminalSinkError, match=UNKNOWN):
        stored.apply(upsert(30, id=1, v="x"))


def test_staged_rows_of_an_unknown_version_are_refused(tmp_path):
    target = Target("duckdb", tmp_path)
    fill(target)
    staged = target.stage(upsert(30, id=9, v="x"))
    with pa.ipc.open_file(staged.uri) as reader:
        rows = reader.read_all()
    newer = rows.replace_schema_metadata({KEY: "99"})
    with pa.OSFile(staged.uri, "wb") as out, pa.ipc.new_file(out, newer.schema) as writer:
        writer.write_table(newer)
    with pytest.raises(TerminalSinkError, match=UNKNOWN):
        target.commit([staged])
    target.close()


def test_dead_letters_of_an_unknown_version_are_refused(tmp_path):
    (sample,) = sample_of("dead_letters").rglob("*.avro")
    with sample.open("rb") as file:
        reader = fastavro.reader(file)
        records = list(reader)
    with (tmp_path / sample.name).open("wb") as file:
        fastavro.writer(file, reader.writer_schema, records, metadata={KEY: "99"})
    with pytest.raises(MillraceError, match=UNKNOWN):
        list(read(letters_at(tmp_path)))


@pytest.mark.parametrize("found", [None, "", 0, -1, 3, "x", b"\xff", 1.5])
def test_what_is_no_version_is_refused(found):
    with pytest.raises(TerminalSinkError, match=r"^here: its format of things .+ reads versions 1 to 2"):
        StoredFormat("things", 2).check(found, "here")


@pytest.mark.parametrize("found", [1, "2", b"1"])
def test_older_versions_are_read(found):
    assert StoredFormat("things", 2).check(found, "here") == int(found)
