"""Columns of all types for a real server: random values of each, and how the server's own answer compares with ours.

`read` is what the server is asked, `{}` stands for the column; `ours` makes the same of a value of the Arrow column,
and of the text beside it.
"""

import json
import math
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.schemas.model.representable import text_of

Random = random.Random
PLACES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-'\"\\/\n\té漢😀ß"


@dataclass(frozen=True)
class Kind:
    """A column's type; `only` names the one server that has it."""

    sql: str
    make: Callable[[Random], Any]
    read: str
    ours: Callable[[pa.Scalar], Any]
    place: str = "%s"
    only: str = ""


def plain(value: pa.Scalar) -> Any:
    return value.as_py()


def hexed(value: pa.Scalar) -> str:
    found = value.as_py()
    return (found.encode() if isinstance(found, str) else found).hex().upper()


def moment(value: pa.Scalar) -> str:
    """As the server prints it, without zeros at the end of a fraction."""
    return text_of(value.type, value.value).replace("T", " ").removesuffix("Z")


def whole(bits: int, *, signed: bool) -> Callable[[Random], int]:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return lambda some: some.choice((low, high, 0, some.randint(low, high), some.randint(0, 100)))


def decimal(precision: int, scale: int) -> Callable[[Random], str]:
    def make(some: Random) -> str:
        digits = "".join(some.choice("0123456789") for _ in range(some.choice((1, precision, precision))))
        sign = some.choice(("", "-"))
        return f"{sign}{Decimal(digits.zfill(scale + 1)).scaleb(-scale):f}" if scale else f"{sign}{int(digits)}"

    return make


def double(some: Random) -> float:
    bits = some.getrandbits(64)
    (found,) = struct.unpack("<d", struct.pack("<Q", bits))
    found = found if math.isfinite(found) else 0.0
    return some.choice((found, some.uniform(-1e6, 1e6), round(some.uniform(-1e3, 1e3), 2), float(some.randint(-9, 9))))


def single(some: Random) -> float:
    # MySQL rounds what it reads to seven digits.
    return float(np.float32(f"{some.uniform(-1e6, 1e6):.5g}"))


def text(longest: int) -> Callable[[Random], str]:
    return lambda some: "".join(some.choices(PLACES, k=some.randint(0, longest))).rstrip()


def binary(longest: int) -> Callable[[Random], bytes]:
    return lambda some: some.randbytes(some.randint(0, longest))


def clock(digits: int) -> Callable[[Random], str]:
    def make(some: Random) -> str:
        sign, hours = some.choice(("", "-")), some.choice((0, some.randint(0, 23), some.randint(24, 837)))
        fraction = f".{some.randrange(10**digits):0{digits}d}" if digits else ""
        return f"{sign}{hours:02d}:{some.randint(0, 59):02d}:{some.randint(0, 59):02d}{fraction}"

    return make


def day(some: Random) -> str:
    found = date(1, 1, 1) + timedelta(days=some.randrange(3_652_059))
    odd = ("0000-00-00", f"{found.year:04d}-00-00", f"{found.year:04d}-{found.month:02d}-00", "2023-02-31")
    return some.choice((*odd, *[found.isoformat()] * 6))


def day_and_clock(digits: int) -> Callable[[Random], str]:
    def make(some: Random) -> str:
        fraction = f".{some.randrange(10**digits):0{digits}d}" if digits else ""
        return f"{day(some)} {some.randint(0, 23):02d}:{some.randint(0, 59):02d}:{some.randint(0, 59):02d}{fraction}"

    return make


def instant(digits: int) -> Callable[[Random], str]:
    def make(some: Random) -> str:
        if some.random() < 0.1:
            return "0000-00-00 00:00:00"
        fraction = f".{some.randrange(10**digits):0{digits}d}" if digits else ""
        found = datetime.fromtimestamp(some.randint(1, 2**31 - 2), UTC)
        return f"{found:%Y-%m-%d %H:%M:%S}{fraction}"

    return make


def document(some: Random, depth: int = 0) -> Any:
    scalars = (None, True, False, some.randint(-(2**63), 2**64 - 1), some.randint(-40_000, 70_000), double(some))
    if depth == 4 or some.random() < 0.4:
        return some.choice((*scalars, text(200)(some)))
    if some.random() < 0.5:
        return [document(some, depth + 1) for _ in range(some.randint(0, 6))]
    return {text(12)(some): document(some, depth + 1) for _ in range(some.randint(0, 6))}


def opaque(some: Random) -> str:
    """An expression of MySQL for JSON with values that JSON itself has not."""
    parts = [
        f"CAST('{decimal(30, 9)(some)}' AS DECIMAL(30,9))",
        f"CAST('{decimal(65, 30)(some)}' AS DECIMAL(65,30))",
        f"CAST('{clock(6)(some)}' AS TIME(6))",
        "CAST('2024-02-29' AS DATE)",
        "CAST('2024-02-29 01:02:03.000456' AS DATETIME(6))",
        f"X'{some.randbytes(some.randint(0, 150)).hex()}'",
        *(f"{some.randint(0, 10 ** some.randint(1, 18))}e-{some.randint(0, 40)}" for _ in range(8)),
    ]
    return f"JSON_ARRAY({', '.join(parts)})"


def point(some: Random) -> str:
    return f"LINESTRING({some.randint(-9, 9)} {some.uniform(-5, 5)!r}, 1 2)"


INTEGER = ("CAST({} AS CHAR)", lambda value: str(value.as_py()))
STRING = ("HEX(CONVERT({} USING utf8mb4))", hexed)
BYTES = ("HEX({})", hexed)
CUT = "TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM CAST({0} AS CHAR)))"
MOMENT = (f"IF({{0}} LIKE '%.%', {CUT}, CAST({{0}} AS CHAR))", moment)
NUMBER = ("{}", plain)
INTEGERS = {"TINYINT": 8, "SMALLINT": 16, "MEDIUMINT": 24, "INT": 32, "BIGINT": 64}
DECIMALS = ((1, 0), (4, 4), (9, 2), (10, 2), (18, 9), (19, 0), (38, 10), (39, 1), (65, 30))
KINDS = (
    *(Kind(name, whole(bits, signed=True), *INTEGER) for name, bits in INTEGERS.items()),
    *(Kind(f"{name} UNSIGNED", whole(bits, signed=False), *INTEGER) for name, bits in INTEGERS.items()),
    *(Kind(f"DECIMAL({p},{s})", decimal(p, s), *NUMBER) for p, s in DECIMALS),
    Kind("DOUBLE", double, *NUMBER),
    Kind("FLOAT", single, "CAST({} AS DOUBLE)", plain),
    *(
        Kind(f"BIT({n})", whole(n, signed=False), "{}+0", lambda value: int.from_bytes(value.as_py(), "little"))
        for n in (2, 8, 9, 64)
    ),
    Kind("BIT(1)", whole(1, signed=False), "{}+0", lambda value: int(value.as_py())),
    Kind("YEAR", lambda some: some.choice((0, some.randint(1901, 2155))), *NUMBER),
    Kind("DATE", day, *MOMENT),
    *(Kind(f"TIME({n})", clock(n), *MOMENT) for n in range(7)),
    *(Kind(f"DATETIME({n})", day_and_clock(n), *MOMENT) for n in range(7)),
    *(Kind(f"TIMESTAMP({n}) NULL", instant(n), *MOMENT) for n in (0, 1, 3, 6)),
    Kind("CHAR(20)", text(20), *STRING),
    Kind("CHAR(250)", text(250), *STRING),
    Kind("VARCHAR(300)", text(300), *STRING),
    Kind("TINYTEXT", text(50), *STRING),
    Kind("MEDIUMTEXT", text(400), *STRING),
    Kind("BINARY(10)", binary(10), *BYTES),
    Kind("VARBINARY(300)", binary(300), *BYTES),
    Kind("LONGBLOB", binary(500), *BYTES),
    Kind("ENUM('a','é','')", lambda some: some.randint(1, 3), *STRING),
    Kind("SET('x','y','z','ß')", lambda some: some.randint(0, 15), *STRING),
    Kind("GEOMETRY", point, "HEX(ST_AsWKB({}))", hexed, place="ST_GeomFromText(%s)"),
    Kind("JSON", lambda some: json.dumps(document(some)), *STRING),
    Kind("JSON", opaque, *STRING, place="", only="mysql"),
    Kind("VECTOR(3)", lambda some: some.randbytes(3) + b"\x3f" * 9, *BYTES, only="mysql"),
)


def kinds_of(server: str) -> list[Kind]:
    """Those that the server has."""
    return [kind for kind in KINDS if kind.only in ("", server)]
