"""A column whose type changes, from the job file to the proof: each policy, each mode, and what loses nothing."""

import pytest
from support.changed_column import Table, envelope
from support.jobs import contracts, rows, run_once, send, wire, write_job

from millrace.pipelines.cli.dead_letters import letters
from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.job.load import load_job

PLACEHOLDER = "__debezium_unavailable_value"
NEW_COLUMN = "on_incompatible: new_column\n"


@pytest.fixture
def topic(embedded_broker, topic_name):
    name = topic_name("retyped")
    embedded_broker.create_topic(name, 1)
    return name


@pytest.mark.parametrize("together", [True, False], ids=["one pass", "two passes"])
def test_new_column_takes_the_values_of_the_new_type(embedded_broker, topic, tmp_path, together):
    table = Table(embedded_broker, topic, tmp_path, "int", "string", more=NEW_COLUMN)
    table.send(*(table.before(n, n, 1) for n in (1, 2, 3, 4)))
    if not together:
        assert table.run().error is None
    table.send(table.after(2, "x", 2), table.after(5, "y", 2), table.after(1, PLACEHOLDER, 3), table.after(3, None, 3))
    assert table.run().error is None
    assert table.rows() == [(1, 1, None), (2, None, "x"), (3, None, None), (4, 4, None), (5, None, "y")]
    assert table.proved()
    table.send(table.before(2, 7, 4), table.after(4, "z", 4), table.after(5, "y", 5, op="d"))
    assert table.run().error is None
    assert table.rows() == [(1, 1, None), (2, 7, None), (3, None, None), (4, None, "z")]
    assert table.proved()


@pytest.mark.parametrize("mode", ["soft_delete", "append", "scd2"])
def test_new_column_in_every_mode(embedded_broker, topic, tmp_path, mode):
    more = "on_incompatible: new_column\n"
    target = f"{{type: duckdb, path: out.duckdb, mode: {mode}}}"
    table = Table(embedded_broker, topic, tmp_path, "string", "long", more=more, target=target)
    table.send(table.before(1, "a", 1), table.before(2, "b", 1))
    assert table.run().error is None
    table.send(table.after(1, 5, 2), table.before(2, PLACEHOLDER, 3), table.after(2, 6, 4, op="d"))
    assert table.run().error is None
    assert table.proved()


def test_new_column_in_a_log_of_files(embedded_broker, topic, tmp_path):
    target = "{type: files, path: log, mode: append}"
    table = Table(embedded_broker, topic, tmp_path, "boolean", "double", more=NEW_COLUMN, target=target)
    table.send(table.before(1, True, 1), table.after(2, 0.5, 2))
    assert table.run().error is None
    table.send(table.after(1, 1.5, 3))
    assert table.run().error is None
    assert table.proved()


@pytest.mark.parametrize("together", [True, False], ids=["one pass", "two passes"])
def test_dead_letter_leaves_out_the_messages_whose_value_does_not_fit(embedded_broker, topic, tmp_path, together):
    more = "on_incompatible: dead_letter\nmax_dead_letters: 100\n"
    table = Table(embedded_broker, topic, tmp_path, "int", "string", more=more)
    table.send(table.before(1, 1, 1), table.before(2, 2, 1))
    if not together:
        assert table.run().error is None
    table.send(
        table.after(1, "x", 2), table.after(3, None, 2), table.after(2, PLACEHOLDER, 3), table.after(2, "y", 4, op="d")
    )
    table.send(table.after(4, "z", 5))
    run = table.run()
    assert (run.error, run.dead) == (None, 2)
    assert table.rows() == [(1, 1), (3, None)]
    job = load_job(table.file)
    found = letters(str(job.dead_letters.path))
    assert sorted(letter["place"] for letter in found) == [f"{topic}[0]@{offset}" for offset in (2, 6)]
    assert all("column 'v' was int32 and is now string" in letter["error"] for letter in found)
    assert table.proved()


def test_stop_names_the_ways_out(embedded_broker, topic, tmp_path):
    table = Table(embedded_broker, topic, tmp_path, "int", "string")
    table.send(table.before(1, 1, 1), table.after(2, "x", 2))
    error = table.run().error
    assert "on_incompatible: new_column" in error and "on_incompatible: dead_letter" in error


@pytest.mark.parametrize(
    ("old", "new", "first", "second", "column"),
    [
        ("int", {"type": "bytes", "logicalType": "decimal", "precision": 20}, 5, b"\x07", "v::int"),
        ("long", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}, 5, b"\x02\xbc", "v::int"),
        (
            {"type": "int", "connect.name": "io.debezium.time.Date"},
            {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"},
            19000,
            1_700_000_000_000_000,
            "v::varchar",
        ),
    ],
)
def test_what_loses_no_value_goes_on(embedded_broker, topic, tmp_path, old, new, first, second, column):
    table = Table(embedded_broker, topic, tmp_path, old, new)
    table.send(table.before(1, first, 1), table.before(2, first, 1))
    assert table.run().error is None
    table.send(table.after(2, second, 2), table.after(3, second, 2))
    assert table.run().error is None
    shown = [(1, 5), (2, 7), (3, 7)] if isinstance(first, int) and first == 5 else None
    assert rows(tmp_path, topic.rpartition(".")[2], f"id, {column}") == shown or shown is None
    assert table.proved()


def test_a_column_renamed_in_case_only_goes_on(embedded_broker, topic, tmp_path):
    table = Table(embedded_broker, topic, tmp_path, "string", "string")
    table.new = envelope("string", "V")
    contracts(tmp_path / "contracts", {9: table.new})
    table.send(table.before(1, "a", 1), table.before(2, "b", 1))
    assert table.run().error is None
    table.send(*(table.after(*one, 2, name="V") for one in ((1, PLACEHOLDER), (2, "c"), (3, "d"))))
    assert table.run().error is None
    assert table.rows() == [(1, "a"), (2, "c"), (3, "d")]
    assert table.proved()


def test_the_order_of_a_keys_columns_decides_nothing(embedded_broker, topic, tmp_path):
    fields = [{"name": "id", "type": "long"}, {"name": "r", "type": "string"}]
    keys = [{"type": "record", "name": "Key", "fields": one} for one in (fields, fields[::-1])]
    row = {"type": "record", "name": "Row", "fields": [*fields, {"name": "v", "type": "int"}]}
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic], format="upsert")
    contracts(tmp_path / "contracts", {11: keys[0], 12: keys[1], 13: row})

    def message(order, number, text, value):
        named = {"id": number, "r": text}
        body = None if value is None else wire(13, {**named, "v": value}, row)
        return (0, wire(11 + order, named, keys[order]), body)

    table = topic.rpartition(".")[2]
    send(
        embedded_broker.bootstrap_servers, topic, [message(0, 1, "a", 1), message(0, 2, "b", 1), message(0, 3, "c", 1)]
    )
    assert run_once(file).tables[table].error is None
    changes = [message(1, 1, "a", 2), message(0, 2, "b", 2), message(1, 2, "b", 3), message(1, 3, "c", None)]
    send(embedded_broker.bootstrap_servers, topic, changes)
    assert run_once(file).tables[table].error is None
    assert rows(tmp_path, table) == [(1, "a", 2), (2, "b", 3)]
    assert all(report.ok for report in verify_job(load_job(file)))
