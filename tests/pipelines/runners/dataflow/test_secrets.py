"""Secrets of Dataflow's workers, from a server that speaks as the metadata server and the Secret Manager do."""

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from millrace.pipelines.runners.dataflow import secrets
from millrace.pipelines.runners.dataflow.secrets import fetch
from millrace.schemas.errors import JobError
from millrace.transforms.retry import Backoff

CANARY = "c4n4ry-s3cr3t"
PLACE = "projects/p/secrets/%s/versions/latest"


class Google(BaseHTTPRequestHandler):
    """`refusals` are statuses given before the first good answer; requests without the right headers get 401."""

    refusals: ClassVar[list[int]] = []

    def do_GET(self):
        if self.refusals:
            self._say(self.refusals.pop(0), {"error": CANARY})
        elif self.path.endswith("/service-accounts/default/token"):
            known = self.headers["Metadata-Flavor"] == "Google"
            self._say(200 if known else 403, {"access_token": "t0k3n", "expires_in": 3600, "token_type": "Bearer"})
        elif self.headers["Authorization"] != "Bearer t0k3n":
            self._say(401, {})
        elif self.path == f"/v1/{PLACE % 'password'}:access":
            self._say(200, {"name": "x", "payload": {"data": base64.b64encode(CANARY.encode()).decode()}})
        else:
            self._say(404, {})

    def _say(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


@pytest.fixture
def google(monkeypatch):
    """The settings that lead to such a server."""
    monkeypatch.setattr(secrets, "AWAY", Backoff(0.01, 0.01, 0.02))
    monkeypatch.setattr(Google, "refusals", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Google)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{server.server_port}"
    yield {"GCE_METADATA_HOST": host, "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"http://{host}/"}
    server.shutdown()
    server.server_close()


def test_without_secrets_nobody_is_asked():
    assert fetch({"GCE_METADATA_HOST": "127.0.0.1:1"}) == {}


def test_variables_and_files(google, tmp_path):
    file = tmp_path / "run" / "secret"
    wanted = f"KAFKA_PASSWORD={PLACE % 'password'} {file}={PLACE % 'password'}"
    assert fetch({**google, "MILLRACE_SECRETS": wanted}) == {"KAFKA_PASSWORD": CANARY}
    assert file.read_text() == CANARY
    assert file.stat().st_mode & 0o777 == 0o400
    assert fetch({**google, "MILLRACE_SECRETS": wanted})["KAFKA_PASSWORD"] == CANARY


def test_a_server_that_is_busy_is_asked_again(google):
    Google.refusals[:] = [503, 429]
    assert fetch({**google, "MILLRACE_SECRETS": f"A={PLACE % 'password'}"}) == {"A": CANARY}


@pytest.mark.parametrize(
    ("name", "refusals", "sentence"),
    [
        ("other", [], "projects/p/secrets/other/versions/latest: HTTP 404; there is no such secret"),
        ("password", [403], "the metadata server: HTTP 403; the workers' service account needs"),
        ("password", [500] * 10, "the metadata server: no answer: HTTP Error 500"),
    ],
)
def test_refusals_are_a_sentence_without_the_answer(google, name, refusals, sentence):
    Google.refusals[:] = refusals
    with pytest.raises(JobError) as caught:
        fetch({**google, "MILLRACE_SECRETS": f"A={PLACE % name}"})
    assert str(caught.value).startswith(sentence)
    assert CANARY not in str(caught.value)


def test_it_becomes_the_command(google):
    command = [sys.executable, "-m", "millrace.pipelines.runners.dataflow.secrets"]
    show = [sys.executable, "-c", "import os; print(os.environ['A'], os.getpid())"]
    environment = {**os.environ, **google, "MILLRACE_SECRETS": f"A={PLACE % 'password'}"}
    process = subprocess.Popen([*command, *show], stdout=subprocess.PIPE, text=True, env=environment)
    said, _ = process.communicate(timeout=60)
    assert said.split() == [CANARY, str(process.pid)]
    environment["MILLRACE_SECRETS"] = f"A={PLACE % 'other'}"
    done = subprocess.run([*command, *show], capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: projects/p/secrets/other")
