"""The JSON Schema of the job file: as committed, true for every job file of the repository, and false for mistakes."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from support.job_files import FULL, SMALL

from millrace.pipelines.cli.demo import JOB
from millrace.pipelines.job.load import load_job
from millrace.pipelines.job.schema import FILE, job_file_schema, schema_text
from millrace.schemas.encodings import ENCODINGS
from millrace.schemas.errors import JobError

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "deploy/examples").glob("*/*.yaml"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}:{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL))
    if "\nsource:" in f"\n{block}" and "\ntarget:" in block
]


@pytest.fixture(scope="module")
def validator():
    schema = job_file_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def typed(text):
    """The YAML as an editor reads it; references that stand unquoted in braces are text."""
    return yaml.safe_load(re.sub(r"(?<![\"'])\$\{[^{}\n]*\}(?=[,}\s])", "reference", text))


def test_the_committed_schema_is_that_of_the_models():
    """Write it anew with: millrace schema > docs/job-file.schema.json"""
    assert (ROOT / "docs" / FILE).read_text() == schema_text()


def test_it_refers_to_nothing_that_is_not_there(validator):
    text = json.dumps(validator.schema)
    names = set(re.findall(r'"#/\$defs/([^"]+)"', text))
    assert names == set(validator.schema["$defs"])


def test_every_key_of_a_part_is_described(validator):
    parts = [validator.schema, *(part for part in validator.schema["$defs"].values() if "properties" in part)]
    for part in parts:
        for name, key in part["properties"].items():
            if name in ("rest", "grpc"):  # of an emulator, which only tests have
                continue
            inner = validator.schema["$defs"].get(key.get("$ref", "").rpartition("/")[2], {})
            assert "description" in key or "description" in inner or "const" in key, name


def test_examples_are_found():
    assert EXAMPLES
    assert SHOWN


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_job_files_of_the_repository_validate(validator, file):
    validator.validate(typed(file.read_text()))


@pytest.mark.parametrize("text", [*SHOWN, pytest.param(FULL, id="full"), pytest.param(SMALL, id="small")])
def test_job_files_of_the_docs_validate(validator, text):
    validator.validate(typed(text))


def test_the_job_file_of_the_demo_validates(validator):
    validator.validate(typed(JOB.format(servers="localhost:9092")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("job: shop", "jop: shop"),
        ("job: shop", "job: 7"),
        ("job: shop", "job: sh/op"),
        ("type: kafka", "type: kafak"),
        ("  topics: [shop.public.orders]", "  #"),
        ("topics: [shop.public.orders]", "topics: []"),
        ("topics: [shop.public.orders]", "topics: ['shop.*']"),
        ("start: earliest", "start: earlist"),
        ("start: earliest", "start: {timestap: 2026-01-01T00:00:00Z}"),
        ("client: {}", "client: []"),
        ("type: debezium", "type: debizium"),
        ("type: debezium", "encoding: avro"),
        ("type: debezium", "type: debezium\n  encoding: avro\n  envelope: debezium"),
        ("  registry: http://localhost:8081", "  registry: http://localhost:8081\n  schemas: contracts"),
        ("  registry: http://localhost:8081", "  registry: {url: 'http://x', timeout: 10}"),
        ("  registry: http://localhost:8081", "  #"),
        ("  - from: shop", "  - form: shop"),
        ("to: orders", "to: a/b"),
        ("on_truncate: fail", "on_truncate: fial"),
        ("every: 10s", "every: 10"),
        ("every: 10s", "every: 10 secs"),
        ("by: arrival", "by: arival"),
        ("by: arrival", "allowed_lateness: 1h"),
        ("type: duckdb", "type: dukdb"),
        ("  path: warehouse.duckdb", "  pth: warehouse.duckdb"),
        ("  path: warehouse.duckdb", "  path: w\n  memory_limit: 12 apples"),
        ("  path: warehouse.duckdb", "  path: w\n  mode: appned"),
        ("  type: duckdb", "  type: files\n  mode: mirror"),
        ("{path: dead_letters}", "{pth: dead_letters}"),
        ("dead_letters: {path", "max_dead_letters: lots\ndead_letters: {path"),
    ],
)
def test_mistakes_do_not_validate(validator, old, new):
    assert old in FULL
    validator.validate(typed(FULL))
    assert not validator.is_valid(typed(FULL.replace(old, new, 1)))


@pytest.mark.parametrize("name", list(ENCODINGS))
@pytest.mark.parametrize("places", [(), ("registry: http://localhost:8081",), ("schemas: contracts",)])
def test_places_of_schemas_are_as_the_encoding_takes_them(validator, tmp_path, name, places):
    """What `check` says of the job file, the schema says too."""
    lines = "".join(f"\n  {place}" for place in places)
    text = FULL.replace(
        "  type: debezium\n  registry: http://localhost:8081", f"  encoding: {name}\n  envelope: debezium{lines}"
    )
    assert text != FULL
    (tmp_path / "contracts").mkdir()
    file = tmp_path / "job.yaml"
    file.write_text(text)
    try:
        load_job(file)
        taken = True
    except JobError:
        taken = False
    assert validator.is_valid(typed(text)) == taken
