"""Who asks a registry: a user, a bearer, an OAuth client; what is sent, and what is shown nowhere."""

import base64
import json
import pickle
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from support.registry_server import Fault, RegistryServer

from millrace.schemas.errors import JobError, RegistryError, UnknownSchemaError
from millrace.transforms.registries.confluent import ConfluentRegistry
from millrace.transforms.registries.connection import OAuth

RECORD = {"type": "record", "name": "R", "namespace": "shop", "fields": [{"name": "id", "type": "long"}]}


@pytest.mark.parametrize("how", ["url", "reference", "file", "settings", "whole url"])
def test_basic_auth_from_every_place_and_no_secret_anywhere(how, monkeypatch, tmp_path, caplog):
    secret = "p@ss:/w%41 ö"
    monkeypatch.setenv("REGISTRY_PASSWORD", secret)
    (tmp_path / "password").write_text(secret + "\n")
    with RegistryServer(user="ann", password=secret) as server:
        host = server.url.removeprefix("http://")
        monkeypatch.setenv("REGISTRY_URL", f"http://ann:p%40ss%3A%2Fw%2541%20%C3%B6@{host}")
        contracts = {
            "url": ConfluentRegistry(f"http://ann:p%40ss%3A%2Fw%2541%20%C3%B6@{host}"),
            "reference": ConfluentRegistry(f"http://ann:${{env:REGISTRY_PASSWORD}}@{host}"),
            "file": ConfluentRegistry(f"http://ann:${{file:{tmp_path / 'password'}}}@{host}"),
            "settings": ConfluentRegistry(server.url, "ann", "${env:REGISTRY_PASSWORD}"),
            "whole url": ConfluentRegistry("${env:REGISTRY_URL}"),
        }[how]
        server.add(1, RECORD)
        server.faults.append(Fault(503))
        assert contracts.by_id(1) == RECORD
        with pytest.raises(UnknownSchemaError) as refused:
            contracts.by_id(2)
    said = caplog.text + repr(contracts) + str(refused.value) + repr(refused.value)
    assert "p@ss" not in said
    assert "p%40ss" not in said
    if how != "url":
        assert b"p@ss" not in pickle.dumps(contracts)
        assert b"p%40ss" not in pickle.dumps(contracts)


def test_wrong_credentials_are_said_once_and_clearly():
    with RegistryServer(user="ann", password="right") as server:
        with pytest.raises(RegistryError, match="user name and password are missing or wrong"):
            ConfluentRegistry(server.url, "ann", "wrong").by_id(1)
        assert server.requests.total() == 1


def test_a_secret_that_is_not_there_names_the_variable():
    with pytest.raises(JobError, match="the environment variable NO_SUCH_VARIABLE is not set"):
        ConfluentRegistry("http://u:${env:NO_SUCH_VARIABLE}@localhost:1").by_id(1)


def test_a_bearer_token_is_sent_and_shown_nowhere(server, monkeypatch):
    monkeypatch.setenv("REGISTRY_TOKEN", "t0p-s3cret")
    registry = ConfluentRegistry(server.add(1, RECORD).url, token="${env:REGISTRY_TOKEN}")
    assert registry.by_id(1) == RECORD
    assert server.headers_seen[-1]["Authorization"] == "Bearer t0p-s3cret"
    assert "t0p-s3cret" not in repr(registry)


def test_no_credentials_are_taken_from_a_netrc_file(server, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password pw\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    ConfluentRegistry(server.add(1, RECORD).url).by_id(1)
    assert "Authorization" not in server.headers_seen[-1]


class _OAuthServer(BaseHTTPRequestHandler):
    forms: ClassVar[list] = []
    status = 200

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.forms.append((body, self.headers.get("Authorization")))
        answer = {"access_token": f"token-{len(self.forms)}", "expires_in": 31}
        if self.status != 200:
            answer = {"error": "invalid_client"}
        text = json.dumps(answer).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def oauth(monkeypatch):
    monkeypatch.setattr(_OAuthServer, "forms", [])
    monkeypatch.setattr(_OAuthServer, "status", 200)
    running = ThreadingHTTPServer(("127.0.0.1", 0), _OAuthServer)
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("CLIENT_SECRET", "cl13nt")
    yield OAuth(f"http://127.0.0.1:{running.server_port}/token", "millrace", "${env:CLIENT_SECRET}", "read")
    running.shutdown()
    running.server_close()


def test_client_credentials_give_a_token_until_it_ends(server, oauth):
    registry = ConfluentRegistry(server.add(1, RECORD).add(2, RECORD).url, oauth=oauth)
    registry.by_id(1)
    assert server.headers_seen[-1]["Authorization"] == "Bearer token-1"
    time.sleep(1.1)
    registry.by_id(2)
    assert server.headers_seen[-1]["Authorization"] == "Bearer token-2"
    assert _OAuthServer.forms[0][0] == "grant_type=client_credentials&scope=read"
    assert base64.b64decode(_OAuthServer.forms[0][1].removeprefix("Basic ")) == b"millrace:cl13nt"
    assert "cl13nt" not in repr(registry)


def test_an_oauth_server_that_refuses_is_named(server, oauth, monkeypatch):
    monkeypatch.setattr(_OAuthServer, "status", 401)
    with pytest.raises(RegistryError, match=r"the OAuth server .* gave no token: answered 401 invalid_client"):
        ConfluentRegistry(server.add(1, RECORD).url, oauth=oauth).by_id(1)
