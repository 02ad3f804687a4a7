"""Addresses, faults, redirects and TLS of a registry's HTTP, over real sockets."""

import email.utils
import logging
import shutil
import subprocess
import time

import pytest
from support.registry_server import Fault, RegistryServer

from millrace.schemas.errors import JobError, RegistryError
from millrace.transforms.registries.confluent import ConfluentRegistry

RECORD = {"type": "record", "name": "R", "namespace": "shop", "fields": [{"name": "id", "type": "long"}]}


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


def test_the_next_address_answers_where_the_first_is_away(server):
    server.add(1, RECORD)
    started = time.monotonic()
    registry = ConfluentRegistry(f"http://127.0.0.1:9, {server.url}")
    assert registry.by_id(1) == RECORD
    assert time.monotonic() - started < 5


def test_retry_after_may_be_a_date(server):
    server.add(1, RECORD)
    later = email.utils.formatdate(time.time() + 2, usegmt=True)
    server.faults.append(Fault(429, {"Retry-After": later}))
    started = time.monotonic()
    ConfluentRegistry(server.url).by_id(1)
    assert time.monotonic() - started > 0.8
