"""`--runner FlinkRunner`: what is refused, what is set where nothing is said, what Flink's REST interface is asked."""

import zipfile

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from support.flink_rest_server import JOB, FlinkAnswers, manager

from millrace.pipelines.runners.findings import FAIL, OK, WARN
from millrace.pipelines.runners.flink.jar import FlinkJar, read_jar
from millrace.pipelines.runners.flink.options import OWN, findings, flink_options
from millrace.pipelines.runners.flink.rest import FlinkRest
from millrace.schemas.errors import JobError, RunnerError

WORKERS = ["--environment_type=EXTERNAL", "--environment_config=localhost:50000"]


@pytest.fixture
def flink():
    with FlinkAnswers() as server:
        yield server


@pytest.fixture
def good(flink):
    return [f"--flink_master={flink.url}", "--parallelism=4", *WORKERS]


def levels(arguments):
    """The worst level by what was looked at, and the findings' texts."""
    found = {}
    for finding in findings(arguments):
        if finding.level != OK:
            found[finding.what] = (finding.level, f"{finding.found}; {finding.fix}")
    return found


def test_what_is_not_said_is_set(good):
    assert levels(good) == {}
    options = flink_options("shop", good)
    assert options[:3] == ["--runner=FlinkRunner", "--streaming", "--job_name=shop"]
    assert options[-len(good) :] == good
    assert sorted(options[3 : -len(good)]) == [
        "--checkpoint_timeout_millis=180000",
        "--checkpointing_interval=10000",
        "--faster_copy",
        "--finish_bundle_before_checkpointing",
        "--flink_version=1.19",
        "--max_bundle_time_mills=100",
        "--max_cache_memory_usage_mb=128",
        "--sdk_worker_parallelism=2",
    ]


def test_what_is_said_stands(good):
    said = [
        *good,
        "--checkpointing_interval=5000",
        "--max_bundle_time_mills",
        "500",
        "--faster_copy",
        "--job_name=other",
    ]
    options = flink_options("shop", said)
    assert not {"--checkpointing_interval=10000", "--max_bundle_time_mills=100"} & set(options)
    assert options.count("--faster_copy") == 1
    assert PipelineOptions(options).get_all_options()["job_name"] == "other"


@pytest.mark.parametrize(
    "arguments, what, says",
    [
        (["--checkpointing_interval=-1"], "checkpointing_interval", "no checkpoints"),
        (["--checkpointing_interval=0"], "checkpointing_interval", "--checkpointing_interval=10000"),
        (["--max_cache_memory_usage_mb=0"], "max_cache_memory_usage_mb", "--max_cache_memory_usage_mb=128"),
        (["--flink_version=2.0"], "flink_version", "2.0, but the cluster is Flink 1.19.3"),
        (["--sdk_worker_parallelism=1"], "sdk_worker_parallelism", "1 Python process for the 2 slots"),
        (["--max_bundle_time_mills=6000"], "max_bundle_time_mills", "set it to 100"),
        (["--flink_job_server_jar=/nowhere/x.jar"], "flink_job_server_jar", "there is no file /nowhere/x.jar"),
        (["--number_of_execution_retries=0"], "number_of_execution_retries", "the first lost worker ends the job"),
        (["--shutdown_sources_after_idle_ms=1000"], "shutdown_sources_after_idle_ms", "never read again"),
        (["--state_backend=rocksdb"], "state_backend", "--state_backend_storage_path"),
        (["--savepoint_path=s3://b/sp", "--flink_submit_uber_jar"], "savepoint_path", "Beam ignores it"),
        (["--parallelism=4", "--max_parallelism=2"], "parallelism", "4 is above --max_parallelism=2"),
        (["--environment_type=PROCESS", "--environment_config="], "environment_type", "say the command"),
        (["--checkpoint_interval=5"], "options", "--checkpoint_interval is no option of Beam; did you mean '--checkp"),
        (["--checkpointing-interval=5000"], "options", "did you mean '--checkpointing_interval'?"),
        (["--max_bundle_time_millis=5000"], "options", "did you mean '--max_bundle_time_mills'?"),
    ],
)  # fmt: skip
def test_what_loses_data_or_stalls_is_refused(good, arguments, what, says):
    level, text = levels([*good, *arguments])[what]
    assert level == FAIL
    assert says in text
    with pytest.raises(JobError, match=r"^--runner FlinkRunner: "):
        flink_options("shop", [*good, *arguments])


@pytest.mark.parametrize(
    "arguments, what, says",
    [
        (["--parallelism=5"], "parallelism", "4 slots are free"),
        (["--parallelism=-1"], "parallelism", "not set"),
        (["--max_bundle_time_mills=2000"], "max_bundle_time_mills", "2000 ms at each shuffle"),
        (["--checkpointing_interval=600000"], "checkpointing_interval", "held in memory"),
        (["--environment_type=LOOPBACK"], "environment_type", "threads of this process"),
        (["--allow_non_restored_state"], "allow_non_restored_state", "is dropped"),
    ],
)
def test_what_is_unwise_is_said_and_not_refused(good, arguments, what, says):
    assert levels([*good, *arguments]).keys() == {what}
    level, text = levels([*good, *arguments])[what]
    assert level == WARN
    assert says in text
    assert flink_options("shop", [*good, *arguments])


def test_workers_in_docker_by_default_are_refused(flink):
    level, text = levels([f"--flink_master={flink.url}", "--parallelism=4"])["environment_type"]
    assert level == FAIL
    assert "which has no Millrace in it; run worker pools" in text


def test_checkpoints_in_the_job_managers_memory_are_refused(flink, good):
    del flink.answers["/jobmanager/config"][1]
    assert levels(good)["state.checkpoints.dir"][0] == FAIL
    assert levels([*good, "--state_backend=filesystem", "--state_backend_storage_path=file:///shared"]) == {}


def test_a_cluster_that_is_away_is_named(flink):
    flink.__exit__()
    with pytest.raises(JobError, match=rf"flink_master: no answer from Flink at {flink.url}: .*refused"):
        flink_options("shop", [f"--flink_master={flink.url}", *WORKERS])
    flink.__enter__ = lambda: None


def test_a_cluster_of_a_version_that_beam_has_no_runner_for(flink, good):
    flink.answers["/config"]["flink-version"] = "1.17.2"
    level, text = levels(good)["flink_version"]
    assert level == FAIL
    assert "the cluster is Flink 1.17.2; this Beam has runners for 1.19" in text


def test_without_a_cluster_flink_runs_inside_the_job_server_and_the_workers_here():
    assert levels([]).keys() == {"flink_master"}
    options = PipelineOptions(flink_options("shop", []))
    assert options.view_as(PortableOptions).environment_type == "LOOPBACK"


def test_a_job_jar_is_for_a_cluster_of_later():
    packed = ["--output_executable_path=job.jar", "--flink_version=1.19"]
    assert levels([*packed, *WORKERS]) == {}
    assert "--environment_type=LOOPBACK" not in flink_options("shop", [*packed, *WORKERS])
    assert levels(packed)["environment_type"][0] == FAIL
    assert levels([*packed, "--environment_type=LOOPBACK"])["environment_type"][0] == FAIL
    assert levels([*packed, *WORKERS, "--savepoint_path=s3://b/sp"])["savepoint_path"][0] == FAIL


def test_a_value_of_a_wrong_kind_is_one_sentence(good):
    with pytest.raises(JobError, match=r"^--runner FlinkRunner: argument --parallelism: invalid int value: 'many'$"):
        flink_options("shop", [*good, "--parallelism=many"])


def jar(path, flink="1.19.0", beam="2.77.0", setters=("CheckpointingInterval", "FileInputSplitMaxSizeMB")):
    with zipfile.ZipFile(path, "w") as whole:
        names = [f"set{name}".encode() for name in setters]
        constants = b"".join(b"\x01" + len(name).to_bytes(2, "big") + name for name in names)
        whole.writestr("org/apache/beam/runners/flink/FlinkPipelineOptions.class", b"\xca\xfe\xba\xbe" + constants)
        whole.writestr(".flink-runtime.version.properties", f"# x\nproject.version={flink}\n")
        whole.writestr("org/apache/beam/sdk/sdk.properties", f"version={beam}\nsdk_version={beam}\n")
    return path


def test_a_jar_tells_what_it_was_built_for(tmp_path):
    options = frozenset({"checkpointing_interval", "file_input_split_max_size_m_b"})
    assert read_jar(jar(tmp_path / "a.jar")) == FlinkJar("1.19", "2.77.0", options)
    (tmp_path / "b.jar").write_bytes(b"no jar")
    assert read_jar(tmp_path / "b.jar") is None


def test_a_jar_for_another_flink_is_refused(good, tmp_path):
    path = jar(tmp_path / "a.jar", flink="1.20.1")
    assert levels([*good, f"--flink_job_server_jar={path}"])["flink_version"][1].startswith("1.19, but")
    (tmp_path / "b.jar").write_bytes(b"no jar")
    assert "is no jar" in levels([*good, f"--flink_job_server_jar={tmp_path / 'b.jar'}"])["flink_job_server_jar"][1]


def test_options_of_a_newer_jar_are_known_by_it(good, tmp_path):
    path = jar(tmp_path / "a.jar", setters=("BrandNewThing",))
    assert levels([*good, "--brand_new_thing=1"])["options"][0] == FAIL
    assert levels([*good, "--brand_new_thing=1", f"--flink_job_server_jar={path}"]) == {}


@pytest.mark.java
def test_the_names_are_those_of_the_real_job_server(flink_jar):
    found = read_jar(flink_jar)
    assert (found.flink, found.beam) == ("1.19", "2.62.0")
    assert found.options <= OWN.keys()


def test_one_task_manager_of_one_slot_needs_one_worker(flink, good):
    flink.answers["/taskmanagers"] = {"taskmanagers": [manager(1, 1), manager(1, 1)]}
    assert "sdk_worker_parallelism" not in levels([*good, "--sdk_worker_parallelism=1"])


def test_our_job_among_others_the_live_one_first(flink):
    jobs = [("a", "shop", "CANCELED", 9), ("b", "shop", "RESTARTING", 5)]
    jobs += [("c", "other", "RUNNING", 7), ("d", "shop", "FAILED", 8)]
    keys = ("jid", "name", "state", "start-time")
    flink.answers["/jobs/overview"] = {"jobs": [dict(zip(keys, job, strict=True)) for job in jobs]}
    rest = FlinkRest(flink.url)
    assert [job.id for job in rest.jobs("shop")] == ["a", "d", "b"]
    assert rest.job("shop").id == "b"
    assert rest.job("nobody") is None


def test_stop_with_a_savepoint(flink):
    flink.answers[f"/jobs/{JOB}/stop"] = (202, {"request-id": "t1"})
    flink.answers[f"/jobs/{JOB}/savepoints/t1"] = [
        (200, {"status": {"id": "IN_PROGRESS"}, "operation": None}),
        (200, {"status": {"id": "COMPLETED"}, "operation": {"location": "s3://b/savepoint-1"}}),
    ]
    assert FlinkRest(flink.url).stop_with_savepoint(JOB, "s3://b") == "s3://b/savepoint-1"
    assert flink.asked[0] == ("POST", f"/jobs/{JOB}/stop", {"drain": False, "targetDirectory": "s3://b"})


def test_a_savepoint_that_fails_says_why(flink):
    trace = (
        "java.util.X: outer\n\tat a.b(C.java:1)\nCaused by: java.io.IOException: the disk is full\n\tat d.e(F.java:2)"
    )
    flink.answers[f"/jobs/{JOB}/stop"] = (202, {"request-id": "t1"})
    done = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"class": "x", "stack-trace": trace}}}
    flink.answers[f"/jobs/{JOB}/savepoints/t1"] = done
    with pytest.raises(RunnerError, match=r"the savepoint failed: java\.io\.IOException: the disk is full$"):
        FlinkRest(flink.url).stop_with_savepoint(JOB)
    flink.answers[f"/jobs/{JOB}/savepoints/t1"] = {"status": {"id": "IN_PROGRESS"}, "operation": None}
    with pytest.raises(RunnerError, match=r"no savepoint within 0 s; the job runs on$"):
        FlinkRest(flink.url).stop_with_savepoint(JOB, seconds=0)


def test_what_flink_refuses_and_what_is_no_flink(flink):
    with pytest.raises(RunnerError, match=rf"^Flink at {flink.url} answered 404: Not found: /jobs/x/exceptions$"):
        FlinkRest(flink.url).exceptions("x")
    flink.answers["/jobs/x/exceptions"] = {
        "exceptionHistory": {"entries": [{"stacktrace": "new"}, {"stacktrace": "old"}]}
    }
    assert FlinkRest(flink.url).exceptions("x") == ["new", "old"]
    secret = flink.url.replace("http://", "http://ann:s3cr3t-canary@")
    with pytest.raises(RunnerError) as raised:
        FlinkRest(secret).version()
    assert "s3cr3t" not in str(raised.value)
