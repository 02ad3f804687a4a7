"""Flat messages: what the transform adds says what happened; what it adds beside that stays a column."""

import pyarrow as pa
import pytest

from millrace.schemas.envelopes import ENVELOPES
from millrace.schemas.envelopes.debezium.options import DebeziumOptions
from millrace.schemas.envelopes.envelope import DELETE, UPSERT
from millrace.schemas.errors import SchemaError
from millrace.schemas.model.route import Route

ROUTE = Route(table="t")
SPEC = ENVELOPES["debezium"]


def envelope(flat="rewrite"):
    return SPEC.open(DebeziumOptions(flat=flat))


def said(rows, flat="rewrite", **types):
    """Events of rows: by column the values."""
    columns = {name: pa.array(values, types.get(name)) for name, values in rows.items()}
    return envelope(flat).events(pa.StructArray.from_arrays([*columns.values()], [*columns]), ROUTE)


def wrong(events):
    return [(mask.tolist(), why) for mask, why in events.wrong if mask.any()]


def test_the_row_is_what_the_transform_did_not_add():
    rows = {"id": [1], "__op": ["u"], "__deleted": ["false"], "__table": ["t"], "__ts_ms": [7], "__source_ts_ms": [5]}
    found = said({**rows, "__lsn": [9], "__source_name": ["shop"], "__mine": ["x"]})
    assert found.row.to_pylist() == [{"id": 1, "__table": "t", "__ts_ms": 7, "__mine": "x"}]
    assert (found.what.tolist(), found.time.tolist(), found.connector.to_pylist()) == ([UPSERT], [5], ["shop"])
    assert [part.tolist() for part in found.order] == [[9], [9]]


@pytest.mark.parametrize("start", ["__", "__source_"])
@pytest.mark.parametrize(
    ("fields", "order"),
    [
        ({"lsn": 40}, (40, 40)),
        ({"lsn": 40, "sequence": '["30","40"]'}, (30, 40)),
        ({"file": "binlog.000012", "pos": 5, "row": 2}, (12, 5 << 24 | 2)),
        ({"commit_scn": "70", "scn": "60"}, (70, 60)),
    ],
)
def test_the_position_is_that_of_the_fields_that_were_added(start, fields, order):
    rows = {"id": [1], "__op": ["u"], "__deleted": ["false"]} | {f"{start}{name}": [it] for name, it in fields.items()}
    found = said(rows)
    assert tuple(int(part[0]) for part in found.order) == order and found.placed.tolist() == [True]


def test_rewritten_deletes_are_deletes_with_the_key_of_the_old_row():
    found = said(
        {
            "id": [1, 2, 3],
            "v": ["a", None, "r"],
            "__deleted": ["false", "true", "false"],
            "__op": ["c", "d", "r"],
            "__lsn": [1, 2, 3],
        }
    )
    assert found.what.tolist() == [UPSERT, DELETE, UPSERT]
    assert found.before.field("id").to_pylist() == [1, 2, 3]
    # A row of a snapshot stands where it stands in the log.
    assert (found.snapshot.tolist(), found.placed.tolist()) == ([False, False, True], [True, True, False])


def test_without_an_op_no_position_is_trusted_for_a_snapshots_row_may_bear_an_older_one():
    found = said({"id": [1, 2], "__deleted": ["false", "true"], "__lsn": [4, 5]})
    assert (found.order, found.what.tolist(), wrong(found)) == (None, [UPSERT, DELETE], [])


def test_with_tombstones_the_log_orders_for_a_tombstone_has_no_position():
    found = said({"id": [1], "__op": ["u"], "__lsn": [4]}, "tombstone")
    assert found.order is None and envelope("tombstone").null_deletes and not envelope("rewrite").null_deletes


def test_what_contradicts_itself_is_a_dead_letter():
    found = said({"id": [1, 2, 3, 4], "__op": ["u", "d", "t", None], "__deleted": ["true", "false", "false", "false"]})
    assert wrong(found) == [
        ([False, False, True, True], "unknown __op: only r, c, u and d are known"),
        ([True, True, False, False], "__op and __deleted do not say the same"),
    ]
    found = said({"id": [1], "__op": ["d"]}, "tombstone")
    assert [mask for mask, _ in wrong(found)] == [[True]]


def test_a_position_that_cannot_be_read_is_a_dead_letter():
    rows = {"id": [1], "__op": ["u"], "__deleted": ["false"], "__file": ["nothing"], "__pos": [4]}
    assert wrong(said(rows)) == [([True], "the fields of the source hold no position that can be read")]


def test_deletes_of_the_other_kind_say_which_option_is_meant():
    with pytest.raises(SchemaError, match=r"write format\.flat: rewrite"):
        said({"id": [1], "__deleted": ["false"]}, "tombstone")
    with pytest.raises(SchemaError, match=r"lacks __deleted.*see format\.flat"):
        said({"id": [1]}, "rewrite")


def test_deleted_may_be_a_boolean_or_null():
    assert said({"id": [1, 2], "__deleted": [True, None]}).what.tolist() == [DELETE, UPSERT]


def test_a_field_that_was_only_ever_null_says_nothing():
    found = said({"id": [1, 2], "__op": [None, None], "__deleted": ["false", "true"], "__source_lsn": [None, None]})
    assert (found.what.tolist(), found.order, wrong(found)) == ([UPSERT, DELETE], None, [])
    found = said({"id": [1], "__op": ["u"], "__deleted": ["false"], "__lsn": [7], "__source_sequence": [None]})
    assert [part.tolist() for part in found.order] == [[7], [7]]


@pytest.mark.parametrize("odd", [{"__op": [1]}, {"__pos": ["x"]}, {"__deleted": [1]}, {"__source_file": [3]}])
def test_a_field_of_another_type_is_not_what_debezium_sends(odd):
    with pytest.raises(SchemaError, match="which Debezium does not give it"):
        said({"id": [1], "__op": ["u"], "__deleted": ["false"], **odd})
