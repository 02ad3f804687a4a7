"""Options of `--runner FlinkRunner`: what would lose data or stall is refused, what is not said is set well."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from apache_beam.options.pipeline_options import FlinkRunnerOptions

from ....schemas.errors import JobError, RunnerError
from ..beam_options import ReadOptions, read_options
from ..findings import FAIL, OK, WARN, Finding
from .checks import CHECKS, LOOPBACK, Cluster, Look, is_inside, is_packed
from .jar import FlinkJar, minor, read_jar
from .rest import FlinkRest

RUNNER: Final = "FlinkRunner"
FLAGS: Final = (
    "allow_non_restored_state attached_mode auto_balance_write_files_sharding_enabled disable_metrics "
    "enable_stable_input_drain externalized_checkpoints_enabled fail_on_checkpointing_errors faster_copy "
    "finish_bundle_before_checkpointing force_unaligned_checkpoint_enabled object_reuse operator_chaining "
    "re_iterable_group_by_key_result retain_externalized_checkpoints_on_cancellation unaligned_checkpoint_enabled "
    "use_data_stream_for_batch enable_heap_dumps load_balance_bundles log_mdc retain_docker_containers"
)
NUMBERS: Final = (
    "auto_watermark_interval checkpoint_timeout_millis checkpointing_interval execution_retry_delay "
    "file_input_split_max_size_m_b job_check_interval_in_secs latency_tracking_interval max_bundle_size "
    "max_bundle_time_mills max_parallelism min_pause_between_checkpoints num_concurrent_checkpoints "
    "number_of_execution_retries parallelism shutdown_sources_after_idle_ms environment_expiration_millis "
    "grouping_table_max_size_mb"
)
TEXTS: Final = (
    "checkpointing_mode execution_mode_for_batch flink_conf_dir flink_master report_checkpoint_duration savepoint_path "
    "state_backend state_backend_factory state_backend_storage_path app_name bundle_processor_cache_timeout "
    "default_environment_config default_environment_type semi_persist_dir stable_unique_names"
)
OWN: Final[Mapping[str, str]] = {
    **dict.fromkeys(FLAGS.split(), "flag"),
    **dict.fromkeys(NUMBERS.split(), "number"),
    **dict.fromkeys(TEXTS.split(), "text"),
    "g_c_thrashing_percentage_per_period": "share",
    "max_cache_memory_usage_percent": "share",
    "jdk_add_open_modules": "list",
}
"""The options that a job server tells Beam's Python side (DescribePipelineOptions), as of 2.62."""

DEFAULTS: Final[Mapping[str, Any]] = {
    "checkpointing_interval": 10_000,
    "checkpoint_timeout_millis": 180_000,
    "max_bundle_time_mills": 100,
    "max_cache_memory_usage_mb": 128,
    "finish_bundle_before_checkpointing": True,
    "faster_copy": True,
}
"""Set where the user says nothing.

- `finish_bundle_before_checkpointing`: without it the runner puts what a bundle still gives into the checkpoint, and
  lets the watermark pass it: windows then drop it as late, after a recovery at each checkpoint.
- `checkpoint_timeout_millis`: a task that waits for a worker which was killed is found by it, and restarted.
- `max_bundle_time_mills`: each shuffle waits so long for more; Beam's 1000 makes seconds of it.
- `faster_copy`: without it each block is encoded and decoded again between chained steps.
"""


def flink_options(job_name: str, arguments: Sequence[str]) -> list[str]:
    """The arguments with what Millrace adds, for PipelineOptions. Raises JobError where a check fails."""
    look, found = _look(arguments)
    failed = [finding for finding in found if finding.level == FAIL]
    if failed:
        told = "; ".join(
            f"{finding.what}: {finding.found}{f'; {finding.fix}' * bool(finding.fix)}" for finding in failed
        )
        raise JobError(f"--runner {RUNNER}: {told}")
    added = [f"--{name}" if value is True else f"--{name}={value}" for name, value in look.set.items()]
    return [f"--runner={RUNNER}", "--streaming", f"--job_name={job_name}", *added, *arguments]


def findings(arguments: Sequence[str]) -> list[Finding]:
    """What `millrace check` says of the options; asks the cluster where one is named. Raises JobError for no number."""
    return _look(arguments)[1]


def rest_of(arguments: Sequence[str]) -> FlinkRest | None:
    """The cluster that the options name, or None for one inside the job server."""
    given = read_options(RUNNER, arguments, OWN)
    return None if is_inside(given) or is_packed(given) else FlinkRest(given.values["flink_master"])


def _look(arguments: Sequence[str]) -> tuple[Look, list[Finding]]:
    jar = _jar(read_options(RUNNER, arguments, OWN))
    more = {name: "text" for name in jar.options if name not in OWN} if jar else {}
    given = read_options(RUNNER, arguments, {**OWN, **more})
    found = [Finding(FAIL, "options", complaint) for complaint in given.unknown]
    cluster, said = _cluster(given)
    found += said
    look = Look(given, cluster, jar, _set(given, cluster, jar))
    for check in CHECKS:
        found += check(look)
    return look, found


def _jar(given: ReadOptions) -> FlinkJar | None:
    path = given.values.get("flink_job_server_jar")
    return read_jar(Path(path)) if path and "://" not in path else None


def _cluster(given: ReadOptions) -> tuple[Cluster | None, list[Finding]]:
    if is_packed(given):
        return None, [Finding(OK, "output_executable_path", str(given.values["output_executable_path"]))]
    if is_inside(given):
        found = "Flink runs inside the job server and ends with it; the next run goes on from the target's ledger"
        return None, [Finding(WARN, "flink_master", found, "name a cluster with --flink_master=HOST:PORT")]
    rest = FlinkRest(given.values["flink_master"])
    try:
        cluster = Cluster(rest.version(), rest.slots(), rest.settings())
    except RunnerError as error:
        return None, [
            Finding(FAIL, "flink_master", str(error), "start the cluster, or correct --flink_master=HOST:PORT")
        ]
    free = f"{cluster.slots.free} of {cluster.slots.total} slots free"
    return cluster, [Finding(OK, "flink_master", f"Flink {cluster.version} answers, {free}")]


def _set(given: ReadOptions, cluster: Cluster | None, jar: FlinkJar | None) -> dict[str, Any]:
    """What Millrace adds to the options."""
    wanted = dict(DEFAULTS)
    if cluster is not None and minor(cluster.version) in FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS:
        wanted["flink_version"] = minor(cluster.version)
    elif cluster is None and jar is not None and jar.flink:
        wanted["flink_version"] = jar.flink
    if cluster is not None and cluster.slots.most > 1:
        wanted["sdk_worker_parallelism"] = cluster.slots.most
    if is_inside(given):
        wanted["environment_type"] = LOOPBACK
    return {name: value for name, value in wanted.items() if name not in given.values}
