"""The HTTP registry, over real sockets: what it answers, what it tries again, what it must not say."""

import base64
import email.utils
import io
import json
import logging
import pickle
import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import fastavro
import pytest
from support.registry_server import Fault, RegistryServer

from millrace.schemas.errors import JobError, RegistryError, SchemaError, UnknownSchemaError
from millrace.transforms.registries import confluent
from millrace.transforms.registries.authorization import OAuth
from millrace.transforms.registries.confluent import ConfluentRegistry

RECORD = {"type": "record", "name": "R", "namespace": "shop", "fields": [{"name": "id", "type": "long"}]}


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    monkeypatch.setattr(confluent, "REPLICA_SECONDS", 0.1)
    monkeypatch.setattr(confluent, "REPLICA_PAUSE", 0.02)


@pytest.fixture
def server():
    with RegistryServer() as running:
        yield running


def test_each_id_is_fetched_once_in_a_process(server):
    server.add(7, RECORD)
    copies = [ConfluentRegistry(server.url), pickle.loads(pickle.dumps(ConfluentRegistry(server.url)))]
    found = []
    threads = [threading.Thread(target=lambda i=i: found.append(copies[i % 2].by_id(7))) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [RECORD] * 16
    assert server.requests == {"/schemas/ids/7": 1}


def test_a_primitive_schema_may_be_bare_text(server):
    assert ConfluentRegistry(server.add(1, "string").url).by_id(1) == "string"
    assert ConfluentRegistry(server.add(2, '"string"').url).by_id(2) == "string"


def test_an_unknown_id_is_refused_and_not_asked_for_again_for_a_while(server):
    contracts = ConfluentRegistry(server.url, remember_refusals=0.3)
    for _ in range(3):
        with pytest.raises(UnknownSchemaError, match=r"schema id 9: schema registry .* does not know it"):
            contracts.by_id(9)
    asked = server.requests["/schemas/ids/9"]
    assert asked > 1, "a replica may lag: it is asked again for a while, once"
    with pytest.raises(UnknownSchemaError):
        contracts.by_id(9)
    assert server.requests["/schemas/ids/9"] == asked
    server.add(9, RECORD)
    time.sleep(0.35)
    assert contracts.by_id(9) == RECORD


def test_references_come_in_at_their_first_use(server):
    money = {
        "type": "record",
        "name": "Money",
        "namespace": "shop.types",
        "fields": [{"name": "c", "type": "Currency"}],
    }
    order = {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [{"name": "a", "type": ["null", "shop.types.Money"]}, {"name": "b", "type": "shop.types.Money"}],
    }
    currency = {"type": "enum", "name": "Currency", "namespace": "shop.types", "symbols": ["EUR", "JPY"]}
    server.add_version("types/cur rency", 3, currency)
    up = {"name": "shop.types.Currency", "subject": "types/cur rency", "version": 3}
    server.add_version("money", 1, money, [up])
    server.add(5, order, [{"name": "shop.types.Money", "subject": "money", "version": 1}, up])
    schema = ConfluentRegistry(server.url).by_id(5)
    row = {"a": {"c": "EUR"}, "b": {"c": "JPY"}}
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, row)
    assert fastavro.schemaless_reader(io.BytesIO(buffer.getvalue()), schema) == row
    assert server.requests["/subjects/types%2Fcur%20rency/versions/3?deleted=true"] == 1


def test_references_in_a_circle_end(server):
    a = {"type": "record", "name": "A", "fields": [{"name": "b", "type": ["null", "B"]}]}
    b = {"type": "record", "name": "B", "fields": [{"name": "a", "type": ["null", "A"]}]}
    to_a = {"name": "A", "subject": "a", "version": 1}
    to_b = {"name": "B", "subject": "b", "version": 1}
    server.add_version("a", 1, a, [to_b]).add_version("b", 1, b, [to_a]).add(1, a, [to_b])
    inner = {**b, "namespace": ""}
    assert ConfluentRegistry(server.url).by_id(1)["fields"] == [{"name": "b", "type": ["null", inner]}]


def test_a_name_that_no_reference_defines_is_a_dead_letter(server):
    server.add(1, {"type": "record", "name": "A", "fields": [{"name": "b", "type": "x.B"}]})
    with pytest.raises(SchemaError, match=r"schema id 1: the type 'x\.B' is defined nowhere"):
        ConfluentRegistry(server.url).by_id(1)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"type": "record"}', "7", '{"name": 1}'])
def test_a_schema_that_is_none_is_a_dead_letter(server, text):
    with pytest.raises(SchemaError, match="schema id 1: "):
        ConfluentRegistry(server.add(1, text).url).by_id(1)


def test_another_schema_type_is_a_dead_letter(server):
    with pytest.raises(SchemaError, match="its type is PROTOBUF, and Millrace reads AVRO"):
        ConfluentRegistry(server.add(1, 'syntax = "proto3";', schemaType="PROTOBUF").url).by_id(1)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(503),
        Fault(500),
        Fault(429, {"Retry-After": "0"}),
        Fault(hang=0.5),
        Fault(reset=True),
        Fault(cut=True),
        Fault(502, body=b"<html>"),
    ],
    ids=["503", "500", "429", "timeout", "reset", "cut", "proxy"],
)
def test_a_fault_that_passes_is_tried_again_and_said(server, caplog, fault):
    server.add(1, RECORD)
    server.faults.extend([fault, fault])
    with caplog.at_level(logging.WARNING, "millrace"):
        assert ConfluentRegistry(server.url, timeout=0.25).by_id(1) == RECORD
    lines = [record.getMessage() for record in caplog.records if record.name == "millrace"]
    assert len(lines) == 2
    assert all(line.startswith(f"schema registry {server.url}: schema id 1: ") for line in lines)
    assert all("next try in" in line for line in lines)


def test_it_gives_up_after_the_time_that_was_set(server, caplog):
    server.faults.extend([Fault(503)] * 50)
    start = time.monotonic()
    with pytest.raises(RegistryError, match=r"answered 503; gave up after \d tries in 1 s"):
        ConfluentRegistry(server.url, give_up_after=1).by_id(1)
    assert time.monotonic() - start < 2


def test_an_address_where_nobody_listens_is_a_registry_error(caplog):
    with RegistryServer() as gone:
        url = gone.url
    with pytest.raises(RegistryError, match="the connection failed"):
        ConfluentRegistry(url, give_up_after=0.2).by_id(1)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_the_user_is_not_tried_again(server, status):
    server.faults.append(Fault(status))
    with pytest.raises(RegistryError, match=f"answered {status}"):
        ConfluentRegistry(server.url).by_id(1)
    assert server.requests.total() == 1


@pytest.mark.parametrize("url", ["{}", "{}/wrong/"])
def test_a_wrong_path_in_the_url_is_not_taken_for_an_unknown_id(url):
    with RegistryServer(prefix="/apis/v7") as server:
        base = server.url.removesuffix("/apis/v7")
        server.add(1, RECORD)
        with pytest.raises(RegistryError, match="is the url right"):
            ConfluentRegistry(url.format(base)).by_id(1)
        assert ConfluentRegistry(server.url + "/").by_id(1) == RECORD


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"[]", b"{}", b'{"schema": 5, "references": [{}]}'])
def test_an_answer_that_no_registry_gives_is_a_registry_error(server, body):
    server.faults.append(Fault(200, body=body))
    with pytest.raises(RegistryError):
        ConfluentRegistry(server.url).by_id(1)


def test_an_answer_without_end_is_cut_off(server):
    server.faults.append(Fault(200, body=b" " * (17 << 20)))
    with pytest.raises(RegistryError, match="larger than 16 MiB"):
        ConfluentRegistry(server.url).by_id(1)


def test_a_redirect_on_the_same_host_is_followed_and_to_another_is_not(server):
    server.add(1, RECORD)
    server.faults.append(Fault(307, {"Location": "/schemas/ids/1"}))
    assert ConfluentRegistry(server.url).by_id(1) == RECORD
    with RegistryServer(user="u", password="p") as other:
        server.faults.append(Fault(302, {"Location": f"{other.url}/schemas/ids/2"}))
        with pytest.raises(RegistryError, match="redirects to another host are not followed"):
            ConfluentRegistry(server.url.replace("//", "//u:p@")).by_id(2)
        assert not other.requests
    server.faults.extend([Fault(302, {"Location": "/schemas/ids/3"})] * 9)
    with pytest.raises(RegistryError, match="more than 5 redirects"):
        ConfluentRegistry(server.url).by_id(3)


@pytest.mark.parametrize("url", ["localhost:8081", "ftp://host", "file:///etc/passwd", "http://", "http://h/?a=b"])
def test_an_address_that_is_no_registry_is_a_job_error(url):
    with pytest.raises(JobError, match=r"format\.registry"):
        ConfluentRegistry(url).by_id(1)


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


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed: no certificate to test TLS with")
    folder = tmp_path_factory.mktemp("tls")
    for name in ("server", "client"):
        command = (
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name} "
            f"-addext subjectAltName=IP:127.0.0.1 -keyout {folder}/{name}.key -out {folder}/{name}.pem"
        )
        subprocess.run(command.split(), check=True, capture_output=True)
    return folder


def test_tls_with_an_own_authority_and_a_client_certificate(certificates):
    pair = (certificates / "server.pem", certificates / "server.key")
    with RegistryServer(certificate=pair, client_ca=certificates / "client.pem") as server:
        server.add(1, RECORD)
        with pytest.raises(RegistryError, match="the registry's certificate is refused: self-signed"):
            ConfluentRegistry(server.url, give_up_after=5).by_id(1)
        contracts = ConfluentRegistry(
            server.url,
            ca=str(certificates / "server.pem"),
            certificate=str(certificates / "client.pem"),
            certificate_key=str(certificates / "client.key"),
        )
        assert contracts.by_id(1) == RECORD
        with pytest.raises(RegistryError, match="a TLS file cannot be read"):
            ConfluentRegistry(server.url, ca="/no/such.pem").by_id(1)


def test_what_a_registry_cannot_give():
    contracts = ConfluentRegistry("http://localhost:1")
    with pytest.raises(UnknownSchemaError, match="folder"):
        contracts.by_fingerprint(bytes(8))
    with pytest.raises(JobError, match=r"orders-key\.avsc"):
        contracts.by_topic("orders", "key")


def test_a_replica_that_lags_is_waited_for(server, monkeypatch):
    monkeypatch.setattr(confluent, "REPLICA_SECONDS", 5.0)
    registry = ConfluentRegistry(server.url)
    threading.Timer(0.2, lambda: server.add(9, RECORD)).start()
    assert registry.by_id(9) == RECORD


def test_unknown_ids_one_after_another_are_waited_for_once(server):
    """A stream of garbage names many ids: each of them would wait else."""
    registry = ConfluentRegistry(server.url)
    for number in range(10, 20):
        with pytest.raises(UnknownSchemaError):
            registry.by_id(number)
    assert [server.requests[f"/schemas/ids/{number}"] for number in range(11, 20)] == [1] * 9


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b'{"message": "no Route matched with those values"}'),
        (404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}'),
        (404, b'{"error_code": 40499}'),
        (200, b'{"schema": null}'),
        (200, b'{"schema": {"type": "string"}}'),
        (200, b'{"error_code": 50001, "message": "Error in the backend data store"}'),
        (200, b"<html>Bad Gateway</html>"),
    ],
)
def test_what_answers_in_the_registry_s_place_is_no_unknown_schema(server, status, body):
    """An unknown schema is a dead letter, so a gateway's answer must not look like one."""
    server.faults.extend([Fault(status, body=body)] * 3)
    with pytest.raises(RegistryError, match="is the url right"):
        ConfluentRegistry(server.url).by_id(1)


def test_a_namespace_of_null_is_none(server):
    schema = {"type": "record", "name": "A", "namespace": None, "fields": [{"name": "id", "type": "long"}]}
    assert ConfluentRegistry(server.add(1, schema).url).by_id(1)["fields"] == schema["fields"]


def test_the_next_address_answers_where_the_first_is_away(server):
    server.add(1, RECORD)
    started = time.monotonic()
    registry = ConfluentRegistry(f"http://127.0.0.1:9, {server.url}")
    assert registry.by_id(1) == RECORD
    assert time.monotonic() - started < 5


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


def test_retry_after_may_be_a_date(server):
    server.add(1, RECORD)
    later = email.utils.formatdate(time.time() + 2, usegmt=True)
    server.faults.append(Fault(429, {"Retry-After": later}))
    started = time.monotonic()
    ConfluentRegistry(server.url).by_id(1)
    assert time.monotonic() - started > 0.8


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
