"""The end of the command's process: its status, whatever threads of libraries are still at work."""

import subprocess
import sys
from pathlib import Path

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


def by_shell(line):
    python = f"{sys.executable} -m millrace.pipelines"
    return subprocess.run(["/bin/sh", "-c", line.replace("millrace", python, 1)], capture_output=True, text=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_behind_the_output_is_one_sentence():
    done = by_shell("millrace schema >/dev/full")
    said = "error: nothing can be written to standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize(
    ("line", "status"), [("millrace schema >&-", 0), ("millrace status none.yaml 2>&-", 2), ("millrace schema | :", 0)]
)
def test_streams_that_are_closed_are_no_bug(line, status):
    done = by_shell(line)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False)


def test_a_folder_that_cannot_be_written_is_one_sentence():
    done = by_shell("cd /proc && millrace demo")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") and "millrace-demo" in done.stderr


def test_a_demo_of_nothing_is_refused():
    done = by_shell("millrace demo --changes 0")
    assert done.returncode == 2 and "'0' is not a whole number above 0" in done.stderr


def test_help_is_good():
    assert ended("--help").returncode == 0


def test_a_bug_of_ours_is_a_failure():
    done = ended("schema", before=BROKEN)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr and "report it" in done.stderr


def test_what_the_command_has_opened_is_closed():
    done = ended("schema", before=OPENED)
    assert (done.returncode, done.stdout) == (0, "closed\n")
