"""Loops compiled ahead: a process that follows finds all of them."""

import os
import subprocess
import sys

import pytest

WATCHED = """
import sys
from numba.core import event
compiled = []
class Listener(event.Listener):
    def on_start(self, happened): compiled.append(happened.data["dispatcher"].py_func.__qualname__)
    def on_end(self, happened): pass
event.register("numba:compile", Listener())
{work}
print("compiled:", *compiled)
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
AVRO = """
from millrace.schemas.encodings.avro.encode import encode_rows
assert sum(len(encode_rows(batch)) for batch in batches) == 7
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The environment of a process that follows."""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("loops"))}
    ahead = [sys.executable, "-m", "millrace.pipelines.cli.compile_kernels"]
    done = subprocess.run(ahead, env=env, capture_output=True, text=True, check=True, timeout=200)
    assert "loops compiled in" in done.stdout
    return env


@pytest.mark.parametrize("work", [JOB, ROWS + BIGQUERY, ROWS + AVRO], ids=["job", "bigquery", "avro"])
def test_nothing_is_left_to_compile(compiled, tmp_path, work):
    code = [sys.executable, "-c", WATCHED.replace("{work}", work), str(tmp_path / "demo")]
    done = subprocess.run(code, env=compiled, capture_output=True, text=True, check=True, timeout=90)
    assert done.stdout.splitlines()[-1] == "compiled:"
