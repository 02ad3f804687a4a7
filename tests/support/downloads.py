"""What tests fetch and keep in .cache: jars from Maven, Flink from PyPI."""

import fcntl
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache"
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>tests</groupId><artifactId>{artifact}</artifactId><version>1</version>
<dependencies>{dependencies}</dependencies></project>"""
DEPENDENCY = """<dependency>
<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>
</dependency>"""
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
ONE = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
FLINK = "1.19.3"
BEAM_JARS = "2.62.0"


def missing_java(what: str) -> str | None:
    """Why a part that needs Java and Maven cannot be had here, or None."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            return f"{what} needs Java 17 and Maven: {program} is not installed"
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    major = int(said.split('"')[1].split(".")[0])
    return None if major >= 17 else f"{what} needs Java 17: this is Java {major}"


def kept(name: str, make: Callable[[Path], Path]) -> Path:
    """CACHE / name; where it is not there yet, what `make` makes in the folder that it is given. One process does."""
    wanted = CACHE / name
    if wanted.exists():
        return wanted
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                make(Path(folder)).rename(wanted)
    return wanted


def maven_jars(name: str, *dependencies: str) -> Path:
    """A folder with the jars of each `group:artifact:version` and all that they need at run time."""
    parts = [dict(zip(("group", "artifact", "version"), one.split(":"), strict=True)) for one in dependencies]

    def make(folder: Path) -> Path:
        xml = "".join(DEPENDENCY.format(**part) for part in parts)
        (folder / "pom.xml").write_text(POM.format(artifact=parts[0]["artifact"], dependencies=xml))
        command = ["mvn", "-B", "-q", "-f", f"{folder}/pom.xml", COPY, "-DoutputDirectory=jars"]
        call([*command, "-DincludeScope=runtime"], f"Maven could not fetch {', '.join(dependencies)}")
        return folder / "jars"

    return kept(name, make)


def maven_archive(name: str, artifact: str) -> Path:
    """A folder with what the archive `group:artifact:version:tar.gz[:classifier]` holds."""

    def make(folder: Path) -> Path:
        command = ["mvn", "-B", "-q", ONE, f"-Dartifact={artifact}", f"-DoutputDirectory={folder}/archive"]
        call([*command, "-Dmdep.useBaseVersion=true"], f"Maven could not fetch {artifact}")
        (archive,) = (folder / "archive").iterdir()
        shutil.unpack_archive(archive, folder / "files", filter="data")
        return folder / "files"

    return kept(name, make)


def flink_lib() -> Path:
    """The folder of the jars that a Flink cluster runs on."""

    def make(folder: Path) -> Path:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        call([*pip, "--target", f"{folder}/all", f"apache-flink-libraries=={FLINK}"], "pip could not fetch Flink")
        (folder / "lib").mkdir()
        for pattern in ("flink-dist-*.jar", "log4j-*.jar"):
            for jar in (folder / "all" / "pyflink" / "lib").glob(pattern):
                jar.rename(folder / "lib" / jar.name)
        return folder / "lib"

    return kept(f"flink-{FLINK}", make)


def beam_flink_jar() -> Path:
    """Beam's Flink runner and job server as one jar, for --flink_job_server_jar."""

    jars = maven_jars(f"beam-flink-{BEAM_JARS}", f"org.apache.beam:beam-runners-flink-1.19:{BEAM_JARS}")

    def make(folder: Path) -> Path:
        merge(sorted(jars.glob("*.jar")), folder / "all.jar", "org.apache.beam.runners.flink.FlinkJobServerDriver")
        return folder / "all.jar"

    return kept(f"beam-runners-flink-1.19-{BEAM_JARS}-all.jar", make)


def merge(jars: Iterable[Path], into: Path, main: str) -> None:
    """One jar of many: the first of each file, META-INF/services joined, signatures and module descriptors left out."""
    services: dict[str, list[bytes]] = {}
    seen = {"META-INF/MANIFEST.MF"}
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as whole:
        whole.writestr("META-INF/MANIFEST.MF", f"Manifest-Version: 1.0\r\nMain-Class: {main}\r\n\r\n")
        for jar in jars:
            with zipfile.ZipFile(jar) as part:
                for name in part.namelist():
                    if name.startswith("META-INF/services/") and not name.endswith("/"):
                        services.setdefault(name, []).append(part.read(name))
                    elif not (name.endswith("/") or name in seen or _left_out(name)):
                        whole.writestr(name, part.read(name))
                        seen.add(name)
        for name, texts in services.items():
            whole.writestr(name, b"\n".join(texts))


def _left_out(name: str) -> bool:
    signature = name.startswith("META-INF/") and name.endswith((".SF", ".DSA", ".RSA"))
    return signature or name.rpartition("/")[2] == "module-info.class"


def call(command: list[str], otherwise: str, folder: Path | None = None) -> None:
    """Run a command to its end; RuntimeError with what it printed where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise RuntimeError(f"{otherwise}:\n{(done.stdout + done.stderr)[-2000:]}")
