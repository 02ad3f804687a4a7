"""Protobuf messages to Arrow columns, without Python per record: exact to the last byte, errors by payload.

Fields without presence have their default where a message lacks them, fields with presence are null. Unknown fields are
skipped, as the specification says; so is a field whose bytes have another wire type than the schema. Refused are
numbers of more than 64 bits, lengths beyond the payload, text that is no UTF-8, required fields that are missing, and
what no writer sends and readers treat differently: a message field that stands twice, two members of a oneof. Limits:

    messages in one another                  100 deep
    cells that repeated fields take          16,384, and 64 for each byte of the payload
    types of a schema                        64 deep, 100,000 where each use of a message counts
"""
