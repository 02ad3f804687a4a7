"""Commands one after the other on a real broker, the demo, and the smallest job."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import fastavro
import pytest
from kafka import KafkaConsumer, TopicPartition
from support.registry_server import RegistryServer

from millrace.pipelines.cli.demo import demo
from millrace.pipelines.cli.main import main
from millrace.pipelines.workload.change_stream import Stream, Workload
from millrace.pipelines.workload.orders import SCHEMAS, Encoder
from millrace.pipelines.workload.produce import continued, create_topic, send, write_schemas
from millrace.schemas.errors import JobError
from millrace.transforms.sources.kafka.settings import KafkaSettings

EXAMPLE = Path(__file__).parents[3] / "deploy" / "examples" / "data_changes"


@pytest.fixture
def file(tmp_path, embedded_broker, topic_name):
    path = tmp_path / "job.yaml"
    path.write_text(
        f"job: j\nsource: {{type: kafka, bootstrap_servers: {embedded_broker.bootstrap_servers}, "
        f"topics: [{topic_name('shop.orders')}]}}\n"
        "format: {type: debezium, schemas: contracts}\ntarget: {type: duckdb, path: w.duckdb}\n"
    )
    return path


def answer(capsys, *words, status=0):
    assert main([str(word) for word in words]) == status
    return json.loads(capsys.readouterr().out)


def levels(findings):
    return {finding["what"]: finding["level"] for finding in findings}


def test_produce_run_verify(file, capsys):
    made = answer(capsys, "produce", file, "--changes", "3000", "--keys", "200", "--poison", "1%", "--json")
    first = answer(capsys, "run", file, "--once", "--json")
    assert (first["read"], first["dead"], first["lag"], first["ok"]) == (made["messages"], made["poison"], 0, True)
    again = answer(capsys, "produce", file, "--changes", "1000", "--keys", "200", "--json")
    second = answer(capsys, "run", file, "--once", "--json")
    assert second["read"] == again["messages"]
    (report,) = answer(capsys, "verify", file, "--json")
    assert report["ok"] and report["messages"] == made["messages"] + again["messages"]
    (table,) = [one["table"] for one in second["tables"]]
    assert answer(capsys, "accept-source", file, "--table", table, "--json") == {table: 4}
    assert main(["accept-source", str(file), "--table", table[:-1]]) == 2
    assert f"the job fills no such table; did you mean {table!r}?" in capsys.readouterr().err
    listed = answer(capsys, "dead-letters", "ls", file, "--json")
    assert len(listed) == made["poison"] + again["poison"]
    shown = answer(capsys, "dead-letters", "show", file, listed[0]["place"], "--json")
    assert (shown["place"], shown["error"]) == (listed[0]["place"], listed[0]["error"])
    assert main(["dead-letters", "ls", str(file)]) == 0
    assert capsys.readouterr().out.startswith(f"{len(listed)} dead letters for ")
    assert main(["dead-letters", "show", str(file.parent / "dead_letters"), listed[0]["place"]]) == 0
    assert capsys.readouterr().out.startswith(f"{listed[0]['place']}, written ")


def test_a_changed_row_is_found_and_the_status_is_3(file, capsys):
    import duckdb

    answer(capsys, "produce", file, "--changes", "500", "--keys", "50", "--poison", "0", "--json")
    answer(capsys, "run", file, "--once", "--json")
    with duckdb.connect(str(file.parent / "w.duckdb")) as target:
        (table,) = [row[0] for row in target.sql("SHOW TABLES").fetchall() if not row[0].startswith("_millrace")]
        target.sql(f'UPDATE "{table}" SET quantity = quantity + 1 WHERE id = (SELECT min(id) FROM "{table}")')
    (report,) = answer(capsys, "verify", file, "--json", status=3)
    assert (report["differs"], report["examples"][0]["column"]) == (1, "quantity")


def test_verify_before_the_first_run_says_what_to_do(file, capsys):
    answer(capsys, "produce", file, "--changes", "10", "--json")
    assert main(["verify", str(file)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == [f"NOT PROVED: {said[1].split()[0]}", f"next: millrace run {file} --once"]


def test_check_finds_what_is_wrong_and_what_is_right(file, capsys):
    missing = levels(answer(capsys, "check", file, "--json", status=1))
    assert (missing["schemas"], missing["topics"], missing["source"]) == ("fail", "fail", "ok")
    answer(capsys, "produce", file, "--changes", "500", "--poison", "0", "--json")
    assert set(levels(answer(capsys, "check", file, "--json")).values()) == {"ok"}
    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out.endswith("\nready to run\n")
    good = file.read_text()
    (file.parent / "notes").write_text("")
    file.write_text(good + "dead_letters: {path: notes/x}\n")
    assert levels(answer(capsys, "check", file, "--json", status=1))["dead letters"] == "fail"
    file.write_text(good.replace("w.duckdb", "notes"))
    (file.parent / "notes").write_text("not a database")
    assert levels(answer(capsys, "check", file, "--json", status=1))["target"] == "fail"
    for schema in (file.parent / "contracts").glob("*-value.*"):
        schema.rename(schema.with_name("other.99.avsc"))
    file.write_text(good)
    findings = answer(capsys, "check", file, "--json", status=1)
    assert "cannot be decoded" in next(finding["found"] for finding in findings if finding["level"] == "fail")


def test_check_asks_the_registry(file, capsys, monkeypatch):
    good = file.read_text()
    with RegistryServer(user="me", password="c4n4ry") as server:
        for name, password, level, status in (("RIGHT", "c4n4ry", "ok", 1), ("WRONG", "c4n4ry-no", "fail", 1)):
            monkeypatch.setenv(name, password)
            url = server.url.replace("://", f"://me:${{env:{name}}}@")
            file.write_text(good.replace("schemas: contracts", f"registry: '{url}'"))
            assert main(["check", str(file), "--json"]) == status
            told = capsys.readouterr().out
            assert levels(json.loads(told))["registry"] == level
            assert "c4n4ry" not in told


def test_check_without_a_broker(file, capsys):
    text = file.read_text().replace("topics:", "client: {bootstrap_timeout_ms: 1000}, topics:")
    server = text.partition("bootstrap_servers: ")[2].partition(",")[0]
    file.write_text(text.replace(server, "127.0.0.1:1"))
    assert levels(answer(capsys, "check", file, "--json", status=1))["source"] == "fail"


def test_positions_go_on_behind_what_a_topic_holds(embedded_broker, topic_name, tmp_path):
    kafka, topic = KafkaSettings(embedded_broker.bootstrap_servers), topic_name()
    create_topic(kafka, topic, 3)
    workload = Workload(changes=700, partitions=9)
    assert continued(kafka, topic, workload).after == 0
    done = send(kafka, topic, Stream(continued(kafka, topic, workload), Encoder(1, 2)))
    after = continued(kafka, topic, workload)
    assert (after.partitions, after.after) == (3, done.messages)


def test_what_is_sent_is_what_was_made(embedded_broker, topic_name):
    kafka, topic = KafkaSettings(embedded_broker.bootstrap_servers), topic_name()
    create_topic(kafka, topic, 2)
    workload = Workload(changes=3000, keys=300, partitions=2)
    send(kafka, topic, Stream(workload, Encoder(1, 2)))
    wanted = {0: [], 1: []}
    for partition, key, value in Stream(workload, Encoder(1, 2)).messages():
        wanted[partition].append((key, value))
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, consumer_timeout_ms=3000)
    consumer.assign([TopicPartition(topic, part) for part in wanted])
    consumer.seek_to_beginning()
    got = {0: [], 1: []}
    for record in consumer:
        got[record.partition].append((record.key, record.value))
        if sum(map(len, got.values())) == sum(map(len, wanted.values())):
            break
    consumer.close()
    assert got == wanted


def test_contracts_are_written_once_and_other_ones_are_kept(tmp_path):
    (tmp_path / "other.7.avsc").write_text('"string"')
    write_schemas(tmp_path, "shop.orders", "debezium")
    write_schemas(tmp_path, "shop.orders", "debezium")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["orders-key.8.avsc", "orders-value.9.avsc", "other.7.avsc"]
    assert fastavro.schema.load_schema(tmp_path / "orders-value.9.avsc")
    with pytest.raises(JobError, match=r"orders-value\.9\.avsc is another schema than that of the workload"):
        write_schemas(tmp_path, "shop.orders", "upsert")
    assert json.loads((SCHEMAS / "orders-row.avsc").read_text())["name"] == "Value"


def test_the_demo(tmp_path, capsys):
    folder = tmp_path / "here"
    assert demo(folder, 3000)
    told = capsys.readouterr().out
    assert "EQUAL: every value of" in told
    assert "goes on where the target's ledger stands" in told
    assert sorted(path.name for path in folder.iterdir() if "staging" not in path.name) == [
        "contracts",
        "dead_letters",
        "job-file.schema.json",
        "job.yaml",
        "warehouse.duckdb",
    ]
    (folder / "job.yaml").write_text("job: mine\n")
    with pytest.raises(JobError, match="holds something that is not a demo's"):
        demo(folder, 3000)


def test_the_smallest_job(tmp_path, embedded_broker):
    """The example as it stands, but for the broker's address: ten random integers become ten rows."""
    example = tmp_path / "data_changes"
    shutil.copytree(EXAMPLE, example)
    job = example / "job.yaml"
    job.write_text(job.read_text().replace("localhost:9092", embedded_broker.bootstrap_servers))
    embedded_broker.create_topic("data_changes", 1)
    subprocess.run([sys.executable, example / "produce.py", embedded_broker.bootstrap_servers], check=True, timeout=60)
    assert main(["run", str(job), "--once"]) == 0
    assert main(["verify", str(job)]) == 0
    done = subprocess.run([sys.executable, example / "read.py"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 11
