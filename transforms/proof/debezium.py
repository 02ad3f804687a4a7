"""What the proof reads from a Debezium envelope: where a change stands in its source, and what was not sent."""

import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from .avro_validator import Malformed

PLACEHOLDER: Final = "__debezium_unavailable_value"
TEXTS: Final = (str, bytes, list, dict)
WORD: Final = 1 << 64
"""LSNs are unsigned: Debezium sends one above 2^63 as a negative number."""


@cache
def _placeholders(text: str) -> tuple[Any, ...]:
    """What Debezium sends for a value it leaves out: text, bytes, hstore as JSON, lists of text, UUID, numbers.

    Bytes are texts where the connector sends them as hexadecimal digits or base64 (RFC 4648, sections 4 and 5).
    """
    raw = text.encode()
    digest = bytearray(hashlib.md5(raw, usedforsecurity=False).digest())
    # A name-based UUID: four bits say version 3, two bits the variant (RFC 9562, section 5.3).
    digest[6] = digest[6] & 0x0F | 0x30
    digest[8] = digest[8] & 0x3F | 0x80
    of_name = f"{digest[:4].hex()}-{digest[4:6].hex()}-{digest[6:8].hex()}-{digest[8:10].hex()}-{digest[10:].hex()}"
    signed = [byte - 256 if byte > 127 else byte for byte in raw]
    quoted = json.dumps(text, ensure_ascii=False)
    digits = "".join(f"{byte:02x}" for byte in raw)
    coded = binascii.b2a_base64(raw, newline=False).decode()
    texts = (text, digits, coded, coded.replace("+", "-").replace("/", "_"))
    return *texts, raw, f"{{{quoted}:{quoted}}}", *([one] for one in texts), [raw], [of_name], signed


def unavailable(value: Any, text: str = PLACEHOLDER) -> bool:
    """Whether a value is Debezium's placeholder, whose text a connector may change."""
    return value in _placeholders(text) or (type(value) is dict and list(value) == [text])


def not_sent(row: Mapping[str, Any], text: str = PLACEHOLDER) -> tuple[str, ...]:
    """The columns of a row whose value is the placeholder."""
    return tuple([name for name, value in row.items() if type(value) in TEXTS and unavailable(value, text)])


def connector_name(envelope: Mapping[str, Any]) -> str:
    """The name of the connector that sent a change; empty where it has none."""
    source = envelope.get("source")
    name = source.get("name") if isinstance(source, dict) else None
    return name if isinstance(name, str) else ""


def table_name(envelope: Mapping[str, Any]) -> str:
    """The table of the source that a change is of; empty where nothing names it."""
    source = envelope.get("source")
    said = source if isinstance(source, dict) else {}
    return "/".join(str(said[part] or "") for part in ("db", "schema", "table") if part in said)


def is_of_no_table(envelope: Mapping[str, Any]) -> bool:
    """Whether a value is a heartbeat, a transaction's metadata, a DDL statement or a logical decoding message."""
    names = set(envelope)
    if names == {"ts_ms"}:
        return True
    return "after" not in names and any(
        told <= names
        for told in ({"status", "id", "event_count"}, {"databaseName", "ddl"}, {"op", "source", "message"})
    )


def bears_position(source: Any) -> bool:
    """Whether a `source` block can say where a change stands in the log of its whole connector."""
    if not isinstance(source, dict) or isinstance(source.get("lsn"), str):
        return False
    return "lsn" in source or any(
        one in source and other in source
        for one, other in (("commit_lsn", "change_lsn"), ("commit_scn", "scn"), ("file", "pos"))
    )


def source_order(source: Mapping[str, Any]) -> tuple[int, int]:
    """(commit order, order inside it) from an envelope's `source`; raises Malformed where it cannot be read."""
    try:
        return _source_order(source)
    except (ValueError, TypeError, AttributeError) as error:
        raise Malformed(f"no position in 'source': {error}") from None


def _source_order(source: Mapping[str, Any]) -> tuple[int, int]:
    if "commit_lsn" in source and "change_lsn" in source:
        return _commit_lsn(source["commit_lsn"], source["change_lsn"])
    if "commit_scn" in source and "scn" in source:
        return int(source["commit_scn"] or 0), int(source["scn"] or 0)
    if "ord" in source and "collection" in source:
        return _oplog_time(source.get("ts_ms"), source["ord"])
    if "file" in source and "pos" in source:
        digits = re.search(r"(\d+)$", source["file"] or "")
        if digits is None:
            raise Malformed(f"binlog file {source['file']!r}")
        return int(digits[1]), (source["pos"] or 0) << 24 | (source.get("row") or 0)
    lsn = source.get("lsn") or 0
    if isinstance(lsn, str):
        # YugabyteDB's, which belongs to one tablet of many.
        return 0, 0
    if source.get("sequence") is None:
        return lsn % WORD, lsn % WORD
    commit, inner = json.loads(source["sequence"])
    return int(commit or inner or 0) % WORD, int(inner or 0) % WORD


def _oplog_time(millis: int | None, number: int | None) -> tuple[int, int]:
    """MongoDB's: seconds, and the number of the operation in its second. No position where it has none of them."""
    if millis is None or number is None or not (0 <= millis < WORD // 4_294_967 and 0 <= number < 1 << 32):
        return 0, 0
    return (millis // 1000 << 32) + number, 0


def _commit_lsn(commit: str | None, change: str | None) -> tuple[int, int]:
    """SQL Server's and Db2's LSN have three parts in hexadecimal, Informix' is a decimal number, -1 for none."""
    if commit is None or commit.startswith("-"):
        return 0, 0
    if ":" not in commit:
        return int(commit), max(int(change or 0), 0)
    file, block, rest = commit.split(":")
    whole = [int(part, 16) for part in (change or commit).split(":")]
    if len(rest) > 4:
        return int(file + block + rest, 16), 0
    lsn = int(file, 16) << 48 | int(block, 16) << 16 | int(rest, 16)
    # A change's own LSN counts within the file in which its transaction was committed.
    return lsn, whole[1] << 16 | whole[2] if change and whole[0] == int(file, 16) else 0
