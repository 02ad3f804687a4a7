"""The proof's reader of JSON without a schema: what it makes of a text is what the job makes of it."""

import json

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace.schemas.encodings.json.options import JsonOptions
from millrace.schemas.encodings.json.plain import PlainDecoder
from millrace.schemas.model.declared_type import STRUCT, declared_type
from millrace.transforms.proof.avro_reader import UNREADABLE
from millrace.transforms.proof.plain_json_reader import PlainJsonReader
from millrace.transforms.proof.rules import Rules

DECLARED = {
    name: declared_type(text)
    for name, text in {
        "i": "int32",
        "f": "float32",
        "d": "decimal(9,2)",
        "v": "decimal",
        "b": "binary",
        "z": "date",
    }.items()
}


class Known:
    def declared(self, path):
        return DECLARED.get(path[0]) if len(path) == 1 else None if path else STRUCT

    def may_lack(self, path):
        return None

    def column(self, path):
        return path[0] if len(path) == 1 else None

    def held(self, path):
        return None


def of_job(text):
    """The row, None where it is a dead letter."""
    data, at, length = np.frombuffer(text + b"\0", np.uint8), np.array([0]), np.array([len(text)])
    done = PlainDecoder(JsonOptions(), None, Known()).decode(data, at, length)
    return done.array.to_pylist()[0]


def of_proof(text):
    rules = Rules(format="upsert", schemas=None, encoding="json", framing="plain", declared=DECLARED)
    try:
        row, _ = PlainJsonReader(rules).read(text, "t", "value")
    except UNREADABLE:
        return None
    return row if isinstance(row, dict) else None


def shown(value):
    """Values of both in one form: what the proof leaves to its rules for logical types is told by its kind alone."""
    if isinstance(value, dict):
        return {name: shown(part) for name, part in value.items() if name not in ("d", "z")}
    if isinstance(value, list):
        return [shown(part) for part in value]
    large = isinstance(value, int) and not -(1 << 63) <= value < 1 << 63
    return "wide" if large or isinstance(value, bytes) or type(value).__name__ == "Decimal" else value


LEAF = st.none() | st.booleans() | st.integers(-(1 << 66), 1 << 66) | st.floats(allow_nan=False, allow_infinity=False)
LEAF |= st.text(max_size=4) | st.sampled_from(["1", "-2.50", "AAAA", "2024-02-29", "1e2"])
VALUE = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=5,
)
ROW = st.dictionaries(st.sampled_from([*DECLARED, "x", "y"]), VALUE, max_size=4)


@settings(max_examples=300, deadline=None)
@given(row=ROW)
@example(row={"x": [1, 0.5], "y": [{"a": 1}, {"b": None}]})
@example(row={"x": [[], [None]], "i": "5", "d": 1.25, "b": "AP8="})
def test_a_row_of_the_job_is_a_row_of_the_proof(row):
    text = json.dumps(row).encode()
    assert repr(shown(of_job(text))) == repr(shown(of_proof(text)))


@settings(max_examples=200, deadline=None)
@given(row=ROW, data=st.data())
def test_a_mutated_text_is_read_by_both_or_by_none(row, data):
    text = bytearray(json.dumps(row).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from(b'"\\{}[],:0-.eEnu \x00\xc3'))
    assert repr(shown(of_job(bytes(text)))) == repr(shown(of_proof(bytes(text))))
