"""The Flex Template: its files agree with its launcher, and Dataflow's own translation takes the pipeline."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, WorkerOptions
from apache_beam.portability.api import beam_runner_api_pb2
from support.packed_pipeline import opened

from millrace.pipelines.cli.launch_template import template_options
from millrace.pipelines.cli.main import main
from millrace.pipelines.execution.stream_pipeline import assemble, topics_of
from millrace.pipelines.job.load import load_job
from millrace.pipelines.runners.dataflow.template_parameters import PARAMETERS
from millrace.pipelines.runners.registry import open_runner

STEPS = Path(__file__).parents[2] / "data" / "dataflow"
JOB = """job: shop
source:
  type: kafka
  bootstrap_servers: broker:9092
  topics: [shop.public.orders, shop.public.customers]
  client: {security_protocol: SASL_SSL, sasl_mechanism: PLAIN, sasl_plain_username: me,
    sasl_plain_password: '${env:KAFKA_PASSWORD}'}
format:
  type: debezium
  registry: {url: 'https://registry:8081', username: me, password: '${file:/run/secrets/registry}'}
window: {every: 30s}
target: {type: delta, path: 's3://lake/shop'}
"""
IMAGE = "europe-west1-docker.pkg.dev/my-project/millrace/shop:1"
LAUNCHER = [
    "--runner=DataflowRunner",
    "--project=my-project",
    "--region=europe-west1",
    "--job_name=shop",
    "--temp_location=gs://bucket/temp",
    "--staging_location=gs://bucket/staging",
]


def render(folder, *options, text=JOB):
    (folder / "job.yaml").write_text(text)
    assert main(["render", "dataflow", str(folder / "job.yaml"), "-o", str(folder / "template"), *options]) == 0
    return folder / "template"


def translated(folder, text):
    """The job as Dataflow's runner would send it, all of it but the sending: no service, no credentials."""
    (folder / "job.yaml").write_text(text)
    words = [*LAUNCHER, f"--sdk_container_image={IMAGE}", f"--job_file={folder / 'job.yaml'}"]
    file, options = template_options(words)
    job = load_job(file)
    runner = open_runner("DataflowRunner", job, [*options, "--dry_run=True", "--no_auth"])
    pipeline = assemble(job, runner.options, topics_of(job))
    result = pipeline.run()
    return result.job, pipeline.runner.proto_pipeline


def steps(proto):
    """Full names of all steps but the root, inner ones too, sorted; without line numbers of Beam's own."""
    names = (part.unique_name for part in proto.components.transforms.values())
    return sorted(re.sub(r" at \w+\.py:\d+", "", name) for name in names if not name.startswith("ref_"))


@pytest.mark.parametrize("window", ["arrival", "event"])
def test_dataflow_takes_the_pipeline_and_its_steps_keep_their_names(tmp_path, monkeypatch, window):
    """Golden files: a step that is renamed makes `--update` fail or lose state. Only add a step with a reason."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none"))
    job, proto = translated(tmp_path, JOB.replace("every: 30s", f"every: 30s, by: {window}"))
    assert json.loads(str(job))["type"] == "JOB_TYPE_STREAMING"
    golden = STEPS / f"steps-{window}.txt"
    if os.environ.get("MILLRACE_WRITE_GOLDEN"):
        golden.write_text("\n".join(steps(proto)) + "\n")
    assert steps(proto) == golden.read_text().splitlines()


def test_steps_bear_no_names_that_beam_makes_up(tmp_path):
    _, proto = translated(tmp_path, JOB)
    outer = {name.partition("/")[0] for name in steps(proto)}
    assert not any(re.search(r"ParDo\(|Map\(|lambda|\[\d+\]|ref_", name) for name in outer)
    assert all(re.fullmatch(r"[A-Z][a-z ]+", name) for name in outer)


def test_workers_are_the_image_and_the_stream_is_unbounded(tmp_path):
    _, proto = translated(tmp_path, JOB)
    (environment,) = proto.components.environments.values()
    payload = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
    assert payload.container_image == IMAGE
    staged = b" ".join(part.role_payload for part in environment.dependencies)
    assert not re.search(rb"pickled_main_session|\.tar|\.whl|requirements", staged), staged
    unbounded = beam_runner_api_pb2.IsBounded.UNBOUNDED
    assert any(part.is_bounded == unbounded for part in proto.components.pcollections.values())


def test_no_secret_is_in_the_translated_job(tmp_path, monkeypatch):
    monkeypatch.setenv("KAFKA_PASSWORD", "c4n4ry-s3cr3t")
    job, proto = translated(tmp_path, JOB)
    assert b"c4n4ry" not in proto.SerializeToString()
    assert "c4n4ry" not in str(job)


def test_metadata_holds_every_parameter_and_the_launcher_takes_each(tmp_path):
    described = json.loads((render(tmp_path) / "metadata.json").read_text())
    assert (described["streaming"], described["supportsAtLeastOnce"]) == (True, False)
    assert [part["name"] for part in described["parameters"]] == [part.name for part in PARAMETERS]
    values = {
        "sdk_container_image": IMAGE,
        "job_file": "/opt/millrace/job/job.yaml",
        "parallelism": "8",
        "max_cache_memory_usage_mb": "256",
        "number_of_worker_harness_threads": "4",
    }
    assert set(values) == {part.name for part in PARAMETERS}
    for part in described["parameters"]:
        assert {"name", "label", "helpText", "isOptional", "regexes"} <= set(part)
        assert all(re.search(pattern, values[part["name"]]) for pattern in part["regexes"])
        assert not any(re.search(pattern, "$(rm -rf /)") for pattern in part["regexes"])
    file, options = template_options([*LAUNCHER, *(f"--{name}={value}" for name, value in values.items())])
    assert str(file) == values["job_file"]
    known = set(PipelineOptions([]).get_all_options())
    assert {word[2:].partition("=")[0] for word in options} - {"no_save_main_session"} <= known
    workers = PipelineOptions(options).view_as(WorkerOptions)
    assert (workers.sdk_container_image, workers.max_cache_memory_usage_mb) == (IMAGE, 256)
    for part in PARAMETERS:
        assert part.default is None or re.search(part.pattern, part.default)


@pytest.mark.parametrize("script", ["build.sh", "run.sh"])
def test_scripts_say_what_they_do_to_gcloud(tmp_path, script):
    """They are run with stand-ins for docker and gcloud that write down how they were called."""
    folder = render(tmp_path, "--project", "my-project", "--region", "europe-west1", "--bucket", "gs://bucket/m")
    called = tmp_path / "called"
    for program in ("docker", "gcloud"):
        stand_in = tmp_path / "bin" / program
        stand_in.parent.mkdir(exist_ok=True)
        stand_in.write_text(f'#!/bin/sh\necho {program} "$@" >> {called}\n')
        stand_in.chmod(0o755)
    path = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    subprocess.run([folder / script], check=True, env=path)
    said = called.read_text()
    image = re.search(r"europe-west1-docker.pkg.dev/my-project/millrace/shop:[0-9a-f]{16}", said)[0]
    if script == "build.sh":
        assert f"docker push {image}\n" in said
        assert "flex-template build gs://bucket/m/templates/shop.json " in said
        assert "--metadata-file metadata.json" in said
    else:
        assert "flex-template run shop " in said and "--update" not in said
        assert f"--parameters sdk_container_image={image}" in said
        subprocess.run([folder / script], check=True, env={**path, "UPDATE": "yes"})
        assert "--update" in called.read_text()


def test_scripts_ask_for_what_was_not_said(tmp_path):
    folder = render(tmp_path)
    done = subprocess.run([folder / "run.sh"], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    assert done.returncode != 0
    assert "PROJECT: set PROJECT: the id of the project" in done.stderr


def test_the_image_of_the_job_names_its_secrets_and_holds_none(tmp_path, monkeypatch):
    monkeypatch.setenv("KAFKA_PASSWORD", "c4n4ry-s3cr3t")
    folder = render(tmp_path)
    text = (folder / "Dockerfile").read_text()
    place = "projects/${PROJECT}/secrets/shop-"
    assert f"KAFKA_PASSWORD={place}KAFKA_PASSWORD/versions/latest" in text
    assert f"/run/secrets/registry={place}registry/versions/latest" in text
    assert text.splitlines()[-1] == "USER 10001"
    assert (folder / "files/opt/millrace/job/job.yaml").read_text() == JOB
    assert not any("c4n4ry" in file.read_text() for file in folder.rglob("*") if file.is_file())


def test_dead_letters_that_would_end_with_a_worker_are_warned_of(tmp_path, capsys):
    render(tmp_path)
    said = capsys.readouterr().out
    assert (
        "warning: dead letters go to the folder /opt/millrace/job/dead_letters of each worker and end with it" in said
    )
    assert "write dead_letters: {path: gs://...} into the job file" in said
    store = "dead_letters: {path: 'gs://letters/shop', storage_options: {project: '${env:LETTERS_PROJECT}'}}\n"
    folder = render(tmp_path, "--json", text=JOB + store)
    answer = json.loads(capsys.readouterr().out)
    assert answer["warnings"] == []
    assert any("LETTERS_PROJECT" in line for line in answer["secrets"])
    assert (folder / "files/opt/millrace/job/job.yaml").read_text().endswith(store)
    assert "LETTERS_PROJECT=projects/" in (folder / "Dockerfile").read_text()


def test_workers_of_the_template_write_dead_letters_to_the_store_and_hold_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("LETTERS_SECRET", "c4n4ry-s3cr3t")
    options = "{aws_secret_access_key: '${env:LETTERS_SECRET}', aws_region: nowhere}"
    _, proto = translated(tmp_path, f"{JOB}dead_letters: {{path: 's3://letters/shop', storage_options: {options}}}\n")
    graph = b"\n".join(opened(proto.SerializeToString()))
    assert b"s3://letters/shop" in graph and b"${env:LETTERS_SECRET}" in graph
    assert b"c4n4ry" not in graph


def test_the_launcher_says_a_mistake_in_one_sentence(tmp_path, capsys):
    from millrace.pipelines.cli.launch_template import main as launch

    (tmp_path / "job.yaml").write_text(JOB.replace("topics:", "topic:"))
    assert launch([*LAUNCHER, f"--sdk_container_image={IMAGE}", f"--job_file={tmp_path / 'job.yaml'}"]) == 2
    assert "source.topic: unknown key; did you mean 'topics'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--project", "My Project"], "--project My Project: not as in my-project"),
        (["--region", "europe"], "--region europe: not as in europe-west1"),
        (["--bucket", "bucket"], "--bucket bucket: not as in gs://my-bucket/millrace"),
    ],
)
def test_wrong_options(tmp_path, capsys, options, sentence):
    (tmp_path / "job.yaml").write_text(JOB)
    assert main(["render", "dataflow", str(tmp_path / "job.yaml"), "-o", str(tmp_path / "o"), *options]) == 2
    assert sentence in capsys.readouterr().err
