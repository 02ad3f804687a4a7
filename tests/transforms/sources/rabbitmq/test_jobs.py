"""Jobs from RabbitMQ into tables: the proof reads by another client, and runs that are killed lose nothing."""

import random
import subprocess
import sys
import time

import duckdb
import pytest
import yaml
from support import jobs
from support.rabbitmq_server import IN_A_JOB, USER, VHOST
from support.rabbitmq_streams import amqp, publish

from millrace.pipelines.cli.main import main


@pytest.fixture
def job(rabbitmq, tmp_path):
    """A job of a super stream with two partitions, and what sends it changes."""
    return Job(rabbitmq, tmp_path)


class Job:
    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        self.topic = f"orders{time.time_ns()}"
        server.create_super_stream(self.topic, 2)
        source = {
            "type": "rabbitmq",
            "servers": [server.address],
            "virtual_host": VHOST,
            "username": USER,
            "password": f"${{env:{IN_A_JOB}}}",
            "topics": [self.topic],
        }
        jobs.contracts(folder / "contracts")
        self.file = folder / "job.yaml"
        self.file.write_text(
            yaml.safe_dump(
                {
                    "job": "test",
                    "source": source,
                    "format": {"type": "debezium", "schemas": "./contracts"},
                    "target": {"type": "duckdb", "path": "out.duckdb"},
                    "tables": [{"from": self.topic, "to": "orders"}],
                }
            )
        )
        self.held = {}
        self.at = 0

    def change(self, count, random):
        """Random changes of 40 rows, each in the partition of its key; `held` is what they leave."""
        sent = ([], [])
        for _ in range(count):
            self.at += 1
            number = random.randrange(40)
            op = "d" if number in self.held and random.random() < 0.3 else "u" if number in self.held else "c"
            name = f"n{self.at}"
            self.held.pop(number, None)
            if op != "d":
                self.held[number] = name
            sent[number % 2].append(amqp(jobs.key(number), jobs.event(op, number, name, self.at, self.at)))
        for number, messages in enumerate(sent):
            publish(self.server, f"{self.topic}-{number}", messages)

    def assert_right(self):
        """The target is what the changes leave, and the proof says so."""
        assert jobs.rows(self.folder, "orders", "id, name") == sorted(self.held.items(), key=repr)
        assert main(["verify", str(self.file)]) == 0


def test_a_super_stream_becomes_a_table_that_is_proved(job):
    job.change(200, random.Random(1))
    assert main(["check", str(job.file)]) == 0
    jobs.run_once(job.file)
    job.assert_right()
    job.change(50, random.Random(2))
    jobs.run_once(job.file)
    job.assert_right()
    assert main(["status", str(job.file)]) == 0


def test_verify_finds_what_was_changed_in_the_target(job):
    job.change(30, random.Random(3))
    jobs.run_once(job.file)
    with duckdb.connect(str(job.folder / "out.duckdb")) as db:
        db.execute("UPDATE orders SET name = 'other' WHERE id = (SELECT min(id) FROM orders)")
    assert main(["verify", str(job.file)]) == 3


def test_messages_that_cannot_be_read_are_dead_letters(job, capsys):
    job.change(10, random.Random(4))
    publish(job.server, f"{job.topic}-0", [b"no AMQP", amqp(b"k", b"no Avro")])
    job.change(10, random.Random(5))
    jobs.run_once(job.file)
    job.assert_right()
    assert main(["dead-letters", "ls", str(job.file)]) == 0
    said = capsys.readouterr().out
    assert "the message is no AMQP 1.0" in said


def test_runs_that_are_killed_lose_and_double_nothing(job):
    """kill -9 at several moments, with changes in between; the last run has them all."""
    chance = random.Random(6)
    command = [sys.executable, "-m", "millrace.pipelines", "run", str(job.file), "--once"]
    for seconds in (2.0, 3.0, 4.0):
        job.change(3_000, chance)
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        run.kill()
        run.wait()
    jobs.run_once(job.file)
    job.assert_right()
