"""A login by OAUTHBEARER at a real broker: with client credentials, with a token file, and what is said without one."""

import base64
import http.server
import json
import threading
import time

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from support.jobs import event, key, rows, send, write_job

from millrace.pipelines.cli.main import main

SECRET = "c4nary-secret"


def token(life=3_600):
    """As the broker's own module takes it: unsigned."""
    now = int(time.time())
    parts = ({"alg": "none"}, {"sub": "ann", "iat": now - 60, "exp": now + life})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


@pytest.fixture
def endpoint():
    """A token endpoint that knows ann."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            known = base64.b64encode(f"ann:{SECRET}".encode()).decode()
            right = self.headers["Authorization"] == f"Basic {known}"
            self.send_response(200 if right else 401)
            self.end_headers()
            self.wfile.write(json.dumps({"access_token": token(), "expires_in": 3600}).encode() if right else b"{}")

        def log_message(self, *_):
            pass

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def job(kafka_broker, topic_name, tmp_path):
    """A job file at the broker's port for logins; `client` is the text behind the mechanism."""
    topic = topic_name("oauth")
    admin = KafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap_servers)
    admin.create_topics([NewTopic(topic, 1, 1)])
    admin.close()
    send(kafka_broker.bootstrap_servers, topic, [(0, key(1), event("c", 1, "a", 1, 10))])

    def made(client):
        file = write_job(tmp_path, kafka_broker.sasl_servers, [topic])
        login = f"client: {{security_protocol: SASL_PLAINTEXT, sasl_mechanism: OAUTHBEARER, {client}}}"
        file.write_text(file.read_text().replace(f"topics: [{topic}]}}", f"topics: [{topic}], {login}}}"))
        return file, topic

    return made


def credentials(url, secret=SECRET):
    return (
        f"sasl_oauth_token_url: '{url}', sasl_oauth_client_id: ann, sasl_oauth_client_secret: '${{env:OAUTH_SECRET}}'"
    )


def url_of(endpoint):
    return f"http://127.0.0.1:{endpoint.server_port}/token"


def refused(capsys, file):
    """What is said, within 15 seconds."""
    began = time.monotonic()
    assert main(["run", str(file), "--once"]) in (1, 2)
    assert time.monotonic() - began < 15
    said = capsys.readouterr().err
    assert "Traceback" not in said and SECRET not in said and "wrong-canary" not in said
    return " ".join(said.split())


def test_client_credentials_and_a_token_file_let_in(job, endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("OAUTH_SECRET", SECRET)
    file, topic = job(credentials(url_of(endpoint)))
    assert main(["run", str(file), "--once"]) == 0
    assert rows(tmp_path, topic) == [(1, "a", 1)]
    (tmp_path / "token").write_text(token())
    file, topic = job(f"sasl_oauth_token_file: '{tmp_path / 'token'}'")
    assert main(["verify", str(file)]) == 0


def test_a_wrong_secret_and_an_endpoint_that_is_away_are_said(job, endpoint, capsys, monkeypatch):
    monkeypatch.setenv("OAUTH_SECRET", "wrong-canary")
    file, _ = job(credentials(url_of(endpoint)))
    assert "answered 401: client id and secret are not taken" in refused(capsys, file)
    file, _ = job(credentials("http://127.0.0.1:9/token"))
    assert "gives no token (URLError); check the address" in refused(capsys, file)


def test_a_token_that_the_broker_does_not_take_is_said(job, tmp_path, capsys):
    (tmp_path / "token").write_text(token(life=-30))
    file, _ = job(f"sasl_oauth_token_file: '{tmp_path / 'token'}'")
    assert "the login by OAUTHBEARER is refused: check when the token ends" in refused(capsys, file)
