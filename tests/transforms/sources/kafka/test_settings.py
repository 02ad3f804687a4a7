"""Client settings: names, references, and nothing secret in sight."""

import pickle

import pytest

from millrace.schemas.errors import JobError
from millrace.transforms.sources.kafka.settings import KafkaSettings

CANARY = "s3cr3t-canary"


def test_references_are_resolved_late_and_kept_out_of_sight(monkeypatch, tmp_path):
    (tmp_path / "password").write_text(CANARY + "\n")
    client = {"sasl_plain_username": "${env:KAFKA_USER}", "sasl_plain_password": f"${{file:{tmp_path}/password}}"}
    settings = KafkaSettings("broker:9092", client)
    monkeypatch.setenv("KAFKA_USER", "ann-" + CANARY)
    options, secrets = settings.resolved()
    assert options["sasl_plain_username"] == "ann-" + CANARY
    assert options["sasl_plain_password"] == CANARY
    assert sorted(secrets) == sorted([CANARY, "ann-" + CANARY])
    assert CANARY not in repr(settings) + str(settings.key)
    assert CANARY.encode() not in pickle.dumps(settings)
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize("reference", ["${env:NOT_SET_ANYWHERE}", "${file:/no/such/file}"])
def test_an_unresolvable_reference_names_itself(reference):
    settings = KafkaSettings("broker:9092", {"ssl_password": reference})
    with pytest.raises(JobError, match=r"source\.client\.ssl_password.*(NOT_SET_ANYWHERE|/no/such/file)"):
        settings.resolved()


def test_an_unknown_option_is_answered_with_the_nearest():
    with pytest.raises(JobError, match=r"source\.client\.sasl_mechanisms .* 'sasl_mechanism'"):
        KafkaSettings("broker:9092", {"sasl_mechanisms": "PLAIN"})


@pytest.mark.parametrize("name", ["group_id", "isolation_level", "enable_auto_commit", "auto_offset_reset"])
def test_an_option_of_millrace_is_refused(name):
    with pytest.raises(JobError, match="set by Millrace"):
        KafkaSettings("broker:9092", {name: "x"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("sasl_plain_password", CANARY), ("ssl_password", CANARY), ("proxy_url", f"http://ann:{CANARY}@proxy:1")],
)
def test_a_password_written_out_is_refused_without_repeating_it(name, value):
    with pytest.raises(JobError) as caught:
        KafkaSettings("broker:9092", {name: value})
    assert CANARY not in str(caught.value)


def test_objects_cannot_be_options():
    with pytest.raises(JobError, match="must be a text"):
        KafkaSettings("broker:9092", {"client_id": ["a"]})
    with pytest.raises(JobError, match="not a client option"):
        KafkaSettings("broker:9092", {"ssl_context": "x"})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "security_protocol",
            "ssl",
            "'ssl' is not one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL; did you mean",
        ),
        ("security_protocol", "SSLL", "did you mean 'SSL'"),
        ("sasl_mechanism", "scram-sha-512", "did you mean 'SCRAM-SHA-512'"),
        ("request_timeout_ms", "soon", "must be a number, not 'soon'"),
        ("request_timeout_ms", True, "must be a number, not True"),
    ],
)
def test_a_value_that_the_client_would_take_for_something_else_is_refused(name, value, said):
    """A protocol in other letters was no protocol at all: the run read without TLS and login."""
    with pytest.raises(JobError, match=said):
        KafkaSettings("broker:9092", {name: value})
    KafkaSettings("broker:9092", {name: "${env:LATER}"})
