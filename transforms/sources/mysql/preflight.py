"""What has to be set at the server before a table can be read, with the exact statements."""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final

from ....schemas.errors import JobError, MillraceError
from ..database import Advice
from .client import BinlogDump, Session
from .log_place import log_end, log_files
from .offsets import place_of
from .tables import SourceTable, schema_of

DAY: Final = 86_400
WANTED: Final = (
    ("binlog_format", "ROW", "the log holds statements, not rows"),
    ("binlog_row_metadata", "FULL", "the log does not hold the columns' names"),
    ("binlog_row_value_options", "", "the log holds parts of JSON values"),
)
IMAGE: Final = "binlog_row_image"
LOGS_CASCADES: Final = (9, 6)
"""The MySQL from which on the log has rows that a foreign key changes, unless `innodb_native_foreign_keys` is on."""
CASCADES: Final = re.compile(
    r"^ *CONSTRAINT (`(?:[^`]|``)+`) FOREIGN KEY .* REFERENCES (`.*?`) \(.*ON (?:DELETE|UPDATE) (?:CASCADE|SET)",
    re.MULTILINE,
)
"""In SHOW CREATE TABLE, which any reader of the table may ask: the name of the constraint, and the other table."""


def preflight(session: Session, tables: Sequence[SourceTable]) -> list[Advice]:
    """All findings; asks, and changes nothing."""
    if session.settings.full:
        return [*_tables(session, tables)]
    settings = {str(name): str(value) for name, value in session.rows("SHOW GLOBAL VARIABLES")}
    found = [*_log(session, settings)]
    if settings.get("log_bin") == "ON":
        found += [*_rights(session), *_kept(settings)]
    return [*found, *_tables(session, tables), *_cascades(session, tables, settings)]


def _set(session: Session, name: str, value: str) -> str:
    """What sets a variable so that it is set after a restart too."""
    if session.mariadb:
        return f"SET GLOBAL {name} = '{value}'; and write {name} = {value} into the server's configuration"
    return f"SET PERSIST {name} = '{value}'"


def _log(session: Session, settings: dict[str, str]) -> Iterator[Advice]:
    oldest = (10, 5) if session.mariadb else (8, 0)
    if session.version < oldest:
        said = f"is {'MariaDB' if session.mariadb else 'MySQL'} {session.version[0]}.{session.version[1]}"
        yield Advice("fail", "server", f"{said}: names of columns are in the log from {oldest[0]}.{oldest[1]} on")
    if settings.get("log_bin") != "ON":
        fix = "write log_bin = binlog and server_id = 1 into the server's configuration; then restart it"
        yield Advice("fail", "log_bin", "is off: the server writes no log", fix)
        return
    for name, wanted, why in WANTED:
        is_set = settings.get(name, "")
        if is_set != wanted and (name in settings or wanted):
            yield Advice("fail", name, f"is {is_set or 'unknown'}: {why}", _set(session, name, wanted))
    image = settings.get(IMAGE, "FULL")
    if image not in ("FULL", "FULL_NODUP"):
        said = f"is {image}: the log leaves out values, and a table stops at an INSERT whose defaults are left out"
        yield Advice("warn" if image == "NOBLOB" else "fail", IMAGE, said, _set(session, IMAGE, "FULL"))
    name = "log_replica_updates" if "log_replica_updates" in settings else "log_slave_updates"
    if settings.get(name, "ON") != "ON":
        said = "is off: were this server a replica, what it replicates would not be in its log"
        fix = f"write {name} = ON into the server's configuration; then restart it"
        yield Advice("warn", name, said, fix)


def _rights(session: Session) -> Iterator[Advice]:
    """Tried, for rights may come by roles."""
    user = session.settings.username
    grant = f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{user}'"
    try:
        number, position = place_of(log_end(session))
        file = log_files(session)[number][0]
        with closing(BinlogDump(session.settings, file, position, block=False)) as dump:
            dump.events(1, 10.0)
    except JobError as error:
        yield Advice("fail", "user", f"may not read the log ({error})", grant)
        return
    filters = [value for row in session.rows(_status(session)) for value in row[2:4] if value]
    if filters:
        said = f"is limited to or leaves out {', '.join(map(str, filters))}: changes elsewhere may be missing"
        yield Advice("warn", "binlog_do_db", said, "remove binlog_do_db and binlog_ignore_db from the configuration")
    yield Advice("ok", "user", "may read the log")


def _status(session: Session) -> str:
    old = session.mariadb or session.version < (8, 2)
    return "SHOW MASTER STATUS" if old else "SHOW BINARY LOG STATUS"


def _kept(settings: dict[str, str]) -> Iterator[Advice]:
    seconds = float(settings.get("binlog_expire_logs_seconds", "0") or 0)
    if 0 < seconds < DAY and settings.get("binlog_expire_logs_auto_purge", "ON") == "ON":
        said = (
            f"the server drops its log after {seconds / 3600:.1f} hours: a job that stands for longer needs a new copy"
        )
        yield Advice("warn", "binlog_expire_logs_seconds", said, "SET GLOBAL binlog_expire_logs_seconds = 604800")
    else:
        said = f"{seconds / DAY:.1f} days" if seconds else "until it is purged by hand"
        yield Advice("ok", "log", f"is kept {said}")


def _tables(session: Session, tables: Sequence[SourceTable]) -> Iterator[Advice]:
    user = session.settings.username
    for table in tables:
        try:
            session.rows(f"SELECT 1 FROM {table.quoted} LIMIT 1")
            schema = schema_of(session, table)
        except MillraceError as error:
            yield Advice("fail", table.name, str(error), f"GRANT SELECT ON {table.quoted} TO '{user}'")
            continue
        if not schema.key:
            said = "has no primary key: its key must stand in the job file, and its copy is read at once"
            yield Advice("warn", table.name, said, f"ALTER TABLE {table.quoted} ADD PRIMARY KEY (...)")


def _cascades(session: Session, tables: Sequence[SourceTable], settings: dict[str, str]) -> Iterator[Advice]:
    """Tables that a foreign key changes by itself: the server does so below its log."""
    native = settings.get("innodb_native_foreign_keys", "OFF") == "ON"
    if not session.mariadb and session.version >= LOGS_CASCADES and not native:
        return
    for table in tables:
        try:
            ((_, created),) = session.rows(f"SHOW CREATE TABLE {table.quoted}")
        except MillraceError:
            continue  # `_tables` says what is denied
        for constraint, parent in CASCADES.findall(str(created)):
            said = f"a change of {parent} changes its rows (ON DELETE or ON UPDATE), and the log does not hold that"
            fix = f"ALTER TABLE {table.quoted} DROP FOREIGN KEY {constraint}, and let the program delete such rows"
            yield Advice("fail", table.name, said, fix)


def condition_advice(session: Session, tables: Sequence[SourceTable]) -> Iterator[Advice]:
    """The conditions of `source.snapshot.where`, tried."""
    by_name = {table.name: table for table in tables}
    for name, _ in session.settings.copies.conditions:
        if name not in by_name:
            said = "source.snapshot.where names it, and it is not among the tables that are read"
            yield Advice("fail", name, said, "take it out of source.snapshot.where, or read it")
            continue
        try:
            condition = session.settings.copies.where(name)
            session.rows(f"SELECT 1 FROM {by_name[name].quoted} WHERE {condition} LIMIT 0")
        except MillraceError as error:
            yield Advice("fail", name, f"source.snapshot.where: {error}", "correct the condition")
