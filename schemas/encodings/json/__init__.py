"""JSON to Arrow columns, without Python per record: Kafka Connect's with its schema in each message, or plain JSON.

One loop reads each payload once, checks it to its last byte, and writes its values to slots. A column has the type
that it has in Avro, and Debezium's names mean what they mean there.

    nesting of a message          128 deep
    numbers                       integers of 64 bits keep every digit; 1.0 and 1e3 are no integers
    a key twice in an object      the last value counts, as in other readers
    text                          UTF-8; a lone surrogate, also as an escape, is an error
    a field that is absent        NULL where the schema says optional, else an error

Plain JSON has columns that the job declares, and others that are inferred (`shape`). Python reads a payload only where
it shows something new, or is wrong.
"""
