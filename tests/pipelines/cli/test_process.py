"""The end of the command's process: its status, whatever threads of libraries are still at work."""

import subprocess
import sys

import pytest

# Arrow reads ahead of what is asked for, in a thread of its own, and comes back to Python when that has begun to end.
AT_WORK = """
import io, sys, time
import pyarrow, pyarrow.csv

class Slow(io.RawIOBase):
    def readable(self):
        return True

    def read(self, size=-1):
        time.sleep(0.15)
        return b"1,2\\n" * 32768

options = pyarrow.csv.ReadOptions(block_size=16384)
reader = pyarrow.csv.open_csv(pyarrow.PythonFile(Slow(), mode="r"), read_options=options)
reader.read_next_batch()
"""

BROKEN = """
from millrace.pipelines.cli import main
main.ACTIONS["schema"] = lambda found: 1 / 0
"""

OPENED = """
import atexit
from millrace.pipelines.cli import main
main.ACTIONS["schema"] = lambda found: atexit.register(print, "closed") and 0
"""


def ended(*words, before=""):
    script = f"{before}\nimport sys\nsys.argv = {['millrace', *words]!r}\n"
    script += "from millrace.pipelines.cli.process import command\ncommand()\n"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("words", "status"), [(["schema"], 0), (["check", "none.yaml"], 2), (["chek"], 2)])
def test_the_status_is_the_commands_whatever_is_at_work(words, status):
    done = ended(*words, before=AT_WORK)
    assert (done.returncode, "Fatal" in done.stderr, "terminate" in done.stderr) == (status, False, False), done.stderr


def test_all_that_was_printed_arrives():
    done = ended("schema")
    assert done.stdout.startswith("{") and done.stdout.endswith("}\n")


def test_help_is_good():
    assert ended("--help").returncode == 0


def test_a_bug_of_ours_is_a_failure():
    done = ended("schema", before=BROKEN)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr and "report it" in done.stderr


def test_what_the_command_has_opened_is_closed():
    done = ended("schema", before=OPENED)
    assert (done.returncode, done.stdout) == (0, "closed\n")
