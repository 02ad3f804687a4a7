"""A login by OAUTHBEARER: tokens of a file, tokens for client credentials, and what is said where there are none."""

import base64
import http.server
import json
import threading

import pytest

from millrace.schemas.errors import JobError, SourceError
from millrace.transforms.sources.kafka.oauth import ClientCredentials
from millrace.transforms.sources.kafka.settings import KafkaSettings

LOGIN = {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}
SECRET = "c4n:ary/secret"


@pytest.fixture
def server():
    """A token server that knows ann; `asked` counts."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            known = base64.b64encode(b"ann:c4n%3Aary%2Fsecret").decode()
            right = self.headers["Authorization"] == f"Basic {known}" and "grant_type=client_credentials" in form
            found.asked += 1
            body = json.dumps({"access_token": f"token {found.asked}", "expires_in": found.life}).encode()
            self.send_response(200 if right else 401)
            self.end_headers()
            self.wfile.write(body if right else b"{}")

        def log_message(self, *_):
            pass

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.asked, found.life, found.url = 0, 3600, f"http://127.0.0.1:{found.server_port}/token"
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


def provider(**client):
    options, _ = KafkaSettings("127.0.0.1:1", {**LOGIN, **client}).resolved()
    assert not [name for name in options if name.startswith("sasl_oauth_") and name != "sasl_oauth_token_provider"]
    return options["sasl_oauth_token_provider"]


def test_a_token_is_fetched_with_client_credentials_and_kept(server, monkeypatch):
    monkeypatch.setenv("OAUTH_SECRET", SECRET)
    client = {"sasl_oauth_token_url": server.url, "sasl_oauth_client_id": "ann"}
    client["sasl_oauth_client_secret"] = "${env:OAUTH_SECRET}"
    assert [provider(**client).token() for _ in range(3)] == ["token 1"] * 3
    assert server.asked == 1


def test_a_token_that_expires_is_fetched_again(server):
    server.life = 20
    short = ClientCredentials(server.url, "ann", SECRET, None)
    assert [short.token(), short.token()] == ["token 1", "token 2"]


def test_a_refusal_names_the_server_and_not_the_secret(server):
    with pytest.raises(SourceError, match=r"127\.0\.0\.1 answered 401: client id and secret are not taken") as caught:
        ClientCredentials(server.url, "bob", SECRET, "scope").token()
    assert SECRET not in str(caught.value)
    with pytest.raises(SourceError, match="gives no token"):
        ClientCredentials("http://127.0.0.1:1/token", "bob", SECRET, None).token()


def test_a_token_file_is_read_at_each_login(tmp_path):
    file = tmp_path / "token"
    file.write_text("one\n")
    found = provider(sasl_oauth_token_file=str(file))
    assert found.token() == "one"
    file.write_text("two\n")
    assert found.token() == "two"
    file.write_text("")
    with pytest.raises(SourceError, match="token is empty"):
        found.token()
    file.unlink()
    with pytest.raises(SourceError, match="No such file"):
        found.token()


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ({}, "OAUTHBEARER needs sasl_oauth_token_file, or sasl_oauth_token_url"),
        ({"sasl_oauth_token_url": "http://h/t", "sasl_oauth_client_id": "ann"}, "client_secret is missing"),
        ({"sasl_oauth_token_file": "f", "sasl_oauth_client_id": "ann"}, "goes without the other settings"),
        ({"sasl_oauth_client_secret": "clear"}, "is a secret: write"),
    ],
)
def test_settings_that_do_not_fit_together_are_said(client, said):
    with pytest.raises(JobError, match=said):
        KafkaSettings("127.0.0.1:1", {**LOGIN, **client}).resolved()
