"""The files of `millrace render flink` in application mode, run: the init container's jar, the pool, a savepoint."""

import json
import subprocess
import zipfile

import pytest
from support.downloads import missing_java
from support.flink_application import FlinkApplication, RenderedFlink
from support.go_programs import BOOT, missing
from support.kafka_broker import PASSWORD, USER, free_ports
from support.processes import until
from support.steady_stream import SteadyStream
from support.streamed_jobs import StreamedJob

from millrace.pipelines.cli.main import main
from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.runners.flink.rest import FlinkRest
from millrace.transforms.dead_letters import letters_at, read

SASL = "security_protocol: SASL_PLAINTEXT, sasl_mechanism: PLAIN, sasl_plain_password: '${env:KAFKA_PASSWORD}'"
SECRETS = {"KAFKA_PASSWORD": PASSWORD}


@pytest.fixture
def job(servers, create, tmp_path):
    """A job that reads the topic of a steady stream, as one machine would run it."""
    reason = missing_java("Flink") or missing(BOOT)
    if reason is not None:
        pytest.skip(reason)
    topic = create(4)
    with SteadyStream(servers, topic, 4) as stream:
        target = f"{{type: delta, path: {tmp_path / 'job' / 'lake'}}}"
        yield StreamedJob(tmp_path / "job", topic, servers, stream, target)


def rendered(job, broker, folder, port, flink_jar):
    """The files for a cluster, of the same job: its lake a bucket, its broker one that asks for a password."""
    text, plain, lake = job.file.read_text(), job.servers, str(job.file.parent / "lake")
    client = f"'{broker.sasl_servers}', client: {{{SASL}, sasl_plain_username: {USER}}}"
    assert f"'{plain}'" in text and lake in text
    job_file = job.file.with_name("cluster.yaml")
    job_file.write_text(text.replace(f"'{plain}'", client).replace(lake, "s3://lake/table"))
    words = ["render", "flink", str(job_file), "-o", str(folder / "k8s"), "--storage", "s3://bucket/flink"]
    assert main(words) == 0
    moved = {
        "s3://lake/table": lake,
        "s3://bucket/flink": f"file://{folder}/storage",
        "localhost:50000": f"localhost:{port}",
        "/opt/millrace/runners/flink-1.19.jar": str(flink_jar),
    }
    return RenderedFlink(folder / "k8s", folder / "root", moved)


def make_jar(files):
    """Run the init container; the jar is where Flink's container looks for it, and holds no secret."""
    maker = files.container("jobManager", "make-jar")
    done = subprocess.run(
        files.command(maker), env=files.environment(maker, SECRETS), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (jar,) = (files.root / "opt/flink/usrlib").iterdir()
    with zipfile.ZipFile(jar) as whole:
        assert files.spec["job"]["entryClass"].replace(".", "/") + ".class" in whole.namelist()
        made = [name for name in whole.namelist() if name.startswith("BEAM-PIPELINE/")]
        assert made
        assert not any(PASSWORD.encode() in whole.read(name) for name in made)


def runs(application, job):
    """Flink's REST interface, once the job of the rendered name runs."""
    rest = FlinkRest(application.url)

    def running():
        found = rest.job(job.name)
        return found is not None and found.state == "RUNNING"

    assert until(running, 180, 0.5), application.output()
    return rest


def commits(job, application, rest):
    """All that is in the topic now is in the table."""
    if not job.reaches(job.ends(), 300):
        why = rest.exceptions(rest.job(job.name).id)[:1]
        raise AssertionError(f"committed {job.committed()} of {job.ends()}\n{why}\n{application.output()}")


@pytest.mark.java
@pytest.mark.timeout(900)
def test_the_rendered_application_streams_and_goes_on_from_its_savepoint(job, kafka_broker, flink_jar, tmp_path):
    (port,) = free_ports(1)
    files = rendered(job, kafka_broker, tmp_path, port, flink_jar)
    make_jar(files)
    with FlinkApplication(files, SECRETS, port) as first:
        rest = runs(first, job)
        commits(job, first, rest)
        savepoint = rest.stop_with_savepoint(rest.job(job.name).id)
    assert savepoint.startswith(f"file:{tmp_path}/storage/{job.name}/savepoints/")
    with FlinkApplication(files, SECRETS, port, savepoint) as second:
        rest = runs(second, job)
        restored = second.get(f"/jobs/{rest.job(job.name).id}/checkpoints")["latest"]["restored"]
        assert restored["external_path"] == savepoint
        commits(job, second, rest)
        job.stream.pause()
        commits(job, second, rest)
        last = rest.stop_with_savepoint(rest.job(job.name).id)
    assert last != savepoint
    assert job.rows() == job.stream.rows()
    assert len(list(read(letters_at(files.root / "opt/millrace/job/dead_letters")))) == job.stream.poison
    for report in verify_job(job.job):
        assert report.ok, json.dumps(report.to_json(), indent=1)
