"""Checks of a job's Flink options and its cluster: what would lose data or stall, and what to do about it."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from apache_beam.options.pipeline_options import FlinkRunnerOptions

from ..beam_options import ReadOptions
from ..findings import FAIL, OK, WARN, Finding
from .jar import FlinkJar, minor
from .rest import Slots

LOOPBACK: Final = "LOOPBACK"
INSIDE: Final = ("[local]", "[auto]", "[collection]")
"""Masters that are no cluster."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Flink cluster as it is now; `settings` is its configuration."""

    version: str
    slots: Slots
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Look:
    """All that the checks look at."""

    given: ReadOptions
    cluster: Cluster | None
    jar: FlinkJar | None
    set: Mapping[str, Any] = field(default_factory=dict)

    def get(self, name: str, otherwise: Any = None) -> Any:
        """What is typed, else what Millrace sets, else `otherwise`, which is Beam's own default."""
        return self.given.values.get(name, self.set.get(name, otherwise))

    @property
    def uber(self) -> bool:
        return bool(self.get("flink_submit_uber_jar", False))

    @property
    def packed(self) -> bool:
        return is_packed(self.given)

    @property
    def inside(self) -> bool:
        return is_inside(self.given)


def is_packed(given: ReadOptions) -> bool:
    """Whether the job is written into a jar, and run by some cluster later."""
    return bool(given.values.get("output_executable_path"))


def is_inside(given: ReadOptions) -> bool:
    """Whether Flink runs inside the job server."""
    return not is_packed(given) and given.values.get("flink_master", "[auto]") in INSIDE


def _versions(look: Look) -> Iterator[Finding]:
    version = look.get("flink_version", FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS[-1])
    if look.cluster is not None and version != minor(look.cluster.version):
        published = ", ".join(FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS)
        found = f"{version}, but the cluster is Flink {look.cluster.version}; this Beam has runners for {published}"
        yield Finding(FAIL, "flink_version", found, "they must be of the same minor version")
    elif look.jar is not None and look.jar.flink and version != look.jar.flink:
        found = f"{version}, but --flink_job_server_jar was built for Flink {look.jar.flink}"
        yield Finding(FAIL, "flink_version", found, f"take the job server for Flink {version}")
    else:
        yield Finding(OK, "flink_version", version)


def _job_server(look: Look) -> Iterator[Finding]:
    what, path = "flink_job_server_jar", look.get("flink_job_server_jar")
    if look.get("job_endpoint"):
        yield Finding(OK, "job_endpoint", f"a job server of your own at {look.get('job_endpoint')}")
        return
    if not look.uber and shutil.which(look.get("job_server_java_launcher", "java")) is None:
        yield Finding(FAIL, "java", "the job server needs Java, and java is not on PATH", "install Java 11 or newer")
    if path is None:
        yield Finding(OK, what, "Beam fetches the one of its own version from Maven Central")
    elif "://" in path:
        yield Finding(OK, what, path)
    elif not Path(path).is_file():
        yield Finding(FAIL, what, f"there is no file {path}", "leave it out and Beam fetches one from Maven Central")
    elif look.jar is None:
        yield Finding(FAIL, what, f"{path} is no jar of Beam's Flink runner")
    else:
        yield Finding(OK, what, f"Beam {look.jar.beam or '?'} for Flink {look.jar.flink or '?'}")


def _checkpoints(look: Look) -> Iterator[Finding]:
    interval = look.get("checkpointing_interval", -1)
    if interval < 1:
        fix = "set --checkpointing_interval=10000 (milliseconds)"
        yield Finding(FAIL, "checkpointing_interval", f"{interval}: no checkpoints, a fault ends the job", fix)
    elif interval > 120_000:
        found = f"{interval} ms: bundles are held in memory from checkpoint to checkpoint"
        yield Finding(WARN, "checkpointing_interval", found, "10000 to 30000 is usual")
    else:
        yield Finding(OK, "checkpointing_interval", f"{interval} ms")
    if not look.get("finish_bundle_before_checkpointing", False):
        found = "not set: what is in flight at a checkpoint can be dropped as late"
        yield Finding(FAIL, "finish_bundle_before_checkpointing", found, "add it")
    if look.cluster is None or look.get("state_backend_storage_path"):
        return
    settings = look.cluster.settings
    if not settings.get("state.checkpoints.dir") and not settings.get("execution.checkpointing.dir"):
        found = "the cluster keeps checkpoints in the JobManager's memory, 5 MB at most, and loses them with it"
        yield Finding(
            FAIL, "state.checkpoints.dir", found, "set it in Flink's configuration to a folder that all share"
        )


def _state(look: Look) -> Iterator[Finding]:
    size = look.get("max_cache_memory_usage_mb", 0)
    if size < 1:
        found, fix = "0: each access to state is a call to Flink", "set --max_cache_memory_usage_mb=128"
        yield Finding(FAIL, "max_cache_memory_usage_mb", found, fix)
    else:
        yield Finding(OK, "max_cache_memory_usage_mb", f"{size} MB")
    if look.get("state_backend") and not look.get("state_backend_storage_path"):
        fix = "set --state_backend_storage_path to a folder that all share"
        yield Finding(FAIL, "state_backend", f"{look.get('state_backend')} without a place to store it", fix)
    if look.get("savepoint_path") and (look.uber or look.inside or look.packed):
        found = "Beam ignores it, but where a job server submits to a cluster"
        yield Finding(FAIL, "savepoint_path", found, "a job jar takes Flink's own execution.savepoint.path")
    if look.get("allow_non_restored_state", False):
        yield Finding(WARN, "allow_non_restored_state", "state of steps that are gone is dropped; the ledger holds")


def _bundles(look: Look) -> Iterator[Finding]:
    what, time = "max_bundle_time_mills", look.get("max_bundle_time_mills", 1_000)
    if time > 5_000:
        yield Finding(FAIL, what, f"{time} ms at each shuffle, and checkpoints wait for it", "set it to 100")
    elif time > 1_000:
        yield Finding(WARN, what, f"{time} ms at each shuffle", "set it to 100")
    else:
        yield Finding(OK, what, f"{time} ms")


def _faults(look: Look) -> Iterator[Finding]:
    if look.get("number_of_execution_retries", -1) == 0:
        yield Finding(FAIL, "number_of_execution_retries", "0: the first lost worker ends the job", "leave it out")
    if look.get("shutdown_sources_after_idle_ms", -1) >= 0:
        found = "a source that is idle for so long is never read again"
        yield Finding(FAIL, "shutdown_sources_after_idle_ms", found, "leave it out")


def _workers(look: Look) -> Iterator[Finding]:
    kind, config = look.get("environment_type"), look.get("environment_config")
    options = look.get("environment_options") or ()
    config = config or ",".join(options)
    what = "environment_type"
    if kind is None:
        found = "not set: TaskManagers would start Beam's own Docker image, which has no Millrace in it"
        fix = (
            "run worker pools beside the TaskManagers: --environment_type=EXTERNAL --environment_config=localhost:50000"
        )
        yield Finding(FAIL, what, found, fix)
    elif kind == LOOPBACK and look.packed:
        yield Finding(FAIL, what, "LOOPBACK: the workers would be threads of this process, which ends", "say EXTERNAL")
    elif kind == LOOPBACK and not look.inside:
        found = "LOOPBACK: the workers are threads of this process, and TaskManagers must reach this machine"
        yield Finding(WARN, what, found, "EXTERNAL is for real use")
    elif kind != LOOPBACK and not config:
        wanted = {"EXTERNAL": "HOST:PORT of the worker pool", "DOCKER": "an image that has Millrace in it"}
        found = f"{kind} without --environment_config"
        yield Finding(FAIL, what, found, f"say {wanted.get(str(kind), 'the command')}")
    else:
        yield Finding(OK, what, f"{kind} {config}" if config else str(kind))
    workers, most = int(look.get("sdk_worker_parallelism", 1)), look.cluster.slots.most if look.cluster else 1
    if workers == 1 and most > 1:
        found = f"1 Python process for the {most} slots of a TaskManager: they take turns"
        yield Finding(FAIL, "sdk_worker_parallelism", found, f"set it to {most}, or leave it out")
    else:
        yield Finding(OK, "sdk_worker_parallelism", f"{workers or 'as many as Flink thinks fit'}")


def _parallelism(look: Look) -> Iterator[Finding]:
    wanted, most = look.get("parallelism", -1), look.get("max_parallelism", -1)
    if 0 < most < wanted:
        yield Finding(
            FAIL, "parallelism", f"{wanted} is above --max_parallelism={most}", "lower one or raise the other"
        )
    elif look.cluster is not None and max(wanted, 1) > look.cluster.slots.free:
        found = f"{max(wanted, 1)}, and {look.cluster.slots.free} slots are free: the job waits for more"
        yield Finding(WARN, "parallelism", found, "start TaskManagers, or lower --parallelism")
    elif look.cluster is not None and wanted < 1 and look.cluster.slots.total > 1:
        found = f"not set: the cluster's own default, mostly 1 of {look.cluster.slots.total} slots"
        yield Finding(WARN, "parallelism", found, "set --parallelism")
    else:
        yield Finding(OK, "parallelism", f"{wanted if wanted > 0 else 1}")


CHECKS: Final = (_versions, _job_server, _checkpoints, _state, _bundles, _faults, _workers, _parallelism)
