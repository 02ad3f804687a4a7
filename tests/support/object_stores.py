"""Real object stores and a file system for tests: moto (S3), fake-gcs-server (GCS), MiniDFS (HDFS).

Each is a context manager whose process ends with the test's. What they need is fetched once, into .cache.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import HTTPError

from support.downloads import COPY
from support.kafka_broker import TIED_TO_STDIN, free_ports

CACHE = Path(__file__).parents[2] / ".cache"
MOTO = "5.2.5"
FAKE_GCS = "v1.56.1"
HADOOP = "3.4.1"
MINI_DFS = """import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.MiniDFSCluster;
public class MiniDfs {
  public static void main(String[] arguments) throws Exception {
    Configuration settings = new Configuration();
    settings.set("fs.permissions.umask-mode", "022");
    settings.set("dfs.namenode.file.close.num-committed-allowed", "1");
    new MiniDFSCluster.Builder(settings, new java.io.File(arguments[0]))
        .nameNodePort(Integer.parseInt(arguments[1])).numDataNodes(2).build().waitActive();
    System.out.println("MiniDFS is ready");
    Thread.currentThread().join();
  }
}
"""
DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
POM = (
    '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    "<groupId>tests</groupId><artifactId>hdfs</artifactId><version>1</version><dependencies>"
    + "".join(
        DEPENDENCY.format(*part)
        for part in (
            *(("org.apache.hadoop", f"hadoop-client-{name}", HADOOP) for name in ("api", "runtime", "minicluster")),
            ("commons-logging", "commons-logging", "1.2"),
            ("org.slf4j", "slf4j-nop", "1.7.36"),
        )
    )
    + "</dependencies></project>"
)


class Server:
    """A process that ends when this one does; `output` is what it wrote."""

    def __init__(self, name: str, command: Sequence[str], ready: Callable[["Server"], bool]) -> None:
        self._name, self._command, self._ready = name, list(command), ready
        self._folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))

    def __enter__(self) -> Self:
        with (self._folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", TIED_TO_STDIN, "sh", *self._command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self._folder,
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._ready(self):
                return self
            time.sleep(0.1)
        said = self.output[-2000:]
        self.__exit__(None, None, None)
        raise RuntimeError(f"{self._name} did not start:\n{said}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def output(self) -> str:
        return (self._folder / "output").read_text(errors="replace")


@dataclass(frozen=True, slots=True)
class S3:
    """moto's S3 (Glue and others too); any key is let in."""

    endpoint: str
    key: str = "test-key"
    secret: str = "s3cr3t-canary-s3"
    region: str = "us-east-1"

    def create_bucket(self, name: str) -> str:
        self._put(name)
        return name

    def _put(self, path: str) -> None:
        request = urllib.request.Request(f"{self.endpoint}/{path}", method="PUT", data=b"")
        urllib.request.urlopen(request, timeout=30).close()


@dataclass(frozen=True, slots=True)
class Gcs:
    """fake-gcs-server; it checks preconditions on generations and lets anyone in."""

    endpoint: str

    def create_bucket(self, name: str) -> str:
        request = urllib.request.Request(
            f"{self.endpoint}/storage/v1/b?project=test",
            data=f'{{"name": "{name}"}}'.encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=30).close()
        return name


@contextmanager
def s3_server(**settings: str) -> Iterator[S3]:
    """moto in an environment of its own (what it depends on is a lot); `settings` are variables that it reads."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [
        "env",
        *(f"{name}={text}" for name, text in settings.items()),
        str(moto()),
        "-W",
        "ignore",
        "-m",
        "moto.server",
        "-H",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    with Server("moto", command, lambda _: answers(url)):
        yield S3(url)


@contextmanager
def gcs_server() -> Iterator[Gcs]:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    options += ["-external-url", url, "-public-host", f"127.0.0.1:{port}", "-log-level", "warn"]
    with Server("fake-gcs", [str(fake_gcs()), *options], lambda _: answers(f"{url}/storage/v1/b?project=test")):
        yield Gcs(url)


@contextmanager
def hdfs_server() -> Iterator[str]:
    """A name node and a data node; gives `hdfs://HOST:PORT`."""
    (port,) = free_ports(1)
    jars = hadoop()
    options = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/classes:{jars}/jars/*"]
    with Server(
        "minidfs", ["java", *options, "MiniDfs", "data", str(port)], lambda server: "is ready" in server.output
    ):
        yield f"hdfs://127.0.0.1:{port}"


def missing_for_gcs() -> str | None:
    """Why there can be no GCS server here, or None."""
    if shutil.which("go") is None and not (CACHE / f"fake-gcs-server-{FAKE_GCS}").exists():
        return "fake-gcs-server is built by Go: go is not installed"
    return None


def missing_for_hdfs() -> str | None:
    """Why there can be no HDFS here, or None."""
    for program in ("java", "javac", "mvn"):
        if shutil.which(program) is None:
            return f"MiniDFS needs a JDK and Maven: {program} is not installed"
    return None


def answers(url: str) -> bool:
    """Whether a server is there, whatever it says."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except HTTPError:
        return True
    except OSError:
        return False
    return True


def moto() -> Path:
    with _made(f"moto-{MOTO}") as (place, new):
        if new is not None:
            _run([sys.executable, "-m", "venv", str(new)])
            _run([f"{new}/bin/python", "-m", "pip", "install", "-q", f"moto[server]=={MOTO}"])
    return place / "bin" / "python"


def fake_gcs() -> Path:
    with _made(f"fake-gcs-server-{FAKE_GCS}") as (place, new):
        if new is not None:
            target = f"github.com/fsouza/fake-gcs-server@{FAKE_GCS}"
            _run(["go", "install", target], {**os.environ, "GOBIN": str(new), "GOFLAGS": "-mod=mod"})
    return place / "fake-gcs-server"


def hadoop() -> Path:
    with _made(f"hadoop-{HADOOP}-2") as (place, new):
        if new is not None:
            (new / "pom.xml").write_text(POM)
            (new / "MiniDfs.java").write_text(MINI_DFS)
            _run(["mvn", "-B", "-q", "-f", f"{new}/pom.xml", COPY, "-DoutputDirectory=jars", "-DincludeScope=runtime"])
            _run(["javac", "-cp", f"{new}/jars/*", "-d", f"{new}/classes", f"{new}/MiniDfs.java"])
    return place


@contextmanager
def _made(name: str) -> Iterator[tuple[Path, Path | None]]:
    """A folder of the cache, and a new one to fill where it is not there yet; one process makes it."""
    CACHE.mkdir(exist_ok=True)
    place = CACHE / name
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.is_dir():
            yield place, None
            return
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            new = Path(folder) / "new"
            new.mkdir()
            yield place, new
            new.rename(place)


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
