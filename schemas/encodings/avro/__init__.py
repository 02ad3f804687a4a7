"""Avro payloads to Arrow columns, without Python per record: exact to the last byte, errors by payload.

Bad payloads are refused, never a crash: numbers of more than 64 bits (an int: 32), lengths, branches, symbols and
booleans that cannot be, invalid UTF-8, blocks that are not as long as they say, decimals beyond their precision, times
beyond their day (24:00:00 is in it), bytes left over. Where memory or the stack is at stake there are limits:

    items without bytes in a datum           1,000 (`array<null>`)
    cells that the items of a datum take     16,384, and 64 for each byte of the payload
    records in one another, recursive        64 deep
    types of a schema                        64 deep, 100,000 where each use of a named type counts
    decimals that become text                1,024 bytes, scale -1,000 to 1,000
"""
