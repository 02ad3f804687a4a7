"""`millrace run` as a process of its own, which a test reads along with."""

import signal
import subprocess
import sys

from support.processes import until


class Running:
    """`millrace run` as a process; what it says goes to files, so that a test can wait for it."""

    def __init__(self, file, *words):
        self._out, self._err = file.with_suffix(".out"), file.with_suffix(".err")
        command = [sys.executable, "-m", "millrace.pipelines", "run", file, *words]
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err)

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.process.kill()
        self.process.wait()

    def says(self, text, seconds=90):
        """Whether it says this on stderr before it ends."""
        assert until(lambda: text in self.err or self.process.poll() is not None, seconds), self.err
        return text in self.err

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    @property
    def out(self):
        return self._out.read_text()

    @property
    def err(self):
        return self._err.read_text()
