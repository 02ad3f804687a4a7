"""Databases of MariaDB and MySQL servers for tests of the target."""

import hashlib
import os
from pathlib import Path
from typing import Any

from support import mysql_server
from support.mysql_server import DatabaseServer

WRITER, WRITER_PASSWORD = "writer", "s3cr3t-writer-canary"
KIND = os.environ.get("MILLRACE_TEST_MYSQL_TARGET", "mariadb")
"""Which kind of server the contract suite runs over."""


def server(kind: str = KIND) -> DatabaseServer:
    """The one of this kind of this test run, with a user that may write where it is let."""
    found = mysql_server.server(kind)
    make_user(found)
    return found


def make_user(on: DatabaseServer) -> None:
    """WRITER, who has no rights yet."""
    on.sql(f"CREATE USER IF NOT EXISTS '{WRITER}'@'%' IDENTIFIED BY '{WRITER_PASSWORD}'")


def database_of(folder: Path) -> str:
    """The database that stands for a folder: it ends as the folder's path does."""
    text = str(folder)
    return f"{hashlib.sha1(text.encode()).hexdigest()[:8]}:{text[-50:]}"


def make_database(name: str, on: DatabaseServer) -> dict[str, Any]:
    """A database in which WRITER may do all; the sink's options for it."""
    quoted = quote(name)
    on.sql(f"CREATE DATABASE IF NOT EXISTS {quoted}")
    on.sql(f"GRANT ALL ON {quoted}.* TO '{WRITER}'@'%'")
    return options(name, on)


def options(name: str, on: DatabaseServer) -> dict[str, Any]:
    """The sink's options for a database."""
    place = {"host": "127.0.0.1", "port": on.port, "database": name}
    return {**place, "username": WRITER, "password": WRITER_PASSWORD}


def place(folder: Path) -> dict[str, Any]:
    """The sink's options for a database that stands for `folder`: there where it is, and writable where it is."""
    name, on = database_of(folder), server()
    if folder.is_dir() and folder.stat().st_mode & 0o200:
        made = make_database(name, on)
        (folder / "mysql_database").write_text(name)
        return made
    if folder.is_dir():
        on.sql(f"CREATE DATABASE IF NOT EXISTS {quote(name)}")
        # Who may do nothing is not told what there is: this right lets WRITER in, and no more.
        on.sql(f"GRANT SELECT ON {quote(name)}.* TO '{WRITER}'@'%'")
    return options(name, on)


def sql(target: Any, query: str) -> list[tuple[Any, ...]]:
    """What another program does in the database of the target's folder."""
    return server().sql(query, database=database_of(target.folder))


def quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
