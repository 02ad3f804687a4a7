"""Each fault of a connection has its own sentence with the fix, and nothing asks on the terminal."""

import re
import time

import pytest
from kafka.errors import TopicAuthorizationFailedError
from support.tls import DAY, PASSWORD, Authority, listener, speaking_tls

from millrace.schemas.errors import JobError, SourceError
from millrace.transforms.sources.kafka.client import open_consumer
from millrace.transforms.sources.kafka.connection_faults import connection_fault, refused
from millrace.transforms.sources.kafka.settings import KafkaSettings


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "ours")


@pytest.fixture(scope="module")
def other_ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("other"), "other")


def fault(server, **client):
    return connection_fault({"bootstrap_servers": [server], **client})


def tls(ca, **client):
    return {"security_protocol": "SSL", "ssl_cafile": str(ca.file), **client}


def test_faults_of_the_brokers_certificate(ca, other_ca):
    with listener(speaking_tls(ca.issue("good"))) as server:
        assert fault(server, **tls(ca)) is None
        assert "a CA that is not trusted here" in fault(server, **tls(other_ca))
    with listener(speaking_tls(ca.issue("old", valid=-DAY))) as server:
        assert "has expired" in fault(server, **tls(ca))
    with listener(speaking_tls(ca.issue("far", host="kafka.example"))) as server:
        assert re.search("for another (host name|address)", fault(server, **tls(ca)))
        assert fault(server, **tls(ca, ssl_check_hostname=False)) is None


def test_faults_of_the_clients_certificate(ca, other_ca):
    mine, theirs = ca.issue("client"), other_ca.issue("client")
    with listener(speaking_tls(ca.issue("good"), ca.file)) as server:
        assert "asks for a client certificate" in fault(server, **tls(ca))
        assert "does not trust the client's" in fault(server, **tls(ca, ssl_certfile=theirs[0], ssl_keyfile=theirs[1]))
        assert fault(server, **tls(ca, ssl_certfile=mine[0], ssl_keyfile=mine[1])) is None


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        (lambda connection: connection.close(), "hangs up on a request of Kafka"),
        (lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n"), "speaks HTTP"),
        (lambda connection: connection.sendall(b"\x15\x03\x03\x00\x02\x02\x46"), "speaks TLS; set"),
        (lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9\r\n"), "is not Kafka"),
        (lambda connection: time.sleep(4), "no answer within"),
    ],
    ids=["hangs up", "HTTP", "TLS", "SSH", "silence"],
)
def test_what_answers_is_not_the_listener_that_is_meant(serve, said):
    with listener(serve) as server:
        assert said in fault(server)


def test_a_listener_without_tls(ca):
    with listener(lambda connection: connection.close()) as server:
        assert "set source.client.security_protocol" in fault(server, **tls(ca))
    assert "nothing listens there" in fault("127.0.0.1:1", **tls(ca))
    assert "cannot be resolved" in fault("no-such-host.invalid:9092")


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"ssl_cafile": "/nowhere/ca.pem"}, "ssl_cafile: /nowhere/ca.pem does not exist"),
        ({"ssl_cafile": __file__}, "holds no certificate"),
        ({"certfile": "locked"}, "has a password: set source.client.ssl_password"),
        ({"certfile": "locked", "ssl_password": "${env:WRONG}"}, "ssl_password does not open the key"),
        ({"certfile": "mixed"}, "is not that of the certificate"),
    ],
    ids=["missing", "no PEM", "locked", "wrong password", "another's key"],
)
def test_files_are_looked_at_before_anything_is_connected(ca, monkeypatch, named, said):
    monkeypatch.setenv("WRONG", "another-canary")
    locked, plain = ca.issue("locked", password=PASSWORD), ca.issue("plain")
    pairs = {"locked": locked, "mixed": (plain[0], ca.issue("third")[1])}
    named = dict(named)
    if "certfile" in named:
        named["ssl_certfile"], named["ssl_keyfile"] = pairs[named.pop("certfile")]
    with pytest.raises(JobError, match=re.escape(said)) as caught:
        open_consumer(KafkaSettings("127.0.0.1:1", {"security_protocol": "SSL", **named}))
    assert "canary" not in str(caught.value)


def test_a_consumer_says_it(ca, other_ca):
    with listener(speaking_tls(ca.issue("good"))) as server:
        began = time.monotonic()
        with pytest.raises(SourceError, match=f"no Kafka broker lets us in: {server}: .* not trusted here"):
            open_consumer(KafkaSettings(server, tls(other_ca, bootstrap_timeout_ms=300)))
        assert time.monotonic() - began < 15


@pytest.mark.parametrize("topics", [{"shop.orders"}, "shop.orders", ["shop.orders"]])
def test_a_right_that_is_missing_names_the_topic_and_the_right(topics):
    said = refused(TopicAuthorizationFailedError(topics))
    assert said.startswith("this user may not read the topic shop.orders: give it the rights READ and DESCRIBE")
    assert "READ and DESCRIBE" in refused(TopicAuthorizationFailedError())
