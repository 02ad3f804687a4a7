"""Loops compiled ahead: a process that follows finds all of them."""

import os
import subprocess
import sys

WATCHED = """
import sys
from numba.core import event
compiled = []
class Listener(event.Listener):
    def on_start(self, happened): compiled.append(happened.data["dispatcher"].py_func.__qualname__)
    def on_end(self, happened): pass
event.register("numba:compile", Listener())
from pathlib import Path
from millrace.pipelines.demo import demo
demo(Path(sys.argv[1]), 2000)
print("compiled:", *compiled)
"""


def test_nothing_is_left_to_compile_for_a_job(tmp_path):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    ahead = [sys.executable, "-m", "millrace.pipelines.kernels"]
    done = subprocess.run(ahead, env=env, capture_output=True, text=True, check=True, timeout=200)
    assert "loops compiled in" in done.stdout
    job = [sys.executable, "-c", WATCHED, str(tmp_path / "demo")]
    done = subprocess.run(job, env=env, capture_output=True, text=True, check=True, timeout=90)
    assert done.stdout.splitlines()[-1] == "compiled:"
