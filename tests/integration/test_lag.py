"""How far a stream is, with a real broker: on the terminal while it runs, and by `status` when nothing runs."""

import re

import pytest
from support.jobs import event, key, send, write_job
from support.running_job import Running

from millrace.pipelines.cli.main import main

LINE = re.compile(
    r"^.+: (?P<read>[\d,]+) read, (?P<rate>[\d,]+)/s, lag (?P<lag>[\d,]*\d)(?P<behind>.* read .* behind)?", re.M
)


def messages(first, stop):
    return [(number % 2, key(number), event("c", number, "a", number, number)) for number in range(first, stop)]


def told(file, capsys):
    """The row of the only topic by its columns, and the last line, of `millrace status`."""
    capsys.readouterr()
    assert main(["status", str(file)]) == 0
    names, row, _, last = capsys.readouterr().out.splitlines()
    return dict(zip(names.split(), re.split(r" {2,}", row.strip()), strict=True)), last


@pytest.mark.java
@pytest.mark.timeout(600)
def test_what_is_read_committed_and_left_is_told(servers, create, prism_binary, tmp_path, capsys):
    topic = create(2)
    file = write_job(tmp_path, servers, [topic], more="window: {every: 500ms}\n")
    send(servers, topic, messages(0, 900))
    found, last = told(file, capsys)
    assert [found[name] for name in ("topic", "partitions", "committed", "end", "lag")] == [
        topic,
        "2",
        "0",
        "900",
        "900",
    ]
    assert last == "900 offsets are not committed yet"
    with Running(file, "--runner", "PrismRunner", f"--prism_location={prism_binary}") as run:
        assert run.says(" 900 read", 120), run.err
        send(servers, topic, messages(900, 1_000))
        assert run.says(" 1,000 read", 120), run.err
        assert run.says("lag 0", 120), run.err
        assert run.stop() == 0, run.err
    lines = [line.groupdict() for line in LINE.finditer(run.err)]
    assert any(line["rate"] != "0" for line in lines), run.err
    assert any(line["behind"] for line in lines), run.err
    assert any((line["read"], line["lag"]) == ("1,000", "0") for line in lines), run.err
    found, last = told(file, capsys)
    assert [found[name] for name in ("committed", "end", "lag", "behind")] == ["1,000", "1,000", "0", "0.0 s"]
    assert last == "everything is committed"
    send(servers, topic, messages(1_000, 1_003))
    found, last = told(file, capsys)
    assert [found[name] for name in ("committed", "end", "lag")] == ["1,000", "1,003", "3"]
    assert re.fullmatch(r"\d.*", found["behind"]), found
    assert last == "3 offsets are not committed yet"
