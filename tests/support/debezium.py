"""Debezium as its users run it: Kafka Connect with one connector, and a schema registry, from Maven's jars."""

import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.downloads import maven_archive, maven_jars
from support.kafka_broker import TIED_TO_STDIN, free_ports

DEBEZIUM = "3.3.1.Final"
APICURIO = "2.6.13.Final"
STARTS_WITHIN = 120
OPTIONS = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
CONVERTER = {
    "converter": "io.apicurio.registry.utils.converter.AvroConverter",
    "converter.apicurio.registry.auto-register": "true",
    "converter.apicurio.registry.find-latest": "true",
    "converter.apicurio.registry.as-confluent": "true",
    "converter.apicurio.registry.use-id": "contentId",
    "converter.apicurio.registry.headers.enabled": "false",
}
WORKER = """bootstrap.servers={servers}
listeners=http://127.0.0.1:{port}
offset.storage.file.filename={folder}/offsets
offset.flush.interval.ms={flush}
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
topic.creation.enable=true
"""


def connect_jars() -> Path:
    """The jars of Kafka Connect, Debezium's connectors and the Avro converter."""
    return maven_jars(
        f"debezium-{DEBEZIUM}",
        "org.apache.kafka:connect-runtime:4.1.0",
        "org.apache.kafka:connect-json:4.1.0",
        f"io.debezium:debezium-connector-postgres:{DEBEZIUM}",
        f"io.debezium:debezium-connector-mysql:{DEBEZIUM}",
        f"io.apicurio:apicurio-registry-utils-converter:{APICURIO}",
        "org.slf4j:slf4j-simple:1.7.36",
    )


def registry_files() -> Path:
    return maven_archive(f"apicurio-{APICURIO}", f"io.apicurio:apicurio-registry-app:{APICURIO}:tar.gz:all")


class JavaProcess(ABC):
    """A context manager; `kill` is kill -9, `start` brings the process back."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="debezium-"))

    @abstractmethod
    def command(self) -> list[str]:
        """What stands behind `java` and its options."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it does its work now."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.kill()

    def start(self) -> None:
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", TIED_TO_STDIN, "sh", "java", *OPTIONS, *self.command()],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.answers():
                return
            time.sleep(0.2)
        raise RuntimeError("it did not start:\n" + (self._folder / "output").read_text()[-3000:])

    def kill(self) -> None:
        process, self._process = self._process, None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdin.close()


def asked(url: str) -> Any:
    """The JSON that is there, None where nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


class Registry(JavaProcess):
    """Apicurio, in memory: Debezium's converter registers at `own`, a job reads at `url` as from Confluent's."""

    def __init__(self) -> None:
        super().__init__()
        (self._port,) = free_ports(1)
        self.own = f"http://127.0.0.1:{self._port}/apis/registry/v2"
        self.url = f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    def command(self) -> list[str]:
        (jar,) = registry_files().glob("*runner.jar")
        return [f"-Dquarkus.http.port={self._port}", "-Dquarkus.http.host=127.0.0.1", "-jar", str(jar)]

    def answers(self) -> bool:
        return asked(f"{self.url}/subjects") is not None


class Connector(JavaProcess):
    """A worker of Kafka Connect with one connector of Debezium; its offsets are in a file, flushed each `flush` ms.

    `forget` removes the offsets: the connector that starts next is a new one, and makes a snapshot. `{folder}` in a
    setting is its folder.
    """

    def __init__(self, servers: str, registry: Registry, settings: dict[str, str], flush: int = 3_000) -> None:
        super().__init__()
        (self._port,) = free_ports(1)
        worker = WORKER.format(servers=servers, port=self._port, folder=self._folder, flush=flush)
        (self._folder / "worker.properties").write_text(worker)
        schemas = {**CONVERTER, "converter.apicurio.registry.url": registry.own}
        config = {
            "schema.name.adjustment.mode": "avro",
            "field.name.adjustment.mode": "avro",
            "topic.creation.default.replication.factor": "1",
            **{f"{side}.{name}": value for side in ("key", "value") for name, value in schemas.items()},
            **{name: value.replace("{folder}", str(self._folder)) for name, value in settings.items()},
        }
        self.name = settings["topic.prefix"]
        self._config: dict[str, str] = {}
        self.configure(config)

    def configure(self, settings: dict[str, str]) -> None:
        """Change settings; they hold from the next `start` on."""
        self._config |= settings
        (self._folder / "connector.json").write_text(json.dumps({"name": self.name, "config": self._config}))

    def command(self) -> list[str]:
        properties = {"defaultLogLevel": "warn", "log.io.debezium": "info"}
        logs = [f"-Dorg.slf4j.simpleLogger.{name}={value}" for name, value in properties.items()]
        main = "org.apache.kafka.connect.cli.ConnectStandalone"
        files = [str(self._folder / name) for name in ("worker.properties", "connector.json")]
        return [*logs, "-cp", f"{connect_jars()}/*", main, *files]

    def answers(self) -> bool:
        status = asked(f"http://127.0.0.1:{self._port}/connectors/{self.name}/status")
        tasks = status["tasks"] if status else []
        failed = [task["trace"] for task in tasks if task["state"] == "FAILED"]
        if failed:
            raise RuntimeError(failed[0][:3000])
        return any(task["state"] == "RUNNING" for task in tasks)

    def forget(self) -> None:
        for name in ("offsets", "history"):
            (self._folder / name).unlink(missing_ok=True)
