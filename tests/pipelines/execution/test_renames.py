"""A column that was renamed at the source, from the job file to the proof: its values stay, in every mode."""

import json
from contextlib import closing

import pytest
from support.changed_column import Table, envelope
from support.connect_json import as_json
from support.jobs import SCHEMAS, contracts, event, key, run_once, send, wire, write_job
from support.running_job import Running

from millrace.pipelines.cli.main import main
from millrace.pipelines.execution.apply_plan import apply_plans
from millrace.pipelines.execution.job_parts import target_of
from millrace.pipelines.execution.plan_tables import plan_tables
from millrace.pipelines.job.load import load_job
from millrace.schemas.model.message import Message
from millrace.transforms.sinks.shared.renames import rename_columns

PLACEHOLDER = "__debezium_unavailable_value"


class Schemas:
    def __init__(self, schemas):
        self.by_id = schemas.__getitem__


@pytest.fixture
def topic(embedded_broker, topic_name):
    name = topic_name("renamed")
    embedded_broker.create_topic(name, 1)
    return name


def renames(topic, names="{v: w}", more=""):
    return f"tables:\n  - {{from: {topic}, renames: {names}{more}}}\n"


def decide(table, text):
    table.file.write_text(table.file.read_text().partition("tables:")[0] + text)


@pytest.fixture
def table(embedded_broker, topic, tmp_path):
    """The column `v` becomes `w`; the job does not know it yet."""
    found = Table(embedded_broker, topic, tmp_path, "string", "string", name="w")
    found.send(found.before(1, "a", 1), found.before(2, "b", 1), found.before(3, "c", 1))
    assert found.run().error is None
    return found


def test_values_stay_and_both_names_lead_to_one_column(table, topic):
    decide(table, renames(topic))
    table.send(
        table.after(2, "x", 2),
        table.after(3, PLACEHOLDER, 2),
        table.before(4, "old name", 3),
        table.before(1, "a", 1),
        table.after(5, "y", 3),
    )
    assert table.run().error is None
    assert table.rows() == [(1, "a"), (2, "x"), (3, "c"), (4, "old name"), (5, "y")]
    assert table.proved()
    table.send(table.after(1, None, 4, op="d"), table.before(5, PLACEHOLDER, 5))
    assert table.run().error is None
    assert table.rows() == [(2, "x"), (3, "c"), (4, "old name"), (5, "y")]
    assert table.proved()


def test_a_table_that_is_born_later_has_the_new_name_alone(embedded_broker, topic, tmp_path):
    table = Table(embedded_broker, topic, tmp_path, "string", "string", name="w", more=renames(topic))
    table.send(table.before(1, "a", 1), table.after(2, "b", 1))
    assert table.run().error is None
    assert table.rows() == [(1, "a"), (2, "b")]
    assert table.proved()


@pytest.mark.parametrize("mode", ["soft_delete", "append", "scd2"])
def test_the_history_stays(embedded_broker, topic, tmp_path, mode):
    target = f"{{type: duckdb, path: out.duckdb, mode: {mode}}}"
    table = Table(embedded_broker, topic, tmp_path, "string", "string", name="w", target=target)
    table.send(table.before(1, "a", 1), table.before(2, "b", 1), table.before(2, PLACEHOLDER, 2))
    assert table.run().error is None
    decide(table, renames(topic))
    table.send(table.after(1, PLACEHOLDER, 3), table.after(2, "x", 3), table.after(1, None, 4, op="d"))
    assert table.run().error is None
    assert table.proved()
    table.send(table.before(3, "old name", 5), table.after(2, PLACEHOLDER, 6))
    assert table.run().error is None
    assert table.proved()


def test_the_history_of_a_log_of_files_stays(embedded_broker, topic, tmp_path):
    target = "{type: files, path: log, mode: append}"
    table = Table(embedded_broker, topic, tmp_path, "string", "string", name="w", target=target)
    table.send(table.before(1, "a", 1))
    assert table.run().error is None
    decide(table, renames(topic))
    table.send(table.after(1, "b", 2), table.before(2, "c", 2))
    assert table.run().error is None
    assert table.proved()


def test_until_it_is_done_nothing_is_proved(table, topic, capsys):
    decide(table, renames(topic))
    assert main(["verify", str(table.file)]) == 1
    assert "renames: {v: w} is not done yet: millrace apply does it" in capsys.readouterr().out
    assert main(["apply", str(table.file)]) == 0
    assert "v: is renamed to w, and keeps its values" in capsys.readouterr().out
    assert table.proved()
    assert main(["apply", str(table.file)]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_run_without_messages_renames_too(table, topic):
    decide(table, renames(topic))
    run_once(table.file)
    assert table.proved()


def test_a_name_that_is_taken_stops_the_table_with_a_sentence(table, topic, capsys):
    table.send(table.after(4, "both", 2))
    assert table.run().error is None
    before = table.rows()
    decide(table, renames(topic))
    said = "renames: {v: w}: there is a column 'w' too"
    assert main(["plan", str(table.file), "--exit-code"]) == 3
    assert said in capsys.readouterr().out
    table.send(table.after(5, "y", 3))
    assert said in table.run().error
    assert table.rows() == before
    (applied,) = apply_plans(load_job(table.file), plan_tables(load_job(table.file)))
    assert (applied.done, said in applied.left[0].said) == ((), True)


def test_messages_with_both_names_stop_the_table(table, topic):
    both = envelope("string")
    row = both["fields"][0]["type"][1]
    row["fields"].append({"name": "w", "type": ["null", "string"], "default": None})
    contracts(table.folder / "contracts", {9: both})
    decide(table, renames(topic))
    change = {"before": None, "after": {"id": 9, "v": "a", "w": "b"}, "source": {"sequence": '["9","9"]', "lsn": 9}}
    table.send((0, key(9), wire(9, {**change, "op": "c"}, both)))
    assert "there is a column 'w' too" in table.run().error
    assert len(table.rows()) == 3


def test_what_was_renamed_may_change_its_type_as_well(embedded_broker, topic, tmp_path):
    table = Table(embedded_broker, topic, tmp_path, "int", "string", name="w")
    table.send(table.before(1, 1, 1), table.before(2, 2, 1))
    assert table.run().error is None
    decide(table, f"on_incompatible: new_column\n{renames(topic)}")
    table.send(table.after(2, "x", 2), table.before(3, 3, 2), table.after(1, PLACEHOLDER, 3))
    assert table.run().error is None
    assert table.rows() == [(1, 1, None), (2, None, "x"), (3, 3, None)]
    assert table.proved()


@pytest.mark.parametrize("names", ["{v: w}", "{w: v}"])
def test_what_does_not_fit_the_renamed_column_is_a_dead_letter(embedded_broker, topic, tmp_path, names):
    table = Table(embedded_broker, topic, tmp_path, "int", "string", name="w")
    table.send(table.before(1, 1, 1))
    assert table.run().error is None
    decide(table, f"on_incompatible: dead_letter\nmax_dead_letters: 100\n{renames(topic, names)}")
    table.send(table.after(2, "x", 2), table.before(3, 3, 2), table.after(1, None, 3))
    run = table.run()
    assert (run.error, run.dead) == (None, 1)
    assert table.rows() == [(1, None), (3, 3)]
    assert table.proved()


def test_dead_letters_of_the_old_name_are_brought_in(embedded_broker, topic, tmp_path, capsys):
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic], more="max_dead_letters: 100%\n")
    good, late = event("c", 1, "a", at=1), bytes([0, 0, 0, 0, 5]) + event("c", 2, "b", at=2)[5:]
    send(embedded_broker.bootstrap_servers, topic, [(0, key(1), good), (0, key(2), late)])
    run_once(file)
    file.write_text(f"{file.read_text()}{renames(topic, '{name: title}')}")
    (tmp_path / "contracts" / "schema.5.avsc").write_text(json.dumps(SCHEMAS[2]))
    assert main(["dead-letters", "replay", str(file)]) == 0
    capsys.readouterr()
    assert main(["verify", str(file)]) == 0


def test_a_kill_after_the_rename_goes_on(table, topic, tmp_path):
    decide(table, renames(topic))
    with closing(target_of(load_job(table.file)).open()) as sink:
        assert rename_columns(sink, table.where, [("v", "w")]) == {"v": "w"}
    table.send(table.before(1, "again", 2), table.after(2, "x", 2))
    assert table.run().error is None
    assert table.rows() == [(1, "again"), (2, "x"), (3, "c")]
    assert table.proved()


def test_apply_adds_and_widens_and_leaves_what_needs_a_decision(embedded_broker, topic, tmp_path, capsys):
    table = Table(embedded_broker, topic, tmp_path, "int", "int", name="w")
    table.send(table.before(1, 1, 1))
    assert table.run().error is None
    newest = envelope("long", "w")
    fields = newest["fields"][0]["type"][1]["fields"]
    fields += [{"name": "more", "type": ["null", "string"], "default": None}]
    for number, schema, side in ((1, SCHEMAS[1], "key"), (9, newest, "value")):
        (tmp_path / "contracts" / f"{topic}-{side}.{number}.avsc").write_text(json.dumps(schema))
        (tmp_path / "contracts" / f"schema.{number}.avsc").unlink()
    decide(table, renames(topic))
    for _ in range(2):
        assert main(["apply", str(table.file), "--json"]) == 0
        (applied,) = json.loads(capsys.readouterr().out)
        assert applied["left"] == []
        done = {change["column"]: change["said"] for change in applied["done"]}
        if not done:
            break
        assert sorted(done) == ["more", "v", "w"]
        assert done["w"] == "grows from int32 to int64"
    assert table.rows() == [(1, 1, None)]
    assert main(["plan", str(table.file), "--exit-code"]) == 0
    fields[1]["type"] = ["null", "string"]
    (tmp_path / "contracts" / f"{topic}-value.10.avsc").write_text(json.dumps(newest))
    capsys.readouterr()
    assert main(["apply", str(table.file), "--json"]) == 0
    (applied,) = json.loads(capsys.readouterr().out)
    assert [change["column"] for change in applied["left"]] == ["w"]
    assert applied["done"] == []


@pytest.mark.parametrize(
    ("names", "more", "said"),
    [
        ("{a: b, b: c}", "", "a: b is renamed itself: write {a: c, b: c}"),
        ("{a: B, b: c}", "", "a: B is renamed itself: write {a: c, B: c}"),
        ("{a: b, A: c}", "", "a and A are one name, for case does not count: take one out"),
        ("{a: a}", "", "a: a: it has this name already; take it out"),
        ("{ID: number}", ", key: [id]", "a column of the key keeps its name"),
        ("{id: number}", ", key: [id]", "a column of the key keeps its name"),
        ("{a: _millrace_b}", "", "names that begin with _millrace_ are Millrace's own"),
    ],
)
def test_renames_that_cannot_be_are_refused_with_their_place(tmp_path, capsys, names, more, said):
    file = write_job(tmp_path, "localhost:1", ["t"], more=renames("t", names, more))
    assert main(["check", str(file)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "job.yaml:6:" in err


def test_a_target_that_cannot_rename_refuses_the_job(tmp_path, capsys):
    target = "{type: bigquery, project: p, dataset: d}"
    file = write_job(tmp_path, "localhost:1", ["t"], more=renames("t"), target=target)
    assert main(["check", str(file)]) == 2
    assert "a target of type bigquery cannot rename columns" in capsys.readouterr().err


def test_json_that_brings_its_schemas(embedded_broker, topic, tmp_path):
    table = Table(embedded_broker, topic, tmp_path, "string", "string", name="w")
    schemas = {1: SCHEMAS[1], 8: table.old, 9: table.new}
    text = table.file.read_text()
    table.file.write_text(text.replace("type: debezium, schemas: ./contracts", "encoding: json, envelope: debezium"))

    def documents(*messages):
        found = [as_json(Message(topic, 0, 0, one, two, (), 0), Schemas(schemas)) for _, one, two in messages]
        return [(0, message.key, message.value) for message in found]

    table.send(*documents(table.before(1, "a", 1), table.before(2, "b", 1)))
    assert table.run().error is None
    decide(table, renames(topic))
    table.send(*documents(table.after(1, "x", 3), table.before(3, "y", 3)))
    assert table.run().error is None
    assert table.rows() == [(1, "x"), (2, "b"), (3, "y")]
    assert table.proved()


def test_a_run_that_goes_on_takes_both_names_while_apply_renames(table, topic, tmp_path):
    """The file says so before the run begins; apply and the run meet at one table, and no row is lost."""
    decide(table, renames(topic) + "window: {every: 300ms}\n")
    with Running(table.file) as run:
        for number in range(4, 10):
            make = table.before if number % 2 else table.after
            table.send(make(number, f"v{number}", number))
            assert main(["apply", str(table.file)]) in (0, 1)
        assert run.says("6 read"), run.err
        assert run.stop() == 0, run.err
    assert "stops here" not in run.err
    assert not run_once(table.file).failed
    assert main(["verify", str(table.file)]) == 0
