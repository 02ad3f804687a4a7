"""The documentation says what the code does: jobs load, commands parse, tables name what exists, links lead on."""

import copy
import re
import runpy
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.markdown import DOCS, ROOT, WHOLE, Page, Table, anchor, as_job, code, pages

from millrace.pipelines.cli import main
from millrace.pipelines.cli.arguments import COMMANDS, parse
from millrace.pipelines.execution.summary import COUNTS
from millrace.pipelines.job.load import load_job
from millrace.pipelines.job.model import Job
from millrace.schemas.encodings import ENCODINGS
from millrace.schemas.envelopes import ENVELOPES
from millrace.schemas.errors import JobError
from millrace.schemas.model.change import POSITION_TYPE
from millrace.schemas.model.dead_letter import DeadLetter
from millrace.schemas.model.modes import Mode
from millrace.schemas.options import duration_text, size_text
from millrace.transforms.proof.report import Outcome, Verdict
from millrace.transforms.sinks import SINKS
from millrace.transforms.sources import SOURCES

PAGES = {page.name: page for page in pages()}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
BLOCKS = [(name, number) for name, page in PAGES.items() for number in range(len(page.blocks("yaml")))]
SHOWN = sorted({command for name, page in PAGES.items() if name != "CHANGELOG.md" for command in page.commands})
SECTIONS = ("", "source", "format", "tables", "window", "target", "dead_letters")
JOB_FILE = PAGES["docs/job-file.md"]
GLOSSARY = PAGES["docs/glossary.md"]
MENTIONS = r"`((?:tests|transforms|schemas|pipelines|docs|deploy|benchmarks)/[\w./-]*)(?:::(\w+))?`"


@pytest.mark.parametrize(("name", "number"), BLOCKS)
def test_every_yaml_block_is_a_job_or_a_part_of_one(name, number, tmp_path):
    (tmp_path / "job.yaml").write_text(as_job(PAGES[name].blocks("yaml")[number]))
    assert load_job(tmp_path / "job.yaml").job


@pytest.mark.parametrize("command", SHOWN)
def test_every_command_shown_is_a_command(command):
    if command in COMMANDS:
        return
    words = [word for word in command.replace("PLACE", "t[0]@1").split() if word != "..."]
    assert parse(words).command == command.split()[0]


def test_every_command_is_shown_on_the_page_of_commands():
    shown = [code(cell)[0] for cell in PAGES["docs/operating.md"].table("command", "does").column("command")]
    assert {line.split()[1] for line in shown} == set(COMMANDS)
    assert {"millrace dead-letters ls JOB", "millrace dead-letters show JOB PLACE"} <= set(shown)


# The job file


def known_keys(folder: Path, section: str) -> set[str]:
    """What the job file may hold in a section: the complaint about a key that is like no other lists them all."""
    odd = {name: ", QQQQQQQQQ: 1" if name == section else "" for name in (*SECTIONS, "registry")}
    file = folder / "job.yaml"
    file.write_text(
        f"{{job: j{odd['']}, source: {{type: kafka, bootstrap_servers: a, topics: [a]{odd['source']}}}, "
        f"format: {{type: upsert, registry: {{url: 'http://a'{odd['registry']}}}{odd['format']}}}, "
        f"tables: [{{from: a{odd['tables']}}}], window: {{every: 1s{odd['window']}}}, "
        f"target: {{type: duckdb, path: a{odd['target']}}}, dead_letters: {{path: a{odd['dead_letters']}}}}}"
    )
    with pytest.raises(JobError, match="unknown key; known are ") as caught:
        load_job(file)
    return set(str(caught.value).partition("known are ")[2].split(", "))


def documented_keys(section: str) -> set[str]:
    names = [code(cell)[0] for cell in JOB_FILE.table("key").column("key")]
    if section == "registry":
        return {code(cell)[0] for cell in JOB_FILE.table("registry key").column("registry key")}
    if not section:
        return {name.partition(".")[0] for name in names}
    below = {name.removeprefix(f"{section}.") for name in names if name.startswith(f"{section}.")}
    return below | {code(cell)[0] for cell in options("sources", "kafka")} if section == "source" else below


def options(kind: str, name: str) -> dict[str, str]:
    """The option table of a source's or target's page: name and default, as written."""
    table = PAGES[f"docs/{kind}/{name}.md"].table("option", "type", "default", "means")
    return dict(zip(table.column("option"), table.column("default"), strict=True))


@pytest.mark.parametrize("section", [*SECTIONS, "registry"], ids=lambda section: section or "top")
def test_every_key_of_the_job_file_is_in_the_table(section, tmp_path):
    known = known_keys(tmp_path, section)
    if section == "target":
        known -= set(SINKS["duckdb"].options.keys())
    if section == "format":
        for spec in (*ENCODINGS.values(), *ENVELOPES.values()):
            known |= set(spec.options.keys())
    assert documented_keys(section) == known


def defaults() -> Iterator[tuple[str, Any]]:
    """Each key of the job file whose default the tables show as a value."""
    shown = dict(_column(JOB_FILE.table("key")))
    shown |= {f"format.registry.{key}": default for key, default in _column(JOB_FILE.table("registry key"))}
    shown |= {f"source.{code(cell)[0]}": default for cell, default in options("sources", "kafka").items()}
    for key, default in shown.items():
        if re.fullmatch(r"`[^`]+`", default) and default != "`target.mode`":
            yield key, yaml.safe_load(code(default)[0])


def _column(table: Table) -> Iterator[tuple[str, str]]:
    for row in table.rows:
        yield code(row[0])[0], row[2]


def job_with(folder: Path, place: str, value: Any) -> tuple[Job, Job]:
    """A job without a key, and the job with this value of it."""
    whole = {**WHOLE, "tables": [{"from": "shop.public.orders"}]}
    whole["format"] = {"type": "debezium", "registry": {"url": "http://a"}}
    if place == "dead_letters.storage_options":
        whole["dead_letters"] = {"path": "dead_letters"}
    *sections, key = place.split(".")
    changed = part = copy.deepcopy(whole)
    for section in sections:
        part = part.setdefault(section, {})
        part = part[0] if isinstance(part, list) else part
    part[key] = value
    return _loaded(folder, whole), _loaded(folder, changed)


def _loaded(folder: Path, whole: Mapping[str, Any]) -> Job:
    (folder / "job.yaml").write_text(yaml.safe_dump(whole))
    return load_job(folder / "job.yaml")


@pytest.mark.parametrize(("key", "default"), list(defaults()), ids=lambda value: str(value))
def test_a_default_that_is_written_out_changes_nothing(key, default, tmp_path):
    without, written = job_with(tmp_path, key, default)
    if key == "max_dead_letters":  # one that is not given also stops a table whose first messages are all dead
        given = replace(without.max_dead_letters, given=True)
        without = without.model_copy(update={"max_dead_letters": given})
    assert written == without


def test_defaults_are_shown_for_most_keys():
    assert len(list(defaults())) >= 12


# Sources


@pytest.mark.parametrize("kind", sorted(SOURCES))
def test_each_source_has_a_page_with_its_options(kind):
    page = PAGES[f"docs/sources/{kind}.md"]
    assert set(SOURCES[kind].options.keys()) <= {code(cell)[0] for cell in options("sources", kind)}
    headings = re.findall(r"^## (.*)$", page.text, re.MULTILINE)
    assert headings[:3] == ["The first five minutes", "Options", "What it promises"]


def test_the_index_names_each_source():
    table = PAGES["docs/index.md"].table("`type`", "needs", "reads")
    assert {code(cell)[0] for cell in table.column("`type`")} == set(SOURCES)


# Targets


def as_written(default: object) -> str:
    """A default as a job file would have it."""
    if isinstance(default, timedelta):
        return duration_text(default)
    return size_text(default) if isinstance(default, int) and not default % 1024 else str(default)


@pytest.mark.parametrize("kind", sorted(SINKS))
def test_the_page_of_a_target_has_its_options_with_their_defaults(kind):
    keys = SINKS[kind].options.keys()
    shown = options("targets", kind)
    assert {code(cell)[0] for cell in shown} == set(keys)
    for cell, default in shown.items():
        field = keys[code(cell)[0]]
        if field.is_required():
            assert default == "needed"
        elif field.default in (None, (), {}):
            assert default != "needed"
        else:
            assert code(default) == [as_written(field.default)]


def test_each_target_has_a_page_of_the_same_sections():
    first = ["The first five minutes", "Options", "Types", "What it promises", "What it does not", "Reading it"]
    for kind in SINKS:
        headings = re.findall(r"^## (.*)$", PAGES[f"docs/targets/{kind}.md"].text, re.MULTILINE)
        assert [heading for heading in headings if heading in first] == first, kind


def test_no_target_forgets_a_type():
    rows = [tuple(row[:2] for row in PAGES[f"docs/targets/{kind}.md"].table("in Avro", "Arrow").rows) for kind in SINKS]
    assert len(rows[0]) == 15 and len(set(rows)) == 1


def test_the_index_names_each_target_with_its_extra_and_its_modes():
    table = PAGES["docs/index.md"].table("`type`", "needs", "keeps", "modes")
    assert {code(cell)[0] for cell in table.column("`type`")} == set(SINKS)
    for kind, needs in zip(table.column("`type`"), table.column("needs"), strict=True):
        extra = SINKS[code(kind)[0]].extra
        assert set(code(needs)) <= set(EXTRAS)
        assert extra is None or extra in code(needs)
    for kind, modes in zip(table.column("`type`"), table.column("modes"), strict=True):
        able = set(SINKS[code(kind)[0]].modes)
        assert able == (set(Mode) if modes == "all" else {Mode(mode) for mode in code(modes)})


@pytest.mark.parametrize("kind", sorted(SINKS))
def test_what_a_target_cannot_promise_is_shown(kind):
    page = PAGES[f"docs/targets/{kind}.md"]
    shown = [dict(table.rows) for table in page.tables if table.head == ("does not promise that", "but")]
    declared = {str(promise): text for promise, text in SINKS[kind].exceptions.items()}
    assert shown == ([declared] if declared else [])
    link = f"](targets/{kind}.md#what-it-does-not)"
    assert (link in PAGES["docs/guarantees.md"].text) == bool(declared)


def test_every_verdict_and_outcome_of_the_proof_is_told_of():
    guarantees = PAGES["docs/guarantees.md"]
    assert guarantees.table("verdict", "the row").column("verdict") == list(Verdict)
    assert guarantees.table("outcome", "exit status").column("outcome") == list(Outcome)


def test_every_step_at_which_a_message_may_die_is_told_of():
    steps = code((DeadLetter.__doc__ or "").partition("where it failed: ")[2])
    assert steps
    assert [code(cell)[0] for cell in PAGES["docs/operating.md"].table("step", "what").column("step")] == steps


def test_every_exit_status_is_told_of():
    shown = PAGES["docs/operating.md"].table("status", "means").column("status")
    assert [int(status) for status in shown] == [main.GOOD, main.FAILED, main.WRONG, main.DIFFERENT, main.SAFE_CHANGES]


def test_every_mode_is_told_of():
    assert {code(cell)[0] for cell in PAGES["docs/modes.md"].table("`mode`").column("`mode`")} == set(Mode)


def test_the_changelog_has_each_heading_once_in_its_order():
    for version in PAGES["CHANGELOG.md"].text.split("\n## ")[1:]:
        headings = re.findall(r"^### (.*)$", version, re.MULTILINE)
        assert headings == [name for name in ("Added", "Changed", "Removed", "Fixed") if name in headings]
        assert all(line.startswith(("- ", "  ", "#")) for line in version.splitlines()[1:] if line)


# What is named exists


def test_the_parts_of_an_account_are_those_that_are_counted():
    read, *parts = COUNTS
    assert f"`{read} = {' + '.join(parts)}`" in PAGES["docs/guarantees.md"].text


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    page = PAGES[name]
    for link in page.links:
        if "://" in link:
            continue
        file, _, part = link.partition("#")
        target = (page.path.parent / file).resolve() if file else page.path
        assert target.exists(), f"{name}: {link}"
        assert target.is_relative_to(ROOT), f"{name}: {link}"
        if part:
            assert part in Page(target).anchors, f"{name}: {link}"


@pytest.mark.parametrize("name", PAGES)
def test_files_and_tests_that_are_named_exist(name):
    for path, test in re.findall(MENTIONS, PAGES[name].prose):
        if re.search(r"NAME|[A-Z]{4}", path):
            continue
        assert (ROOT / path).exists(), f"{name}: {path}"
        if test:
            assert f"def {test}(" in (ROOT / path).read_text(), f"{name}: {path}::{test}"


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {target for page in PAGES.values() for target in re.findall(r"(?:`|^)make (\w+)", page.text, re.MULTILINE)}
    assert shown and shown <= targets


def test_modules_that_can_be_run_exist():
    shown = {name for page in PAGES.values() for name in re.findall(r"python -m millrace\.([\w.]+)", page.text)}
    assert shown
    for module in shown:
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


def test_extras_that_are_installed_exist():
    shown = {extra for page in PAGES.values() for extra in re.findall(r"pip install '\.\[([\w,]+)\]'", page.text)}
    assert shown
    assert {part for extra in shown for part in extra.split(",")} <= set(EXTRAS)
    assert {code(cell)[0] for cell in PAGES["docs/operating.md"].table("extra", "for").column("extra")} <= set(EXTRAS)


def test_every_page_is_reached_from_the_index():
    reached = {(DOCS / link.partition("#")[0]).resolve() for link in PAGES["docs/index.md"].links if "://" not in link}
    assert {path for path in DOCS.rglob("*.md") if path.name != "index.md"} <= reached


# Figures


def test_figures_stand_with_their_ratios():
    """The ratio of each row is that of its two figures, as many digits as are shown."""
    tables = [table for page in PAGES.values() for table in page.tables if table.head[-1] == "times"]
    assert len(tables) == 6
    for table in tables:
        assert len(table.head) == 4
        for _, ours, theirs, times in table.rows:
            ratio = _number(ours) / _number(theirs)
            # Figures are rounded to hundreds, so their ratio may be off by as much.
            slack = ratio * (50 / _number(ours) + 50 / _number(theirs)) + 0.5 * 10 ** -len(times.partition(".")[2])
            assert abs(ratio - float(times)) <= slack, (ours, theirs, times)


def test_a_table_of_figures_has_one_measure():
    """The first cell of its head says what all its cells are: no cell has a unit of its own."""
    for table in PAGES["docs/benchmarks.md"].tables:
        for row in table.rows:
            assert all(re.fullmatch(r"[\d,.]+(?: M)?", cell) for cell in row[1:]), row


def _number(cell: str) -> float:
    return float(cell.replace(",", ""))


# The glossary and the picture


def test_the_glossary_has_a_sentence_for_each_word_and_each_word_is_used():
    words = re.findall(r"^### (.*)\n\n((?:.+\n)+)(?=\n|\Z)", GLOSSARY.text, re.MULTILINE)
    assert len(words) == len(GLOSSARY.anchors) - 1
    assert 25 <= len(words) <= 36
    assert [word for word, _ in words] == sorted((word for word, _ in words), key=str.casefold)
    for word, sentence in words:
        assert re.fullmatch(r"[A-Z][^.]*(?:\.[^\s.][^.]*)*\.\n", sentence), f"{word}: not one sentence"
    linked = {link.partition("#")[2] for page in PAGES.values() for link in page.links if "glossary.md#" in link}
    assert linked == {anchor(word) for word, _ in words}


def test_the_glossary_says_how_long_a_position_is():
    assert f"as {POSITION_TYPE.byte_width} bytes" in GLOSSARY.section("Position")


def test_the_picture_is_what_its_script_makes():
    made = runpy.run_path(str(DOCS / "picture.py"))["picture"]()
    assert (DOCS / "picture.svg").read_text() == made
    for folder in re.findall(r'class="path">([\w/]+)<', made):
        assert (ROOT / folder).is_dir()
