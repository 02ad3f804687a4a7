"""The image, as far as it can be tried without Docker: the Dockerfile's promises, and its install in a clean place."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from packaging.requirements import Requirement
from support.fresh_environments import uv
from support.go_programs import BOOT, PRISM, built, missing
from support.kafka_broker import free_ports

import millrace
from millrace.pipelines.render import flink, job_bundle, kubernetes

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
PINS = dict(line.split("==") for line in (DEPLOY / "requirements.txt").read_text().split("\n") if "==" in line)
BEAM_VERSION = beam.__version__
SECONDS = 120


def instructions():
    """(word, rest) of each instruction, continued lines joined."""
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M)).splitlines()
    return [tuple(line.split(" ", 1)) for line in lines if line]


def stages():
    return [rest for word, rest in instructions() if word == "FROM"]


def test_every_stage_is_pinned():
    arguments = dict(rest.split("=") for word, rest in instructions() if word == "ARG" and "=" in rest)
    for stage in stages():
        image = re.sub(r"\$\{(\w+)\}", lambda name: arguments[name[1]], stage.split(" AS ")[0])
        _, _, tag = image.partition(":")
        assert re.search(r"\d+\.\d+\.\d+|\d{8}", tag), image
    assert arguments["BEAM"] == BEAM_VERSION
    assert arguments["FLINK"] == "1.19" and arguments["FLINK"] in flink.RELEASES
    assert arguments["PYTHON"].startswith("3.11.")


def test_the_final_stage_is_small_and_not_root():
    last = instructions()[_last_stage() :]
    users = [rest for word, rest in last if word == "USER"]
    assert users == [str(kubernetes.WORKER_USER)]
    assert f"--uid {kubernetes.WORKER_USER}" in DOCKERFILE
    (apt,) = (rest for word, rest in last if word == "RUN" and "apt-get" in rest)
    assert "--no-install-recommends" in apt and "rm -rf /var/lib/apt/lists" in apt
    assert not any("pip install" in rest for _, rest in last)


def _last_stage():
    return max(number for number, (word, _) in enumerate(instructions()) if word == "FROM")


def test_no_secret_is_in_the_image():
    words = re.findall(r"(?i)password|secret|token|api_?key|credential", DOCKERFILE)
    assert words == []
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    kept = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        word
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from")
        for word in rest.split()[:-1]
    }
    assert kept == copied
    assert all((ROOT / name).exists() for name in copied)


def test_paths_are_those_that_the_rendered_files_name():
    assert "/runners/flink-${FLINK}.jar" in DOCKERFILE
    assert f"COPY --from=runner /runners {flink.RUNNER_JARS}" in DOCKERFILE
    assert f"install -d -o millrace {job_bundle.HOME} " in DOCKERFILE
    assert f"--home-dir {job_bundle.USER_HOME} " in DOCKERFILE
    assert f"docker build -f deploy/Dockerfile -t millrace:{millrace.__version__} ." in DOCKERFILE
    assert f':-{kubernetes.WORKER_PORT}}}"' in (DEPLOY / "entrypoint.sh").read_text()


def test_pins_are_exact_and_within_what_the_package_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    (image,) = extras["image"]
    asked = [*project["dependencies"], *(part for name in Requirement(image).extras for part in extras[name])]
    lines = [line for line in (DEPLOY / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    pins = {name.lower().replace("_", "-"): version for name, version in PINS.items()}
    for text in asked:
        wanted = Requirement(text)
        assert wanted.specifier.contains(pins[wanted.name.lower()]), text
    assert pins["apache-beam"] == BEAM_VERSION


@pytest.fixture(scope="module")
def prefix(tmp_path_factory, wheel) -> Path:
    """What the stage `build` makes, elsewhere: an environment with the pinned packages, and Millrace."""
    place = tmp_path_factory.mktemp("image") / "venv"
    # With pip, as Python's own `venv` makes it: Beam's boot program asks it for the version of Beam.
    uv("venv", "--seed", "--python", sys.executable, place)
    install = ["pip", "install", "--python", place / "bin" / "python", "--no-deps"]
    uv(*install, "--only-binary", ":all:", "-r", DEPLOY / "requirements.txt")
    uv(*install, wheel)
    uv("pip", "check", "--python", place / "bin" / "python")
    return place


def environment(prefix, **more):
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {
        **kept,
        "PATH": f"{prefix}/bin:{os.environ['PATH']}",
        "MILLRACE_HOME": str(prefix.parent / "home"),
        "NUMBA_CACHE_DIR": str(prefix.parent / "numba"),
        "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",
        **more,
    }


def entrypoint(prefix, *words, **more):
    command = [DEPLOY / "entrypoint.sh", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment(prefix, **more), timeout=SECONDS)


@pytest.mark.timeout(600)
def test_the_command_is_there(prefix):
    done = entrypoint(prefix, "--version")
    assert (done.returncode, done.stdout) == (0, f"millrace {millrace.__version__}\n"), done.stderr
    assert entrypoint(prefix, "run").returncode == 2
    assert (
        str(prefix)
        in subprocess.run(
            [prefix / "bin" / "python", "-c", "import millrace; print(millrace.__file__)"],
            capture_output=True,
            text=True,
            env=environment(prefix),
            cwd=prefix,
        ).stdout
    )


@pytest.mark.timeout(600)
def test_loops_compiled_with_the_image_are_not_compiled_again(prefix):
    """The entry point puts them where numba can write; the processor is named, since nodes differ in theirs."""
    home, cache = prefix.parent / "made" / "numba", prefix.parent / "used"
    loop = "millrace.transforms.sources.kafka.record_varints:walk"
    compile_one = f"from millrace.pipelines.cli.compile_kernels import compile_loop; compile_loop({loop!r})"
    python = [prefix / "bin" / "python", "-c", compile_one]
    built = environment(prefix, NUMBA_CPU_NAME="generic", NUMBA_CACHE_DIR=str(home))
    subprocess.run(python, check=True, env=built, cwd=prefix)
    compiled = sorted(file.relative_to(home) for file in home.rglob("*.nbc"))
    assert compiled
    used = {"NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(cache), "MILLRACE_HOME": str(home.parent)}
    assert entrypoint(prefix, "--version", **used).returncode == 0
    times = {file: (cache / file).stat().st_mtime for file in compiled}
    shutil.rmtree(home)
    subprocess.run(python, check=True, env=environment(prefix, **used), cwd=prefix)
    assert {file: (cache / file).stat().st_mtime for file in compiled} == times
    assert sorted(file.relative_to(cache) for file in cache.rglob("*.nbc")) == compiled


@contextmanager
def worker_pool(prefix, **more) -> Iterator[int]:
    """The entry point's pool; gives the port on which it answers."""
    (port,) = free_ports(1)
    log = prefix.parent / "pool.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [DEPLOY / "entrypoint.sh", "worker-pool", str(port)],
            stdout=output,
            stderr=output,
            env=environment(prefix, **more),
            start_new_session=True,
        )
        try:
            _wait_for(port, process, log)
            yield port
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait_for(port, process, log):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the worker pool does not answer:\n{log.read_text()[-2000:]}")


@pytest.mark.timeout(900)
def test_the_worker_pool_works_for_a_job_with_the_jobs_options(prefix, tmp_path):
    """Workers are started by Beam's boot program, as in the image, so that they know the job's options."""
    reason = missing(BOOT) or missing(PRISM)
    if reason is not None:
        pytest.skip(reason)

    def told(path):
        """What a worker knows; a function of a function, so that the worker needs no module of the tests."""
        import json
        import os
        import sys

        with open(os.environ["PIPELINE_OPTIONS_FILE"]) as options, open(path, "w") as file:
            json.dump([sys.executable, json.load(options)], file)

    out = tmp_path / "out"
    with worker_pool(prefix, BEAM_BOOT=str(built(BOOT)), TMPDIR=str(tmp_path)) as port:
        options = ["--runner=PrismRunner", f"--prism_location={built(PRISM)}", "--prism_log_kind=text"]
        options += ["--environment_type=EXTERNAL", f"--environment_config=localhost:{port}"]
        options += ["--max_cache_memory_usage_mb=77", "--job_name=image"]
        with beam.Pipeline(options=PipelineOptions(options)) as pipeline:
            _ = pipeline | beam.Create([str(out)]) | beam.Map(told)
    executable, known = json.loads(out.read_text())
    assert executable.startswith(str(prefix))
    # The image's own folders cannot be written to.
    assert (tmp_path / "pipeline_options.json").exists()
    assert known["beam:option:job_name:v1"] == "image"
    assert known["beam:option:max_cache_memory_usage_mb:v1"] == "77"
