"""A log that lost its end and grew again at the same offsets: its table stops, and the others go on."""

import pytest
from support.jobs import event, key, rows, run_once, write_job

from millrace.transforms.sources.scripted.source import ScriptedSource


@pytest.fixture
def log(tmp_path):
    source = ScriptedSource(tmp_path.name)
    yield source
    source.clear()


def job(folder, name):
    file = write_job(folder, "-", ["torn", "whole"])
    kafka = "type: kafka, bootstrap_servers: '-'"
    file.write_text(file.read_text().replace(kafka, f"type: scripted, name: {name}"))
    return file


def fill(log, topic, numbers, at):
    for number in numbers:
        log.send(topic, event("c", number, "a", at, at + number), key=key(number))


@pytest.mark.parametrize("grown", [20, 30, 45])
def test_it_is_noticed_before_anything_is_read(log, tmp_path, grown):
    fill(log, "torn", range(30), 100)
    fill(log, "whole", range(30), 100)
    file = job(tmp_path, log.name)
    assert not run_once(file).failed
    log.lose_tail("torn", 20)
    fill(log, "torn", range(1_000, 1_000 + grown - 20), 500)
    fill(log, "whole", range(30, 35), 100)
    summary = run_once(file)
    assert "torn[0]" in summary.tables["torn"].error and "nothing was" in summary.tables["torn"].error
    assert summary.tables["whole"].error is None
    assert (len(rows(tmp_path, "torn")), len(rows(tmp_path, "whole"))) == (30, 35)


def test_what_was_read_is_known_again_in_the_next_run(log, tmp_path):
    file = job(tmp_path, log.name)
    fill(log, "whole", range(5), 100)
    for step in range(3):
        fill(log, "torn", range(10 * step, 10 * step + 10), 100)
        assert not run_once(file).failed
    assert len(rows(tmp_path, "torn")) == 30
