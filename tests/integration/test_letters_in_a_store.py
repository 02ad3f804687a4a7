"""Runs whose dead letters go to S3: shown by the command line, and written before what they are counted in."""

import json
from uuid import uuid4

import pytest
from support.jobs import event, key, rows, send, write_job

from millrace.pipelines.cli.main import main

SECRET = "s3cr3t-canary-letters"
LETTERS = (
    "dead_letters: {{path: 's3://{bucket}/dead/shop', storage_options: {{aws_endpoint_url: '{endpoint}', "
    "aws_region: us-east-1, aws_access_key_id: '${{env:LETTERS_KEY}}', "
    "aws_secret_access_key: '${{env:LETTERS_SECRET}}'}}}}\n"
)


@pytest.fixture
def topic(embedded_broker, topic_name):
    name = topic_name("shop.orders")
    embedded_broker.create_topic(name, 2)
    bad = [(0, key(9), b"poison"), (1, key(9), b""), (1, key(9), event("c", 9)[:-1])]
    messages = [(0, key(1), event("c", 1, "a", 1)), *bad, (1, key(2), event("c", 2, "b", 2))]
    send(embedded_broker.bootstrap_servers, name, messages)
    return name


@pytest.fixture
def job(embedded_broker, topic, s3, tmp_path, monkeypatch):
    """A job file whose dead letters go to a bucket that is not there yet, and the bucket's name."""
    monkeypatch.setenv("LETTERS_KEY", "canary-key")
    monkeypatch.setenv("LETTERS_SECRET", SECRET)
    bucket = f"letters-{uuid4().hex[:12]}"
    more = LETTERS.format(bucket=bucket, endpoint=s3.endpoint)
    return write_job(tmp_path, embedded_broker.bootstrap_servers, [topic], more=more), bucket


def answer(capsys, *words, status=0):
    found = main([str(word) for word in words])
    said = capsys.readouterr()
    assert found == status, said.err
    assert "canary" not in said.out + said.err
    return said.out


def test_poison_messages_go_to_the_store_and_are_listed_and_shown(job, topic, s3, tmp_path, capsys):
    file, bucket = job
    s3.create_bucket(bucket)
    findings = json.loads(answer(capsys, "check", file, "--json"))
    (found,) = [finding for finding in findings if finding["what"] == "dead letters"]
    told = f"go to s3://{bucket}/dead/shop; max_dead_letters: 50% (the default)"
    assert (found["level"], found["found"]) == ("ok", told)
    assert answer(capsys, "dead-letters", "ls", file) == "no dead letters\n"
    summary = json.loads(answer(capsys, "run", file, "--once", "--json"))
    assert (summary["read"], summary["applied"], summary["dead"]) == (5, 2, 3)
    assert summary["dead_letters"] == f"s3://{bucket}/dead/shop"
    assert rows(tmp_path, topic.rpartition(".")[2]) == [(1, "a", 1), (2, "b", 2)]
    listed = json.loads(answer(capsys, "dead-letters", "ls", file, "--json"))
    assert [letter["place"] for letter in listed] == [f"{topic}[0]@1", f"{topic}[1]@0", f"{topic}[1]@1"]
    assert f"{topic}[0]@1" in answer(capsys, "dead-letters", "ls", file)
    shown = answer(capsys, "dead-letters", "show", file, f"{topic}[0]@1")
    assert "poison" in shown and f"file: s3://{bucket}/dead/shop/test/" in shown
    assert not (tmp_path / "dead_letters").exists()


def test_a_table_whose_dead_letters_cannot_be_written_commits_nothing_until_they_can(job, topic, s3, tmp_path, capsys):
    file, bucket = job
    table = topic.rpartition(".")[2]
    said = f"s3://{bucket}/dead/shop: there is no bucket '{bucket}'; make it"
    findings = json.loads(answer(capsys, "check", file, "--json", status=1))
    assert [finding["found"] for finding in findings if finding["level"] == "fail"] == [said]
    summary = json.loads(answer(capsys, "run", file, "--once", "--json", status=1))
    (stopped,) = summary["tables"]
    assert (stopped["error"], stopped["applied"]) == (f"dead letters: {said}", 0)
    s3.create_bucket(bucket)
    summary = json.loads(answer(capsys, "run", file, "--once", "--json"))
    assert (summary["applied"], summary["dead"]) == (2, 3)
    assert rows(tmp_path, table) == [(1, "a", 1), (2, "b", 2)]
    assert len(json.loads(answer(capsys, "dead-letters", "ls", file, "--json"))) == 3


def test_a_reader_without_the_job_file_names_the_url(job, topic, s3, capsys, monkeypatch):
    file, bucket = job
    s3.create_bucket(bucket)
    answer(capsys, "run", file, "--once", "--json")
    for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "y", "ENDPOINT_URL": s3.endpoint}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", s3.region)
    url = f"s3://{bucket}/dead/shop"
    assert len(json.loads(answer(capsys, "dead-letters", "ls", url, "--json"))) == 3
    assert "poison" in answer(capsys, "dead-letters", "show", url, f"{topic}[0]@1")


def test_a_wrong_option_of_the_store_ends_the_run_before_it_reads(job, capsys):
    file, _ = job
    file.write_text(file.read_text().replace("aws_region", "aws_regon"))
    assert main(["run", str(file), "--once"]) == 2
    assert "dead_letters.storage_options: 'aws_regon' is not known; known are aws_" in capsys.readouterr().err
