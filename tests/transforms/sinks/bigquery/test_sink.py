"""What is BigQuery's own: sequence numbers, tables that grow, what it refuses, names, and options."""

import os
import subprocess
import sys
from datetime import timedelta

import pyarrow as pa
import pytest
from support.targets import Target, bigquery_dataset, bigquery_tables, delete, position, upsert

from millrace.schemas.errors import IncompatibleSchemaError, JobError, MissingExtraError, TableError, TerminalSinkError
from millrace.transforms.sinks import open_sink
from millrace.transforms.sinks.bigquery.columns import bigquery_name
from millrace.transforms.sinks.bigquery.merge import sequence_numbers


@pytest.fixture
def target(tmp_path, bigquery):
    found = Target("bigquery", tmp_path)
    yield found
    found.close()


def kept(target) -> dict:
    """What the server holds of each key, deletes too."""
    return bigquery_tables(target.folder)[target.name].rows


def test_positions_are_sequence_numbers_of_four_sections():
    numbers = [0, 1, (1 << 64) - 1, 1 << 64, 1 << 128, (1 << 192) - 1, 0xABC << 64]
    texts = sequence_numbers(pa.array([position(number) for number in numbers], pa.binary(32))).to_pylist()
    assert texts[2] == "0000000000000000/0000000000000000/0000000000000000/FFFFFFFFFFFFFFFF"
    assert texts[6] == "0000000000000000/0000000000000000/0000000000000ABC/0000000000000000"
    for number, text in zip(numbers, texts, strict=True):
        sections = text.split("/")
        assert [len(section) for section in sections] == [16] * 4
        assert int("".join(sections), 16) == number
    sliced = pa.array([position(number) for number in range(9)], pa.binary(32)).slice(5, 2)
    assert sequence_numbers(sliced).to_pylist()[1].endswith("6")


def test_the_row_and_its_sequence_number_say_the_same_position(target):
    at = (7 << 128) + (8 << 64) + 9
    target.apply(upsert(at, id=1, v="a"), delete(at + 1, id=2))
    rows = kept(target)
    assert rows[(1,)].sequence == (0, 7, 8, 9)
    assert rows[(1,)].values["_millrace_position"] == position(at)
    assert (rows[(2,)].sequence, rows[(2,)].deleted) == ((0, 7, 8, 10), True)


def test_tables_are_made_with_their_key_sorted_by_it_and_as_stale_as_asked(target):
    target.options = {"max_staleness": "90m"}
    target.key = ("id", "v")
    target.schema = pa.schema([("id", pa.int64()), ("v", pa.binary()), ("w", pa.string())])
    target.apply(upsert(1, id=1, v=b"a"))
    resource = bigquery_tables(target.folder)["orders"].resource
    assert resource["tableConstraints"]["primaryKey"]["columns"] == ["id", "v"]
    assert resource["clustering"]["fields"] == ["id"]
    assert resource["maxStaleness"] == "0-0 0 1:30:0"
    assert "maxStaleness" not in bigquery_tables(target.folder)["_millrace_ledger"].resource


def test_requests_are_no_larger_than_bigquery_takes(target, bigquery):
    rows = [upsert(1, id=number, v="x" * 100_000) for number in range(250)]
    assert target.apply(*rows) == (250, 0)
    assert len(target.rows()) == 250
    assert max(bigquery.requests) < 10_000_000
    assert len(bigquery.requests) >= 5


def test_a_row_that_is_too_large_stops_its_table(target):
    target.apply(upsert(1, id=1, v="a"))
    with pytest.raises(TableError, match=r"table orders: a row of 11,\d{3},\d{3} bytes is more than the 8,388,608"):
        target.apply(upsert(2, id=1, v="x" * 11 * 10**6))
    assert (target.rows(), target.next) == ([(1, "a")], 1)


def test_a_key_of_more_columns_than_bigquery_takes_is_refused(target):
    names = [f"k{number}" for number in range(17)]
    target.key, target.schema = tuple(names), pa.schema([(name, pa.int64()) for name in names])
    with pytest.raises(IncompatibleSchemaError, match="its key has 17 columns, and BigQuery takes 16"):
        target.apply(upsert(1, **dict.fromkeys(names, 1)))


@pytest.mark.parametrize(
    ("old", "new", "grows"),
    [
        (pa.int8(), pa.int64(), True),
        (pa.decimal128(5, 2), pa.decimal128(12, 4), True),
        (pa.timestamp("s"), pa.timestamp("us"), True),
        (pa.null(), pa.string(), True),
        (pa.list_(pa.int32()), pa.list_(pa.int64()), True),
        (pa.struct([("x", pa.int32())]), pa.struct([("x", pa.int64()), ("y", pa.string())]), True),
        (pa.int32(), pa.float64(), False),
        (pa.uint32(), pa.uint64(), False),
        (pa.decimal128(38, 0), pa.decimal256(60, 10), False),
        (pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC"), False),
        (pa.duration("s"), pa.duration("us"), False),
        (pa.struct([("x", pa.duration("s"))]), pa.struct([("x", pa.duration("us"))]), False),
    ],
    ids=str,
)
def test_a_column_grows_where_bigquery_need_not_rewrite_it(target, old, new, grows):
    schemas = [pa.schema([("id", pa.int64()), ("v", kind)]) for kind in (old, new)]
    target.apply(upsert(1, id=1), schema=schemas[0])
    if grows:
        target.apply(upsert(2, id=2), schema=schemas[1])
        assert target.read().schema.field("v").type == new
        return
    with pytest.raises(IncompatibleSchemaError, match="which BigQuery stores in another way"):
        target.apply(upsert(2, id=2), schema=schemas[1])
    assert target.next == 1


def test_lists_and_maps_stand_in_records_as_those_of_parquet_files_do(target, bigquery):
    target.schema = pa.schema([("id", pa.int64()), ("v", pa.list_(pa.int64())), ("m", pa.map_(pa.string(), pa.int8()))])
    target.apply(upsert(1, id=1, v=[1, None], m=[("a", 1)]), upsert(1, id=2, v=[], m=None))
    rows = {row["id"]: row for row in bigquery.rows(bigquery_dataset(target.folder), "orders")}
    assert rows[1]["v"] == {"list": [{"element": 1}, {"element": None}]}
    assert rows[1]["m"] == {"key_value": [{"key": "a", "value": 1}]}
    assert (rows[2]["v"], rows[2]["m"]) == ({"list": []}, None)


def test_a_table_that_millrace_did_not_make_is_left_alone(target):
    target.apply(upsert(1, id=1, v="a"))
    bigquery_tables(target.folder)["items"] = bigquery_tables(target.folder).pop("orders")
    bigquery_tables(target.folder)["items"].resource["labels"] = {}
    target.name = "items"
    with pytest.raises(TerminalSinkError, match="has a table items that Millrace did not make"):
        target.apply(upsert(5, id=1, v="b"))


def test_a_table_that_was_dropped_is_not_begun_anew_in_silence(target):
    target.apply(upsert(1, id=1, v="a"))
    del bigquery_tables(target.folder)["orders"]
    with pytest.raises(TerminalSinkError, match="the table orders was dropped, but its ledger stands"):
        target.apply(upsert(2, id=1, v="b"))


def test_columns_that_others_added_stop_the_table(target):
    target.apply(upsert(1, id=1, v="a"))
    table = bigquery_tables(target.folder)["orders"]
    table.columns += (type(table.columns[0])("mine", "STRING"),)
    with pytest.raises(TerminalSinkError, match="the column 'mine' of table orders is not Millrace's"):
        target.apply(upsert(2, id=1, v="b"))


@pytest.mark.parametrize("what", ["partial row", "truncate", "scan", "lookup"])
def test_what_needs_the_newest_rows_is_refused_where_bigquery_may_show_older_ones(target, what):
    target.options = {"max_staleness": "15m"}
    target.apply(upsert(1, id=1, v="a"))
    with pytest.raises(TableError, match=r"needs the newest rows of table orders, which max_staleness may keep back"):
        if what == "truncate":
            target.apply(upsert(5, id=1, v="b"), truncate=position(3))
        elif what == "partial row":
            target.apply(upsert(5, ["v"], id=1))
        elif what == "scan":
            target.read()
        else:
            target.sink.lookup("orders", pa.table({"id": [1]}), ["v"], None)
    assert target.apply(upsert(2, id=1, v="b")) == (1, 0)
    bigquery_tables(target.folder)["orders"].resource["maxStaleness"] = None
    assert (target.rows(), target.next) == ([(1, "b")], 2)


@pytest.mark.parametrize("name", ["a b", "a_x20_b", "_x20ä", "_x20_xE4_", "1a", "_x31_a", "ä", "a\tb", "Ä", "_TABLE_x"])
def test_names_have_letters_digits_and_underscores_and_differ(name):
    names = [
        "a b",
        "a_x20_b",
        "_x20ä",
        "_x20_xE4_",
        "1a",
        "_x31_a",
        "ä",
        "a\tb",
        "Ä",
        "_TABLE_x",
        "a_xe4_",
        "aä",
        " xE4_",
    ]
    mine = bigquery_name(name)
    assert mine.isascii() and mine.isidentifier() and not mine.upper().startswith("_TABLE_")
    assert [other for other in names if bigquery_name(other).lower() == mine.lower()] == [name]


def test_a_name_that_is_too_long_is_refused():
    assert bigquery_name("x" * 300) == "x" * 300
    assert bigquery_name("2024-x" * 170, "table") == "2024-x" * 170
    with pytest.raises(IncompatibleSchemaError, match="more than the 300 characters"):
        bigquery_name("ä" * 61)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"project": "no such", "dataset": "d"}, "target.project: 'no such'"),
        ({"project": "p", "dataset": "a-b"}, "target.dataset: 'a-b'"),
        (
            {"project": "p", "dataset": "d", "max_staleness": "soon"},
            "target.max_staleness: 'soon' is not a duration; write",
        ),
        (
            {"project": "p", "dataset": "d", "emulator": {"rest": "http://x:1"}},
            "target.emulator: the key 'grpc'",
        ),
        (
            {"project": "p", "dataset": "d", "emulator": {"rest": "https://x:1", "grpc": "x:2"}},
            "target.emulator.rest: 'https://x:1' is not an address such as http://localhost:9050, without TLS",
        ),
    ],
)
def test_options_that_cannot_be_are_named(options, message):
    with pytest.raises(JobError, match=message):
        open_sink("bigquery", options)


def test_without_credentials_the_error_says_how_to_get_some(monkeypatch, tmp_path):
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "BIGQUERY_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    sink = open_sink("bigquery", {"project": "p", "dataset": "d"})
    with pytest.raises(TerminalSinkError, match="gcloud auth application-default login"):
        sink.tables()


def test_without_the_libraries_the_error_names_the_extra():
    script = "import sys; sys.modules['google.cloud'] = None; from millrace.transforms.sinks import open_sink"
    command = [sys.executable, "-c", f"{script}; open_sink('bigquery', {{'project': 'p', 'dataset': 'd'}})"]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{MissingExtraError.__name__}: target.type: bigquery needs the extra" in done.stderr
    assert "[bigquery]" in done.stderr


def test_staged_rows_go_where_the_job_says(target, tmp_path):
    target.options = {"staging": str(tmp_path / "staging")}
    staged = target.stage(upsert(1, id=1, v="a"))
    assert staged.uri.startswith(str(tmp_path / "staging"))
    target.commit([staged])
    target.close()
    assert not (tmp_path / "staging").exists()


def test_the_longest_staleness_is_an_interval():
    from millrace.transforms.sinks.bigquery.tables import _options

    table = Target("bigquery", None).table()
    assert _options(table, timedelta(days=2, seconds=61))["max_staleness"] == "0-0 0 48:1:1"
