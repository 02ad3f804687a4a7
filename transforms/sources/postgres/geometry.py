"""Points and PostGIS's shapes as Debezium gives them: records with well-known binary (WKB)."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

POINT: Final = np.dtype([("order", "u1"), ("kind", "<u4"), ("x", "<f8"), ("y", "<f8")])
"""WKB of a point, little-endian."""
HAS_SRID: Final = 0x20000000
HEAD: Final = 9


def points(texts: pa.Array) -> pa.StructArray:
    """`(1.5,-2)`: x, y (float64), wkb, srid (always NULL)."""
    found = pc.extract_regex(texts, r"\((?P<x>[^,]+),(?P<y>[^)]+)\)")
    x, y = (part.cast(pa.float64()) for part in found.flatten())
    wkb = np.zeros(len(texts), POINT)
    wkb["order"], wkb["kind"] = 1, 1
    wkb["x"], wkb["y"] = (pc.fill_null(part, 0.0).to_numpy() for part in (x, y))
    binary = pa.Array.from_buffers(pa.binary(POINT.itemsize), len(texts), [None, pa.py_buffer(wkb.tobytes())])
    fields = {"x": x, "y": y, "wkb": binary.cast(pa.binary()), "srid": pa.nulls(len(texts), pa.int32())}
    mask = texts.is_null() if texts.null_count else None
    return pa.StructArray.from_arrays(list(fields.values()), list(fields), mask=mask)


def shapes(written: tuple[NDArray[np.int64], NDArray[np.uint8]], absent: NDArray[np.bool_]) -> pa.StructArray:
    """PostGIS's extended WKB (offsets and bytes): wkb (as it is) and srid (NULL where it has none)."""
    offsets, content = written
    count = len(absent)
    padded = np.concatenate((content, np.zeros(HEAD, np.uint8)))
    heads = padded[offsets[:-1, None] + np.arange(HEAD)]
    little = heads[:, 0] == 1
    numbers = {
        order: np.ascontiguousarray(heads[:, 1:]).view(f"{order}u4").reshape(count, 2).astype(np.int64)
        for order in "<>"
    }
    kind, srid = np.where(little[:, None], numbers["<"], numbers[">"]).T
    there = ~absent & ((kind & HAS_SRID) != 0)
    wkb = pa.Array.from_buffers(pa.large_binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(content)])
    fields = {"wkb": wkb.cast(pa.binary()), "srid": pa.array(srid.astype(np.int32), mask=~there)}
    mask = pa.array(absent) if absent.any() else None
    return pa.StructArray.from_arrays(list(fields.values()), list(fields), mask=mask)
