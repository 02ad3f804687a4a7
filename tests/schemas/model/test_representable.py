"""Texts that an encoding or a log gives beside a date: which of them have a nearest date."""

import pyarrow as pa
import pytest

from millrace.schemas.model.representable import represented
from millrace.schemas.model.unrepresentable import OnUnrepresentable
from millrace.schemas.model.value_texts import text_field


@pytest.mark.parametrize(
    ("text", "date", "note"),
    [
        ("0000-00-00", "0001-01-01", None),
        ("-0043-03-15", "0001-01-01", None),
        ("-infinity", "0001-01-01", None),
        ("infinity", "9999-12-31", None),
        ("+10000-01-01", "9999-12-31", None),
        ("2024-00-10", None, "2024-00-10"),
        ("2023-02-31", None, "2023-02-31"),
    ],
)
def test_a_date_that_no_calendar_has_is_clamped_only_where_an_end_is_near(text, date, note):
    fields = [pa.field("day", pa.date32()), text_field("day")]
    struct = pa.StructArray.from_arrays([pa.nulls(1, pa.date32()), pa.array([text])], fields=fields)
    row = represented(struct, OnUnrepresentable.CLAMP).struct[0].as_py()
    assert (str(row["day"]) if row["day"] else None, row.get("day__text")) == (date, note)
