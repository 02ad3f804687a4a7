"""Where a pass is cut does not decide what a tombstone means."""

import pytest
from support.jobs import event, key, rows, run_once, write_job

from millrace.transforms.sources.scripted.source import ScriptedSource


@pytest.fixture
def log(tmp_path):
    source = ScriptedSource(tmp_path.name)
    yield source
    source.clear()


def run(folder, log, topic):
    file = write_job(folder, "-", [topic])
    kafka = "type: kafka, bootstrap_servers: '-'"
    file.write_text(file.read_text().replace(kafka, f"type: scripted, name: {log.name}"))
    assert not run_once(file).failed
    return [number for number, *_ in rows(folder, topic)]


@pytest.mark.parametrize("cut", range(7))
def test_a_lone_tombstone_deletes_its_row_wherever_the_log_is_cut(log, tmp_path, cut):
    messages = [(number, event("c", number, "a", number, 10 + number)) for number in (1, 2, 3)]
    messages += [(2, None), (4, event("c", 4, "d", 4, 20)), (4, event("d", 4, at=21)), (4, None)]
    for number, value in messages[:cut]:
        log.send("t", value, key=key(number))
    log.create_topic("t")
    if cut:
        run(tmp_path, log, "t")
    for number, value in messages[cut:]:
        log.send("t", value, key=key(number))
    assert run(tmp_path, log, "t") == [1, 3]


def test_the_tombstone_of_a_repeated_delete_deletes_nothing(log, tmp_path):
    deleted = event("d", 1, at=11)
    for value in (event("c", 1, "a", 1, 10), deleted, None, event("c", 1, "b", 2, 12)):
        log.send("t", value, key=key(1))
    run(tmp_path, log, "t")
    log.send("t", deleted, key=key(1))
    run(tmp_path, log, "t")
    log.send("t", None, key=key(1))
    assert run(tmp_path, log, "t") == [1]
