"""Avro schemas and payloads under Hypothesis: whole ones, in every way that the format has, and damaged ones."""

import copy
import struct

from hypothesis import strategies as st

LOGICAL = {
    "date": {"type": "int", "logicalType": "date"},
    "time-millis": {"type": "int", "logicalType": "time-millis"},
    "time-micros": {"type": "long", "logicalType": "time-micros"},
    "timestamp-millis": {"type": "long", "logicalType": "timestamp-millis"},
    "timestamp-micros": {"type": "long", "logicalType": "timestamp-micros"},
    "local-timestamp-nanos": {"type": "long", "logicalType": "local-timestamp-nanos"},
    "decimal": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 3},
    "wide decimal": {"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": 7},
    "micro timestamp": {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"},
    "nano duration": {"type": "long", "connect.name": "io.debezium.time.NanoDuration"},
    "json": {"type": "string", "connect.name": "io.debezium.data.Json"},
    "unknown": {"type": "string", "logicalType": "nobody-knows"},
}
BOUNDS = {
    "int": (-(1 << 31), (1 << 31) - 1),
    "long": (-(1 << 63), (1 << 63) - 1),
    "time-millis": (0, 86_400_000),
    "time-micros": (0, 86_400_000_000),
    "timestamp-millis": (-9_223_372_036_854_775, 9_223_372_036_854_775),
}
PRIMITIVES = ["boolean", "int", "long", "float", "double", "bytes", "string"]


class Names:
    """Named types defined so far; one is usable when its definition is complete."""

    def __init__(self):
        self.count, self.known = 0, {}

    def new(self):
        self.count += 1
        return f"T{self.count}"


@st.composite
def schemas(draw, logical=True):
    names = Names()
    fields = [{"name": f"f{i}", "type": draw(types(names, 3, logical))} for i in range(draw(st.integers(0, 5)))]
    return {"type": "record", "name": "Top", "namespace": "a.b", "fields": fields}, names.known


@st.composite
def types(draw, names, depth, logical=True, union=True):
    kinds = ["primitive", "primitive", "enum", "fixed"] + ["logical"] * logical + ["named"] * bool(names.known)
    kinds += ["record", "array", "map"] * (depth > 0) + ["optional", "optional", "union"] * (union and depth > 0)
    kind = draw(st.sampled_from(kinds))
    if kind == "primitive":
        return draw(st.sampled_from(PRIMITIVES))
    if kind == "logical":
        return copy.copy(LOGICAL[draw(st.sampled_from(sorted(LOGICAL)))])
    if kind == "named":
        return draw(st.sampled_from(sorted(names.known)))
    if kind in ("array", "map"):
        return {"type": kind, "items" if kind == "array" else "values": draw(types(names, depth - 1, logical))}
    if kind == "optional":
        return draw(st.permutations(["null", draw(types(names, depth - 1, logical, union=False))]))
    if kind == "union":
        count = draw(st.integers(1, 3))
        branches = [draw(types(names, depth - 1, logical=False, union=False)) for _ in range(count)]
        place = draw(st.integers(0, 2 * count))
        return [*branches[:place], "null", *branches[place:]] if place <= count else branches
    return draw(named(names, kind, depth, logical))


@st.composite
def named(draw, names, kind, depth, logical):
    made = {"type": kind, "name": names.new()}
    if kind == "enum":
        made["symbols"] = ["A", "BB", "CCC"]
    elif kind == "fixed":
        made["size"] = draw(st.integers(1, 40))
    else:
        count = draw(st.integers(1, 3))
        made["fields"] = [{"name": f"g{i}", "type": draw(types(names, depth - 1, logical))} for i in range(count)]
    names.known[made["name"]] = made
    return made


def zigzag(number):
    bits = (number << 1) ^ (number >> 63)
    out = bytearray()
    while bits > 127:
        out.append(bits & 127 | 128)
        bits >>= 7
    return bytes([*out, bits])


@st.composite
def data(draw, schema, known):
    """One datum as bytes, in any of the ways that the format has."""
    out = bytearray()
    write(draw, schema, known, out)
    return bytes(out)


def write(draw, schema, known, out):
    if isinstance(schema, str) and schema in known:
        schema = known[schema]
    if isinstance(schema, list):
        branch = draw(st.integers(0, len(schema) - 1))
        out += zigzag(branch)
        return write(draw, schema[branch], known, out)
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "record":
        for field in schema["fields"]:
            write(draw, field["type"], known, out)
    elif kind in ("array", "map"):
        for _ in range(draw(st.integers(0, 2))):
            write_block(draw, schema, known, out)
        out += b"\0"
    else:
        out += scalar(draw, schema, kind)
    return None


def write_block(draw, schema, known, out):
    count, block = draw(st.integers(1, 3)), bytearray()
    for i in range(count):
        if schema["type"] == "map":
            key = f"{'kéy'}{len(out)}.{i}".encode()
            block += zigzag(len(key)) + key
        write(draw, schema.get("items") or schema["values"], known, block)
    out += zigzag(-count) + zigzag(len(block)) if draw(st.booleans()) else zigzag(count)
    out += block


def scalar(draw, schema, kind):
    match kind:
        case "null":
            return b""
        case "boolean":
            return bytes([draw(st.integers(0, 1))])
        case "int" | "long":
            logical = schema.get("logicalType") if isinstance(schema, dict) else None
            return zigzag(draw(st.integers(*BOUNDS.get(logical, BOUNDS[kind]))))
        case "float":
            return struct.pack("<f", draw(st.floats(width=32)))
        case "double":
            return struct.pack("<d", draw(st.floats()))
        case "enum":
            return zigzag(draw(st.integers(0, len(schema["symbols"]) - 1)))
        case "fixed":
            return draw(st.binary(min_size=schema["size"], max_size=schema["size"]))
        case "bytes":
            content = draw(decimals(schema["precision"]) if "precision" in schema else st.binary(max_size=20))
        case "string":
            content = draw(st.text(max_size=12)).encode()
    return zigzag(len(content)) + content


def decimals(precision):
    numbers = st.integers(1 - 10**precision, 10**precision - 1) | st.integers(-300, 300)
    widths = st.integers(0, 9)
    return st.builds(lambda n, more: n.to_bytes(n.bit_length() // 8 + 1 + more, "big", signed=True), numbers, widths)


@st.composite
def damaged(draw, payload):
    """The payload with bytes changed, taken out, put in, or its end cut off."""
    content = bytearray(payload)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        change = draw(st.sampled_from(["set", "flip", "cut", "insert", "remove"]))
        if change == "insert" or not content[at:]:
            content[at:at] = draw(st.binary(min_size=1, max_size=3))
        elif change == "cut":
            del content[at:]
        elif change == "remove":
            del content[at]
        else:
            content[at] = draw(st.integers(0, 255)) if change == "set" else content[at] ^ 1 << draw(st.integers(0, 7))
    return bytes(content)
