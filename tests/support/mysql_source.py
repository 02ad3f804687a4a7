"""A database of a MySQL or MariaDB server whose tables a job reads, and the job that reads them into DuckDB."""

import os
from pathlib import Path
from uuid import uuid4

import duckdb

from millrace.pipelines.execution.run_passes import run
from millrace.pipelines.execution.summary import Summary
from millrace.pipelines.job.load import load_job
from millrace.pipelines.job.model import Job

from .mysql_server import ROLE, ROLE_PASSWORD, DatabaseServer
from .postgres_source import Quiet

IN_A_JOB = "MILLRACE_TEST_MYSQL_PASSWORD"


class SourceDatabase:
    """A database of its own; `close` drops it."""

    def __init__(self, folder: Path, on: DatabaseServer) -> None:
        self.server, self.folder, self.name = on, folder, f"source_{uuid4().hex[:12]}"
        self.server.sql(f"CREATE DATABASE {self.name}")
        os.environ[IN_A_JOB] = ROLE_PASSWORD

    def sql(self, *queries: str) -> list:
        """What another program does in one session; the rows of the last statement."""
        with self.server.connect(database=self.name) as con, con.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00'")
            for query in queries:
                cursor.execute(query)
            return list(cursor.fetchall())

    def topic(self, table: str) -> str:
        return f"{self.name}.{table}"

    def source(self, *tables: str, more: str = "") -> str:
        where = f"host: 127.0.0.1, port: {self.server.port}, username: {ROLE}"
        listed = ", ".join(map(self.topic, tables))
        return f'{{type: mysql, {where}, password: "${{env:{IN_A_JOB}}}", tables: [{listed}]{more}}}'

    def job(self, *tables: str, rest: str = "", more: str = "") -> Job:
        file = self.folder / "job.yaml"
        source = self.source(*tables, more=more)
        file.write_text(f"job: shop\nsource: {source}\ntarget: {{type: duckdb, path: w.duckdb}}\n{rest}\n")
        return load_job(file)

    def run(self, job: Job) -> Summary:
        return run(job, once=True, progress=Quiet())

    def rows(self, query: str) -> list:
        """What the target says."""
        with duckdb.connect(str(self.folder / "w.duckdb"), read_only=True) as con:
            con.execute("SET TimeZone = 'UTC'")
            return con.execute(query).fetchall()

    def close(self) -> None:
        self.server.sql(f"DROP DATABASE {self.name}")
