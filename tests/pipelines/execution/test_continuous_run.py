"""`millrace run` without --once: window after window, a broker that goes away and comes back, SIGTERM."""

import contextlib
import re
import time

import duckdb
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from support.jobs import event, key, rows, send, write_job
from support.running_job import Running

from millrace.pipelines.cli.main import main


def test_it_goes_on_until_sigterm_and_commits_before_it_ends(embedded_broker, topic_name, tmp_path):
    topic, servers = topic_name("running"), embedded_broker.bootstrap_servers
    embedded_broker.create_topic(topic, 1)
    send(servers, topic, [(0, key(1), event("c", 1, "a", 1, 10))])
    with Running(write_job(tmp_path, servers, [topic], more="window: {every: 500ms}\n")) as run:
        assert run.says("1 read"), run.err
        send(servers, topic, [(0, key(1), event("u", 1, "b", 2, 11)), (0, key(2), event("c", 2, "c", 3, 12))])
        assert run.says("3 read"), run.err
        assert run.stop() == 0, run.err
    assert "Traceback" not in run.err
    assert re.search(rf"{topic} +3 +3 ", run.out), run.out
    assert rows(tmp_path, topic) == [(1, "b", 2), (2, "c", 3)]


def test_the_duckdb_file_is_free_between_commits(embedded_broker, topic_name, tmp_path):
    """A person queries it, `status` and `verify` find their moment, and the run goes on."""
    topic, servers = topic_name("free"), embedded_broker.bootstrap_servers
    embedded_broker.create_topic(topic, 1)
    send(servers, topic, [(0, key(1), event("c", 1, "a", 1, 10))])
    file = write_job(tmp_path, servers, [topic], more="window: {every: 4s}\n")
    with Running(file) as run:
        assert run.says("1 read"), run.err
        assert queried(tmp_path, topic) == [(1, "a", 1)]
        assert (main(["status", str(file)]), main(["verify", str(file)])) == (0, 0)
        send(servers, topic, [(0, key(2), event("c", 2, "b", 2, 11))])
        assert run.says("2 read"), run.err
        assert run.stop() == 0, run.err
    assert rows(tmp_path, topic) == [(1, "a", 1), (2, "b", 2)]


def queried(folder, table):
    for _ in range(200):
        with contextlib.suppress(duckdb.IOException):
            return rows(folder, table)
        time.sleep(0.1)
    return "never free"


def test_a_broker_that_comes_back_is_waited_for(kafka_broker, topic_name, tmp_path):
    topic, servers = topic_name("running"), kafka_broker.bootstrap_servers
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics([NewTopic(topic, 1, 1)])
    admin.close()
    send(servers, topic, [(0, key(1), event("c", 1, "a", 1, 10))])
    with Running(write_job(tmp_path, servers, [topic], more="window: {every: 500ms}\n")) as run:
        assert run.says("1 read"), run.err
        kafka_broker.stop()
        assert run.says("trying again"), run.err
        kafka_broker.start()
        send(servers, topic, [(0, key(2), event("c", 2, "b", 2, 11))])
        assert run.says("2 read", 150), run.err
        assert run.stop() == 0, run.err
    assert rows(tmp_path, topic) == [(1, "a", 1), (2, "b", 2)]
