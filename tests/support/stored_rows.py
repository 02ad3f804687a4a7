"""A target's rows as the proof reads them, to compare them with what the source itself says."""

import struct
from collections import Counter
from decimal import Decimal

from millrace.transforms.proof.canonical import encode, natural, number
from millrace.transforms.proof.type_coercion import from_target


def from_text(text):
    """A number of any length as a canonical value."""
    sign, digits, exponent = Decimal(text).as_tuple()
    return number((-1) ** sign * int("".join(map(str, digits))), -exponent)


def stored(sink, table, key, as_text=()):
    """The target's rows in canonical form, by key; `as_text` are columns of numbers that are kept as texts."""
    rows = {}
    for batch in sink.scan(table):
        columns = {}
        for name in batch.schema.names:
            column = batch.column(name)
            numbers = (
                [None if text is None else from_text(text) for text in column.to_pylist()] if name in as_text else []
            )
            columns[name] = numbers or from_target(column)
        for values in zip(*columns.values(), strict=True):
            row = dict(zip(columns, values, strict=True))
            rows[tuple(row[name] for name in key)] = row
    return rows


def unequal(rows, final, singles=(), left_out=()):
    """How many values differ from the source's, by column and side; `singles` are floats of 32 bits."""
    found = Counter()
    for key, expected in final.items():
        for name, value in expected.items():
            held = rows[key].get(name)
            if name in singles and value is not None:
                value = struct.unpack("f", struct.pack("f", value))[0]
            if name not in left_out and encode(natural(held)) != encode(value):
                found[name, "in stream" if held is not None else "in source"] += 1
    return found
