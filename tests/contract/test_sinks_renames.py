"""What every target promises of a column that is renamed: its values stay, whatever is killed or comes again."""

import datetime

import pyarrow as pa
import pytest
from support.targets import Target, delete, position, upsert

from millrace.schemas.errors import IncompatibleSchemaError
from millrace.schemas.model.change import POSITION
from millrace.transforms.sinks import SINKS
from millrace.transforms.sinks.shared.drift import inspect
from millrace.transforms.sinks.shared.guarantees import Promise
from millrace.transforms.sinks.shared.lookup import columns_of, find_rows
from millrace.transforms.sinks.shared.renames import rename_columns

STRUCT = pa.struct([("a", pa.list_(pa.int32())), ("b", pa.timestamp("ms", "UTC"))])
COLUMNS = [("id", pa.int64()), ("qty", pa.uint64()), ("qty__string", pa.string()), ("s", STRUCT)]
SCHEMA, NEW = pa.schema(COLUMNS), pa.schema([("id", pa.int64()), ("quantity", pa.uint64()), ("s", STRUCT)])
ODD = {"a": [1, None], "b": datetime.datetime(1, 1, 1, tzinfo=datetime.UTC)}
RENAMES = (("qty", "quantity"), ("s", "the state (new)"))
NAMES = ["id", "quantity", "quantity__string", "the state (new)"]


@pytest.fixture
def filled(target):
    if Promise.RENAMES in target.exceptions:
        pytest.skip(target.exceptions[Promise.RENAMES])
    target.schema = SCHEMA
    target.apply(upsert(1, id=1, qty=2**64 - 1, s=ODD), upsert(1, id=2, qty__string="x"), upsert(1, id=3, qty=3))
    target.apply(delete(2, id=3))
    return target


def test_values_positions_and_ledger_stay(filled):
    before, ledger = filled.rows(), filled.ledger
    assert rename_columns(filled.sink, filled.name, RENAMES) == {
        "qty": "quantity",
        "qty__string": "quantity__string",
        "s": "the state (new)",
    }
    for _ in range(2):
        assert columns_of(filled.sink, filled.name).names == NAMES
        assert filled.rows() == before
        assert filled.ledger == ledger
        assert rename_columns(filled.sink, filled.name, RENAMES) == {}
        assert inspect(filled.sink, filled.name).drift == ()
        filled.reopen()
    assert set(filled.read([POSITION]).column(0).to_pylist()) == {position(1)}


def test_commits_go_on_under_the_new_name(filled):
    rename_columns(filled.sink, filled.name, RENAMES)
    new = pa.schema([("id", pa.int64()), ("quantity", pa.uint64()), ("more", pa.int8())])
    changes = [upsert(3, id=1, quantity=7), upsert(1, id=3, quantity=9), upsert(3, ["quantity"], id=2, more=1)]
    assert filled.apply(*changes, schema=new) == (2, 1)
    found = {row["id"]: row for row in filled.read().to_pylist()}
    assert (found[1]["quantity"], found[1]["the state (new)"]) == (7, None)
    assert (found[2]["quantity__string"], found[2]["more"]) == (None, 1)
    assert 3 not in found
    assert find_rows(filled.sink, filled.name, pa.table({"id": [1]}), ["quantity"]).to_pydict() == {"quantity": [7]}
    # The old name is free again, and a column like any other.
    assert filled.apply(upsert(4, id=1, qty=1), schema=pa.schema(COLUMNS[:2])) == (1, 0)
    assert columns_of(filled.sink, filled.name).names == [*NAMES, "more", "qty"]


def test_a_name_that_is_taken_is_refused_and_nothing_changes(filled):
    before = filled.rows()
    with pytest.raises(IncompatibleSchemaError, match=r"renames: \{qty: S\}: there is a column 's' too"):
        rename_columns(filled.sink, filled.name, [("qty", "S")])
    with pytest.raises(IncompatibleSchemaError, match="'id' is a column of the key, which keeps its name"):
        rename_columns(filled.sink, filled.name, [("id", "number")])
    with pytest.raises(IncompatibleSchemaError, match="one of them would be lost"):
        rename_columns(filled.sink, filled.name, [("qty", "x"), ("s", "x")])
    assert (filled.rows(), columns_of(filled.sink, filled.name).names) == (before, SCHEMA.names)


def test_there_and_back_and_on(filled):
    before = filled.rows()
    for names in ([("qty", "a")], [("a", "b")], [("b", "qty")], [("qty", "b"), ("s", "t")]):
        assert rename_columns(filled.sink, filled.name, names)
    filled.reopen()
    assert columns_of(filled.sink, filled.name).names == ["id", "b", "b__string", "t"]
    assert filled.rows() == before


def test_a_table_that_is_not_there_has_nothing_to_rename(target):
    assert rename_columns(target.sink, target.name, RENAMES) == {}
    target.commit([])
    assert rename_columns(target.sink, target.name, RENAMES) == {}


def test_what_cannot_rename_says_so(tmp_path):
    for kind in sorted(SINKS):
        target = Target(kind, tmp_path / kind)
        (tmp_path / kind).mkdir()
        assert hasattr(target.sink, "rename") == (Promise.RENAMES not in target.exceptions)
        target.close()
