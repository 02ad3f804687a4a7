"""The pages about clusters begin with a command that works from a clone."""

import re
import shlex
from pathlib import Path

import pytest

from millrace.pipelines.cli.main import main

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("page", ["kubernetes", "dataflow"])
def test_the_first_command_works(page, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    command = re.match(r"# .*\n\n```sh\n(.*)\n", (ROOT / "docs" / f"{page}.md").read_text())[1]
    words = shlex.split(command, comments=True)
    words[words.index("-o") + 1] = str(tmp_path / "out")
    assert words[0] == "millrace"
    assert main(words[1:]) == 0
    assert any((tmp_path / "out").iterdir())
