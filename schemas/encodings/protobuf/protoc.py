"""`.proto` texts to descriptors, by Google's own compiler: the one module that runs it."""

import re
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import grpc_tools

from ...errors import SchemaError

_SECONDS: Final = 60
_ERROR: Final = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+):\d+: (?!warning:)(?P<what>.*)", re.MULTILINE)
_OWN: Final = Path(grpc_tools.__file__).parent / "_proto"
"""What the compiler brings: google/protobuf/*.proto."""


def descriptors(name: str, texts: Mapping[str, str]) -> bytes:
    """A serialized FileDescriptorSet: what the file imports, and the file of this name last.

    `texts` are the files by the names under which they are imported. Raises SchemaError with the line.
    """
    return _descriptors(name, tuple(sorted(texts.items())))


def brings(name: str) -> bool:
    """Whether the compiler knows this file without its text."""
    return (_OWN / name).is_file()


@lru_cache(256)
def _descriptors(name: str, texts: tuple[tuple[str, str], ...]) -> bytes:
    with TemporaryDirectory(prefix="millrace-proto-") as place:
        folder = Path(place)
        for path, text in texts:
            file = folder / path
            if not file.resolve().is_relative_to(folder.resolve()):
                raise SchemaError(f"the import {path!r} leads out of its folder")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        made = folder / ".descriptors"
        words = ["--include_imports", f"-I{folder}", f"-I{_OWN}", f"--descriptor_set_out={made}", name]
        command = [sys.executable, "-m", "grpc_tools.protoc", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if done.returncode or not made.is_file():
            raise SchemaError(_reason(done.stderr))
        return made.read_bytes()


def _reason(said: str) -> str:
    """The first error: `file:line:column: what`."""
    found = _ERROR.search(said)
    if found is None:
        lines = [line for line in said.splitlines() if not line.startswith("WARNING")]
        return f"not Protobuf: {lines[0] if lines else 'no reason given'}"
    return f"line {found['line']}: {found['what'].strip()} (in {found['file']})"
