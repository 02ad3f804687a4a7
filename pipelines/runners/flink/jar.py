"""What a job server jar says of itself: the Flink and the Beam that it was built for, and the options it knows."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OPTIONS: Final = "org/apache/beam/runners/flink/FlinkPipelineOptions.class"
FLINK: Final = ".flink-runtime.version.properties"
BEAM: Final = "org/apache/beam/sdk/sdk.properties"
SETTER: Final = re.compile(rb"\x01(..)set([A-Z]\w*)", re.DOTALL)
"""A setter's name in the constant pool of a Java class (JVM specification, 4.4.7): a tag, two bytes of length, text."""


@dataclass(frozen=True, slots=True)
class FlinkJar:
    """`flink` is the minor version, `1.19`, `beam` the whole one; empty where it does not say; `options` are names."""

    flink: str
    beam: str
    options: frozenset[str]


def read_jar(path: Path) -> FlinkJar | None:
    """None for what is no jar of Beam's Flink runner."""
    try:
        with zipfile.ZipFile(path) as jar:
            names = {name for name in (OPTIONS, FLINK, BEAM) if name in jar.NameToInfo}
            if OPTIONS not in names:
                return None
            setters = SETTER.findall(jar.read(OPTIONS))
            flink = _property(jar.read(FLINK), "project.version") if FLINK in names else ""
            beam = _property(jar.read(BEAM), "version") if BEAM in names else ""
    except (OSError, zipfile.BadZipFile):
        return None
    options = frozenset(_snake(name.decode()) for size, name in setters if int.from_bytes(size, "big") == len(name) + 3)
    return FlinkJar(minor(flink), beam, options)


def minor(version: str) -> str:
    """`1.19` of `1.19.3`."""
    return ".".join(version.split(".")[:2])


def _property(text: bytes, name: str) -> str:
    found = re.search(rf"^{re.escape(name)}=(\S+)", text.decode(errors="replace"), re.MULTILINE)
    return found[1] if found else ""


def _snake(name: str) -> str:
    """As the job server names its options for Python: an underscore before each capital letter."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
