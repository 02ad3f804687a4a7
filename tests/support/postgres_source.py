"""A database whose tables a job reads, and the job that reads them into DuckDB."""

import os
from pathlib import Path
from uuid import uuid4

import duckdb

from millrace.pipelines.execution.run_passes import run
from millrace.pipelines.execution.summary import Summary
from millrace.pipelines.job.load import load_job
from millrace.pipelines.job.model import Job

from .postgres_server import PASSWORD, USER, PostgresServer, server

IN_A_JOB = "MILLRACE_TEST_SOURCE_PASSWORD"


class Quiet:
    """Says nothing."""

    def update(self, *told: object) -> None:
        pass

    copying = log = update

    def note(self, text: str) -> None:
        pass


class SourceDatabase:
    """A database of its own with a slot of its own; `close` drops both."""

    def __init__(self, folder: Path, on: PostgresServer | None = None) -> None:
        self.server, self.folder, self.name = on or server(), folder, f"source_{uuid4().hex[:12]}"
        self.server.sql(f"CREATE DATABASE {self.name}")
        os.environ[IN_A_JOB] = PASSWORD

    def sql(self, query: str) -> list:
        return self.server.sql(query, dbname=self.name)

    def source(self, tables: str, more: str = "") -> str:
        where = f"host: 127.0.0.1, port: {self.server.port}, database: {self.name}, username: {USER}"
        return (
            f'{{type: postgres, {where}, password: "${{env:{IN_A_JOB}}}", slot: {self.name}, '
            f"publication: {self.name}, tables: [{tables}]{more}}}"
        )

    def job(self, tables: str, rest: str = "", more: str = "") -> Job:
        file = self.folder / "job.yaml"
        file.write_text(
            f"job: shop\nsource: {self.source(tables, more)}\ntarget: {{type: duckdb, path: w.duckdb}}\n{rest}\n"
        )
        return load_job(file)

    def run(self, job: Job) -> Summary:
        return run(job, once=True, progress=Quiet())

    def rows(self, query: str) -> list:
        with duckdb.connect(str(self.folder / "w.duckdb"), read_only=True) as con:
            con.execute("SET TimeZone = 'UTC'")
            return con.execute(query).fetchall()

    def drop_slot(self) -> None:
        self.sql(
            f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{self.name}'"
        )

    def close(self) -> None:
        self.drop_slot()
        self.server.sql(f"DROP DATABASE {self.name} WITH (FORCE)")
