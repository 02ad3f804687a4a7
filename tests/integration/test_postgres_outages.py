"""A Postgres target that is full, read-only, slow or gone: a sentence or a retry, and then the oracle's table."""

import os
import pwd
import shutil
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from support.jobs import event, key, run_once, send, write_job
from support.postgres_server import PostgresServer, missing
from support.processes import until

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.job.load import load_job
from millrace.schemas.errors import TransientSinkError

ROWS = 6_000


@pytest.fixture(scope="module")
def postgres():
    """A server that these tests may stop, fill and turn into a standby."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    found = PostgresServer()
    yield found
    found.close()


class PostgresJob:
    """A job into a schema of its own, half of whose changes are in the table already."""

    def __init__(self, server, servers, topic, folder, options=""):
        self.server, self.topic, self.servers = server, topic, servers
        server.sql(f'CREATE SCHEMA "{topic}" AUTHORIZATION millrace')
        dsn = server.job_dsn(options=options) if options else server.job_dsn()
        self.file = write_job(folder, servers, [topic], target=f"{{type: postgres, dsn: \"{dsn}\", schema: '{topic}'}}")
        self.send(0)
        assert run_once(self.file).total("applied") == 100

    def send(self, at, rows=100):
        """Changes of every row, and deletes of every seventh."""
        changes = [
            (n % 2, key(n), event("d" if at and n % 7 == 0 else "u", n, os.urandom(200).hex(), at, at + 1))
            for n in range(rows)
        ]
        send(self.servers, self.topic, changes)

    @property
    def table(self):
        return f'"{self.topic}"."{self.topic}"'

    def stops(self, *words):
        """A run ends with one sentence that has these words, and changes nothing."""
        before = self.rows()
        error = run_once(self.file).tables[self.topic].error
        assert error is not None and "\n" not in error
        for word in words:
            assert word in error
        assert self.rows() == before

    def rows(self):
        return sorted(self.server.sql(f"SELECT id, name FROM {self.table}"))

    def completes(self, rows=100):
        """The next run ends with the table that the oracle folds out of the topic."""
        assert run_once(self.file).tables[self.topic].error is None
        self.is_the_oracles(rows)

    def is_the_oracles(self, rows=100):
        assert [report.ok for report in verify_job(load_job(self.file))] == [True]
        assert [row for row, _ in self.rows()] == [n for n in range(rows) if n % 7]


@pytest.fixture
def make(postgres, embedded_broker, topic_name, tmp_path):
    def made(**options):
        topic = topic_name("fault")
        embedded_broker.create_topic(topic, 2)
        return PostgresJob(postgres, embedded_broker.bootstrap_servers, topic, tmp_path, **options)

    return made


@contextmanager
def small_disk(server, size):
    """A tablespace on a disk of so many bytes; gives where that is mounted."""
    mount = Path(server.folder) / "small"
    mount.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(mount)]).returncode:
        mount.rmdir()
        pytest.skip("a small tmpfs can be mounted by root only")
    try:
        owner = pwd.getpwnam("postgres")
        os.chown(mount, owner.pw_uid, owner.pw_gid)
        server.sql(f"CREATE TABLESPACE small LOCATION '{mount}'")
        server.sql("GRANT CREATE ON TABLESPACE small TO millrace")
        yield mount
    finally:
        server.stop()
        subprocess.run(["umount", "--lazy", str(mount)], check=True)
        shutil.rmtree(mount)
        server.start()


def test_a_database_that_others_made_read_only(make, postgres):
    job = make()
    job.send(1)
    postgres.sql("ALTER ROLE millrace SET default_transaction_read_only = on")
    try:
        job.stops("the database is read-only; connect to the primary, or let this role write")
    finally:
        postgres.sql("ALTER ROLE millrace RESET default_transaction_read_only")
    job.completes()


def test_a_hot_standby_that_is_promoted_later(make, postgres):
    job = make()
    job.send(1)
    postgres.stand_by()
    try:
        assert postgres.sql("SELECT pg_is_in_recovery()") == [(True,)]
        job.stops("the database is read-only; connect to the primary")
    finally:
        assert postgres.sql("SELECT pg_promote(true, 60)") == [(True,)]
    job.completes()


def test_a_server_that_is_gone(make, postgres):
    job = make()
    job.send(1)
    postgres.stop()
    try:
        with pytest.raises(TransientSinkError, match=r"^Postgres \(.*\) does not answer \([^\n]*\)$"):
            run_once(job.file)
    finally:
        postgres.start()
    job.completes()


def test_a_slow_server_is_waited_for_and_what_it_gives_up_is_tried_again(make, postgres, caplog):
    """Another transaction holds the table: the commit waits; its statement is cancelled once, and it waits again."""
    job = make()
    job.send(1)
    found = []
    waiting = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'millrace'"
    with psycopg.connect(postgres.dsn()) as other:
        other.execute(f"LOCK TABLE {job.table} IN SHARE MODE".encode())
        running = threading.Thread(target=lambda: found.append(run_once(job.file)))
        running.start()
        assert until(lambda: (True,) in postgres.sql(f"SELECT pg_cancel_backend(pid) {waiting}"))
        assert until(lambda: "canceling statement due to user request; trying again in" in caplog.text)
        assert until(lambda: postgres.sql(f"SELECT 1 {waiting}"))
    running.join(120)
    assert found[0].tables[job.topic].error is None
    job.is_the_oracles()


@pytest.mark.parametrize(
    ("size", "statement"), [("2m", "COPY"), ("4m", "MERGE")], ids=["while it stages", "while it commits"]
)
def test_a_disk_that_is_full(make, postgres, size, statement):
    log = postgres.folder / "output"
    with small_disk(postgres, size) as mount:
        job = make(options="-c default_tablespace=small")
        job.send(1, ROWS)
        before = log.stat().st_size
        job.stops("the server's disk is full; nothing was committed, make room and run again", "No space left")
        told = log.read_bytes()[before:].decode().partition("No space left on device")[2]
        assert f"STATEMENT:  {statement} " in told
        subprocess.run(["mount", "-o", "remount,size=64m", str(mount)], check=True)
        job.completes(ROWS)
        postgres.sql(f'DROP SCHEMA "{job.topic}" CASCADE')
        postgres.sql("DROP TABLESPACE small")
