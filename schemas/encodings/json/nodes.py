"""What the loop is told of a payload: a node for each value that may stand in it.

    KIND      what it is, one of those below
    NULLABLE  1 where it may be null or absent
    MARK      where a value notes that it is there: an index into the validity, NONE for nothing
    SLOT      where it is written: an index into the values
    STRIDE    the distance to its next slot
    A, B      of INT the bounds; of BYTES the most bytes (A), of DECIMAL the digits (B); of REAL 1 where no digit may be
              lost (A); of a list or map the cells that an item takes (B), of a map the node of its keys (A)
    FIRST     of a record its first row of `fields`; of a list or map the node of its items
    COUNT     of a record its fields; of a list or map the level of its items
    FORMS     what else than JSON's own form is read, bits of those below
    SCALE     of a decimal; of a time the nanoseconds of its unit
    ABSENT    where it is noted that an object lacks this field: an index into the validity, NONE where nobody asks

Before a run, SLOT, MARK and ABSENT are numbers of slots, and STRIDE is the level. A row of `fields` is the node, where
the name begins in `names`, the name's length, and that in JSON where no letter of it is escaped.
"""

from typing import Final

KIND, NULLABLE, MARK, SLOT, STRIDE, A, B, FIRST, COUNT, FORMS, SCALE, ABSENT = range(12)
WIDTH: Final = 12

SKIP, NULLS, TEXT, INT, RECORD, BOOLEAN, REAL, SINGLE, BYTES, DECIMAL, ZONED, LIST, MAP, PAIR = range(14)

AS_TEXT: Final = 1
"""The value may stand in a text: digits, a decimal, a date or time in ISO 8601."""
AS_NUMBER: Final = 2
"""A text, or a decimal, may be a number."""
AS_BASE64: Final = 4
"""A decimal is the base64 of its unscaled number."""
AS_HEX: Final = 8
"""Bytes are hexadecimal digits."""
IN_DAYS: Final = 16
IN_CLOCK: Final = 32
IN_MOMENTS: Final = 64
IN_ZONE: Final = 128
"""What the text of a whole number is: a date, a time, a timestamp, one with an offset from UTC."""
AS_URL: Final = 256
"""Base64 has `-` and `_` for `+` and `/`."""

NODE, NAME_AT, NAME_SIZE, RAW_SIZE = 0, 1, 2, 3
