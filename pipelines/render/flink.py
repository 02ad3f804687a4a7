"""A job on Flink's Kubernetes operator: an application of its own, or a session cluster that it is submitted to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from ...schemas.errors import JobError
from ..runners.image_paths import JOB_FILE
from . import kubernetes as parts
from .job_bundle import JobBundle
from .kubernetes import Data

Mode = Literal["application", "session"]

RELEASES: Final = {"1.19": "1.19.3", "1.20": "1.20.3", "2.0": "2.0.1", "2.1": "2.1.1", "2.2": "2.2.0"}
"""Minor versions that Beam 2.77 has a runner for, and the release of each whose image is taken."""
NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
JAR: Final = "/opt/flink/usrlib/job.jar"
RUNNER_JARS: Final = "/opt/millrace/runners"
ENTRY_CLASS: Final = "org.apache.beam.runners.flink.FlinkPipelineRunner"
PLUGINS: Final = {
    "s3": "flink-s3-fs-hadoop",
    "s3a": "flink-s3-fs-hadoop",
    "gs": "flink-gs-fs-hadoop",
    "abfs": "flink-azure-fs-hadoop",
    "abfss": "flink-azure-fs-hadoop",
}
"""What Flink's image switches on to open checkpoints of each kind of URL; without it no checkpoint can be written."""
CHECKPOINT_SECONDS: Final = 10
STATE_CACHE_MB: Final = 128
SLOTS: Final = 1
"""Of a TaskManager: each has one Python worker beside it, so the parallelism is the number of TaskManagers."""
WAIT: Final = """\
import sys, time, urllib.request
while True:
    try:
        urllib.request.urlopen(f"http://{sys.argv[1]}/overview", timeout=5)
        break
    except OSError as error:
        print(f"Flink does not answer at {sys.argv[1]}: {error}")
        time.sleep(2)
"""
KUBERNETES_API: Final = 6443
COMMON_PORTS: Final = (443, KUBERNETES_API)


@dataclass(frozen=True, kw_only=True)
class FlinkSettings:
    """What a platform decides. `storage` is the URL of a folder for checkpoints, savepoints and recovery.

    Raises JobError for a setting that no cluster would take.
    """

    image: str
    storage: str
    mode: Mode = "application"
    parallelism: int = 1
    namespace: str | None = None
    flink_version: str = "1.19"

    def __post_init__(self) -> None:
        if self.namespace is not None and NAMESPACE.fullmatch(self.namespace) is None:
            raise JobError(f"--namespace {self.namespace}: names have lower-case letters, digits and '-' only")
        place = urlsplit(self.storage)
        if place.scheme not in PLUGINS or not place.netloc:
            known = ", ".join(f"{scheme}://" for scheme in PLUGINS)
            raise JobError(f"--storage {self.storage}: not a URL that all pods reach; there are {known}")
        if self.flink_version not in RELEASES:
            raise JobError(f"--flink-version {self.flink_version}: Beam has runners for {', '.join(RELEASES)}")

    @property
    def flink_image(self) -> str:
        return f"flink:{RELEASES[self.flink_version]}-java17"


def flink_files(job: JobBundle, settings: FlinkSettings) -> dict[str, list[Data]]:
    """The documents of each file, in the order in which `kubectl apply -f` takes them."""
    files = {"config.yaml": parts.config_maps(job, settings.namespace)}
    if parts.keeps_letters(job):
        files["dead-letters.yaml"] = [parts.letters_claim(job, settings.namespace)]
    files["flink.yaml"] = [_deployment(job, settings)]
    files["monitor.yaml"] = [parts.pod_monitor(job, settings.namespace)]
    ports = tuple(sorted({*job.ports, *COMMON_PORTS}))
    files["network.yaml"] = [parts.network_policy(job, settings.namespace, ports)]
    if settings.mode == "session":
        files["submit.yaml"] = [_submitter(job, settings)]
    return files


def run_arguments(job: JobBundle, settings: FlinkSettings) -> list[str]:
    """The words behind `millrace` in the container that makes the job's jar, or submits the job."""
    arguments = ["run", JOB_FILE, "--runner", "FlinkRunner", "--streaming"]
    options = {
        "job_name": job.name,
        "flink_version": settings.flink_version,
        "flink_job_server_jar": f"{RUNNER_JARS}/flink-{settings.flink_version}.jar",
        "environment_type": "EXTERNAL",
        "environment_config": f"localhost:{parts.WORKER_PORT}",
        "parallelism": settings.parallelism,
        "sdk_worker_parallelism": SLOTS,
        "max_cache_memory_usage_mb": STATE_CACHE_MB,
        "checkpointing_interval": CHECKPOINT_SECONDS * 1000,
    }
    arguments += [f"--{name}={value}" for name, value in options.items()]
    # Without it a checkpoint's watermark passes what bundles still give, and windows drop that as late.
    arguments += ["--finish_bundle_before_checkpointing"]
    if settings.mode == "session":
        return [*arguments, "--detach", f"--flink_master={_rest(job)}", "--flink_submit_uber_jar"]
    return [*arguments, f"--output_executable_path={JAR}"]


def _rest(job: JobBundle) -> str:
    """Where Flink's REST API answers: the service that the operator's clusters have."""
    return f"{job.name}-rest:{parts.REST_PORT}"


def _deployment(job: JobBundle, settings: FlinkSettings) -> Data:
    application = settings.mode == "application"
    spec: Data = {
        "image": settings.flink_image,
        "flinkVersion": f"v{settings.flink_version.replace('.', '_')}",
        "mode": "native",
        "serviceAccount": "flink",
        "flinkConfiguration": _configuration(job, settings),
        "jobManager": {
            "replicas": 1,
            "resource": {"cpu": 1, "memory": "1600m"},
            "podTemplate": _job_manager_pod(job, settings),
        },
        "taskManager": {
            "resource": {"cpu": 1, "memory": "2048m"},
            "podTemplate": _task_manager_pod(job, settings),
        },
    }
    if application:
        spec["job"] = {
            "jarURI": f"local://{JAR}",
            "entryClass": ENTRY_CLASS,
            "parallelism": settings.parallelism,
            "upgradeMode": "savepoint",
            "state": "running",
            "allowNonRestoredState": False,
        }
    return {
        "apiVersion": "flink.apache.org/v1beta1",
        "kind": "FlinkDeployment",
        "metadata": parts.metadata(job.name, settings.namespace),
        "spec": spec,
    }


def _configuration(job: JobBundle, settings: FlinkSettings) -> Mapping[str, str]:
    folder = f"{settings.storage.rstrip('/')}/{job.name}"
    return {
        "taskmanager.numberOfTaskSlots": str(SLOTS),
        "parallelism.default": str(settings.parallelism),
        "pipeline.max-parallelism": "128",
        "execution.checkpointing.interval": f"{CHECKPOINT_SECONDS}s",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.timeout": "3min",
        "execution.checkpointing.tolerable-failed-checkpoints": "10",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "state.backend.type": "rocksdb",
        "state.backend.incremental": "true",
        "state.checkpoints.dir": f"{folder}/checkpoints",
        "state.savepoints.dir": f"{folder}/savepoints",
        "high-availability.type": "kubernetes",
        "high-availability.storageDir": f"{folder}/recovery",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1s",
        "restart-strategy.exponential-delay.max-backoff": "1min",
        "restart-strategy.exponential-delay.backoff-multiplier": "2.0",
        "restart-strategy.exponential-delay.reset-backoff-threshold": "10min",
        "restart-strategy.exponential-delay.jitter-factor": "0.1",
        "metrics.reporter.prom.factory.class": "org.apache.flink.metrics.prometheus.PrometheusReporterFactory",
        "metrics.reporter.prom.port": str(parts.METRICS_PORT),
        "kubernetes.operator.savepoint.history.max.count": "5",
        "kubernetes.operator.periodic.savepoint.interval": "24h",
    }


def _job_manager_pod(job: JobBundle, settings: FlinkSettings) -> Data:
    """In application mode the jar is made in the pod, from the job file: no image per job."""
    probes = {
        "readinessProbe": {"httpGet": {"path": "/overview", "port": parts.REST_PORT}, "periodSeconds": 10},
        "livenessProbe": parts.tcp_probe(6123, failures=6),
        "startupProbe": parts.tcp_probe(6123, failures=60),
    }
    main = _flink_container(settings, probes)
    if settings.mode == "session":
        return _flink_pod(job, settings, [main], [])
    jar = {"name": "job-jar", "mountPath": JAR.rpartition("/")[0]}
    main["volumeMounts"] = [{**jar, "readOnly": True}]
    maker = _millrace(job, settings, run_arguments(job, settings), parts.resources("500m", "1Gi", "2Gi"))
    maker = {**maker, "name": "make-jar", "volumeMounts": [*maker["volumeMounts"], jar]}
    pod = _flink_pod(job, settings, [main], [*parts.volumes(job), {"name": "job-jar", "emptyDir": {}}])
    return {**pod, "spec": {**pod["spec"], "initContainers": [maker]}}


def _task_manager_pod(job: JobBundle, settings: FlinkSettings) -> Data:
    probes = {"livenessProbe": parts.tcp_probe(6122, failures=6), "startupProbe": parts.tcp_probe(6122, failures=60)}
    letters = parts.letters_volume(job)
    worker = _millrace(job, settings, ["worker-pool"], parts.resources("1", "2Gi", "4Gi"))
    worker = {
        **worker,
        "name": "worker",
        "ports": [{"name": "worker", "containerPort": parts.WORKER_PORT}],
        "volumeMounts": [*worker["volumeMounts"], *letters[1]],
        "startupProbe": parts.tcp_probe(parts.WORKER_PORT, period=2, failures=60),
        "readinessProbe": parts.tcp_probe(parts.WORKER_PORT),
        "livenessProbe": parts.tcp_probe(parts.WORKER_PORT),
    }
    return _flink_pod(job, settings, [_flink_container(settings, probes), worker], [*parts.volumes(job), *letters[0]])


def _flink_container(settings: FlinkSettings, probes: Data) -> Data:
    plugin = f"{PLUGINS[urlsplit(settings.storage).scheme]}-{RELEASES[settings.flink_version]}.jar"
    return {
        "name": "flink-main-container",
        "env": [{"name": "ENABLE_BUILT_IN_PLUGINS", "value": plugin}],
        "ports": [{"name": "metrics", "containerPort": parts.METRICS_PORT}],
        "securityContext": parts.confined(parts.FLINK_USER),
        **probes,
    }


def _millrace(job: JobBundle, settings: FlinkSettings, arguments: list[str], resources: Data) -> Data:
    return {
        "image": settings.image,
        "imagePullPolicy": "IfNotPresent",
        "args": arguments,
        "env": parts.environment(job),
        "resources": resources,
        "volumeMounts": parts.mounts(job),
        "securityContext": {**parts.confined(parts.WORKER_USER), "readOnlyRootFilesystem": True},
    }


def _flink_pod(job: JobBundle, settings: FlinkSettings, containers: list[Data], volumes: list[Data]) -> Data:
    """A template. An application's changes with the job file, so that the operator upgrades it by a savepoint."""
    marked = {"metadata": {"annotations": _mark(job)}} if settings.mode == "application" else {}
    return {"apiVersion": "v1", "kind": "Pod", **marked, "spec": _pod_spec(containers, volumes)}


def _mark(job: JobBundle) -> dict[str, str]:
    return {"millrace/job": job.digest}


def _pod_spec(containers: list[Data], volumes: list[Data]) -> Data:
    held = {"volumes": volumes} if volumes else {}
    return {"securityContext": {"fsGroup": parts.FLINK_USER}, "containers": containers, **held}


def _submitter(job: JobBundle, settings: FlinkSettings) -> Data:
    """Waits for the cluster, then submits once: a second try while the first job runs would read every topic twice."""
    container = _millrace(job, settings, run_arguments(job, settings), parts.resources("500m", "1Gi", "2Gi"))
    wait = {**container, "name": "wait", "command": ["python", "-c", WAIT], "args": [_rest(job)]}
    pod = {**_pod_spec([{**container, "name": "submit"}], parts.volumes(job)), "initContainers": [wait]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": parts.metadata(f"{job.name}-submit", settings.namespace),
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"annotations": _mark(job), "labels": {"app": job.name, parts.PARTS: "millrace"}},
                "spec": {**pod, "restartPolicy": "Never", "automountServiceAccountToken": False},
            },
        },
    }
