"""A source that changes, a live Debezium that reads it, and a job whose table must be the source's own rows."""

import random
import time
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path
from typing import Any

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.execution.job_parts import source_of, target_of
from millrace.pipelines.job.load import load_job
from millrace.schemas.model.ledger import TopicPartition
from millrace.transforms.proof.report import Outcome
from support.jobs import run_once
from support.stored_rows import stored, unequal

KEYS = {"items": ("id",), "pairs": ("a", "b")}
JOB = """job: live
source: {{type: kafka, bootstrap_servers: '{servers}', topics: [{name}.public.items, {name}.public.pairs]}}
format: {{type: debezium, registry: '{registry}'}}
tables:
  - {{from: {name}.public.items, to: items}}
  - {{from: {name}.public.pairs, to: pairs, on_truncate: apply}}
target: {{type: duckdb, path: out.duckdb}}
"""


QUIET = 2.0
"""Seconds without a message after which Debezium has sent what there was."""


class Writer(ABC):
    """A program that changes the source: random transactions, the same ones for the same seed."""

    def __init__(self) -> None:
        self.random = random.Random(11)

    @abstractmethod
    def rows(self, query: str) -> list[tuple]:
        """What a statement of its own gives."""

    @abstractmethod
    def connection(self) -> Any:
        """A connection, as a context manager, that commits when it is told."""

    @abstractmethod
    def values(self) -> dict[str, Any]:
        """A random value of each column of `items`."""

    @abstractmethod
    def upsert(self, table: str, values: dict[str, Any], marks: str) -> str:
        """The statement that writes a row, new or not; `marks` are its values in SQL."""

    @abstractmethod
    def final(self, table: str, key: tuple[str, ...]) -> dict:
        """The source's rows now, as canonical values by key."""

    def write(self, transactions: int, deletes: bool = True) -> None:
        with self.connection() as con:
            for _ in range(transactions):
                for _ in range(self.random.randint(1, 6)):
                    con.cursor().execute(*self._change(deletes))
                con.commit()

    def _change(self, deletes: bool) -> tuple[str, dict[str, Any]]:
        pick, key = self.random, self.random.randint(1, 60)
        values = self.values()
        kind = pick.random()
        if kind < 0.35:
            marks = ", ".join(f"%({name})s" for name in values)
            return self.upsert("items", {"id": key, **values}, f"{key}, {marks}"), values
        if kind < 0.65:
            return f"UPDATE items SET name = %(name)s, amount = %(amount)s, flag = NULL WHERE id = {key}", values
        if kind < 0.75 and deletes:
            return f"DELETE FROM items WHERE id = {key}", values
        if kind < 0.8 and deletes:
            free = f"NOT EXISTS (SELECT 1 FROM (SELECT id FROM items) AS held WHERE held.id = {key + 1000})"
            return f"UPDATE items SET id = {key + 1000}, name = %(name)s WHERE id = {key} AND {free}", values
        if kind < 0.95:
            pair = {"a": key % 7, "b": f"k{key % 5}", "count": key}
            return self.upsert("pairs", pair, f"{key % 7}, 'k{key % 5}', {key}"), values
        return f"DELETE FROM pairs WHERE a = {key % 7}" if deletes else "UPDATE pairs SET count = count + 1", values


class Play:
    """The job beside the source: `proved` runs it up to a row that is written now, and compares."""

    def __init__(self, writer: Writer, file: Path, as_text: tuple[str, ...] = ()) -> None:
        self._writer, self._file, self._as_text, self._marks = writer, file, as_text, 0

    def mark(self) -> None:
        """Write a row that comes after all that was written."""
        self._marks += 1
        self._writer.rows(f"INSERT INTO items (id) VALUES ({-self._marks})")

    def proved(self) -> None:
        self.mark()
        deadline = time.monotonic() + 90
        while not self._reached():
            assert time.monotonic() < deadline, "Debezium does not send what was written"
            time.sleep(0.3)
        assert not self.run().failed
        with closing(target_of(load_job(self._file)).open()) as sink:
            for table, key in KEYS.items():
                rows, final = stored(sink, table, key, as_text=self._as_text), self._writer.final(table, key)
                assert rows.keys() == final.keys(), table
                differing = unequal(rows, final)
                assert not differing, (table, differing)
        for report in verify_job(load_job(self._file)):
            assert report.outcome is Outcome.EQUAL, report

    def stopped(self, words: str) -> None:
        """The job is run until its tables stop, with these words."""
        self.mark()
        deadline = time.monotonic() + 90
        self._all_sent()
        while not (summary := run_once(self._file)).failed:
            assert time.monotonic() < deadline, "the tables did not stop"
            time.sleep(0.3)
        assert words in "\n".join(summary.lines())

    def run(self):
        summary = run_once(self._file)
        assert not summary.failed, summary.lines()
        return summary

    def _ends(self) -> dict:
        job = load_job(self._file)
        with closing(source_of(job)) as source, closing(source.connect()) as connection:
            topics = connection.topics(job.source.topics)
            return connection.offsets([TopicPartition(name, one) for name, found in topics.items() for one in found])

    def _all_sent(self) -> None:
        """Wait until nothing more comes: a key change that two commits cut apart loses what it does not send."""
        ends, since = self._ends(), time.monotonic()
        while time.monotonic() - since < QUIET:
            time.sleep(0.2)
            now = self._ends()
            if now != ends:
                ends, since = now, time.monotonic()

    def _reached(self) -> bool:
        self._all_sent()
        self.run()
        with closing(target_of(load_job(self._file)).open()) as sink:
            if "items" not in sink.tables():
                return False
            return any(-self._marks in batch.column("id").to_pylist() for batch in sink.scan("items"))
