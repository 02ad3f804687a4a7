"""Files for the Flink operator: consistent with what the command takes, and without a secret."""

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    WorkerOptions,
)
from support.kafka_broker import free_ports
from support.rendered_flink import JOB, containers, documents, render

from millrace.pipelines.job.load import load_job
from millrace.pipelines.render.flink import RELEASES


def test_an_application_runs_the_jar_that_the_job_file_gives(tmp_path):
    deployment = documents(render(tmp_path, "--parallelism", "4"))["FlinkDeployment"]
    job, configuration = deployment["spec"]["job"], deployment["spec"]["flinkConfiguration"]
    assert job["jarURI"] == "local:///opt/flink/usrlib/job.jar"
    assert job["entryClass"] == "org.apache.beam.runners.flink.FlinkPipelineRunner"
    assert (job["parallelism"], job["upgradeMode"], job["state"]) == (4, "savepoint", "running")
    assert configuration["state.checkpoints.dir"] == "s3://bucket/flink/shop/checkpoints"
    assert configuration["state.savepoints.dir"] == "s3://bucket/flink/shop/savepoints"
    assert configuration["restart-strategy.type"] == "exponential-delay"
    manager = containers(deployment, "jobManager")
    made = {mount["name"]: mount["mountPath"] for mount in manager["make-jar"]["volumeMounts"]}["job-jar"]
    read = {mount["name"]: mount["mountPath"] for mount in manager["flink-main-container"]["volumeMounts"]}["job-jar"]
    (jar,) = (word for word in manager["make-jar"]["args"] if word.startswith("--output_executable_path="))
    assert made == read == "/opt/flink/usrlib"
    assert jar == f"--output_executable_path={made}/job.jar"
    env = {part["name"]: part["value"] for part in manager["flink-main-container"]["env"]}
    assert env == {"ENABLE_BUILT_IN_PLUGINS": f"flink-s3-fs-hadoop-{RELEASES['1.19']}.jar"}
    assert deployment["spec"]["image"].startswith(f"flink:{RELEASES['1.19']}-")


def test_each_task_manager_has_a_worker_pool_for_its_one_slot(tmp_path):
    deployment = documents(render(tmp_path))["FlinkDeployment"]
    pool = containers(deployment, "taskManager")["worker"]
    assert pool["args"] == ["worker-pool"]
    assert [port["containerPort"] for port in pool["ports"]] == [50000]
    assert {pool[probe]["tcpSocket"]["port"] for probe in ("readinessProbe", "livenessProbe", "startupProbe")} == {
        50000
    }
    assert deployment["spec"]["flinkConfiguration"]["taskmanager.numberOfTaskSlots"] == "1"


@pytest.mark.parametrize("mode", ["application", "session"])
def test_flink_is_asked_whether_it_lives(tmp_path, mode):
    """By ports that Flink's native mode sets: 6123 and 6122 for calls, 8081 for REST."""
    deployment = documents(render(tmp_path, "--mode", mode))["FlinkDeployment"]
    manager = containers(deployment, "jobManager")["flink-main-container"]
    assert manager["readinessProbe"]["httpGet"] == {"path": "/overview", "port": 8081}
    for container, port in ((manager, 6123), (containers(deployment, "taskManager")["flink-main-container"], 6122)):
        started, living = container["startupProbe"], container["livenessProbe"]
        assert started["tcpSocket"] == living["tcpSocket"] == {"port": port}
        # A start may take longer than a process that has started may be away, and both a minute at least.
        assert started["periodSeconds"] * started["failureThreshold"] >= 300
        assert 60 <= living["periodSeconds"] * living["failureThreshold"] < 300


@pytest.mark.parametrize("mode", ["application", "session"])
def test_the_arguments_are_options_of_beam(tmp_path, mode):
    found = documents(render(tmp_path, "--mode", mode, "--parallelism", "2"))
    if mode == "session":
        (container,) = found["Job"]["spec"]["template"]["spec"]["containers"]
    else:
        container = containers(found["FlinkDeployment"], "jobManager")["make-jar"]
    command, job_file, runner, name, *options = container["args"]
    assert (command, job_file, runner, name) == ("run", "/opt/millrace/job/job.yaml", "--runner", "FlinkRunner")
    assert job_file in {mount["mountPath"] for mount in container["volumeMounts"]}
    parsed = PipelineOptions([word for word in options if word != "--detach"])
    given = parsed.get_all_options(retain_unknown_options=True)
    # Only the job server knows these; Beam's Python passes them on.
    passed_on = {"checkpointing_interval", "finish_bundle_before_checkpointing"}
    assert set(given) - set(PipelineOptions([]).get_all_options()) == passed_on
    assert given["checkpointing_interval"] == "10000"
    assert given["finish_bundle_before_checkpointing"] is True
    flink, portable = parsed.view_as(FlinkRunnerOptions), parsed.view_as(PortableOptions)
    assert (flink.parallelism, flink.flink_version) == (2, "1.19")
    assert flink.flink_job_server_jar == "/opt/millrace/runners/flink-1.19.jar"
    assert (portable.environment_type, portable.environment_config) == ("EXTERNAL", "localhost:50000")
    assert portable.sdk_worker_parallelism == "1"
    assert parsed.view_as(WorkerOptions).max_cache_memory_usage_mb == 128
    assert flink.flink_submit_uber_jar == (mode == "session")
    assert flink.flink_master == ("shop-rest:8081" if mode == "session" else "[auto]")


def test_secrets_are_references_wherever_python_runs(tmp_path):
    folder = render(tmp_path)
    deployment = documents(folder)["FlinkDeployment"]
    for manager, name in (("jobManager", "make-jar"), ("taskManager", "worker")):
        container = containers(deployment, manager)[name]
        variables = {part["name"]: part["valueFrom"]["secretKeyRef"] for part in container["env"]}
        assert variables == {name: {"name": "shop-secrets", "key": name} for name in ("KAFKA_PASSWORD", "LAKE_KEY")}
        mounted = {
            part["mountPath"]: part["subPath"] for part in container["volumeMounts"] if part["name"] == "secrets"
        }
        assert mounted == {"/opt/millrace/job/certs/ca.pem": "ca.pem", "/run/secrets/registry": "registry"}
    volumes = deployment["spec"]["taskManager"]["podTemplate"]["spec"]["volumes"]
    (secret,) = (volume["secret"] for volume in volumes if volume["name"] == "secrets")
    assert {item["key"] for item in secret["items"]} == {"ca.pem", "registry"}


def test_the_submitter_has_the_same_secrets_as_the_maker_of_the_jar(tmp_path):
    maker = containers(documents(render(tmp_path))["FlinkDeployment"], "jobManager")["make-jar"]
    pod = documents(render(tmp_path, "--mode", "session"))["Job"]["spec"]["template"]["spec"]
    (submit,) = pod["containers"]
    assert submit["env"] == maker["env"]
    mounts = [part for part in maker["volumeMounts"] if part["name"] != "job-jar"]
    assert submit["volumeMounts"] == mounts
    assert {part["name"] for part in mounts} == {volume["name"] for volume in pod["volumes"]}


def test_no_value_of_a_secret_is_in_any_file(tmp_path, monkeypatch):
    monkeypatch.setenv("KAFKA_PASSWORD", "c4n4ry-s3cr3t")
    monkeypatch.setenv("LAKE_KEY", "c4n4ry-s3cr3t")
    (tmp_path / "pw").write_text("c4n4ry-s3cr3t")
    folder = render(tmp_path, text=JOB.replace("/run/secrets/registry", "pw"))
    assert not any("c4n4ry" in file.read_text() for file in folder.iterdir())


def test_nothing_runs_as_root_or_may_become_it(tmp_path):
    for mode in ("application", "session"):
        found = documents(render(tmp_path, "--mode", mode))
        deployment = found["FlinkDeployment"]
        parts = [*containers(deployment, "jobManager").values(), *containers(deployment, "taskManager").values()]
        parts += found["Job"]["spec"]["template"]["spec"]["containers"] if mode == "session" else []
        for part in parts:
            confined = part["securityContext"]
            assert confined["runAsNonRoot"] and confined["runAsUser"] > 0
            assert confined["allowPrivilegeEscalation"] is False


def test_the_job_file_in_the_config_map_is_the_job(tmp_path):
    folder = render(tmp_path)
    text = documents(folder)["ConfigMap"]["data"]["job.yaml"]
    (tmp_path / "again.yaml").write_text(text)
    assert text == JOB
    assert load_job(tmp_path / "again.yaml").source == load_job(tmp_path / "job.yaml").source


def test_schemas_beside_the_job_file_are_mounted_where_it_looks(tmp_path):
    (tmp_path / "contracts" / "old").mkdir(parents=True)
    (tmp_path / "contracts" / "a.1.avsc").write_text('"string"')
    (tmp_path / "contracts" / "old" / "b.2.avsc").write_text('"long"')
    text = JOB[: JOB.index("  registry")] + "  schemas: ./contracts\n" + JOB[JOB.index("target") :]
    folder = render(tmp_path, text=text)
    _, schemas = yaml.safe_load_all((folder / "config.yaml").read_text())
    assert schemas["data"] == {"a.1.avsc": '"string"', "old_b.2.avsc": '"long"'}
    pod = documents(folder)["FlinkDeployment"]["spec"]["taskManager"]["podTemplate"]["spec"]
    (volume,) = (part["configMap"] for part in pod["volumes"] if part["name"] == "schemas")
    assert volume["name"] == schemas["metadata"]["name"]
    assert {item["key"]: item["path"] for item in volume["items"]} == {
        "a.1.avsc": "a.1.avsc",
        "old_b.2.avsc": "old/b.2.avsc",
    }
    (mount,) = (part for part in pod["containers"][1]["volumeMounts"] if part["name"] == "schemas")
    assert mount["mountPath"] == "/opt/millrace/job/contracts"


def test_a_changed_job_file_changes_the_pods(tmp_path):
    """The operator upgrades by a savepoint when the specification changes, not when a ConfigMap does."""
    before = documents(render(tmp_path))["FlinkDeployment"]
    same = documents(render(tmp_path))["FlinkDeployment"]
    after = documents(render(tmp_path, text=JOB + "window: {every: 30s}\n"))["FlinkDeployment"]
    assert before == same
    for manager in ("jobManager", "taskManager"):
        assert before["spec"][manager]["podTemplate"]["metadata"] != after["spec"][manager]["podTemplate"]["metadata"]


def test_policy_and_monitor_pick_the_pods_that_flink_makes(tmp_path):
    found = documents(render(tmp_path))
    # Flink's native mode labels each pod so: app with the deployment's name, type with its own.
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == {"app": "shop"}
    assert found["PodMonitor"]["spec"]["selector"]["matchLabels"] == {"app": "shop", "type": "flink-native-kubernetes"}
    assert found["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    own, operator, prometheus = found["NetworkPolicy"]["spec"]["ingress"]
    assert own == {"from": [{"podSelector": {"matchLabels": {"app": "shop"}}}]}
    for rule, namespace, port in ((operator, "flink-operator", 8081), (prometheus, "monitoring", 9249)):
        selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        assert rule == {"from": [{"namespaceSelector": selector}], "ports": [{"protocol": "TCP", "port": port}]}
    allowed = {rule["port"] for part in found["NetworkPolicy"]["spec"]["egress"] for rule in part.get("ports", ())}
    assert allowed == {53, 443, 6443, 8085, 9093}
    (endpoint,) = found["PodMonitor"]["spec"]["podMetricsEndpoints"]
    for manager in ("jobManager", "taskManager"):
        ports = containers(found["FlinkDeployment"], manager)["flink-main-container"]["ports"]
        assert {"name": endpoint["port"], "containerPort": 9249} in ports
    assert found["FlinkDeployment"]["spec"]["flinkConfiguration"]["metrics.reporter.prom.port"] == "9249"


def test_the_submitter_waits_for_the_cluster(tmp_path):
    """Both are applied at once, and a submission that finds no cluster is not tried again."""
    (pod,) = [documents(render(tmp_path, "--mode", "session"))["Job"]["spec"]["template"]["spec"]]
    (wait,), (submit,) = pod["initContainers"], pod["containers"]
    assert f"--flink_master={wait['args'][0]}" in submit["args"]
    (port,) = free_ports(1)
    python, *words = wait["command"]
    assert python == "python"
    process = subprocess.Popen([sys.executable, *words, f"127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("Flink does not answer at 127.0.0.1")
    with HTTPServer(("127.0.0.1", port), Overview) as server:
        server.timeout = 60
        server.handle_request()
    assert process.wait(60) == 0
    process.stdout.close()


class Overview(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/overview" else 404)
        self.end_headers()

    def log_message(self, *words):
        pass


def test_files_of_the_other_form_go(tmp_path):
    assert (render(tmp_path, "--mode", "session") / "submit.yaml").exists()
    folder = render(tmp_path)
    (folder / "mine.yaml").write_text("{}")
    assert not (render(tmp_path) / "submit.yaml").exists()
    assert (folder / "mine.yaml").exists()


def test_the_answer_names_secrets_and_the_next_commands(tmp_path, capsys):
    render(tmp_path, "--namespace", "data")
    said = capsys.readouterr().out
    assert "kubectl create secret generic -n data shop-secrets \\\n    --from-literal=KAFKA_PASSWORD=... " in said
    assert "--from-file=registry=..." in said
    assert f"kubectl apply --server-side -f {tmp_path}/k8s" in said
    render(tmp_path, "--json")
    answer = json.loads(capsys.readouterr().out)
    assert answer["files"] == sorted(str(file) for file in (tmp_path / "k8s").iterdir())
