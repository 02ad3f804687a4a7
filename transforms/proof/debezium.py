"""What the proof reads from a Debezium envelope: where a change stands in its source, and what was not sent."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from .avro_validator import Malformed

PLACEHOLDER: Final = "__debezium_unavailable_value"
PLACEHOLDERS: Final = (PLACEHOLDER, PLACEHOLDER.encode(), [PLACEHOLDER], [PLACEHOLDER.encode()])
TEXTS: Final = (str, bytes, list, dict)


def unavailable(value: Any) -> bool:
    """Debezium's placeholder: as text, as bytes, as a list of it alone, as a map of it alone."""
    return value in PLACEHOLDERS or (type(value) is dict and list(value) == [PLACEHOLDER])


def source_order(source: Mapping[str, Any]) -> tuple[int, int]:
    """(commit order, order inside it) from an envelope's `source`; raises Malformed where it cannot be read."""
    try:
        return _source_order(source)
    except (ValueError, TypeError, AttributeError) as error:
        raise Malformed(f"no position in 'source': {error}") from None


def _source_order(source: Mapping[str, Any]) -> tuple[int, int]:
    if "commit_lsn" in source and "change_lsn" in source:
        return _sql_server_lsn(source["commit_lsn"]), _sql_server_lsn(source["change_lsn"])
    if "commit_scn" in source and "scn" in source:
        return int(source["commit_scn"] or 0), int(source["scn"] or 0)
    if "file" in source and "pos" in source:
        digits = re.search(r"(\d+)$", source["file"] or "")
        if digits is None:
            raise Malformed(f"binlog file {source['file']!r}")
        return int(digits[1]), (source["pos"] or 0) << 24 | (source.get("row") or 0)
    lsn = source.get("lsn") or 0
    if source.get("sequence") is None:
        return lsn, lsn
    commit, inner = json.loads(source["sequence"])
    return int(commit or 0), int(inner or 0)


def _sql_server_lsn(text: str | None) -> int:
    if text is None:
        return 0
    file, block, slot = (int(part, 16) for part in text.split(":"))
    return file << 40 | block << 16 | slot
