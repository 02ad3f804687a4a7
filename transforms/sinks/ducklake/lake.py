"""A lake as one database: attached to a DuckDB in memory, with its transactions, errors and maintenance."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.errors import TransientSinkError
from ..shared.commit import Conflict, TableChanges
from ..shared.damage import by_hand
from ..shared.duckdb_tables import catalog
from ..shared.duckdb_tables.catalog import Connection
from ..shared.duckdb_tables.connection import check_folder, committed, out_of_memory, settings
from ..shared.transient_errors import sink_error
from .extensions import extension
from .options import IN_FILES, DuckLakeOptions

ATTEMPTS: Final = 30
LAKE: Final = "lake"
INLINED_ROWS: Final = 10_000
NO_LAKE: Final = "creating a new DuckLake is explicitly disabled"
CONFLICTS: Final = ("conflict", "database is locked", "could not serialize")
"""Of DuckLake, SQLite and Postgres, where another writer came first."""
SCANNERS: Final = {"sqlite": "sqlite_scanner", "postgres": "postgres_scanner"}
CATALOG_OPTIONS: Final = {"sqlite": "META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 10000"}
"""With a write-ahead log, readers of an SQLite catalog do not hold up a commit, nor a commit the readers."""
SECRETS: Final = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "r2": "r2"}


def _holds_nul(rows: pa.Table) -> bool:
    texts = [column for column in rows.columns if pa.types.is_string(column.type)]
    return any(pc.any(pc.match_substring(column, "\0")).as_py() for column in texts)


def literal(text: str) -> str:
    """The text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


class LakeConnection:
    """A connection of DuckDB whose tables are the lake's, and so are those of its cursors."""

    def __init__(self, con: Any) -> None:
        self._con = con
        con.execute(f"USE {LAKE}")

    def execute(self, query: str, parameters: Any = None) -> Any:
        """As DuckDB's."""
        return self._con.execute(query, parameters)

    def sql(self, query: str) -> Any:
        """As DuckDB's."""
        return self._con.sql(query)

    def register(self, view_name: str, python_object: Any) -> Any:
        """As DuckDB's. Keys with a NUL character cannot be compared with what the catalog knows of the files."""
        if isinstance(python_object, pa.Table) and _holds_nul(python_object):
            self._con.execute("SET disabled_optimizers = 'join_filter_pushdown'")
        return self._con.register(view_name, python_object)

    def unregister(self, view_name: str) -> Any:
        """As DuckDB's."""
        return self._con.unregister(view_name)

    def cursor(self) -> "LakeConnection":
        """Another connection to the same lake."""
        return LakeConnection(self._con.cursor())

    def close(self) -> None:
        """As DuckDB's."""
        self._con.close()


class Lake:
    """The lake of these options, attached at the first use."""

    attempts: Final = ATTEMPTS

    def __init__(self, options: DuckLakeOptions) -> None:
        self._options = options
        self._kind, _, self._catalog = options.catalog.partition(":")
        self._file = os.path.abspath(self._catalog) if self._kind in IN_FILES else None
        self.place = f"{self._kind}:{self._file or _without_password(self._catalog)}"
        self._open: LakeConnection | None = None

    def check(self) -> None:
        """Whether the folder of the catalog's file is there."""
        if self._file is not None:
            check_folder(self.place, self._file, "catalog")

    def close(self) -> None:
        """Detach the lake."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @contextmanager
    def transaction(self, changes: TableChanges) -> Iterator[Connection]:
        """One snapshot of the lake, which names the job; an error detaches it."""
        with self._errors():
            con = self._connect(create=True)
            _make_own_tables(con)
            with committed(con, self.close):
                yield con
                # Two commits to one table always write this row, so that the lake refuses the later one.
                con.execute("UPDATE _millrace_tables SET format = format WHERE table_name = ?", [changes.name])
                self._sign(con, changes)

    def _sign(self, con: Connection, changes: TableChanges) -> None:
        ranges = {f"{account.topic}/{account.partition}": account.stop for account in changes.commit.accounts}
        said = f"job {changes.commit.job}: table {changes.name}"
        extra = literal(json.dumps({"job": changes.commit.job, "table": changes.name, "next": ranges}))
        con.execute(f"CALL {LAKE}.set_commit_message('Millrace', {literal(said)}, extra_info => {extra})")

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """None where there is no lake, or nothing of Millrace in it."""
        with self._waiting(), self._errors():
            con = self._existing()
            yield con if con is not None and catalog.own(con) else None

    def _existing(self) -> LakeConnection | None:
        """The lake where there is one: nothing is made. A missing extra is told also where there is none yet."""
        extension("ducklake")
        if self._file is not None and not os.path.exists(self._file):
            return None
        try:
            return self._connect(create=False)
        except duckdb.Error as error:
            if NO_LAKE in str(error):
                return None
            raise

    def maintain(self, table: str) -> Mapping[str, int]:
        """Merge small files, rewrite those with many deleted rows, forget old snapshots and delete their files."""
        with self._waiting(), self._errors():
            con = self._connect(create=False)
            name, older = literal(table), f"older_than => {literal(self._oldest().isoformat())}::TIMESTAMPTZ"
            calls = {
                "flushed": f"ducklake_flush_inlined_data('{LAKE}', table_name => {name})",
                "rewritten": f"ducklake_rewrite_data_files('{LAKE}', {name})",
                "merged": f"ducklake_merge_adjacent_files('{LAKE}', {name})",
                "expired": f"ducklake_expire_snapshots('{LAKE}', {older})",
                "deleted": f"ducklake_cleanup_old_files('{LAKE}', {older})",
            }
            done = {what: len(con.execute(f"CALL {call}").fetchall()) for what, call in calls.items()}
            return {"rewritten": done["rewritten"] + done["merged"], "deleted": done["deleted"]}

    def _oldest(self) -> datetime:
        retention: timedelta = self._options.snapshot_retention
        return datetime.now(UTC) - retention

    def _connect(self, *, create: bool) -> LakeConnection:
        if self._open is None:
            self.check()
            con = duckdb.connect(config=settings(self._options.memory_limit))
            with ExitStack() as undo:
                undo.callback(con.close)
                self._attach(con, create)
                self._open = LakeConnection(con)
                undo.pop_all()
        return self._open

    def _attach(self, con: Any, create: bool) -> None:
        data = self._options.data_path
        scheme = data.partition("://")[0] if "://" in data else ""
        needed = ["ducklake", *filter(None, [SCANNERS.get(self._kind), "httpfs" if scheme in SECRETS else None])]
        for name in needed:
            con.execute(f"LOAD {literal(str(extension(name)))}")
        if scheme in SECRETS and self._options.storage_options:
            parts = [f"{name} {literal(value)}" for name, value in self._options.storage_options.items()]
            con.execute(f"CREATE SECRET (TYPE {SECRETS[scheme]}, {', '.join(parts)})")
        if self._file is not None and not scheme:
            Path(data).mkdir(parents=True, exist_ok=True)
        options = [
            f"DATA_PATH {literal(data.removeprefix('file://'))}",
            f"CREATE_IF_NOT_EXISTS {str(create).lower()}",
            # Rows in the catalog's own tables would stand beside columns of these names: rowid, row_id, begin_snapshot.
            "DATA_INLINING_ROW_LIMIT 0",
            *filter(None, [CATALOG_OPTIONS.get(self._kind)]),
        ]
        where = literal(f"ducklake:{self._kind}:{self._file or self._catalog}")
        con.execute(f"ATTACH {where} AS {LAKE} ({', '.join(options)})")

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Outside of a commit a conflict only says that somebody writes."""
        try:
            yield
        except Conflict as error:
            raise TransientSinkError(f"{self.place}: somebody writes to the lake ({error})") from None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """DuckDB's errors as Millrace's, with the catalog's name and without its password."""
        try:
            yield
        except duckdb.OutOfMemoryException as error:
            said = self._without_secrets(str(error))
            raise out_of_memory(self.place, self._options.memory_limit, said) from None
        except duckdb.Error as error:
            text = self._without_secrets(str(error))
            if any(word in text.lower() for word in CONFLICTS):
                raise Conflict(text) from None
            raise sink_error(f"{self.place}: {by_hand(text) or _advice(text)} ({text})", error) from None

    def _without_secrets(self, text: str) -> str:
        line = " ".join(text.strip().split())
        if self._file is None:
            line = _without_password(line.replace(self._catalog, "..."))
        return line[:500]


def _make_own_tables(con: Connection) -> None:
    """Millrace's own tables, where they are not there yet: their few rows stand in the catalog, and not in files."""
    if catalog.own(con):
        return
    for statement in catalog.OWN_TABLES:
        con.execute(statement)
    for name in catalog.OWN_NAMES:
        limit = f"'data_inlining_row_limit', {INLINED_ROWS}"
        con.execute(f"CALL {LAKE}.set_option({limit}, table_name => {literal(name)})")


def _without_password(text: str) -> str:
    """A connection string, or an error with one, as a person may see it."""
    text = re.sub(r"password\s*=\s*('[^']*'|\S+)", "password=***", text)
    return re.sub(r"(\w+://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)


def _advice(message: str) -> str:
    """What a person can do about it."""
    words = message.lower()
    if "data_path" in words and "match" in words:
        return "the lake was made with another data_path; correct target.data_path"
    if "not a database" in words or "not a valid duckdb" in words:
        return "this is no catalog of DuckLake; correct target.catalog"
    if "connect" in words or "authentication" in words:
        return "the catalog's server cannot be reached as target.catalog says"
    if "permission" in words or "read-only" in words or "cannot open" in words or "denied" in words:
        return "the catalog or the data cannot be opened or written; check the rights there"
    if "space" in words or "could not write" in words:
        return "nothing was committed, the disk is full or the files cannot be written; make room and run again"
    return "the lake cannot be read or written"
