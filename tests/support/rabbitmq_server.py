"""A real RabbitMQ for tests: one node in a temporary folder, started at the first use, with streams and TLS.

The user ADMIN may do all; USER may read and write the virtual host VHOST, and nothing else.
"""

import atexit
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import quote

import pytest

from .tls import Authority

PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
TIED_TO_STDIN = """
epmd -port "$ERL_EPMD_PORT" & epmd=$!
until epmd -port "$ERL_EPMD_PORT" -names >/dev/null 2>&1; do sleep 0.05; done
"$@" & read -r _; kill -TERM $!; wait $!; kill $epmd
"""
"""Erlang's port mapper would else be started as a daemon, and outlive the server."""
ADMIN = "guest"
USER, PASSWORD, VHOST = "millrace", "s3cr3t-canary", "shop"
IN_A_JOB = "MILLRACE_TEST_RABBITMQ_PASSWORD"
"""The environment variable that holds the user's password: a job file may not."""


def missing() -> str | None:
    """Why RabbitMQ cannot be started here, or None."""
    return None if PROGRAM.exists() else "no RabbitMQ here: apt-get install rabbitmq-server"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RabbitmqServer:
    """A node; `stop`, `kill` and `start` keep its port and its data."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rabbitmq-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.authority = Authority(self.folder, "authority")
        certificate, key = self.authority.issue("server")
        names = ("amqp", "distribution", "epmd", "stream", "tls", "management")
        self.ports = {name: free_port() for name in names}
        (self.folder / "plugins").write_text("[rabbitmq_stream,rabbitmq_management].")
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.ports['amqp']}\n"
            f"stream.listeners.tcp.1 = 127.0.0.1:{self.ports['stream']}\n"
            f"stream.listeners.ssl.1 = 127.0.0.1:{self.ports['tls']}\n"
            f"stream.advertised_host = 127.0.0.1\n"
            f"ssl_options.cacertfile = {self.authority.file}\n"
            f"ssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\n"
            f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.ports['management']}\n"
            "management_agent.disable_metrics_collector = true\n"
        )
        self.start()
        self.manage("PUT", f"users/{USER}", {"password": PASSWORD, "tags": "management"})
        self.add_host(VHOST)

    @property
    def address(self) -> str:
        """Of the stream protocol."""
        return f"127.0.0.1:{self.ports['stream']}"

    @property
    def management(self) -> str:
        return f"http://127.0.0.1:{self.ports['management']}"

    def add_host(self, name: str) -> None:
        """A virtual host that USER may read and write."""
        self.manage("PUT", f"vhosts/{name}", {})
        rights = {"configure": ".*", "write": ".*", "read": "^(?!denied).*"}
        self.manage("PUT", f"permissions/{name}/{USER}", rights)

    def manage(self, method: str, path: str, body: dict | None = None) -> bytes:
        """Ask the management plugin."""
        login = base64.b64encode(f"{ADMIN}:{ADMIN}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.management}/api/{path}"
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=30) as answer:
            return answer.read()

    def create_stream(self, name: str, host: str = VHOST, **arguments: object) -> None:
        """A stream; arguments with `_` for `-`, as x_max_length_bytes."""
        given = {key.replace("_", "-"): value for key, value in arguments.items()}
        body = {"durable": True, "arguments": {"x-queue-type": "stream", **given}}
        self.manage("PUT", f"queues/{host}/{quote(name, safe='')}", body)

    def create_super_stream(self, name: str, partitions: int) -> None:
        """A super stream with the streams NAME-0, NAME-1..."""
        exchange = {"type": "direct", "durable": True, "arguments": {"x-super-stream": True}}
        self.manage("PUT", f"exchanges/{VHOST}/{name}", exchange)
        for number in range(partitions):
            self.create_stream(f"{name}-{number}")
            bound = {"routing_key": str(number), "arguments": {"x-stream-partition-order": number}}
            self.manage("POST", f"bindings/{VHOST}/e/{name}/q/{name}-{number}", bound)

    def delete_stream(self, name: str) -> None:
        self.manage("DELETE", f"queues/{VHOST}/{name}")

    def start(self) -> None:
        environment = {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            "HOME": str(self.folder),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_NODENAME": f"millrace{self.ports['stream']}@localhost",
            "RABBITMQ_DIST_PORT": str(self.ports["distribution"]),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.ports["epmd"]),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", TIED_TO_STDIN, "sh", str(PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
            )
        deadline = time.monotonic() + 90
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                self.manage("GET", "health/checks/port-listener/" + str(self.ports["stream"]))
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
            else:
                return
        raise RuntimeError("RabbitMQ did not start:\n" + (self.folder / "output").read_text()[-2000:])

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        self._end(process)

    def kill(self) -> None:
        """As if the power failed."""
        process, self._process = self._process, None
        self._end(process)
        process.wait()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def server() -> RabbitmqServer:
    """The one of this test run; skips the test where there is none to be had."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    os.environ[IN_A_JOB] = PASSWORD
    found = RabbitmqServer()
    atexit.register(found.close)
    return found
