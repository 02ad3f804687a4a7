"""Whole runs into MySQL and MariaDB: servers that are killed, read-only or another one; the table is the oracle's."""

import os
import subprocess
import threading

import pytest
from support import mysql_server, mysql_target
from support.jobs import event, key, run_once, send, write_job
from support.mysql_server import MariaDb

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.job.load import load_job
from millrace.schemas.errors import TransientSinkError

PASSWORD = "MILLRACE_TEST_WRITER_PASSWORD"


@pytest.fixture(scope="module")
def mariadb():
    """A server that these tests may stop and kill."""
    reason = MariaDb.missing()
    if reason is not None:
        pytest.skip(reason)
    found = MariaDb()
    mysql_target.make_user(found)
    yield found
    found.close()


class MySqlJob:
    """A job into a database of its own, half of whose changes are in the table already."""

    def __init__(self, server, servers, topic, folder, mode="mirror"):
        self.server, self.topic, self.servers, self.folder = server, topic, servers, folder
        mysql_target.make_database(topic, server)
        self.file = self.written(server, mode)
        self.send(0)
        assert run_once(self.file).total("applied") == 100

    def written(self, server, mode="mirror"):
        os.environ[PASSWORD] = mysql_target.WRITER_PASSWORD
        where = f"host: 127.0.0.1, port: {server.port}, database: '{self.topic}', username: {mysql_target.WRITER}"
        target = f'{{type: mysql, {where}, password: "${{env:{PASSWORD}}}", mode: {mode}}}'
        return write_job(self.folder, self.servers, [self.topic], target=target)

    def send(self, at, rows=100):
        """Changes of every row, and deletes of every seventh."""
        changes = [
            (n % 2, key(n), event("d" if at and n % 7 == 0 else "u", n, os.urandom(50).hex(), at, at + 1))
            for n in range(rows)
        ]
        send(self.servers, self.topic, changes)

    def rows(self):
        return sorted(self.server.sql(f"SELECT id, name FROM `{self.topic}`", database=self.topic))

    def completes(self):
        """The next run ends with the table that the oracle folds out of the topic."""
        assert run_once(self.file).tables[self.topic].error is None
        assert [report.ok for report in verify_job(load_job(self.file))] == [True]
        assert [row for row, _ in self.rows()] == [n for n in range(100) if n % 7]


@pytest.fixture
def make(embedded_broker, topic_name, tmp_path):
    def made(server, **options):
        topic = topic_name("fault")
        embedded_broker.create_topic(topic, 2)
        return MySqlJob(server, embedded_broker.bootstrap_servers, topic, tmp_path, **options)

    return made


def test_a_server_that_is_killed_and_comes_back(make, mariadb):
    job = make(mariadb)
    job.send(1)
    mariadb.kill()
    try:
        with pytest.raises(TransientSinkError, match=r"^MySQL \(.*\) does not answer \([^\n]*\)$"):
            run_once(job.file)
    finally:
        mariadb.start()
    job.completes()


def test_a_read_only_server_ends_a_run_in_one_sentence(make, mariadb):
    job = make(mariadb)
    job.send(1)
    before = job.rows()
    mariadb.sql("SET GLOBAL read_only = 1")
    try:
        error = run_once(job.file).tables[job.topic].error
        assert error is not None and "\n" not in error and "the server is read-only; connect to the primary" in error
        assert job.rows() == before
    finally:
        mariadb.sql("SET GLOBAL read_only = 0")
    job.completes()


def test_connections_that_are_killed_under_a_run_are_made_anew(make, mariadb):
    """Each time that the writer is seen, its connections end: the run tries again, and no change is lost or doubled."""
    job, kills, done = make(mariadb), [], threading.Event()
    job.send(1)

    def kill():
        query = "SELECT id FROM information_schema.processlist WHERE user = %s"
        while len(kills) < 2 and not done.wait(0.002):
            for (number,) in mariadb.sql(query, [mysql_target.WRITER]):
                mariadb.sql(f"KILL {number}")
                kills.append(number)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        run_once(job.file)
    except TransientSinkError:
        pass
    finally:
        done.set()
        thread.join(30)
    assert kills
    job.completes()


def test_a_failover_to_a_replica_that_lacks_the_last_commit(make, mariadb, tmp_path):
    """The address leads to a server with the tables of some time ago: the job goes on from the ledger that it has."""
    job = make(mariadb)
    dump = ["mariadb-dump", "-h127.0.0.1", f"-P{mariadb.port}", f"-u{mysql_server.USER}", f"-p{mysql_server.PASSWORD}"]
    told = subprocess.run([*dump, "--hex-blob", job.topic], capture_output=True, check=True).stdout
    job.send(1)
    assert run_once(job.file).tables[job.topic].error is None
    other = mysql_server.server("mariadb")
    mysql_target.make_user(other)
    mysql_target.make_database(job.topic, other)
    load = ["mariadb", "-h127.0.0.1", f"-P{other.port}", f"-u{mysql_server.USER}", f"-p{mysql_server.PASSWORD}"]
    subprocess.run([*load, job.topic], input=told, check=True)
    job.server, job.file = other, job.written(other)
    assert len(job.rows()) == 100
    job.completes()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["mirror", "soft_delete", "scd2"])
def test_a_run_into_mysql_9_is_proved(make, mode):
    """Without LOAD DATA LOCAL, which MySQL does not let unless it is told to."""
    server = mysql_server.server("mysql")
    mysql_target.make_user(server)
    job = make(server, mode=mode)
    job.send(1)
    assert run_once(job.file).tables[job.topic].error is None
    assert [report.ok for report in verify_job(load_job(job.file))] == [True]
    assert len(job.rows()) == {"mirror": 85, "soft_delete": 100, "scd2": 185}[mode]
