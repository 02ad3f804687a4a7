"""UTF-8 as Python's strict decoder has it, instants as java.time writes them, UUIDs."""

import itertools
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.schemas.encodings.columns.text import NO_TIME, PLACEHOLDER_TIME, instant, is_utf8

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EDGES = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF]
EDGES += [0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]


def array(content: bytes):
    data = np.frombuffer(content, np.uint8)
    data.flags.writeable = False
    return data


def decodes(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_utf8_is_decided_as_by_python_for_all_edges_of_up_to_three_bytes():
    for length in range(4):
        for content in itertools.product(EDGES, repeat=length):
            assert is_utf8(array(bytes(content)), 0, length) == decodes(bytes(content)), bytes(content)


@given(st.one_of(st.binary(max_size=40), st.text().map(str.encode), st.builds(bytes, st.lists(st.sampled_from(EDGES)))))
def test_utf8_is_decided_as_by_python(content):
    assert is_utf8(array(content), 0, len(content)) == decodes(content)


def micros(text: str) -> int:
    content = text.encode()
    return int(instant(array(b"x" + content + b"9Z"), 1, 1 + len(content)))


@given(
    st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)),
    st.integers(-64_800, 64_800),
    st.integers(0, 9),
)
def test_instants_are_those_of_datetime(moment, offset, digits):
    zone = timezone(timedelta(seconds=offset))
    fraction = f".{moment.microsecond:06d}999"[: digits + 1] if digits else ""
    exact = moment.replace(microsecond=int(fraction[1:7].ljust(6, "0") or 0), tzinfo=zone)
    text = f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}{fraction}{str(zone).removeprefix('UTC') or 'Z'}"
    assert micros(text) == (exact - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00Z", 0),
        ("2000-02-29T00:00:00+00:00", 951_782_400_000_000),
        ("+9999-12-31T23:59:59.9999999Z", 253_402_300_799_999_999),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("+10000-01-01T00:59:59+01:00", 253_402_300_799_000_000),
        ("__debezium_unavailable_value", PLACEHOLDER_TIME),
    ],
)
def test_instants_at_the_edges(text, expected):
    assert micros(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024",
        "2024-01-31",
        "2024-01-31T10:00:00",
        "2024-01-31 10:00:00Z",
        "2024-01-31T10:00:00Zx",
        "2024-02-30T10:00:00Z",
        "2023-02-29T10:00:00Z",
        "1900-02-29T10:00:00Z",
        "2024-13-01T10:00:00Z",
        "2024-00-01T10:00:00Z",
        "2024-01-00T10:00:00Z",
        "2024-01-31T24:00:00Z",
        "2024-01-31T10:60:00Z",
        "2024-01-31T10:00:60Z",
        "2024-01-31T10:00:0Z",
        "2024-01-31T10:00:00.Z",
        "2024-01-31T10:00:00.1234567890Z",
        "2024-01-31T10:00:00+19:00",
        "2024-01-31T10:00:00+1:00",
        "2024-01-31T10:00:00+01",
        "2O24-01-31T10:00:00Z",
        "12024-01-31T10:00:00Z",
        "+10000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-00:01",
        "0001-01-01T00:00:00+00:01",
        "infinity",
        "-infinity",
        "+294247-01-10T04:00:54.775807Z",
        "+294248-01-01T00:00:00Z",
        "-294248-01-01T00:00:00Z",
        "+999999999-12-31T23:59:59Z",
        "+9999999999-12-31T23:59:59Z",
        "__debezium_unavailable_valuE",
    ],
)
def test_what_is_no_instant_is_refused(text):
    assert micros(text) == NO_TIME


@given(st.text("0123456789-+:.TZ", max_size=36))
def test_any_text_is_an_instant_or_refused(text):
    micros(text)
