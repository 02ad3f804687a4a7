"""`millrace run` without --once: window after window, a broker that goes away and comes back, SIGTERM."""

import re
import signal
import subprocess
import sys
import time

from jobs import event, key, rows, send, write_job
from kafka import KafkaAdminClient
from kafka.admin import NewTopic


def until(check, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.2)
    return False


def started(file):
    command = [sys.executable, "-m", "millrace.pipelines", "run", str(file)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def committed(folder):
    """Whether a first commit was made; the file itself is locked while the job runs."""
    return (folder / "out.duckdb").exists()


def test_it_goes_on_until_sigterm_and_commits_before_it_ends(embedded_broker, topic_name, tmp_path):
    topic, servers = topic_name("running"), embedded_broker.bootstrap_servers
    embedded_broker.create_topic(topic, 1)
    send(servers, topic, [(0, key(1), event("c", 1, "a", 1, 10))])
    file = write_job(tmp_path, servers, [topic], more="window: {every: 500ms}\n")
    process = started(file)
    try:
        assert until(lambda: committed(tmp_path))
        send(servers, topic, [(0, key(1), event("u", 1, "b", 2, 11)), (0, key(2), event("c", 2, "c", 3, 12))])
        time.sleep(4)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert re.search(rf"{topic} +3 +3 ", out), out
    assert rows(tmp_path, topic) == [(1, "b", 2), (2, "c", 3)]


def test_a_broker_that_comes_back_is_waited_for(kafka_broker, topic_name, tmp_path):
    topic, servers = topic_name("running"), kafka_broker.bootstrap_servers
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics([NewTopic(topic, 1, 1)])
    admin.close()
    send(servers, topic, [(0, key(1), event("c", 1, "a", 1, 10))])
    file = write_job(tmp_path, servers, [topic], more="window: {every: 500ms}\n")
    process = started(file)
    try:
        assert until(lambda: committed(tmp_path))
        kafka_broker.stop()
        time.sleep(8)
        kafka_broker.start()
        send(servers, topic, [(0, key(2), event("c", 2, "b", 2, 11))])
        time.sleep(25)
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert "trying again" in err
    assert rows(tmp_path, topic) == [(1, "a", 1), (2, "b", 2)]
