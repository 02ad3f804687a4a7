"""The README is one page, and says what the code does: its paths, its promises, its figures, what the demo prints."""

import re
import tomllib
from pathlib import Path

from support.markdown import DOCS, README, ROOT, Page, anchor, code

from millrace.pipelines.cli.verify import report_lines
from millrace.pipelines.execution.summary import Summary
from millrace.pipelines.job.load import load_job

PAGE = Page(README)
EXAMPLE = ROOT / "deploy" / "examples" / "data_changes" / "job.yaml"
FOR_DEVELOPERS = {"test", "check", "bench", "image", "dataflow"}


def test_it_is_one_page():
    assert len(PAGE.text.splitlines()) < 150


def test_it_tells_where_things_are():
    """Each of the places is a link (test_docs follows them), and what is named in a file is defined there."""
    places = PAGE.section("Where things are").strip().split("\n- ")
    assert len(places) == 5
    assert all(re.search(r"\]\(\w", place) for place in places)
    named = re.findall(r"`(\w+)` in \[[^]]+\]\(([^)]+)\)", PAGE.text)
    assert named
    for name, path in named:
        assert f"\ndef {name}(" in (ROOT / path).read_text(), f"{path} has no {name}"


def test_each_promise_has_a_section_with_tests_and_each_such_section_is_promised():
    promised = re.findall(r"^- \[[^]]+\]\(docs/guarantees\.md#([\w-]+)\)", PAGE.text, re.MULTILINE)
    parts = Page(DOCS / "guarantees.md").text.split("\n## ")
    held = [anchor(part.splitlines()[0]) for part in parts if "Held by `" in part]
    assert len(held) == 12
    assert sorted(promised) == sorted(held)


def test_each_tool_is_compared_in_full_behind_it():
    compared = " ".join(Page(DOCS / "comparison.md").table("tool", "reads").column("tool"))
    for tool in PAGE.table("tool", "take it for").column("tool"):
        assert tool.partition(",")[0] in compared


def test_its_figures_are_those_of_the_benchmarks():
    behind = Page(DOCS / "benchmarks.md").table("changes a second", "Millrace", "per-record Beam", "times")
    assert [(row[0].removeprefix("DuckDB, "), *row[1:]) for row in behind.rows] == list(
        PAGE.table("changes a second").rows
    )


def test_the_demo_prints_tables_with_the_columns_shown():
    summary = Summary(job="j", file=Path("j"), dead_letters="d")
    summary.table("orders")
    printed = {re.sub(" +", " ", lines[0]) for lines in (summary.lines(), report_lines([], load_job(EXAMPLE)))}
    shown = re.findall(r"^ +(table .*)$", "".join(PAGE.blocks("console")), re.MULTILINE)
    assert {re.sub(" +", " ", line) for line in shown} == printed


def test_every_extra_is_named():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) - FOR_DEVELOPERS <= set(code(PAGE.section("Install")))
