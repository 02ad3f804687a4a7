"""A real Postgres for tests: one cluster in a temporary folder, started at the first use, with TLS.

The role `millrace` owns nothing but the schemas that `place` makes; USER and PASSWORD are a superuser's for tests that
look from outside. Postgres refuses to run as root: there it runs as the user `postgres` of its Debian package.
"""

import atexit
import hashlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest

TIED_TO_STDIN = '"$@" & read -r _; kill -INT $!; wait'
USER, PASSWORD = "admin", "s3cr3t-admin-canary"
ROLE, ROLE_PASSWORD = "millrace", "s3cr3t-canary"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "ssl": "on",
    "ssl_cert_file": "server.crt",
    "ssl_key_file": "server.key",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "wal_level": "logical",
    "max_replication_slots": "30",
    "max_wal_senders": "20",
    "lc_messages": "C",
}
IN_A_JOB = "MILLRACE_TEST_ROLE_PASSWORD"
"""The environment variable that holds the role's password: a job file may not."""
os.environ[IN_A_JOB] = ROLE_PASSWORD  # already now: workers that are started before the server must have it too
HBA = "host all all 127.0.0.1/32 scram-sha-256\n"


def binaries() -> Path | None:
    """The folder of the newest Postgres server that is installed."""
    program = shutil.which("initdb")
    found = [Path(program).parent] if program else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else None


def missing() -> str | None:
    """Why Postgres cannot be started here, or None."""
    for program in ("openssl", "setpriv") if os.geteuid() == 0 else ("openssl",):
        if shutil.which(program) is None:
            return f"a Postgres of its own needs {program}"
    if binaries() is None:
        return "no Postgres server here: apt-get install postgresql"
    return None


class PostgresServer:
    """A cluster; `stop` and `start` restart it on the same port with its data. `fsync` off: only for tests."""

    def __init__(self, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._settings = {**SETTINGS, "fsync": "off", **settings}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        (self.folder / "password").write_text(PASSWORD)
        os.chmod(self.folder, 0o755)
        self._run("initdb", "-D", str(self._data), "-U", USER, "-A", "scram-sha-256", "--no-sync",
                  "--pwfile", str(self.folder / "password"), "-E", "UTF8", "--locale=C.UTF-8")  # fmt: skip
        self._certificate()
        (self._data / "pg_hba.conf").write_text(HBA)
        self.start()
        self.sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{ROLE_PASSWORD}'")

    def _certificate(self) -> None:
        """A certificate for 127.0.0.1, signed by itself; `certificate` is its path."""
        self.certificate = self.folder / "root.crt"
        key, made = self._data / "server.key", self._data / "server.crt"
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=127.0.0.1"]
        request += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made)]
        subprocess.run(request, check=True, capture_output=True)
        shutil.copy(made, self.certificate)
        key.chmod(0o600)
        self.certificate.chmod(0o644)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            for path in (key, made):
                os.chown(path, owner.pw_uid, owner.pw_gid)

    def _command(self, program: str, *arguments: str) -> list[str]:
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        return [*as_user, str(binaries() / program), *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(self._command(program, *arguments), capture_output=True, text=True, cwd=self.folder)
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def start(self) -> None:
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command = self._command("postgres", "-D", str(self._data), "-p", str(self.port), "-k", "", *options)
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", TIED_TO_STDIN, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(self.dsn()).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError("Postgres did not start:\n" + (self.folder / "output").read_text()[-2000:])

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def crash(self) -> None:
        """As if the power failed, then on again: unlogged tables are empty."""
        os.kill(int((self._data / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        self.stop()
        self.start()

    def stand_by(self) -> None:
        """From now on a hot standby, until it is promoted."""
        self.stop()
        (self._data / "standby.signal").touch()
        self.start()

    def keep(self) -> None:
        """Copy the data aside; the server is stopped."""
        subprocess.run(["cp", "-a", str(self._data), str(self.folder / "kept")], check=True)

    def put_back(self) -> None:
        """The data as they were kept, in place of what came since; the server is stopped."""
        shutil.rmtree(self._data)
        (self.folder / "kept").rename(self._data)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def dsn(self, user: str = USER, password: str = PASSWORD, dbname: str = "postgres", **more: str) -> str:
        parts = {"host": "127.0.0.1", "port": self.port, "user": user, "password": password, "dbname": dbname, **more}
        return " ".join(f"{name}='{value}'" for name, value in parts.items())

    def role_dsn(self, **more: str) -> str:
        """As Millrace connects."""
        return self.dsn(ROLE, ROLE_PASSWORD, **more)

    def job_dsn(self, **more: str) -> str:
        """The same for a job file: the password is a reference."""
        return self.dsn(ROLE, f"${{env:{IN_A_JOB}}}", **more)

    def sql(self, query: str, parameters: Any = None, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """What another program does, with all rights."""
        with psycopg.connect(self.dsn(dbname=dbname), autocommit=True) as con:
            done = con.execute(query.encode(), parameters)
            return done.fetchall() if done.description else []


def make_database(folder: Path, name: str) -> str:
    """A database of one's own for jobs in `folder`; its target as one line of YAML."""
    server().sql(f'CREATE DATABASE "{name}" OWNER {ROLE}')
    dsn = server().role_dsn(dbname=name)
    (folder / "postgres").write_text(json.dumps({"dsn": dsn, "admin": server().dsn(), "name": name}))
    return f'{{type: postgres, dsn: "{server().job_dsn(dbname=name)}"}}'


def copy_database(source: Path, to: Path) -> None:
    """The database of the jobs in `source` for those in `to`; nobody may be connected."""
    held = json.loads((source / "postgres").read_text())
    name = f"{held['name']}-{to.name}"
    with psycopg.connect(held["admin"], autocommit=True) as con:
        con.execute(f'CREATE DATABASE "{name}" TEMPLATE "{held["name"]}" OWNER {ROLE}'.encode())
    before, after = f"dbname='{held['name']}'", f"dbname='{name}'"
    (to / "postgres").write_text(json.dumps({**held, "dsn": held["dsn"].replace(before, after), "name": name}))
    job = to / "job.yaml"
    job.write_text(job.read_text().replace(before, after))


@cache
def server() -> PostgresServer:
    """The one of this test run; skips the test where there is none to be had."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    found = PostgresServer()
    atexit.register(found.close)
    return found


def schema_of(folder: Path) -> str:
    """The schema that stands for a folder: it ends as the folder's path does."""
    text = str(folder)
    return f"{hashlib.sha1(text.encode()).hexdigest()[:8]}:{text[-50:]}"


def place(folder: Path) -> dict[str, str]:
    """The sink's options for a schema that stands for `folder`: there where it is, and writable where it is."""
    name = schema_of(folder)
    if folder.is_dir():
        quoted = '"' + name.replace('"', '""') + '"'
        owner = ROLE if folder.stat().st_mode & 0o200 else USER
        server().sql(f"CREATE SCHEMA IF NOT EXISTS {quoted} AUTHORIZATION {owner}")
        if owner == ROLE:
            (folder / "postgres_schema").write_text(name)
    return {"dsn": server().role_dsn(), "schema": name}
