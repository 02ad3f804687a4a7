"""A real Kafka broker for tests: one KRaft node, from Maven's jars."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from support.downloads import maven_jars

VERSION = "4.1.0"
TIED_TO_STDIN = '"$@" & read -r _; kill $!; wait'
USER, PASSWORD = "ann", "s3cr3t-canary"
LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
BEARER = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"
"""It takes tokens that nobody has signed, as long as they have not expired."""
PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN,OAUTHBEARER
listener.name.sasl_plaintext.plain.sasl.jaas.config={login} user_{user}="{password}";
listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config={bearer} unsecuredLoginStringClaim_sub="broker";
controller.listener.names=CONTROLLER
log.dirs={folder}/logs
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
log.cleaner.backoff.ms=200
log.retention.check.interval.ms=1000
"""


class KafkaBroker:
    """A context manager; `stop` and `start` restart it on the same port with its data.

    At `sasl_servers` it lets in USER with PASSWORD, by SASL PLAIN. Who does not log in may do all; of others ACLs tell,
    and where a topic has none they may do all there.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="kafka-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self._controller, self._sasl = free_ports(3)
        self.bootstrap_servers = f"127.0.0.1:{self.port}"
        self.sasl_servers = f"127.0.0.1:{self._sasl}"

    def __enter__(self) -> Self:
        self._jars = jars()
        ports = {"port": self.port, "controller": self._controller, "sasl": self._sasl}
        text = PROPERTIES.format(**ports, folder=self._folder, login=LOGIN, bearer=BEARER, user=USER, password=PASSWORD)
        (self._folder / "server.properties").write_text(text)
        storage = ["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c"]
        with self._java([*storage, f"{self._folder}/server.properties"]) as done:
            if done.wait(60):
                raise RuntimeError("Kafka's storage cannot be formatted:\n" + self._output())
        with ExitStack() as undo:
            undo.push(self)
            self.start()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        self._process = self._java(["kafka.Kafka", f"{self._folder}/server.properties"], TIED_TO_STDIN)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError("Kafka did not start:\n" + self._output())

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.stdin.close()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def kill(self) -> None:
        """kill -9, as a machine that is gone; `start` brings it back."""
        process, self._process = self._process, None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdin.close()

    def pause(self) -> None:
        """Connections stay open, and nothing answers, until `resume`."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self._process.pid, signal.SIGCONT)

    def _output(self) -> str:
        return (self._folder / "output").read_text()[-2000:]

    def _java(self, arguments: list[str], script: str = 'exec "$@"') -> subprocess.Popen[bytes]:
        options = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{self._jars}/*"]
        with (self._folder / "output").open("ab") as output:
            return subprocess.Popen(
                ["/bin/sh", "-c", script, "sh", "java", *options, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


def jars() -> Path:
    """The folder of Kafka's jars."""
    return maven_jars(f"kafka-{VERSION}", f"org.apache.kafka:kafka_2.13:{VERSION}")


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
