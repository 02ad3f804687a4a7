"""Which connector sent a change: the name in the source block."""

import pyarrow as pa
import pytest

from millrace.schemas.envelopes.debezium.envelope import DebeziumEnvelope
from millrace.schemas.envelopes.debezium.options import DebeziumOptions
from millrace.schemas.model.route import Route


def connectors(**source):
    """What the envelope says of two or three changes with these columns in their source block."""
    lsn = pa.array([1, 2, 3])
    source = pa.StructArray.from_arrays([lsn, *source.values()], ["lsn", *source])
    after = pa.StructArray.from_arrays([lsn], ["id"])
    value = pa.StructArray.from_arrays([pa.array(["c"] * 3), after, source], ["op", "after", "source"])
    return DebeziumEnvelope(DebeziumOptions()).events(value, Route(table="t", sources=())).connector


@pytest.mark.parametrize(
    "names", [["a", "a", "a"], ["a", "b", "a"], ["a", None, "a"], [None, "a", "a"], [None, None, None], ["", "", ""]]
)
def test_the_connector_is_told_by_its_name(names):
    found = connectors(name=pa.array(names, pa.string()))
    assert found.to_pylist() == names
    assert len(found.dictionary) == len({*names} - {None})


def test_a_source_without_a_name_in_text_has_no_connector():
    assert connectors() is None
    assert connectors(name=pa.array([1, 2, 3])) is None


def test_the_name_is_decoded():
    assert DebeziumEnvelope(DebeziumOptions()).keep(("source", "name"), Route(table="t", sources=()))
