"""The command: exit statuses, sentences for wrong commands, help, and that no secret and no traceback is shown."""

import subprocess
import sys
from pathlib import Path

import pytest

import millrace
from millrace.pipelines.cli.arguments import COMMANDS
from millrace.pipelines.cli.main import main
from millrace.pipelines.job.load import load_job
from millrace.transforms.sinks import SINKS
from millrace.transforms.sinks.shared.guarantees import Promise

COMMAND = Path(sys.executable).parent / "millrace"


def millrace_command(*words, cwd=None, env=None):
    return subprocess.run([COMMAND, *words], capture_output=True, text=True, cwd=cwd, env=env, timeout=120)


def job_file(folder, servers="127.0.0.1:1", **client):
    file = folder / "job.yaml"
    options = ", ".join(f"{name}: {value}" for name, value in client.items())
    file.write_text(
        f"job: j\nsource: {{type: kafka, bootstrap_servers: '{servers}', topics: [t], client: {{{options}}}}}\n"
        "format: {type: upsert, schemas: contracts}\ntarget: {type: duckdb, path: w.duckdb}\n"
    )
    return file


WRONG = [
    ([], f"millrace: missing: a command, {' | '.join(COMMANDS)}; see millrace --help"),
    (["rnu", "x"], "millrace: 'rnu' is no command; did you mean 'run'?"),
    (
        ["zebra"],
        f"millrace: 'zebra' is no command; there are {', '.join(COMMANDS)}; see millrace --help",
    ),
    (["run"], "millrace run: missing: JOB; see millrace run --help"),
    (["run", "job.yaml", "--onec"], "millrace run: unknown option --onec; did you mean '--once'?"),
    (["run", "job.yaml", "--runer=x"], "millrace run: unknown option --runer; did you mean '--runner'?"),
    (
        ["run", "job.yaml", "--temp_location=gs://x"],
        "millrace run: --temp_location is not an option here; options of Beam come with other runners than "
        "DirectRunner; see millrace run --help",
    ),
    (["run", "job.yaml", "x"], "millrace run: 'x' is one word too many; see millrace run --help"),
    (["run", "job.yaml", "--runner", "Flink"], "millrace run: 'Flink' is no --runner; did you mean 'FlinkRunner'?"),
    (["status", "job.yaml", "--once"], "millrace status: unknown option --once; see millrace status --help"),
    (["run", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
    (["verify", "job.yaml", "--jsn"], "millrace verify: unknown option --jsn; did you mean '--json'?"),
    (
        ["produce"],
        "millrace produce: missing: a job file, or --bootstrap-servers HOST:PORT; see millrace produce --help",
    ),
    (
        ["produce", "--bootstrap-servers", "a:1"],
        "millrace produce: missing: a job file, or --topic NAME; see millrace produce --help",
    ),
    (
        ["produce", "--deletes", "5x"],
        "millrace produce: argument --deletes: '5x' is not a share such as 5% or 0.05; see millrace produce --help",
    ),
    (
        ["produce", "--deletes", "101%"],
        "millrace produce: argument --deletes: '101%' is not a share such as 5% or 0.05; see millrace produce --help",
    ),
    (
        ["produce", "--keys", "0"],
        "millrace produce: argument --keys: '0' is not a whole number above 0; see millrace produce --help",
    ),
    (
        ["produce", "--rate", "fast"],
        "millrace produce: argument --rate: 'fast' is not a rate such as 5000/s; see millrace produce --help",
    ),
    (["dead-letters"], "millrace dead-letters: missing: ACTION; see millrace dead-letters --help"),
    (
        ["dead-letters", "sl", "x"],
        "millrace dead-letters: 'sl' is no action; there are ls, show, replay, discard; "
        "see millrace dead-letters --help",
    ),
    (["dead-letters", "ls", "nowhere"], "nowhere: no dead letters there"),
    (["dead-letters", "ls", "x", "--jso"], "millrace dead-letters: unknown option --jso; did you mean '--json'?"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG)
def test_wrong_commands(words, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    answer = capsys.readouterr()
    assert (answer.out, answer.err) == ("", f"error: {sentence}\n")


def test_only_the_direct_runner_reads_to_the_end_and_stops(tmp_path, capsys):
    assert main(["run", str(job_file(tmp_path)), "--once", "--runner", "PrismRunner"]) == 2
    assert capsys.readouterr().err == (
        "error: --once: only DirectRunner reads up to the end and stops; --runner PrismRunner streams\n"
    )


def test_help_and_version():
    for words in (["--help"], ["run", "--help"], ["produce", "--help"], ["dead-letters", "show", "--help"]):
        done = millrace_command(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("usage: millrace")
    assert "exit status: 0 good" in millrace_command("--help").stdout
    assert millrace_command("--version").stdout == f"millrace {millrace.__version__}\n"


def test_the_package_can_be_run_as_a_module():
    done = subprocess.run([sys.executable, "-m", "millrace.pipelines", "rnu"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: millrace: 'rnu' is no command; did you mean 'run'?\n")


def test_no_broker_is_one_sentence(tmp_path):
    contracts = tmp_path / "contracts"
    contracts.mkdir()
    (contracts / "x.1.avsc").write_text('"string"')
    done = millrace_command("run", str(job_file(tmp_path, client_id="x", bootstrap_timeout_ms=2000)), "--once")
    assert done.returncode == 1
    assert done.stderr.startswith("error: no Kafka broker lets us in: 127.0.0.1:1: ")
    assert done.stderr.count("\n") == 1, done.stderr


def test_each_command_has_an_example(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert f"  millrace {command}" in capsys.readouterr().out.partition("example")[2], command


def test_importing_millrace_says_nothing():
    code = "import millrace, logging; millrace.ReadChanges; print(logging.getLogger().handlers)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[]\n", "")


CANARY = "c4n4ry-s3cr3t"


def test_secrets_are_in_no_answer(tmp_path, embedded_broker, monkeypatch):
    """A broker that knows no SASL, a password from the environment: what `check` and `run` say does not hold it."""
    monkeypatch.setenv("PW", CANARY)
    client = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "me",
        "sasl_plain_password": "'${env:PW}'",
        "bootstrap_timeout_ms": 1000,
    }
    file = str(job_file(tmp_path, embedded_broker.bootstrap_servers, **client))
    for words in (["check", file, "--json"], ["run", file, "--once"], ["verify", file]):
        done = millrace_command(*words)
        assert CANARY not in done.stdout + done.stderr
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr


def test_a_missing_variable_is_named(tmp_path, capsys):
    file = str(job_file(tmp_path, proxy_url="'http://${env:MILLRACE_NOT_SET}'"))
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "x.1.avsc").write_text('"string"')
    assert main(["run", file, "--once"]) == 2
    assert "the environment variable MILLRACE_NOT_SET is not set" in capsys.readouterr().err


@pytest.mark.parametrize("kind", sorted(SINKS))
def test_windows_that_a_target_does_not_take_are_refused_before_anything_is_read(kind, tmp_path, capsys):
    needed = {"postgres": "dsn: host=x", "bigquery": "project: p, dataset: d", "iceberg": "namespace: n, catalog: {}"}
    needed |= {
        "mysql": "host: h, username: u, database: d",
        "memory": "name: x",
        "ducklake": "catalog: sqlite:lake.db, data_path: lake",
    }
    file = job_file(tmp_path)
    target = f"{{type: {kind}, {needed.get(kind, 'path: place')}}}"
    file.write_text(file.read_text().partition("target:")[0] + f"target: {target}\nwindow: {{by: event}}\n")
    sentence = f"error: {file}:5:14: window.by: a target of type files takes windows by arrival only; write by: arrival"
    if Promise.EVENT_TIME not in SINKS[kind].exceptions:
        assert load_job(file).window.by == "event"
        return
    for words in (["check", str(file)], ["run", str(file), "--once"], ["run", str(file)]):
        assert main(words) == 2
        assert capsys.readouterr().err == f"{sentence}\n"


def test_a_reader_that_goes_away_is_no_traceback(tmp_path):
    done = subprocess.run(
        f"{COMMAND} dead-letters ls {tmp_path} | true", shell=True, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
