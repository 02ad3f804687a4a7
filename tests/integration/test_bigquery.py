"""Kafka to BigQuery, from the job file to the proof, against a server that speaks BigQuery's protocols."""

import json
from pathlib import Path

from support.bigquery_server import BigQueryServer
from support.jobs import event, key, run_once, send, write_job

from millrace.pipelines.cli.main import main


def job(folder: Path, broker, server: BigQueryServer, topic: str, more: str = "") -> Path:
    emulator = json.dumps(server.emulator)
    target = f"{{type: bigquery, project: tests, dataset: shop, emulator: {emulator}{more}}}"
    return write_job(folder, broker.bootstrap_servers, [topic], target=target)


def changes(first: int, count: int) -> list:
    sent = [
        (number % 2, key(number), event("c", number, f"n{number}", number, at=10 * number + 1))
        for number in range(first, first + count)
    ]
    sent += [
        (number % 2, key(number), event("u", number, f"new{number}", None, at=10 * number + 2))
        for number in range(first, first + count, 3)
    ]
    sent += [
        (number % 2, key(number), event("d", number, f"new{number}", None, at=10 * number + 3))
        for number in range(first, first + count, 9)
    ]
    return sent


def test_a_job_fills_a_table_that_verify_finds_equal(tmp_path, embedded_broker, topic_name, capsys):
    topic = topic_name("orders")
    embedded_broker.create_topic(topic, 2)
    with BigQueryServer() as server:
        server.datasets["shop"] = {}
        server.spread = 1
        file = job(tmp_path, embedded_broker, server, topic)
        send(embedded_broker.bootstrap_servers, topic, changes(0, 300))
        run_once(file)
        send(embedded_broker.bootstrap_servers, topic, changes(200, 300))
        server.fail("append", "UNAVAILABLE", "lost")
        run_once(file)
        rows = server.rows("shop", topic)
        assert len(rows) == 500 - len({*range(0, 300, 9), *range(200, 500, 9)})
        assert main(["verify", str(file)]) == 0
        assert "EQUAL: every value of" in capsys.readouterr().out
        assert main(["check", str(file)]) == 0


def test_a_row_that_was_changed_behind_the_job_is_found(tmp_path, embedded_broker, topic_name, capsys):
    topic = topic_name("orders")
    embedded_broker.create_topic(topic, 2)
    with BigQueryServer() as server:
        server.datasets["shop"] = {}
        file = job(tmp_path, embedded_broker, server, topic)
        send(embedded_broker.bootstrap_servers, topic, changes(0, 30))
        run_once(file)
        table = server.datasets["shop"][topic]
        table.rows[(1,)].values["name"] = "other"
        assert main(["verify", str(file)]) == 3
        assert "DIFFERENT from the topics" in capsys.readouterr().out


def test_a_data_set_that_is_not_there_is_named_and_the_next_run_fills_it(tmp_path, embedded_broker, topic_name, capsys):
    topic = topic_name("orders")
    embedded_broker.create_topic(topic, 2)
    with BigQueryServer() as server:
        file = job(tmp_path, embedded_broker, server, topic)
        send(embedded_broker.bootstrap_servers, topic, changes(0, 30))
        assert main(["check", str(file)]) == 1
        assert "BigQuery tests.shop does not exist" in capsys.readouterr().out
        assert main(["run", str(file), "--once"]) == 1
        assert "BigQuery tests.shop does not exist" in capsys.readouterr().err
        server.datasets["shop"] = {}
        assert main(["run", str(file), "--once"]) == 0
        assert main(["verify", str(file)]) == 0
