"""What a job takes along: names, files, secrets, ports; and what is refused because it would not work elsewhere."""

import pytest

from millrace.pipelines.cli.main import main
from millrace.pipelines.render.job_bundle import read_job_bundle
from millrace.schemas.errors import JobError

START = "source: {type: kafka, bootstrap_servers: a, topics: [t]%s}\nformat: {type: upsert, registry: %s}\n"
TARGET = "target: {type: delta, path: 's3://lake'}\n"


def job_file(folder, *, name="j", client="", registry="'http://r'", target=TARGET):
    file = folder / "job.yaml"
    file.write_text(f"job: {name}\n{START % (client, registry)}{target}")
    return file


REFUSED = [
    ({"target": "target: {type: duckdb, path: w.duckdb}\n"}, "target: duckdb is open in one process only"),
    ({"target": "target: {type: delta, path: ./lake}\n"}, "target.path: './lake' is a place of one machine"),
    ({"target": "target: {type: delta, path: 'file:///lake'}\n"}, "target.path: 'file:///lake' is a place of one"),
    (
        {"target": "target: {type: delta, path: 's3://a', storage_options: {aws_secret_access_key: hunter2}}\n"},
        "target.storage_options.aws_secret_access_key: is a secret: write ${env:NAME}",
    ),
    (
        {"target": TARGET + "dead_letters: {path: 's3://b', storage_options: {aws_secret_access_key: hunter2}}\n"},
        "dead_letters.storage_options.aws_secret_access_key: is a secret: write ${env:NAME}",
    ),
    (
        {"target": TARGET + "dead_letters: {path: 's3://b', storage_options: {aws_session_token: hunter2}}\n"},
        "dead_letters.storage_options.aws_session_token: is a secret: write ${env:NAME}",
    ),
    ({"registry": "{url: 'http://r', password: hunter2}"}, "format.registry.password: is a secret: write ${env:NAME}"),
    ({"registry": "'http://me:hunter2@r'"}, "format.registry: is a secret: write ${env:NAME}"),
]


@pytest.mark.parametrize(("parts", "sentence"), REFUSED)
@pytest.mark.parametrize("platform", ["flink", "dataflow"])
def test_what_would_not_work_or_would_leak_is_refused(tmp_path, capsys, platform, parts, sentence):
    file = job_file(tmp_path, **parts)
    more = ["--storage", "s3://b"] if platform == "flink" else []
    assert main(["render", platform, str(file), "-o", str(tmp_path / "out"), *more]) == 2
    said = capsys.readouterr().err
    assert f": {sentence}" in said
    assert "hunter2" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--storage", "/mnt/flink"], "--storage /mnt/flink: not a URL that all pods reach; there are s3://"),
        (["--storage", "ftp://a/b"], "--storage ftp://a/b: not a URL that all pods reach; there are s3://"),
        (["--storage", "s3://b", "--flink-version", "1.18"], "--flink-version 1.18: Beam has runners for 1.19, "),
        (["--storage", "s3://b", "--namespace", "A_b"], "--namespace A_b: names have lower-case letters"),
        ([], "millrace render flink: missing: --storage"),
        (["--storage", "s3://b", "--mode", "sesion"], "'sesion' is no --mode; did you mean 'session'?"),
        (["--storage", "s3://b", "--paralelism=2"], "unknown option --paralelism; did you mean '--parallelism'?"),
    ],
)
def test_wrong_options(tmp_path, capsys, options, sentence):
    assert main(["render", "flink", str(job_file(tmp_path)), "-o", str(tmp_path / "out"), *options]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "plain"),
    [("shop", "shop"), ("my-shop-2", "my-shop-2")],
)
def test_names_that_kubernetes_takes_stay(tmp_path, name, plain):
    assert read_job_bundle(job_file(tmp_path, name=name)).name == plain


def test_other_names_are_made_plain_and_stay_apart(tmp_path):
    names = [
        read_job_bundle(job_file(tmp_path, name=name)).name for name in ("Shop", "shop_eu", "shop.eu", "7up", "a" * 100)
    ]
    assert len(set(names)) == 5
    for name in names:
        # The operator's own rule, and room for what is appended to it.
        assert name[0].isalpha() and name == name.lower() and "_" not in name and "." not in name
        assert len(f"{name}-dead-letters") <= 45


def test_paths_are_those_inside_the_containers(tmp_path):
    files = "ssl_cafile: '../ca/root.pem', ssl_keyfile: ~/key.pem, ssl_password: '${file:pw/a}'"
    client = f", client: {{security_protocol: SSL, {files}}}"
    registry = "{url: 'http://r', password: '${file:/pw/a}'}"
    assert read_job_bundle(job_file(tmp_path, client=client, registry=registry)).secret_files == {
        "/home/millrace/key.pem": "key.pem",
        "/opt/millrace/ca/root.pem": "root.pem",
        "/opt/millrace/job/pw/a": "opt.millrace.job.pw.a",
        "/pw/a": "pw.a",
    }


def test_a_password_in_a_url_by_reference_is_no_secret_written_out(tmp_path):
    found = read_job_bundle(job_file(tmp_path, registry="'http://me:${env:PW}@r:8085/x'"))
    assert found.secret_variables == ("PW",)
    assert found.ports == (8085, 9092)


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("gs://letters/shop", "gs://letters/shop"),
        ("hdfs://names:8021/dead", "hdfs://names:8021/dead"),
        ("${env:LETTERS}", "${env:LETTERS}"),
        ("dead", "/opt/millrace/job/dead"),
        ("file:///mnt/dead", "/mnt/dead"),
        ("~/dead", "/home/millrace/dead"),
    ],
)
def test_dead_letters_stay_in_a_store_or_go_to_a_folder_of_the_container(tmp_path, path, inside):
    file = job_file(tmp_path, target=f"{TARGET}dead_letters: {{path: '{path}'}}\n")
    found = read_job_bundle(file)
    assert found.dead_letters == inside
    assert (8021 in found.ports) == path.startswith("hdfs:")
    assert found.secret_variables == (("LETTERS",) if path.startswith("$") else ())


def test_a_pattern_is_no_reference(tmp_path):
    file = job_file(tmp_path)
    file.write_text(file.read_text().replace("topics: [t]", "topic_pattern: 'a${env:X}'"))
    assert read_job_bundle(file).secret_variables == ()


def test_too_many_schemas_for_a_config_map(tmp_path):
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "a.1.avsc").write_text('{"type": "string", "doc": "%s"}' % ("x" * 1_000_000))
    file = job_file(tmp_path)
    file.write_text(file.read_text().replace("registry: 'http://r'", "schemas: contracts"))
    with pytest.raises(JobError, match="come to 1,000,029 bytes, and a ConfigMap holds 900,000"):
        read_job_bundle(file)


def test_the_port_of_a_target_is_the_one_that_it_says(tmp_path):
    target = "target: {type: mysql, host: db, username: u, database: d%s}\n"
    assert 3306 in read_job_bundle(job_file(tmp_path, target=target % "")).ports
    found = read_job_bundle(job_file(tmp_path, target=target % ", port: 4000")).ports
    assert 4000 in found and 3306 not in found


def test_a_file_of_a_target_comes_along(tmp_path):
    (tmp_path / "ca.pem").write_text("PEM")
    target = "target: {type: mysql, host: db, username: u, database: d, sslrootcert: ca.pem}\n"
    assert list(read_job_bundle(job_file(tmp_path, target=target)).secret_files) == ["/opt/millrace/job/ca.pem"]
