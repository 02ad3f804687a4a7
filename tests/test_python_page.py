"""The examples of docs/python.md, run as they stand, one behind the other."""

import re
from pathlib import Path

import millrace

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(examples) == 2
    scope = {}
    try:
        for example in examples:
            exec(compile(example, str(PAGE), "exec"), scope)
    finally:
        millrace.ScriptedSource("shop").clear()
        millrace.MemorySink("shop").clear()


def test_the_page_names_the_whole_face():
    page = PAGE.read_text()
    names = ("load_job", "run", "verify", "check", "ReadChanges", "ApplyChanges", "ScriptedSource", "MemorySink")
    assert [name for name in names if f"`{name}" not in page] == []
