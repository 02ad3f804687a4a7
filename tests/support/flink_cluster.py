"""A real Flink cluster on this machine: a JobManager with ZooKeeper for its recovery, TaskManagers, Python workers.

For tests; and as a program (`make flink`) for a person, until Ctrl-C.
"""

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.downloads import beam_flink_jar, flink_lib, missing_java
from support.kafka_broker import free_ports
from support.processes import Program, until

ROOT = Path(__file__).parents[2]
ENTRY = "org.apache.flink.runtime"
OPENED = ("util", "lang", "net", "nio", "time", "text", "util.concurrent", "lang.reflect")
JAVA = [
    *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in OPENED),
    *(
        f"--add-exports={package}=ALL-UNNAMED"
        for package in ("java.base/sun.net.util", "java.management/sun.management")
    ),
]
# The start scripts, which the wheel does not have, would work out the memory of the TaskManager; so all of it is here.
SETTINGS = """
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: {rest}
jobmanager.rpc.address: 127.0.0.1
jobmanager.memory.process.size: 1024m
high-availability.type: zookeeper
high-availability.zookeeper.quorum: 127.0.0.1:{zookeeper}
high-availability.zookeeper.client.session-timeout: 5000
high-availability.storageDir: file://{folder}/recovery
taskmanager.host: 127.0.0.1
taskmanager.numberOfTaskSlots: {slots}
taskmanager.cpu.cores: 1
taskmanager.memory.task.heap.size: 384m
taskmanager.memory.task.off-heap.size: 0
taskmanager.memory.managed.size: 128m
taskmanager.memory.network.min: 64m
taskmanager.memory.network.max: 64m
taskmanager.memory.jvm-overhead.min: 192m
taskmanager.memory.jvm-overhead.max: 192m
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.framework.off-heap.size: 128m
taskmanager.memory.jvm-metaspace.size: 512m
heartbeat.interval: 1000
heartbeat.timeout: 10000
restart-strategy.type: exponential-delay
restart-strategy.exponential-delay.initial-backoff: 500 ms
restart-strategy.exponential-delay.max-backoff: 5 s
state.checkpoints.dir: file://{folder}/checkpoints
state.savepoints.dir: file://{folder}/savepoints
io.tmp.dirs: {folder}/tmp
classloader.check-leaked-classloader: false
metrics.fetcher.update-interval: 300
"""
LOGGING = """
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} %m%n
"""
ZOOKEEPER = """tickTime=1000
dataDir={folder}/zookeeper
clientPort={zookeeper}
clientPortAddress=127.0.0.1
admin.enableServer=false
"""


def held_port() -> socket.socket:
    """A port that the system gives to nobody else while this is open, and that a Java server can listen at."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


class FlinkCluster:
    """A context manager: one JobManager at `url`, TaskManagers in `task_managers`, a worker pool at `workers.address`.

    Every process is a Program, to be killed and started again by the test; `ready` waits for what the cluster needs
    to run jobs. Checkpoints and savepoints are in `folder`.
    """

    def __init__(self, task_managers: int = 2, slots: int = 2) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="flink-"))
        self._wanted, self.slots = task_managers, slots
        self._undo = ExitStack()
        rest, zookeeper = (self._undo.enter_context(held_port()).getsockname()[1] for _ in range(2))
        self.url = f"http://127.0.0.1:{rest}"
        self._ports = {"rest": rest, "zookeeper": zookeeper, "slots": slots, "folder": self.folder}
        self._started = 0
        self.task_managers: list[Program] = []

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
            undo.push(self._undo)
            undo.callback(self.close)
            (self.folder / "tmp").mkdir()
            (self.folder / "flink-conf.yaml").write_text(SETTINGS.format(**self._ports))
            (self.folder / "log4j.properties").write_text(LOGGING)
            (self.folder / "zoo.cfg").write_text(ZOOKEEPER.format(**self._ports))
            quorum = f"{ENTRY}.zookeeper.FlinkZooKeeperQuorumPeer"
            self.zookeeper = self._java(
                "zookeeper", 128, quorum, "--zkConfigFile", f"{self.folder}/zoo.cfg", "--peerId", "1"
            )
            self.start_job_manager()
            for _ in range(self._wanted):
                self.start_task_manager()
            self.workers = self.start_workers()
            self.ready()
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def close(self) -> None:
        for program in self._programs():
            program.close()

    def start_workers(self) -> Program:
        return WorkerPool(self.folder / "workers.log")

    def start_job_manager(self) -> None:
        """A JobManager at `url`; after a kill -9 it takes up the jobs at their newest checkpoints."""
        entry = f"{ENTRY}.entrypoint.StandaloneSessionClusterEntrypoint"
        self.job_manager = self._java("jobmanager", 512, entry, "--configDir", str(self.folder))

    def start_task_manager(self) -> Program:
        self._started += 1
        name = f"taskmanager{self._started}"
        entry = [f"{ENTRY}.taskexecutor.TaskManagerRunner", "--configDir", str(self.folder)]
        started = self._java(name, 640, *entry, f"-Dtaskmanager.resource-id={name}")
        self.task_managers = [program for program in self.task_managers if program.running] + [started]
        return started

    def ready(self, seconds: float = 180) -> None:
        """Wait until the JobManager answers and every TaskManager that runs has come to it."""

        def all_there() -> bool:
            dead = [program for program in self._programs() if not program.running]
            if dead:
                raise RuntimeError(f"{dead[0].log.name} has ended:\n{dead[0].output()}")
            found = self.get("/taskmanagers", otherwise={"taskmanagers": []})
            here = {entry["id"] for entry in found["taskmanagers"]}
            return here >= {program.log.stem for program in self.task_managers}

        if not until(all_there, seconds, 0.3):
            raise RuntimeError(f"Flink is not ready:\n{self.output()}")

    def get(self, path: str, otherwise: Any = None) -> Any:
        """The JobManager's answer to GET; `otherwise`, where given, while there is none."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return json.load(answer)
        except OSError:
            if otherwise is None:
                raise
            return otherwise

    def output(self) -> str:
        """The ends of all logs, for failure messages."""
        return "\n".join(f"--- {program.log.name}\n{program.output()}" for program in self._programs())

    def _programs(self) -> list[Program]:
        named = (getattr(self, name, None) for name in ("zookeeper", "job_manager", "workers"))
        return [*self.task_managers, *(program for program in named if program is not None)]

    def _java(self, name: str, megabytes: int, *arguments: str) -> Program:
        logging = f"-Dlog4j.configurationFile={self.folder}/log4j.properties"
        memory = [f"-Xmx{megabytes}m", "-XX:MaxDirectMemorySize=384m", "-XX:MaxMetaspaceSize=512m"]
        command = ["java", *memory, *JAVA, logging, "-cp", f"{flink_lib()}/*", *arguments]
        env = {"FLINK_CONF_DIR": str(self.folder), "FLINK_LIB_DIR": str(flink_lib())}
        return Program(command, self.folder / f"{name}.log", env)


class WorkerPool(Program):
    """Starts Python workers, one a request, that import this project and the test modules; `address` is for Beam."""

    def __init__(self, log: Path, port: int | None = None) -> None:
        (self.port,) = (port,) if port is not None else free_ports(1)
        self.address = f"127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={self.port}"]
        # The pool starts its workers as `python`.
        env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}",
        }
        super().__init__(command, log, env)


def main() -> int:
    """Start a cluster, say how to run a job on it, and wait for Ctrl-C."""
    reason = missing_java("Flink")
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    print("fetching Flink and Beam's runner for it (250 MB, once), then starting them ...", flush=True)
    jar = beam_flink_jar()
    with FlinkCluster() as cluster:
        print(f"Flink 1.19 at {cluster.url}, two TaskManagers of two slots. In another terminal, with your job file:\n")
        print("millrace run JOB --runner FlinkRunner \\")
        print(f"  --flink_master={cluster.url} --flink_job_server_jar={jar} \\")
        print(f"  --environment_type=EXTERNAL --environment_config={cluster.workers.address} --parallelism=2\n")
        print("Ctrl-C ends the cluster.", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            signal.pause()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
