"""Loops compiled ahead: a process that follows finds all of them."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from numba.core.caching import FunctionCache

from millrace.pipelines.cli import compile_kernels
from millrace.pipelines.cli.compile_kernels import registering_modules
from millrace.schemas.loops import LOOPS

ROOT = Path(__file__).parents[3]

WATCHED = """
import sys
from importlib import import_module
from numba.core.dispatcher import Dispatcher
from millrace.pipelines.cli.compile_kernels import registering_modules
from millrace.schemas.loops import LOOPS

def variants():
    "Of each loop that was imported, the types of arguments that it is there for in this process."
    modules = [module for name, module in sys.modules.items() if name.startswith("millrace.")]
    loops = {value for module in modules for value in vars(module).values() if isinstance(value, Dispatcher)}
    return {(loop.py_func.__qualname__, types) for loop in loops for types in loop.signatures}

for module in registering_modules():
    import_module(module)
for loop in LOOPS.values():
    loop.compile()
ahead = variants()
"""
JOB = """
from pathlib import Path
from millrace.pipelines.cli.demo import demo
demo(Path(sys.argv[1]), 2000)
"""
ROWS = """
from datetime import UTC, date, datetime, time
from decimal import Decimal
import pyarrow as pa
values = {
    pa.int64(): 7, pa.bool_(): True, pa.float64(): 0.5, pa.string(): "a", pa.binary(): b"a",
    pa.decimal128(9, 2): Decimal("1.25"), pa.date32(): date(2026, 1, 2), pa.time64("us"): time(3, 4),
    pa.timestamp("us"): datetime(2026, 1, 2), pa.timestamp("us", "UTC"): datetime(2026, 1, 2, tzinfo=UTC),
    pa.list_(pa.string()): ["a"], pa.map_(pa.string(), pa.int64()): [("a", 7)],
    pa.struct([("a", pa.string())]): {"a": "b"},
}
made = pa.table({str(kind): pa.array([value, None], kind) for kind, value in values.items()})
(batch,) = made.to_batches()
stream = pa.BufferOutputStream()
with pa.ipc.new_stream(stream, batch.schema) as writer:
    writer.write_batch(batch)
(received,) = pa.ipc.open_stream(stream.getvalue())
batches = (batch, batch.slice(1), received, batch.take(pa.array([1, 0])))
"""
BIGQUERY = """
from millrace.transforms.sinks.bigquery.encoding import encode
assert sum(part.count for batch in batches for part in encode(batch, 1 << 20)) == 7
"""
POSTGRES = """
import numpy as np
from millrace.transforms.sinks.postgres.copy_format.decode import column, split
from millrace.transforms.sinks.postgres.copy_format.encode import SIGNATURE, cells, encode
flat = [name for name in made.column_names if not pa.types.is_nested(made.schema.field(name).type)]
for batch in batches:
    columns = [batch.column(name) for name in flat]
    data = np.frombuffer(bytes(encode([cells(values) for values in columns])), np.uint8)[len(SIGNATURE):]
    read = [column(values.type, part) for values, part in zip(columns, split(data, len(batch), len(columns)))]
    assert all(a.equals(b) for a, b in zip(columns, read))
"""
MYSQL = """
from millrace.transforms.mysql_protocol.packets import ROWS, payloads
from millrace.transforms.sinks.mysql.row_text import decode, encode
flat = [name for name in made.column_names if not pa.types.is_nested(made.schema.field(name).type)]
for batch in batches:
    assert len(encode.encode([encode.cells(batch.column(name)) for name in flat]).ends) == len(batch)
answer, used, ended = payloads(bytes([3, 0, 0, 1, 1, 53, 251, 5, 0, 0, 2, 254, 0, 0, 2, 0]), ROWS)
assert [decode.column(pa.int64(), part).to_pylist() for part in decode.split(answer, 2)] == [[5], [None]]
"""
KEYS = """
import numpy as np
from millrace.schemas.model.key import number_keys, shard
from millrace.transforms.sinks.iceberg.keys.digests import digest
from millrace.transforms.sinks.iceberg.keys.row_index import RowIndex
for batch in batches:
    for values in (values for values in batch.columns if not pa.types.is_nested(values.type)):
        assert len(shard([values], 4)) == len(number_keys([values])[0]) == len(batch)
        for keys in (digest([values]), digest([values, batch.column(0)])):
            index = RowIndex()
            index.add(keys, np.arange(len(batch)))
            assert len(index.find(keys)[0]) == len(batch)
"""
AVRO = """
from millrace.transforms.sinks.files.avro_columns import encode_rows
assert sum(len(encode_rows(batch)) for batch in batches) == 7
"""


WORK = {
    "job": JOB,
    "bigquery": ROWS + BIGQUERY,
    "avro": ROWS + AVRO,
    "mysql": ROWS + MYSQL,
    "postgres": ROWS + POSTGRES,
    "keys": ROWS + KEYS,
}


def test_nothing_is_left_to_compile(tmp_path):
    """What a loop is called with, it is registered with; whether it is kept from other tests already is no matter."""
    works = "".join(
        f"{work}\nprint({name!r}, *sorted(variants() - ahead))\nahead = variants()\n" for name, work in WORK.items()
    )
    code = [sys.executable, "-c", WATCHED + works, str(tmp_path / "demo")]
    done = subprocess.run(code, capture_output=True, text=True, check=True, timeout=200)
    assert [line for line in done.stdout.splitlines() if line.startswith(tuple(WORK))] == list(WORK)


def test_what_is_compiled_ahead_is_kept_for_the_processes_that_follow(tmp_path, monkeypatch, capsys):
    for module in registering_modules():
        import_module(module)
    assert {type(loop.function._cache) for loop in LOOPS.values()} == {FunctionCache}
    quick = [name for name in LOOPS if name.endswith(("schemas.model.key:_mix", "log_order:_raised"))]
    monkeypatch.setattr(compile_kernels, "LOOPS", {name: LOOPS[name] for name in quick})
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    compile_kernels.main()
    assert capsys.readouterr().out.startswith("2 loops compiled in ")
    kept = [file.name.partition("-")[0] for file in tmp_path.rglob("*.nbc")]
    assert sorted(kept) == ["key._mix", "key._mix", "log_order._raised"]


def loops(path: Path) -> tuple[dict[str, bool], set[str]]:
    """The module's loops, each with whether it is registered, and the names that its loops call."""
    found: dict[str, bool] = {}
    called: set[str] = set()
    tree = ast.parse(path.read_text())
    imports = (alias for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names)
    names = {alias.asname: alias.name for alias in imports if alias.asname}
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        decorators = [ast.unparse(decorator).partition("(")[0] for decorator in node.decorator_list]
        if any(name.rpartition(".")[2].lstrip("_") in ("njit", "compiled", "inlined") for name in decorators):
            found[node.name] = "compile_ahead" in decorators
            calls = (part.func for part in ast.walk(node) if isinstance(part, ast.Call))
            called |= {names.get(call.id, call.id) for call in calls if isinstance(call, ast.Name)}
    return found, called


def test_each_loop_that_no_other_loop_calls_is_registered():
    modules = {path: loops(path) for layer in ("schemas", "transforms") for path in (ROOT / layer).rglob("*.py")}
    called = set().union(*(names for _, names in modules.values()))
    assert sum(len(found) for found, _ in modules.values()) > 60
    assert not [
        (str(path.relative_to(ROOT)), name)
        for path, (found, _) in modules.items()
        for name, registered in found.items()
        if not registered and name not in called
    ]


def test_a_loop_that_is_registered_is_found_without_a_list():
    for module in registering_modules():
        import_module(module)
    assert {name.partition(":")[0] for name in LOOPS} == set(registering_modules())
    assert all(loop.arguments for loop in LOOPS.values())
