"""`millrace run --runner PrismRunner`: an endless pipeline on real Prism, fed by the embedded broker and real Kafka."""

import json
import random
import re
import signal
import time

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewPartitions, NewTopic
from support.jobs import ENVELOPE, KEY, event, key, rows, send, wire, write_job
from support.processes import until
from support.registry_server import Fault, RegistryServer
from support.running_job import Running

from millrace.pipelines.cli.main import main


@pytest.fixture(scope="session")
def prism(prism_binary):
    return f"--prism_location={prism_binary}"


def streamed(file, prism):
    return Running(file, "--json", "--runner", "PrismRunner", prism)


class History:
    """Changes of a few rows in the order of one database, over some partitions; the oracle is a dictionary."""

    def __init__(self, seed, partitions=2):
        self._dice, self._partitions = random.Random(seed), partitions
        self.rows, self.sent, self.at = {}, [], 0

    def more(self, count):
        found = []
        for _ in range(count):
            self.at += 1
            number = self._dice.randrange(40)
            partition = number % self._partitions
            if number in self.rows and self._dice.random() < 0.2:
                del self.rows[number]
                found.append((partition, key(number), event("d", number, at=self.at)))
                found.append((partition, key(number), None))
            else:
                op = "u" if number in self.rows else "c"
                self.rows[number] = (f"n{self.at}", self.at)
                found.append((partition, key(number), event(op, number, f"n{self.at}", self.at, self.at)))
            if self.sent and self._dice.random() < 0.1:
                found.append(self._dice.choice(self.sent))
        # A tombstone alone would be a delete.
        self.sent += [message for message in found if message[2] is not None]
        return found

    @property
    def table(self):
        return sorted(((number, *row) for number, row in self.rows.items()), key=repr)


def table_of(run, name):
    (found,) = [table for table in json.loads(run.out)["tables"] if table["table"] == name]
    return found


def balanced(table):
    return table["read"] == sum(table[name] for name in ("applied", "superseded", "filtered", "dead"))


def filled(servers, topic, history, rounds=6, count=60):
    """Send the history piece by piece; how many messages."""
    sent = 0
    for _ in range(rounds):
        messages = history.more(count)
        sent += len(messages)
        send(servers, topic, messages)
    return sent


@pytest.mark.parametrize("by", ["arrival", "event"])
def test_a_stream_ends_in_the_oracles_table_and_goes_on_from_the_ledger(
    embedded_broker, topic_name, tmp_path, prism, by, capsys
):
    topic, servers, history = topic_name("stream"), embedded_broker.bootstrap_servers, History(1)
    embedded_broker.create_topic(topic, 3)
    file = write_job(tmp_path, servers, [topic], more=f"window: {{every: 500ms, by: {by}}}\n")
    for _ in range(2):
        with streamed(file, prism) as run:
            sent = filled(servers, topic, history)
            assert run.says(f" {sent:,} read", 120), run.err
            assert run.stop() == 0, run.err
        assert "Traceback" not in run.err
        found = table_of(run, topic)
        assert (found["read"], found["lag"]) == (sent, 0) and balanced(found)
        assert rows(tmp_path, topic) == history.table
    assert main(["verify", str(file), "--json"]) == 0
    assert all(report["ok"] for report in json.loads(capsys.readouterr().out))
    assert main(["status", str(file), "--json"]) == 0
    standings = json.loads(capsys.readouterr().out)
    assert [(one["partition"], one["lag"], one["behind_seconds"]) for one in standings] == [
        (n, 0, 0.0) for n in range(3)
    ]


def test_what_waits_is_told_with_its_age(embedded_broker, topic_name, tmp_path, capsys):
    topic, servers = topic_name("stream"), embedded_broker.bootstrap_servers
    embedded_broker.create_topic(topic, 1)
    file = write_job(tmp_path, servers, [topic])
    send(servers, topic, [(0, key(1), event("c", 1, "a", 1, 1))])
    assert main(["run", str(file), "--once"]) == 0
    send(servers, topic, [(0, key(2), event("c", 2, "b", 2, 2)), (0, key(3), event("c", 3, "c", 3, 3))])
    capsys.readouterr()
    assert main(["status", str(file), "--json"]) == 0
    (standing,) = json.loads(capsys.readouterr().out)
    assert (standing["committed"], standing["end"], standing["lag"]) == (1, 3, 2)
    assert 0 <= standing["behind_seconds"] < 120
    assert main(["status", str(file)]) == 0
    assert "2 offsets are not committed yet" in capsys.readouterr().out


def test_a_killed_stream_loses_and_doubles_nothing(embedded_broker, topic_name, tmp_path, prism):
    topic, servers, history = topic_name("stream"), embedded_broker.bootstrap_servers, History(2)
    embedded_broker.create_topic(topic, 2)
    file = write_job(tmp_path, servers, [topic], more="window: {every: 300ms}\n")
    sent = 0
    for after in (1, 2):
        with streamed(file, prism) as run:
            sent += filled(servers, topic, history, rounds=4)
            assert run.says(" read, ") and until(lambda run=run: " 0 read" not in run.err.splitlines()[-1], 90), run.err
            filled(servers, topic, history, rounds=after)
            run.process.kill()
    with streamed(file, prism) as run:
        assert until(lambda: re.search(r" [1-9][\d,]* read, .* lag 0\b.*\n\Z", run.err), 120), run.err
        assert run.stop() == 0, run.err
    assert rows(tmp_path, topic) == history.table


def test_a_second_signal_ends_it_at_once(embedded_broker, topic_name, tmp_path, prism):
    topic, servers, history = topic_name("stream"), embedded_broker.bootstrap_servers, History(3)
    embedded_broker.create_topic(topic, 2)
    file = write_job(tmp_path, servers, [topic], more="window: {every: 1m}\n")
    with streamed(file, prism) as run:
        filled(servers, topic, history)
        assert run.says(" read, "), run.err
        run.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
        run.process.send_signal(signal.SIGTERM)
        assert run.process.wait(60) in (128 + signal.SIGTERM, 0)
    assert main(["run", str(file), "--once"]) == 0
    assert rows(tmp_path, topic) == history.table


def test_new_partitions_are_taken_up_while_it_runs(kafka_broker, topic_name, tmp_path, prism):
    topic, servers, history = topic_name("stream"), kafka_broker.bootstrap_servers, History(4, partitions=2)
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics([NewTopic(topic, 2, 1)])
    file = write_job(tmp_path, servers, [topic], more="window: {every: 300ms}\n")
    with streamed(file, prism) as run:
        sent = filled(servers, topic, history, rounds=2)
        assert run.says(f" {sent:,} read", 120), run.err
        admin.create_partitions({topic: NewPartitions(4)})
        admin.close()
        history._partitions = 4
        sent += filled(servers, topic, history, rounds=4)
        assert run.says(f" {sent:,} read", 120), run.err
        assert run.stop() == 0, run.err
    assert rows(tmp_path, topic) == history.table
    assert balanced(table_of(run, topic))


def test_new_topics_that_match_the_pattern_are_taken_up(embedded_broker, topic_name, tmp_path, prism):
    servers, stem = embedded_broker.bootstrap_servers, topic_name("stream")
    one, two = f"{stem}.one", f"{stem}.two"
    embedded_broker.create_topic(one, 1)
    file = write_job(tmp_path, servers, [one], more="window: {every: 300ms}\n")
    file.write_text(file.read_text().replace(f"topics: [{one}]", f"topic_pattern: '{stem}.*'"))
    with streamed(file, prism) as run:
        send(servers, one, [(0, key(1), event("c", 1, "a", 1, 1))])
        assert run.says(" 1 read", 120), run.err
        embedded_broker.create_topic(two, 1)
        send(servers, two, [(0, key(2), event("c", 2, "b", 2, 2))])
        assert run.says(f"new topics: {two}", 120), run.err
        assert run.says(" 2 read", 120), run.err
        assert run.stop() == 0, run.err
    assert (rows(tmp_path, "one"), rows(tmp_path, "two")) == ([(1, "a", 1)], [(2, "b", 2)])


def test_a_table_that_stops_leaves_the_others_running(embedded_broker, topic_name, tmp_path, prism):
    good, bad, servers = topic_name("good"), topic_name("bad"), embedded_broker.bootstrap_servers
    for topic in (good, bad):
        embedded_broker.create_topic(topic, 1)
    file = write_job(tmp_path, servers, [good, bad], more="window: {every: 300ms}\n")
    send(servers, bad, [(0, key(1), event("c", 1, "a", 1, 1))])
    with streamed(file, prism) as run:
        assert run.says(" 1 read", 120), run.err
        send(servers, bad, [(0, None, wire(2, TRUNCATE)), (0, key(2), event("c", 2, "b", 2, 9))])
        assert run.says(f"table {bad} stops here", 120), run.err
        send(servers, good, [(0, key(number), event("c", number, "x", number, number)) for number in range(1, 6)])
        assert run.says(" 6 read", 120), run.err
        assert run.stop() == 1, run.err
    assert "a TRUNCATE stands at" in table_of(run, bad)["error"]
    assert len(rows(tmp_path, good)) == 5
    assert rows(tmp_path, bad) == [(1, "a", 1)]


TRUNCATE = {"before": None, "after": None, "source": {"sequence": '["5","5"]', "lsn": 5}, "op": "t"}


def test_a_broker_that_goes_away_is_waited_for(kafka_broker, topic_name, tmp_path, prism):
    topic, servers, history = topic_name("stream"), kafka_broker.bootstrap_servers, History(5)
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics([NewTopic(topic, 2, 1)])
    admin.close()
    file = write_job(tmp_path, servers, [topic], more="window: {every: 300ms}\n")
    with streamed(file, prism) as run:
        sent = filled(servers, topic, history, rounds=2)
        assert run.says(f" {sent:,} read", 120), run.err
        kafka_broker.stop()
        assert run.says("again", 120), run.err
        kafka_broker.start()
        sent += filled(servers, topic, history, rounds=2)
        assert run.says(f" {sent:,} read", 180), run.err
        assert run.stop() == 0, run.err
    assert rows(tmp_path, topic) == history.table


def test_a_registry_that_is_away_is_waited_for(embedded_broker, topic_name, tmp_path, prism):
    topic, servers = topic_name("stream"), embedded_broker.bootstrap_servers
    embedded_broker.create_topic(topic, 1)
    file = write_job(tmp_path, servers, [topic], more="window: {every: 300ms}\n")
    with RegistryServer() as registry:
        registry.add(1, KEY).add(2, ENVELOPE).faults.extend(Fault(status=503) for _ in range(10_000))
        url = f"{{url: '{registry.url}', timeout: 1s, give_up_after: 2s}}"
        file.write_text(file.read_text().replace("schemas: ./contracts", f"registry: {url}"))
        with streamed(file, prism) as run:
            send(servers, topic, [(0, key(1), event("c", 1, "a", 1, 1))])
            assert run.says("trying again in", 120), run.err
            registry.faults.clear()
            assert run.says(" 1 read", 120), run.err
            assert run.stop() == 0, run.err
    assert rows(tmp_path, topic) == [(1, "a", 1)]


def test_a_missing_prism_is_one_sentence(tmp_path, capsys, monkeypatch):
    file = write_job(tmp_path, "127.0.0.1:1", ["t"])
    for name in ("MILLRACE_PRISM", "GOPATH", "GOBIN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["run", str(file), "--runner", "PrismRunner"]) == 2
    said = capsys.readouterr().err
    assert "go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0" in said
    assert said.count("\n") == 1
