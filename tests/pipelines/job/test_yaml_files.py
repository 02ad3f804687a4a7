"""Files that are no job, too large or hostile; and all mistakes of one file at once."""

import time

import pytest
from support.job_files import FULL, SMALL, write

from millrace.pipelines.job.load import load_job
from millrace.schemas.errors import JobError
from millrace.transforms.sources import SOURCES


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", ": is empty; a job file begins with job: NAME"),
        (b"# nothing\n", ": is empty; a job file begins with job: NAME"),
        (b"just text", ":1:1: expected a mapping (key: value), found text"),
        (b"\xff\xfe", ": is not UTF-8 text"),
        (b"a: \x00", ":1: is not YAML: the character #x0000 is not allowed"),
        (b"a: [1, 2\n", ":2:1: is not YAML: expected ',' or ']', but got '<stream end>'"),
        (b"a: 1\n---\nb: 2\n", ":2:1: is not YAML: but found another document"),
        (b"a: &x [*x]\n", ":1:4: is nested too deeply"),
        (b"? [a]\n: 1\n", ":1:3: a key must be one word"),
        (b"[" * 3000, ":1: is nested too deeply"),
    ],
)
def test_files_that_are_no_job(tmp_path, content, sentence):
    file = tmp_path / "job.yaml"
    file.write_bytes(content)
    with pytest.raises(JobError) as caught:
        load_job(file)
    assert str(caught.value) == f"{file}{sentence}"


def test_a_job_tells_all_its_mistakes_at_once_in_the_order_of_the_file(tmp_path):
    text = (
        FULL.replace("type: kafka", "type: kafak").replace("every: 10s", "evry: 10s").replace("  path: w", "  pth: w")
    )
    file = write(tmp_path, text)
    with pytest.raises(JobError) as caught:
        load_job(file)
    assert str(caught.value).splitlines() == [
        f"{file}:3:9: source.type: 'kafak' is not one of {', '.join(SOURCES)}; did you mean 'kafka'?",
        f"{file}:16:10: window.evry: unknown key; did you mean 'every'?",
        f"{file}:19:3: target.pth: unknown key; did you mean 'path'?",
    ]


def test_a_bomb_of_aliases_is_refused_at_once(tmp_path):
    """Nine levels of ten aliases: a billion values, were they written out."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    file = write(tmp_path, "\n".join(lines))
    started = time.monotonic()
    with pytest.raises(JobError, match=r":\d+:\d+: its aliases come to more than 100,000 values"):
        load_job(file)
    assert time.monotonic() - started < 1


def test_a_file_larger_than_1_mb_is_refused(tmp_path):
    file = write(tmp_path, FULL + "#" * (1 << 20))
    with pytest.raises(JobError, match="is larger than 1 MB; is it a job file"):
        load_job(file)


def test_files_that_are_not_there(tmp_path):
    write(tmp_path, SMALL)
    for path, sentence in (
        ("jop.yaml", "there is no such file; did you mean 'job.yaml'?"),
        ("nowhere/job.yaml", f"there is no such file, nor the folder {tmp_path}/nowhere"),
        (".", "is a folder; name the job file in it"),
    ):
        with pytest.raises(JobError) as caught:
            load_job(tmp_path / path)
        assert str(caught.value) == f"{tmp_path / path}: {sentence}"


@pytest.mark.parametrize("opened", ["[", "[ ", "{a: ", "{"])
def test_what_is_nested_too_deeply_is_refused_at_once(tmp_path, opened):
    started = time.process_time()
    with pytest.raises(JobError, match=r"job\.yaml:1(:\d+)?: (is nested too deeply|is not YAML)"):
        load_job(write(tmp_path, "job: " + opened * 5_000))
    assert time.process_time() - started < 1
