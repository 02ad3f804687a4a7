"""Where Prism is looked for, and which one is taken."""

import os

import pytest

from millrace.pipelines.runners.prism import find_prism, prism_version
from millrace.schemas.errors import JobError


def program(path, version=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    line = b"" if version is None else b"\xff\npath\tx\nmod\tgithub.com/apache/beam/sdks/v2\t" + version + b"\th1:x=\n"
    path.write_bytes(b"#!/bin/sh\n" + line)
    path.chmod(0o755)
    return str(path)


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No Prism, no Go, no home."""
    for name in ("MILLRACE_PRISM", "GOBIN", "GOPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_it_is_looked_for_in_this_order(tmp_path, monkeypatch):
    home = program(tmp_path / "home" / "go" / "bin" / "prism")
    assert find_prism(None) == home
    monkeypatch.setenv("GOPATH", f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}")
    under = program(tmp_path / "b" / "bin" / "prism")
    assert find_prism(None) == under
    monkeypatch.setenv("GOBIN", str(tmp_path / "gobin"))
    gobin = program(tmp_path / "gobin" / "prism")
    assert find_prism(None) == gobin
    on_path = program(tmp_path / "path" / "prism")
    assert find_prism(None) == on_path
    monkeypatch.setenv("MILLRACE_PRISM", program(tmp_path / "mine"))
    assert find_prism(None) == str(tmp_path / "mine")
    assert find_prism(under) == under


def test_go_itself_says_where_it_installs(tmp_path, monkeypatch):
    go = tmp_path / "path" / "go"
    go.parent.mkdir()
    go.write_text(f"#!/bin/sh\necho {tmp_path}/said\necho {tmp_path}/gopath\n")
    go.chmod(0o755)
    assert find_prism.__module__ and find_prism(program(tmp_path / "x"))
    said = program(tmp_path / "said" / "prism")
    assert find_prism(None) == said


def test_a_missing_one_is_one_sentence_with_the_command():
    with pytest.raises(JobError) as raised:
        find_prism(None)
    assert "go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0" in str(raised.value)
    with pytest.raises(JobError, match=r"^--prism_location: /nowhere is no program; install Prism with: go install"):
        find_prism("/nowhere")


def test_one_of_another_version_is_refused_and_one_that_does_not_say_is_taken(tmp_path):
    old = program(tmp_path / "old", b"v2.75.0")
    with pytest.raises(JobError, match=r"old is Prism 2\.75\.0, and this Beam is 2\.77\.0; install .*@v2\.77\.0$"):
        find_prism(old)
    assert find_prism(program(tmp_path / "same", b"v2.77.0"))
    assert prism_version(program(tmp_path / "dumb")) is None
    (tmp_path / "empty").write_bytes(b"")
    assert prism_version(str(tmp_path / "empty")) is None


def test_the_real_one_says_its_version(prism_binary):
    assert prism_version(str(prism_binary)) == "2.77.0"
