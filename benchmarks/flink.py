"""Throughput of a job on a real Flink cluster here: changes a second, and a CPU-second of Java and Python."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.downloads import beam_flink_jar
from support.flink_cluster import FlinkCluster
from support.go_programs import PRISM, built

from millrace.pipelines.execution.job_parts import target_of
from millrace.pipelines.job.load import load_job
from millrace.schemas.model.ledger import TopicPartition

from .streaming import JOB, commits, send_steadily
from .workload import Workload

__all__ = ["PRISM", "FlinkCluster", "built", "options", "soak", "throughput"]

TICKS: Final = 100.0
PATIENCE_SECONDS: Final = 600.0
FEWEST_COMMITS: Final = 8


def options(cluster: FlinkCluster, parallelism: int) -> list[str]:
    """What `millrace run` needs to run on the cluster."""
    return [
        "--runner=FlinkRunner",
        f"--flink_master={cluster.url}",
        f"--flink_job_server_jar={beam_flink_jar()}",
        "--environment_type=EXTERNAL",
        f"--environment_config={cluster.workers.address}",
        f"--parallelism={parallelism}",
    ]


def throughput(
    servers: str, folder: Path, workload: Workload, cluster: FlinkCluster, parallelism: int
) -> dict[str, Any]:
    """Drain a topic that is full. Counted from the first commit on, so that the start of the job is left out.

    What was read while the first commit was made counts too: with fewer than `FEWEST_COMMITS` there is no figure.
    """
    folder.mkdir(parents=True)
    file = folder / "job.yaml"
    contracts, lake = folder.parent / "contracts", folder / "lake"
    text = JOB.format(servers=servers, topic=workload.topic, contracts=contracts, path=lake)
    file.write_text(text.replace("job: stream", f"job: throughput-{parallelism}"))
    command = [sys.executable, "-m", "millrace.pipelines", "run", str(file), "--json", *options(cluster, parallelism)]
    with (folder / "err").open("w") as err:
        job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True)
        try:
            _wait(lambda: _committed(file, workload) > 0, job, folder)
            before, at = _committed(file, workload), cpu_seconds(cluster)
            _wait(lambda: _committed(file, workload) >= workload.changes, job, folder)
            used = cpu_seconds(cluster) - at
            job.send_signal(signal.SIGTERM)
            job.communicate(timeout=120)
        finally:
            job.kill()
    spans = commits(lake / "orders")
    first, last = min(at for *_, at in spans), max(at for *_, at in spans)
    early = sum(stop - start for _, start, stop, at in spans if at == first)
    made = len({at for *_, at in spans})
    if made < FEWEST_COMMITS:
        return {"parallelism": parallelism, "commits": made, "changes_per_second": None}
    return {
        "parallelism": parallelism,
        "commits": made,
        "changes_per_second": round((workload.changes - early) / max(0.001, (last - first) / 1000)),
        "changes_per_cpu_second": round((workload.changes - before) / max(0.01, used)),
    }


def _wait(check: Any, job: subprocess.Popen[str], folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not check():
        if job.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError((folder / "err").read_text()[-3000:])
        time.sleep(0.2)


def _committed(file: Path, workload: Workload) -> int:
    job = load_job(file)
    sink = target_of(job).open()
    try:
        sources = [TopicPartition(workload.topic, number) for number in range(workload.partitions)]
        return sum(sink.ledger(job.job, "orders", sources).next.values())
    finally:
        sink.close()


def cpu_seconds(cluster: FlinkCluster) -> float:
    """User and system time of JobManager, TaskManagers, worker pool and Python workers so far."""
    return sum(_ticks(pid) for pid in processes(cluster)) / TICKS


def memory_mb(cluster: FlinkCluster) -> dict[str, int]:
    """Resident memory of the Java and of the Python processes."""
    found = {"java": 0, "python": 0}
    for pid in processes(cluster):
        status = Path(f"/proc/{pid}/status").read_text()
        kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        found["java" if "java" in status.splitlines()[0] else "python"] += kilobytes // 1024
    return found


def processes(cluster: FlinkCluster) -> Iterator[int]:
    """The cluster's processes and all that they started."""
    roots = {program.pid for program in (cluster.job_manager, cluster.workers, *cluster.task_managers)}
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    for pid in parents:
        above = pid
        while above in parents and above not in roots:
            above = parents[above]
        if above in roots:
            yield pid


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def soak(servers: str, folder: Path, workload: Workload, cluster: FlinkCluster, rate: int) -> Iterator[dict[str, Any]]:
    """A steady stream: memory, threads and sockets when a tenth has passed, in the middle and at the end.

    Each Kafka consumer is a thread and a few sockets of a Python worker: flat, no consumer is opened and left.
    """
    folder.mkdir(parents=True)
    file = folder / "job.yaml"
    text = JOB.format(
        servers=servers, topic=workload.topic, contracts=folder.parent / "contracts", path=folder / "lake"
    )
    file.write_text(text.replace("job: stream", "job: soak"))
    command = [sys.executable, "-m", "millrace.pipelines", "run", str(file), "--json", *options(cluster, 2)]
    with (folder / "err").open("w") as err:
        job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True)
        sender = multiprocessing.get_context("spawn").Process(
            target=send_steadily, args=(servers, workload, rate, folder / "lake" / "orders")
        )
        sender.start()
        try:
            started, seconds = time.monotonic(), workload.changes / rate
            for share in (0.1, 0.5, 1.0):
                time.sleep(max(0.0, started + share * seconds - time.monotonic()))
                yield {"seconds": round(share * seconds), **memory_mb(cluster), **handles(cluster)}
            sender.join()
            _wait(lambda: _committed(file, workload) >= workload.changes, job, folder)
            job.send_signal(signal.SIGTERM)
            job.communicate(timeout=120)
        finally:
            sender.kill()
            job.kill()


def handles(cluster: FlinkCluster) -> dict[str, int]:
    """Threads and open sockets of the Python processes."""
    found = {"threads": 0, "sockets": 0}
    for pid in processes(cluster):
        if "java" not in Path(f"/proc/{pid}/comm").read_text():
            found["threads"] += len(list(Path(f"/proc/{pid}/task").iterdir()))
            places = (place for place in Path(f"/proc/{pid}/fd").iterdir() if place.is_symlink())
            found["sockets"] += sum(os.readlink(place).startswith("socket:") for place in places)
    return found
