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


class Running:
    """`millrace run` as a process; what it says goes to files, so that a test can wait for it."""

    def __init__(self, file):
        self._out, self._err = file.with_suffix(".out"), file.with_suffix(".err")
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "millrace.pipelines", "run", file], stdout=out, stderr=err
            )

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.process.kill()
        self.process.wait()

    def says(self, text, seconds=90):
        """Whether it says this on stderr before it ends."""
        assert until(lambda: text in self.err or self.process.poll() is not None, seconds), self.err
        return text in self.err

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    @property
    def out(self):
        return self._out.read_text()

    @property
    def err(self):
        return self._err.read_text()


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
