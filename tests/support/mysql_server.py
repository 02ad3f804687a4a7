"""Real MySQL and MariaDB servers for tests, each in a temporary folder: a binlog of rows, TLS, a user for Millrace.

MariaDB is Debian's package `mariadb-server-core`. MySQL is that of Debian's unstable suite, unpacked into .cache with
the C library that it needs: nothing of the system is touched.
"""

import atexit
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from typing import Any

import pymysql
import pytest

from support.downloads import call, kept
from support.kafka_broker import TIED_TO_STDIN, free_ports
from support.tls import Authority

USER, PASSWORD = "admin", "s3cr3t-admin-canary"
ROLE, ROLE_PASSWORD = "millrace", "s3cr3t-canary"
IN_A_JOB = "MILLRACE_TEST_ROLE_PASSWORD"
"""The environment variable that holds the role's password: a job file may not."""
STARTS_WITHIN = 60
SETTINGS = {
    "bind-address": "127.0.0.1",
    "log-bin": "binlog",
    "binlog-format": "ROW",
    "binlog-row-image": "FULL",
    "binlog-row-metadata": "FULL",
    "character-set-server": "utf8mb4",
    "innodb-buffer-pool-size": "64M",
    "innodb-flush-log-at-trx-commit": "0",
    "skip-name-resolve": "ON",
}
GRANTS = ("SELECT", "RELOAD", "REPLICATION SLAVE", "REPLICATION CLIENT")
"""What a reader of the log needs, as the documentation says."""


class DatabaseServer(ABC):
    """A server that is on; `stop` and `start` restart it on the same port with its data, `kill` is kill -9.

    USER has all rights, ROLE those of a reader of the log. `certificate` is the path of the CA of its TLS.
    """

    name: str

    def __init__(self, server_id: int = 1, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.server_id = server_id
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._authority = Authority(self.folder, "ca")
        certificate, key = self._authority.issue("server")
        self.certificate = self._authority.file
        self._settings = {
            **SETTINGS,
            **self.settings(),
            "datadir": str(self.folder / "data"),
            "port": str(self.port),
            "socket": str(self.folder / "socket"),
            "server-id": str(server_id),
            "ssl-ca": str(self.certificate),
            "ssl-cert": str(certificate),
            "ssl-key": str(key),
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }
        self.initialise()
        first = {"user": "root", "password": "", "unix_socket": self._settings["socket"]}
        self.start(**first)
        with self.connect(**first) as con, con.cursor() as cursor:
            for user, password, rights in ((USER, PASSWORD, ("ALL",)), (ROLE, ROLE_PASSWORD, GRANTS)):
                cursor.execute(f"CREATE USER '{user}'@'%' IDENTIFIED BY '{password}'")
                more = " WITH GRANT OPTION" if user == USER else ""
                cursor.execute(f"GRANT {', '.join(rights)} ON *.* TO '{user}'@'%'{more}")

    @abstractmethod
    def initialise(self) -> None:
        """Make the data folder."""

    @abstractmethod
    def program(self) -> list[str]:
        """What starts the server, without its settings."""

    def settings(self) -> dict[str, str]:
        """Settings of this kind of server alone."""
        return {}

    def start(self, **connection: Any) -> None:
        """Returns when it answers to USER, or as `connection` says."""
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", TIED_TO_STDIN, "sh", *self.program(), *options],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + STARTS_WITHIN
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                self.connect(**connection).close()
            except pymysql.err.OperationalError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"{self.name} did not start:\n" + (self.folder / "output").read_text()[-2000:])

    def stop(self) -> None:
        """Shut down as an operator does."""
        if self._process is not None:
            with self.connect() as con, con.cursor() as cursor:
                cursor.execute("SHUTDOWN")
            self._ended()

    def kill(self) -> None:
        """As if the power failed."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._ended()
            # MySQL would find its own lock, and perhaps a dead process of that number that nobody has waited for.
            (self.folder / "socket.lock").unlink(missing_ok=True)

    def _ended(self) -> None:
        process, self._process = self._process, None
        process.stdin.close()
        process.wait(30)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, user: str = USER, password: str = PASSWORD, **more: Any) -> pymysql.Connection:
        """A connection of another program, with all rights; commits each statement unless told otherwise."""
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=user, password=password, **{"autocommit": True, **more}
        )

    def sql(self, query: str, parameters: Any = None, database: str | None = None) -> list[tuple[Any, ...]]:
        """What another program does, with all rights."""
        with self.connect(database=database) as con, con.cursor() as cursor:
            cursor.execute(query, parameters)
            return list(cursor.fetchall())


class MariaDb(DatabaseServer):
    name = "mariadb"

    def settings(self) -> dict[str, str]:
        # A process that is killed loses nothing without it: the system still writes what it was given.
        return {"innodb-flush-method": "nosync"}

    @staticmethod
    def missing() -> str | None:
        """Why it cannot be started here, or None."""
        program = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
        return None if program else "no MariaDB here: apt-get install mariadb-server-core mariadb-client-core"

    def program(self) -> list[str]:
        return [shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin"), "--no-defaults", "--user=root"]

    def initialise(self) -> None:
        command = ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={self.folder}/data"]
        call([*command, "--auth-root-authentication-method=normal", "--skip-test-db"], "MariaDB's folder was not made")


class MySql(DatabaseServer):
    name = "mysql"

    @staticmethod
    def missing() -> str | None:
        """Why it cannot be started here, or None."""
        return (
            None if shutil.which("apt-get") and shutil.which("dpkg-deb") else "MySQL is unpacked from Debian packages"
        )

    def settings(self) -> dict[str, str]:
        gtid = {"gtid-mode": "ON", "enforce-gtid-consistency": "ON"}
        return {**gtid, "mysqlx": "OFF", "secure-file-priv": "NULL", "performance-schema": "OFF"}

    def program(self) -> list[str]:
        root = mysql_files()
        libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/usr/lib/mysql/private"
        loader = [f"{root}/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "--library-path", libraries]
        folders = [f"--basedir={root}/usr", f"--lc-messages-dir={root}/usr/share/mysql"]
        return [*loader, f"{root}/usr/sbin/mysqld", "--no-defaults", "--user=root", *folders]

    def initialise(self) -> None:
        command = [*self.program(), f"--datadir={self.folder}/data", "--secure-file-priv=NULL"]
        call([*command, "--initialize-insecure"], "MySQL's folder was not made")


def mysql_files() -> Path:
    """The folder where MySQL of Debian's unstable suite is unpacked, with the libraries that it needs."""

    def make(folder: Path) -> Path:
        for name in ("lists/partial", "cache/archives/partial", "debs", "root"):
            (folder / name).mkdir(parents=True)
        (folder / "unstable.list").write_text(f"deb [trusted=yes] {_mirror()} sid main\n")
        places = {
            "Dir::Etc::SourceList": folder / "unstable.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": folder / "lists",
            "Dir::Cache": folder / "cache",
            "APT::Sandbox::User": "root",
        }
        options = [part for name, value in places.items() for part in ("-o", f"{name}={value}")]
        call(["apt-get", "-qq", *options, "update"], "the list of Debian's unstable suite could not be read")
        left_out = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
        asked = ["apt-cache", *options, "depends", "--recurse", *(f"--no-{name}" for name in left_out)]
        lines = subprocess.run([*asked, "mysql-server-core"], capture_output=True, text=True, check=True).stdout
        names = sorted({line for line in lines.splitlines() if re.match(r"\w", line)})
        call(["apt-get", "-qq", *options, "download", *names], "MySQL could not be fetched", folder / "debs")
        for package in (folder / "debs").iterdir():
            call(["dpkg-deb", "-x", str(package), str(folder / "root")], f"{package.name} could not be unpacked")
        return folder / "root"

    return kept("mysql-unstable", make)


def _mirror() -> str:
    """The mirror that apt uses already."""
    for file, pattern in (
        ("sources.list.d/debian.sources", r"^URIs: (\S+)"),
        ("sources.list", r"^deb (?:\[.*\] )?(\S+)"),
    ):
        path = Path("/etc/apt") / file
        found = re.search(pattern, path.read_text(), re.MULTILINE) if path.exists() else None
        if found:
            return found[1]
    return "http://deb.debian.org/debian"


KINDS: dict[str, type[DatabaseServer]] = {"mariadb": MariaDb, "mysql": MySql}


@cache
def server(kind: str = "mariadb") -> DatabaseServer:
    """The one of this kind of this test run; skips the test where there is none to be had."""
    reason = KINDS[kind].missing()
    if reason is not None:
        pytest.skip(reason)
    found = KINDS[kind]()
    atexit.register(found.close)
    return found
