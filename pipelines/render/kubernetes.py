"""Pieces of Kubernetes that both forms of a Flink deployment share. Plain data: what YAML will hold."""

from typing import Any, Final

from ..runners.image_paths import JOB_FILE
from .job_bundle import JobBundle

Data = dict[str, Any]

WORKER_USER: Final = 10001
"""The user of the image, as in deploy/Dockerfile; FLINK_USER is that of Flink's own image."""
FLINK_USER: Final = 9999
WORKER_PORT: Final = 50000
REST_PORT: Final = 8081
METRICS_PORT: Final = 9249
SECRET_MODE: Final = 0o440
OPERATOR_NAMESPACE: Final = "flink-operator"
MONITORING_NAMESPACE: Final = "monitoring"
PARTS: Final = "app.kubernetes.io/part-of"


def metadata(name: str, namespace: str | None, **labels: str) -> Data:
    """Name, labels and, where one was asked for, the namespace."""
    place = {"namespace": namespace} if namespace else {}
    return {"name": name, **place, "labels": {PARTS: "millrace", **labels}}


def config_maps(job: JobBundle, namespace: str | None) -> list[Data]:
    """The job file, and its folder of schemas, as they are: they hold references to secrets, no secrets."""
    made = [_config_map(f"{job.name}-job", namespace, {"job.yaml": job.text})]
    if job.schemas:
        texts = {_key(name): text for name, text in job.schemas.items()}
        made.append(_config_map(f"{job.name}-schemas", namespace, texts))
    return made


def _config_map(name: str, namespace: str | None, texts: dict[str, str]) -> Data:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(name, namespace), "data": texts}


def _key(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in name)


def secret_name(job: JobBundle) -> str:
    """The Secret that holds what the job file refers to: a key for each variable and each file."""
    return f"{job.name}-secrets"


def environment(job: JobBundle) -> list[Data]:
    """Each `${env:NAME}` of the job file, taken from the Secret."""
    reference = secret_name(job)
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": reference, "key": name}}} for name in job.secret_variables
    ]


def volumes(job: JobBundle) -> list[Data]:
    """What `mounts` mounts."""
    made: list[Data] = [{"name": "job", "configMap": {"name": f"{job.name}-job"}}, {"name": "tmp", "emptyDir": {}}]
    if job.schemas:
        items = [{"key": _key(name), "path": name} for name in job.schemas]
        made.append({"name": "schemas", "configMap": {"name": f"{job.name}-schemas", "items": items}})
    if job.secret_files:
        secret = {"secretName": secret_name(job), "defaultMode": SECRET_MODE}
        items = [{"key": key, "path": key} for key in job.secret_files.values()]
        made.append({"name": "secrets", "secret": {**secret, "items": items}})
    return made


def letters_volume(job: JobBundle) -> tuple[list[Data], list[Data]]:
    """The claim and its mount, for workers only: a volume that one node holds must not keep other pods waiting."""
    if not keeps_letters(job):
        return [], []
    claim = {"claimName": f"{job.name}-dead-letters"}
    return (
        [{"name": "dead-letters", "persistentVolumeClaim": claim}],
        [{"name": "dead-letters", "mountPath": job.dead_letters}],
    )


def mounts(job: JobBundle) -> list[Data]:
    """The job file and all it names, at the paths that it names, each file for itself: its folder stays writable."""
    made: list[Data] = [
        {"name": "job", "mountPath": JOB_FILE, "subPath": "job.yaml", "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    if job.schemas:
        made.append({"name": "schemas", "mountPath": job.schemas_folder, "readOnly": True})
    return made + [
        {"name": "secrets", "mountPath": path, "subPath": key, "readOnly": True}
        for path, key in job.secret_files.items()
    ]


def keeps_letters(job: JobBundle) -> bool:
    """Whether dead letters go to a folder, which pods need a claim for."""
    return job.dead_letters.startswith("/")


def letters_claim(job: JobBundle, namespace: str | None) -> Data:
    """A volume that all workers write dead letters to."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(f"{job.name}-dead-letters", namespace),
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "10Gi"}}},
    }


def confined(user: int) -> Data:
    """The rights of a container: none beyond its own files."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def network_policy(job: JobBundle, namespace: str | None, ports: tuple[int, ...]) -> Data:
    """Pods of the job talk to each other, to DNS and to `ports`; in come the operator (REST) and Prometheus."""
    own = {"podSelector": {"matchLabels": {"app": job.name}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(job.name, namespace),
        "spec": {
            "podSelector": {"matchLabels": {"app": job.name}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [own]},
                {"from": [_namespace(OPERATOR_NAMESPACE)], "ports": [_tcp(REST_PORT)]},
                {"from": [_namespace(MONITORING_NAMESPACE)], "ports": [_tcp(METRICS_PORT)]},
            ],
            "egress": [
                {"to": [own]},
                {"ports": [{"protocol": "UDP", "port": 53}, _tcp(53)]},
                {"ports": [_tcp(port) for port in ports]},
            ],
        },
    }


def _namespace(name: str) -> Data:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _tcp(port: int) -> Data:
    return {"protocol": "TCP", "port": port}


def pod_monitor(job: JobBundle, namespace: str | None) -> Data:
    """Has the Prometheus operator read the metrics of every Flink pod, those of Beam and of Millrace among them."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": metadata(job.name, namespace),
        "spec": {
            "selector": {"matchLabels": {"app": job.name, "type": "flink-native-kubernetes"}},
            "podMetricsEndpoints": [{"port": "metrics", "path": "/metrics", "interval": "15s"}],
        },
    }


def tcp_probe(port: int, period: int = 10, failures: int = 3) -> Data:
    """A port that answers; dead after `failures` times `period` seconds."""
    return {"tcpSocket": {"port": port}, "periodSeconds": period, "failureThreshold": failures}


def resources(cpu: str, memory: str, most: str) -> Data:
    """Requests, and a limit of memory: CPU has none, since throttling looks like a slow target."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": most}}
