"""Trino 476 for tests: one coordinator that works too, with a small heap; catalogs are made by SQL.

It needs Java 25. Its archive (784 MB) is fetched once, into .cache; of the plugins only those that tests use are kept.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError
from urllib.request import urlopen
from uuid import uuid4

from support.downloads import ONE, call, kept
from support.kafka_broker import free_ports
from support.object_stores import Server

VERSION = "476"
PLUGINS = ("delta-lake", "hive", "iceberg")
JVM = (
    *("-Xmx1500M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError"),
    *("-XX:+EnableDynamicAgentLoading", "-Djdk.attach.allowAttachSelf=true", "-Dfile.encoding=UTF-8"),
    *("--add-opens=java.base/java.nio=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"),
    *(
        "--enable-native-access=ALL-UNNAMED",
        "--add-modules=jdk.incubator.vector",
        "-Djdk.nio.maxCachedBufferSize=2000000",
    ),
)
CONFIG = """coordinator=true
node-scheduler.include-coordinator=true
http-server.http.port={port}
discovery.uri=http://127.0.0.1:{port}
node.environment=test
node.internal-address=127.0.0.1
plugin.dir={plugins}
catalog.management=dynamic
catalog.store=memory
query.max-memory-per-node=400MB
memory.heap-headroom-per-node=300MB
task.concurrency=2
task.max-worker-threads=4
query.min-expire-age=1s
"""
QUIET = "io.trino=WARN\nio.airlift=WARN\n=WARN\n"


def java() -> Path | None:
    """The `java` of a Java 25 or newer that is installed."""
    homes = [os.environ.get("JAVA25_HOME"), os.environ.get("JAVA_HOME"), *map(str, Path("/usr/lib/jvm").glob("*"))]
    if program := shutil.which("java"):
        homes.append(str(Path(program).resolve().parents[1]))
    found = [Path(home) / "bin" / "java" for home in homes if home and _major(Path(home)) >= 25]
    return found[0] if found else None


def _major(home: Path) -> int:
    release = home / "release"
    lines = release.read_text().splitlines() if release.is_file() and (home / "bin" / "java").exists() else []
    named = [line.split('"')[1] for line in lines if line.startswith("JAVA_VERSION=")]
    return int(named[0].split(".")[0]) if named else 0


def missing() -> str | None:
    """Why there can be no Trino here, or None."""
    if java() is None:
        return "Trino 476 needs Java 25 (Debian: temurin-25-jdk), in JAVA25_HOME or below /usr/lib/jvm"
    return None if shutil.which("mvn") else "Trino 476 is fetched by Maven: mvn is not installed"


def fetched() -> Path | None:
    """As `files`, where this machine can run it."""
    return None if missing() else files()


def files() -> Path:
    """The folder with `lib` and `plugin`."""

    def make(folder: Path) -> Path:
        artifact = f"io.trino:trino-server:{VERSION}:tar.gz"
        command = ["mvn", "-B", "-q", ONE, f"-Dartifact={artifact}", f"-DoutputDirectory={folder}/archive"]
        call([*command, "-Dmdep.useBaseVersion=true"], f"Maven could not fetch {artifact}")
        (archive,) = (folder / "archive").iterdir()
        # Plugins are hard links to one another's jars, so all is unpacked.
        call(["tar", "xzf", str(archive), "-C", str(folder)], f"{archive} cannot be unpacked")
        server = folder / f"trino-server-{VERSION}"
        for plugin in (server / "plugin").iterdir():
            if plugin.name not in PLUGINS:
                shutil.rmtree(plugin)
        return server

    return kept(f"trino-{VERSION}", make)


@dataclass
class TrinoServer:
    """A context manager. `catalog` makes a catalog, `sql` runs a statement as the user `people`."""

    folder: Path
    port: int = field(default_factory=lambda: free_ports(1)[0])

    def __enter__(self) -> Self:
        place = files()
        self.folder.mkdir(parents=True, exist_ok=True)
        config, levels = self.folder / "config.properties", self.folder / "log.properties"
        config.write_text(CONFIG.format(port=self.port, folder=self.folder, plugins=place / "plugin"))
        levels.write_text(QUIET)
        command = [str(java()), *JVM, f"-Dconfig={config}", f"-Dlog.levels-file={levels}"]
        command += ["-cp", f"{place}/lib/*", "io.trino.server.TrinoServer"]
        self._server = Server("trino", command, lambda _: self._ready())
        self._server.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._server.__exit__(None, None, None)

    def _ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/v1/info", timeout=2) as answer:
                return b'"starting":false' in answer.read()
        except (URLError, OSError):
            return False

    def connect(self, **settings: Any) -> Any:
        """A connection of the client `trino`."""
        import trino

        return trino.dbapi.connect(host="127.0.0.1", port=self.port, user="people", **settings)

    def sql(self, statement: str, parameters: Sequence[Any] | None = None, **settings: Any) -> list[tuple]:
        """The rows that a statement gives."""
        with closing(self.connect(**settings)) as connection:
            cursor = connection.cursor()
            cursor.execute(statement, parameters)
            return [tuple(row) for row in cursor.fetchall()]

    def catalog(self, connector: str, properties: Mapping[str, str]) -> str:
        """A new catalog of these properties; its name."""
        name = f"{connector}_{uuid4().hex[:8]}"
        listed = ", ".join(f""" "{key}" = '{value}'""" for key, value in properties.items())
        self.sql(f"CREATE CATALOG {name} USING {connector} WITH ({listed})")
        return name
