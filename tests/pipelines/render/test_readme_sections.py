"""The sections of the README about clusters begin with a command that works from a clone."""

import re
import shlex
from pathlib import Path

import pytest

from millrace.pipelines.cli.main import main

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("section", ["Flink on Kubernetes", "Dataflow"])
def test_the_first_command_works(section, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "README.md").read_text().partition(f"## {section}\n")[2]
    command = re.match(r"\n```sh\n(.*)\n", text)[1]
    words = shlex.split(command, comments=True)
    words[words.index("-o") + 1] = str(tmp_path / "out")
    assert words[0] == "millrace"
    assert main(words[1:]) == 0
    assert any((tmp_path / "out").iterdir())
