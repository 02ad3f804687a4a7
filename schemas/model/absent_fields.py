"""Fields that an object lacks: told by a field beside each, for who must know NULL from what was not sent."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

ABSENT_OF: Final = b"millrace.absent_of"
"""Metadata of a field that an encoding adds: the name of the field beside it that is absent where it is valid."""
ABSENT_TYPE: Final[pa.DataType] = pa.struct([])


def absent_field(name: str) -> pa.Field:
    """The field that an encoding puts beside its field `name`: valid where an object does not have that."""
    return pa.field(f"{name}\0absent", ABSENT_TYPE, metadata={ABSENT_OF: name.encode()})


def without_absent(struct: pa.StructArray) -> tuple[pa.StructArray, dict[str, NDArray[np.bool_]]]:
    """The struct without such fields, and by name of a field the rows that lack it, where there are any."""
    kept, absent = [], {}
    for number, field in enumerate(struct.type):
        name = (field.metadata or {}).get(ABSENT_OF)
        if name is None:
            kept.append(number)
            continue
        lacks = np.asarray(struct.field(number).is_valid())
        if lacks.any():
            absent[name.decode()] = lacks
    columns = [struct.field(number) for number in kept]
    fields = [struct.type.field(number) for number in kept]
    if not kept:
        return pa.nulls(len(struct), pa.struct([])), absent
    return pa.StructArray.from_arrays(columns, fields=fields, mask=pc.is_null(struct)), absent
