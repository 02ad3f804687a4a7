"""The README says what the code does: its job file loads, its commands parse, its tables name what exists."""

import inspect
import re
import tomllib
from pathlib import Path

import pytest

from millrace.pipelines.cli.arguments import COMMANDS, parse
from millrace.pipelines.job.load import load_job
from millrace.schemas.errors import JobError
from millrace.schemas.model.modes import Mode
from millrace.transforms.sinks import SINKS, modes_of, sink_class
from millrace.transforms.sinks.shared.guarantees import exceptions_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
JOBS = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
COMMANDS_SHOWN = sorted({text.strip() for text in re.findall(r"(?:`|\$ )millrace ([a-z][^`#\n]*)", README)})
SECTIONS = ("", "source", "format", "format.registry", "tables", "window", "target", "dead_letters")


def rows(head: str) -> list[list[str]]:
    """The cells of the table whose head begins so."""
    body = README.partition(f"| {head} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in body]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def known_keys(folder: Path, section: str) -> set[str]:
    """What the job file may hold in a section: the complaint about a key that is like no other lists them all."""
    odd = {name: ", QQQQQQQQQ: 1" if name == section else "" for name in SECTIONS}
    file = folder / "job.yaml"
    file.write_text(
        f"{{job: j{odd['']}, source: {{type: kafka, bootstrap_servers: a, topics: [a]{odd['source']}}}, "
        f"format: {{type: upsert, registry: {{url: 'http://a'{odd['format.registry']}}}{odd['format']}}}, "
        f"tables: [{{from: a{odd['tables']}}}], window: {{every: 1s{odd['window']}}}, "
        f"target: {{type: duckdb, path: a{odd['target']}}}, dead_letters: {{path: a{odd['dead_letters']}}}}}"
    )
    with pytest.raises(JobError, match="unknown key; known are ") as caught:
        load_job(file)
    return set(str(caught.value).partition("known are ")[2].split(", "))


def documented_keys(section: str) -> set[str]:
    if section == "format.registry":
        (cell,) = (row[1] for row in rows("key") if row[0] == "`format.registry`")
        return set(re.findall(r"\w+", code(cell)[0]))
    names = [code(row[0])[0] for row in rows("key")]
    if not section:
        return {name.partition(".")[0] for name in names}
    return {name.removeprefix(f"{section}.") for name in names if name.startswith(f"{section}.")}


def test_job_files_load(tmp_path):
    assert JOBS
    for text in JOBS:
        (tmp_path / "job.yaml").write_text(text)
        assert load_job(tmp_path / "job.yaml").job


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section or "top")
def test_every_key_of_the_job_file_is_in_the_table(section, tmp_path):
    known = known_keys(tmp_path, section)
    if section == "target":
        known -= set(inspect.signature(sink_class("duckdb")).parameters)
    assert documented_keys(section) == known


@pytest.mark.parametrize("command", COMMANDS_SHOWN)
def test_commands_shown_are_commands(command):
    if command in COMMANDS:
        return
    assert parse(command.replace("PLACE", "t[0]@1").split()).command == command.split()[0]


def test_all_commands_are_shown():
    assert {command.split()[0] for command in COMMANDS_SHOWN} == set(COMMANDS)
    assert {f"dead-letters {action}" for action in ("ls", "show")} <= {
        " ".join(command.split()[:2]) for command in COMMANDS_SHOWN
    }


def test_targets_and_their_options():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = {code(row[0])[0]: row for row in rows("`type`")}
    assert set(table) == set(SINKS)
    for kind, (_, needs, options, _) in table.items():
        assert set(code(needs)) <= set(extras)
        parameters = inspect.signature(sink_class(kind)).parameters
        assert set(re.findall(r"(?<!\()`(\w+)`", options)) == set(parameters)
        for name, default in re.findall(r"`(\w+)` \(`([^`]+)`\)", options):
            assert parameters[name].default == default


def test_what_a_target_cannot_promise_is_shown():
    shown = {(code(target)[0], promise): instead for target, promise, instead in rows("target")}
    declared = {(kind, str(promise)): text for kind in SINKS for promise, text in exceptions_of(kind).items()}
    assert shown == declared


def test_links_lead_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in re.findall(r"^#+ (.*)", README, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in headings
        elif "://" not in target:
            assert (ROOT / target).exists(), target


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?:`|^)make (\w+)", README, re.M)) <= targets


def test_modules_that_can_be_run_exist():
    for module in re.findall(r"python -m millrace\.([\w.]+)", README):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


def test_the_targets_that_keep_every_mode_are_named():
    line = README.partition("keep tables in every mode: ")[2].partition(";")[0]
    assert set(re.findall(r"`(\w+)`", line)) == {kind for kind in SINKS if set(modes_of(kind)) == set(Mode)}
