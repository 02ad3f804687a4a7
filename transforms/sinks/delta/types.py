"""A stream's types as Delta Lake keeps them.

| Arrow                         | Delta Lake                          |
|-------------------------------|-------------------------------------|
| int8 to int64, float32/64     | byte to long, float, double         |
| uint8, uint16, uint32, uint64 | short, integer, long, decimal(20,0) |
| float16                       | float                               |
| decimal, 38 digits or fewer   | decimal                             |
| decimal, 39 to 76 digits      | string, all digits                  |
| string, binary, bool, date32  | string, binary, boolean, date       |
| fixed_size_binary             | binary                              |
| time32, time64[us]            | long, in its own unit               |
| time64[ns], duration          | long, in its own unit               |
| timestamp[s, ms]              | timestamp_ntz                       |
| timestamp[us]                 | timestamp_ntz                       |
| timestamp[s, ms, us], UTC     | timestamp                           |
| timestamp[ns]                 | long, nanoseconds                   |
| timestamp[ns], UTC            | long, nanoseconds                   |
| list, struct, map             | array, struct, map of these         |
| null                          | integer                             |
"""

import pyarrow as pa

from ..shared.types import in_lake


def in_delta(kind: pa.DataType) -> pa.DataType:
    """The Arrow type that Delta Lake stores for `kind`, which holds no list, struct or map."""
    return in_lake(kind)
