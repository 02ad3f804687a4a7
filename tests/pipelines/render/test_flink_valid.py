"""Files for the Flink operator against the schemas of Kubernetes, of the operator and of Prometheus."""

import json

import pytest
from support.go_programs import KUBECONFORM, missing
from support.kubernetes_schemas import OURS, complaints, write_schemas
from support.rendered_flink import JOB, containers, documents, render

from millrace.pipelines.render.flink import RELEASES

FORMS = [("application", version) for version in RELEASES] + [("session", "1.19")]


@pytest.fixture(scope="module")
def schemas(tmp_path_factory):
    reason = missing(KUBECONFORM)
    if reason is not None:
        pytest.skip(reason)
    return write_schemas(tmp_path_factory.mktemp("schemas"))


@pytest.mark.parametrize(("mode", "version"), FORMS)
def test_all_files_are_valid(tmp_path, schemas, mode, version):
    folder = render(tmp_path, "--mode", mode, "--flink-version", version, "--parallelism", "3", "--namespace", "data")
    kinds = {"ConfigMap", "FlinkDeployment", "NetworkPolicy", "PersistentVolumeClaim", "PodMonitor"}
    assert set(documents(folder)) == kinds | ({"Job"} if mode == "session" else set())
    assert complaints(schemas, folder) == []


TYPOS = {
    "application": [
        ("flink.yaml", "upgradeMode:", "upgradeMod:"),
        ("flink.yaml", "parallelism: 1", "parallelism: one"),
        ("flink.yaml", "containerPort:", "containrPort:"),
        ("flink.yaml", "flinkVersion: v1_19", "flinkVersion: v1.19"),
        ("flink.yaml", "initContainers:", "initContainer:"),
        ("flink.yaml", "livenessProbe:", "livenesProbe:"),
        ("flink.yaml", "secretKeyRef:", "secretKeyReference:"),
        ("config.yaml", "data:", "dta:"),
        ("network.yaml", "policyTypes:", "policyTipes:"),
        ("network.yaml", "namespaceSelector:", "nameSpaceSelector:"),
        ("dead-letters.yaml", "accessModes:", "accesModes:"),
        ("monitor.yaml", "podMetricsEndpoints:", "podMetricEndpoints:"),
        ("monitor.yaml", "interval: 15s", "interval: 15"),
    ],
    "session": [
        ("flink.yaml", "podTemplate:", "podTemplates:"),
        ("submit.yaml", "backoffLimit:", "backOffLimit:"),
        ("submit.yaml", "restartPolicy:", "restartPolice:"),
        ("submit.yaml", "secretKeyRef:", "secretKeyReference:"),
    ],
}


@pytest.mark.parametrize(
    ("mode", "file", "word", "typo"), [(mode, *typo) for mode, typos in TYPOS.items() for typo in typos]
)
def test_a_planted_typo_fails(tmp_path, schemas, mode, file, word, typo):
    folder = render(tmp_path, "--mode", mode)
    text = (folder / file).read_text()
    assert word in text
    (folder / file).write_text(text.replace(word, typo))
    assert {said.partition(":")[0] for said in complaints(schemas, folder)} == {file}


@pytest.mark.parametrize("mode", TYPOS)
def test_each_file_has_had_a_typo_planted(tmp_path, mode):
    planted = {file for typos in TYPOS.values() for file, _, _ in typos}
    assert {file.name for file in render(tmp_path, "--mode", mode).iterdir()} <= planted


def test_the_operators_schema_is_whole():
    schema = json.loads((OURS / "flinkdeployment-flink-v1beta1.json").read_text())
    assert schema["properties"]["spec"]["properties"]["job"]["additionalProperties"] is False


def test_dead_letters_in_a_store_need_no_claim(tmp_path, schemas):
    local = render(tmp_path)
    worker = containers(documents(local)["FlinkDeployment"], "taskManager")["worker"]
    assert "/opt/millrace/job/dead_letters" in [mount["mountPath"] for mount in worker["volumeMounts"]]
    store = "dead_letters: {path: 'gs://letters/shop', storage_options: {endpoint: 'http://store:4443'}}\n"
    folder = render(tmp_path, text=JOB + store)
    found = documents(folder)
    assert "PersistentVolumeClaim" not in found
    assert "dead-letters" not in (folder / "flink.yaml").read_text()
    assert found["ConfigMap"]["data"]["job.yaml"].endswith(store)
    rules = found["NetworkPolicy"]["spec"]["egress"]
    assert {"protocol": "TCP", "port": 4443} in [port for rule in rules for port in rule.get("ports", ())]
    assert complaints(schemas, folder) == []
