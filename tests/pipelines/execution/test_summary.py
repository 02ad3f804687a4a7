"""Progress lines and the closing summary, for terminals, pipes and programs."""

import io
import json
import re
from pathlib import Path

from millrace.pipelines.execution.progress import Progress
from millrace.pipelines.execution.summary import Summary
from millrace.pipelines.job.formatting import duration, wrapped
from millrace.schemas.model.ledger import Account, TopicPartition

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def summary(**error):
    made = Summary(job="shop", file=Path("my job.yaml"), dead_letters="/data/dead", seconds=2.0, cpu_seconds=4.0)
    table = made.table("orders")
    table.add([Account("t", 0, 0, 900, 900, 500, 300, 60, 40), Account("t", 1, 0, 1100, 1100, 1000, 100)])
    table.where, table.error = "duckdb w.duckdb 'FROM orders'", error.get("error")
    return made


def test_a_summary_for_people():
    assert summary().lines() == [
        "table    read  applied  superseded  filtered  dead  lag",
        "orders  2,000    1,500         400        60    40    0",
        "",
        "2,000 messages read in 2.0 s: 1,000 a second, 500 a CPU-second",
        "  orders: duckdb w.duckdb 'FROM orders'",
        "  dead letters: /data/dead",
        "next: millrace verify 'my job.yaml'",
        "next: millrace dead-letters ls 'my job.yaml'",
    ]


def test_a_table_that_stopped():
    made = summary(error="too bad")
    assert made.failed
    assert made.lines()[-3:] == [
        "  orders stopped: too bad",
        "next: millrace check 'my job.yaml'",
        "next: millrace dead-letters ls 'my job.yaml'",
    ]
    assert made.to_json()["ok"] is False


def test_a_run_that_found_nothing():
    made = Summary(job="shop", file=Path("job.yaml"), dead_letters="d", seconds=0.25)
    assert made.lines() == ["nothing new to read, in 0.2 s", "next: millrace verify job.yaml"]


def test_a_summary_for_programs():
    data = json.loads(json.dumps(summary().to_json()))
    assert data["read"] == sum(data[name] for name in ("applied", "superseded", "filtered", "dead")) == 2000
    assert data["changes_per_second"] == 1000
    assert data["tables"][0]["table"] == "orders"


def test_plain_lines_come_every_few_seconds():
    out, clock = io.StringIO(), Clock()
    with Progress(out, clock=clock) as progress:
        progress.update({A: 100, B: 0}, {A: 1100, B: 1000})
        for clock.now in (1.0, 4.9, 5.0, 6.0, 10.0):
            progress.update({A: 100 + int(clock.now * 100), B: 0}, {A: 1100, B: 1000}, dead=int(clock.now))
    assert out.getvalue().splitlines() == [
        "5.0 s: 500 read, 100/s, lag 1,500, 15 s left, 5 dead letters",
        "10 s: 1,000 read, 100/s, lag 1,000, 10 s left, 10 dead letters",
    ]


def test_each_topic_has_a_line_where_there_are_several_and_what_is_read_has_an_age():
    out, clock = io.StringIO(), Clock()
    other = TopicPartition("zebra", 0)
    with Progress(out, clock=clock) as progress:
        progress.update({A: 100, other: 7}, {A: 1100, other: 7})
        clock.now += 10
        progress.update({A: 600, other: 9}, {A: 1100, other: 9}, behind={A.topic: 75.0})
    total, *topics = out.getvalue().splitlines()
    assert total.endswith("502 read, 50/s, lag 500, 10 s left, read 1 min 15 s behind")
    assert topics == [f"  {A.topic}: 500 read, at 600 of 1,100, read 1 min 15 s behind", "  zebra: 2 read, at 9 of 9"]


def test_a_copy_tells_its_rows_its_rate_and_the_time_left():
    out, clock = io.StringIO(), Clock()
    with Progress(out, clock=clock) as progress:
        for seconds in range(11):
            clock.now = float(seconds)
            progress.copying(50_000 + 10_000 * seconds, 450_000, 2)
        clock.now = 20.0
        progress.copying(1_000, 0, 1)
        clock.now = 25.0
        progress.log(1, 3, 2)
    assert out.getvalue().splitlines() == [
        "5.0 s: copying 2 tables: 100,000 of about 450,000 rows, 10,000/s, 35 s left",
        "10 s: copying 2 tables: 150,000 of about 450,000 rows, 10,000/s, 30 s left",
        "20 s: copying 1 table: 1,000 rows, 0/s",
        "25 s: 1 of 3 tables at the log's end, 2 dead letters",
    ]


def test_a_terminal_has_one_line_that_goes_away(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    out, clock = Terminal(), Clock()
    with Progress(out, clock=clock) as progress:
        progress.update({A: 0}, {A: 10})
        clock.now = 1.0
        progress.update({A: 5}, {A: 10})
        progress.note("look")
    assert out.getvalue() == (
        "\r\x1b[K1.0 s: 5 read, 5/s, lag 5, 1.\r\x1b[Klook\n\r\x1b[K1.0 s: 5 read, 5/s, lag 5, 1.\r\x1b[K"
    )


def test_a_table_that_leaves_the_run_does_not_turn_the_count_back():
    out, clock = io.StringIO(), Clock()
    progress = Progress(out, clock=clock)
    progress.update({A: 0, B: 0}, {A: 100, B: 100})
    clock.now = 5.0
    progress.update({A: 50, B: 50}, {A: 100, B: 100})
    clock.now = 10.0
    progress.update({A: 60}, {A: 100, B: 100})
    assert out.getvalue().splitlines()[-1] == "10 s: 110 read, 11/s, lag 90, 8.2 s left"


def test_a_closed_stderr_is_no_failure():
    out, clock = io.StringIO(), Clock()
    progress = Progress(out, clock=clock)
    out.close()
    progress.note("nobody hears")
    progress.note("nobody hears")


def test_nothing_is_said_where_it_is_to_be_quiet():
    out = Terminal()
    progress = Progress(out, quiet=True)
    progress.note("x")
    progress.close()
    assert out.getvalue() == ""


def test_durations():
    assert [duration(seconds) for seconds in (0.04, 9.94, 9.96, 59.4, 59.6, 185, 3600, 7800)] == [
        "0.0 s",
        "9.9 s",
        "10 s",
        "59 s",
        "1 min 00 s",
        "3 min 05 s",
        "1 h 00 min",
        "2 h 10 min",
    ]


def test_long_lines_are_cut_between_words_and_a_path_stays_whole():
    path = "/data/warehouse/with/a/long/name/that/somebody/copies.duckdb"
    line = f"  orders stopped: the file {path} is on a disk that is full; make room and run again"
    pieces = wrapped(line, 50)
    assert all(len(piece) <= 50 or path in piece for piece in pieces)
    assert any(path in piece for piece in pieces)
    assert " ".join(piece.strip() for piece in pieces) == line.strip()
    assert wrapped("next: millrace run a-file-with-a-very-long-name.yaml", 20) == [
        "next: millrace run a-file-with-a-very-long-name.yaml"
    ]


def test_lines_of_a_pipe_bear_time_and_level_where_that_is_asked_for():
    pipe, terminal = io.StringIO(), Terminal()
    for out in (pipe, terminal):
        Progress(out, stamp=True).note("hello")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO hello\n", pipe.getvalue())
    assert terminal.getvalue() == "hello\n"
