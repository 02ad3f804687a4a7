"""`millrace plan`: what the newest schemas would do, from each place where schemas are; it changes nothing."""

import json
import subprocess
import sys

import duckdb
import pytest
from support.connect_json import as_json
from support.jobs import ENVELOPE, KEY, ROW, SCHEMAS, event, key, rows, run_once, send, wire, write_job
from support.registry_server import RegistryServer

from millrace.pipelines.cli.main import main
from millrace.schemas.model.message import Message


def envelope(*fields):
    """The schema of values whose row has `id` and these fields."""
    row = {**ROW, "fields": [ROW["fields"][0], *fields]}
    changed = [{"name": "before", "type": ["null", row]}, *ENVELOPE["fields"][1:]]
    return {**ENVELOPE, "fields": changed}


def field(name, kind):
    return {"name": name, "type": ["null", kind], "default": None}


NAME, COUNT = field("name", "string"), field("count", "int")


class Planned:
    """A job whose folder of schemas names the topic, and what `plan` says of its table."""

    def __init__(self, folder, broker, topic, capsys, **job):
        self.folder, self.topic, self.capsys = folder, topic, capsys
        self.file = write_job(folder, broker.bootstrap_servers, [topic], **job)
        for file in (folder / "contracts").glob("schema.*"):
            file.unlink()
        self.schema(1, KEY, "key")
        self.schema(2, ENVELOPE)

    def schema(self, number, schema, side="value", folder="contracts"):
        (self.folder / folder).mkdir(exist_ok=True)
        (self.folder / folder / f"{self.topic}-{side}.{number}.avsc").write_text(json.dumps(schema))

    def plan(self, *words):
        """Exit status, and by column (label, said, hint) of the first table."""
        status = main(["plan", str(self.file), "--json", "--exit-code", *map(str, words)])
        (table, *_) = json.loads(self.capsys.readouterr().out)
        self.table = table
        changes = [*table["by_hand"], *table["changes"]]
        return status, {one["column"]: (one["label"], one["said"], one["hint"]) for one in changes}


@pytest.fixture
def topic(embedded_broker, topic_name):
    name = topic_name("planned")
    embedded_broker.create_topic(name, 2)
    return name


@pytest.fixture
def planned(embedded_broker, topic, tmp_path, capsys):
    return Planned(tmp_path, embedded_broker, topic, capsys)


@pytest.fixture
def filled(planned, embedded_broker):
    send(embedded_broker.bootstrap_servers, planned.topic, [(0, key(1), event("c", 1, "a", 5, at=5))])
    run_once(planned.file)
    return planned


def test_a_table_that_is_not_born_yet(planned, tmp_path):
    status, found = planned.plan()
    said = "new table, key (id): id int64, name string, count int32"
    assert (status, found) == (4, {"": ("safe", said, "")})
    assert planned.table["exists"] is False
    assert planned.table["topics"] == {planned.topic: f"schema {planned.topic}-value, id 2"}
    assert not (tmp_path / "out.duckdb").exists()


def test_each_label_and_its_exit_code(filled, tmp_path, capsys):
    before = (tmp_path / "out.duckdb").read_bytes()
    assert filled.plan() == (0, {})
    filled.schema(3, envelope(NAME, field("count", "long"), field("more", "string")))
    status, found = filled.plan()
    assert status == 4
    assert found["count"][:2] == ("safe", "grows from int32 to int64")
    assert found["more"][0] == "safe"
    filled.schema(4, envelope(NAME, field("count", "string")))
    status, found = filled.plan()
    assert (status, found["count"][0]) == (3, "needs a decision")
    filled.file.write_text(f"{filled.file.read_text()}on_incompatible: new_column\n")
    assert filled.plan() == (4, found | {"count": ("safe", filled.plan()[1]["count"][1], "")})
    filled.file.write_text(filled.file.read_text().replace("new_column", "dead_letter"))
    status, found = filled.plan()
    assert (status, found["count"][0]) == (3, "loses")
    assert main(["plan", str(filled.file)]) == 0
    out = capsys.readouterr().out
    assert "  loses             count: is int32 in the table and would be string" in out
    assert out.endswith("1 table: 1 loses; nothing was changed\n")
    assert (tmp_path / "out.duckdb").read_bytes() == before


def test_what_the_plan_says_is_what_the_run_does(filled, embedded_broker, tmp_path):
    newer = envelope(NAME, field("count", "long"), field("more", "string"))
    filled.schema(3, newer)
    assert filled.plan()[0] == 4
    row = {"id": 2, "name": "b", "count": 1 << 40, "more": "m"}
    change = {"before": None, "after": row, "source": {"sequence": '["9","9"]', "lsn": 9}, "op": "c"}
    send(embedded_broker.bootstrap_servers, filled.topic, [(0, key(2), wire(3, change, newer))])
    run_once(filled.file)
    assert filled.plan() == (0, {})
    assert rows(tmp_path, filled.topic) == [(1, "a", 5, None), (2, "b", 1 << 40, "m")]


def test_a_rename_is_a_hint(filled):
    filled.schema(3, envelope(field("title", "string"), COUNT))
    status, found = filled.plan()
    assert status == 4
    assert found["title"][0] == "safe"
    assert found["name"][2] == "was it renamed? renames: {name: title} keeps its values"


def test_what_people_changed_in_the_target(filled, tmp_path):
    with duckdb.connect(str(tmp_path / "out.duckdb")) as con:
        con.execute(f'ALTER TABLE "{filled.topic}" ADD COLUMN mine INTEGER')
        con.execute(f'ALTER TABLE "{filled.topic}" DROP COLUMN name')
    status, found = filled.plan()
    assert status == 3
    assert found["mine"][:2] == ("needs a decision", "was added by hand, INTEGER")
    assert found["name"][0] == "loses"


def test_a_folder_of_schemas_that_are_only_proposed(filled):
    filled.schema(1, KEY, "key", "proposed")
    filled.schema(9, envelope(NAME, COUNT, field("more", "long")), folder="proposed")
    assert filled.plan() == (0, {})
    status, found = filled.plan("--schemas", filled.folder / "proposed")
    assert (status, list(found)) == (4, ["more"])


def test_schemas_that_would_make_every_message_a_dead_letter(filled):
    filled.schema(3, {"type": "record", "name": "Other", "fields": [{"name": "x", "type": "int"}]})
    status, found = filled.plan()
    assert (status, found[""][0]) == (3, "loses")
    assert "not a Debezium envelope" in found[""][1]


def test_every_mode_of_a_table(embedded_broker, topic, tmp_path, capsys):
    target = "{type: duckdb, path: out.duckdb, mode: [mirror, scd2, append, soft_delete]}"
    planned = Planned(tmp_path, embedded_broker, topic, capsys, target=target)
    send(embedded_broker.bootstrap_servers, topic, [(0, key(1), event("c", 1, "a", 5, at=5))])
    assert planned.plan()[0] == 4
    run_once(planned.file)
    assert planned.plan() == (0, {})
    planned.schema(3, envelope(NAME, COUNT, field("more", "long")))
    main(["plan", str(planned.file), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert len(told) == 4
    assert [[one["column"] for one in table["changes"]] for table in told] == [["more"]] * 4


def test_the_newest_versions_of_a_registry(filled, capsys):
    with RegistryServer() as registry:
        registry.add(1, KEY).add(2, ENVELOPE).add(7, envelope(NAME, COUNT, field("more", "long")))
        filled.file.write_text(filled.file.read_text().replace("schemas: ./contracts", f"registry: '{registry.url}'"))
        # No subject is named after the topic: the last messages tell.
        assert filled.plan() == (0, {})
        assert "there is no schema" in filled.table["topics"][filled.topic]
        registry.add_version(f"{filled.topic}-key", 1, KEY, schema_id=1)
        registry.add_version(f"{filled.topic}-value", 1, ENVELOPE, schema_id=2)
        assert filled.plan() == (0, {})
        registry.add_version(f"{filled.topic}-value", 2, ENVELOPE, schema_id=7)
        status, found = filled.plan()
        assert (status, list(found)) == (4, ["more"])
        assert filled.table["topics"] == {filled.topic: f"schema {filled.topic}-value, id 7"}


def test_json_brings_its_schema_in_each_message(filled, embedded_broker, topic_name, tmp_path, capsys):
    class Schemas:
        def by_id(self, number):
            return SCHEMAS[number]

    topic = topic_name("planned-json")
    embedded_broker.create_topic(topic, 2)
    text = filled.file.read_text().replace("type: debezium, schemas: ./contracts", "encoding: json, envelope: debezium")
    filled.file.write_text(text.replace(filled.topic, topic))
    status, found = filled.plan()
    assert (status, found) == (0, {})
    assert filled.table["topics"][topic] == "the schema comes with the messages, and no message there says more"
    message = as_json(Message(topic, 0, 0, key(1), event("c", 1, "a", 5, at=5), (), 0), Schemas())
    send(embedded_broker.bootstrap_servers, topic, [(0, message.key, message.value), (1, message.key, None)])
    status, found = filled.plan()
    assert (status, found[""][1]) == (4, "new table, key (id): id int64, name string, count int32")
    assert filled.table["topics"][topic].startswith("the schema comes with the messages: the last 200 messages")
    assert main(["plan", str(filled.file), "--schemas", str(tmp_path / "nowhere")]) == 2


def test_it_waits_for_a_file_that_a_run_has_open(filled, tmp_path):
    code = "import duckdb, sys, time; held = duckdb.connect(sys.argv[1]); print(flush=True); time.sleep(1)"
    words = [sys.executable, "-c", code, str(tmp_path / "out.duckdb")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"\n"
        assert filled.plan() == (0, {})
