"""A lake that can be read and not written: one sentence from `check` and from `run`, and the next run goes on."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from support.jobs import event, key, run_once, send, write_job

from millrace.pipelines.cli.check import check
from millrace.pipelines.execution.job_parts import target_of
from millrace.pipelines.job.load import load_job

LAKE = "{{type: iceberg, namespace: shop, catalog: {{type: sql, uri: 'sqlite:///{uri}', warehouse: ./lake}}}}"
CATALOG = "catalog.d/c.db"


@contextmanager
def without_privileges() -> Iterator[None]:
    """Rights count for root too."""
    user = os.geteuid()
    try:
        os.seteuid(user or 65_534)
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def folder(monkeypatch) -> Iterator[Path]:
    """A folder that every user may enter and write; temporary files are there too."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    opened_to_all(place)
    shutil.rmtree(place)


def opened_to_all(place: Path) -> None:
    for path in place.rglob("*"):
        path.chmod(0o777 if path.is_dir() else 0o666)


def target_failures(file: Path) -> list[str]:
    return [found.found for found in check(load_job(file)) if found.what == "target" and found.level == "fail"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (CATALOG, "c.db: permission denied to write, and the catalog is kept there; let this user write"),
        ("catalog.d", "catalog.d: permission denied to write, and the catalog is kept there; let this user write"),
        ("lake", "lake/_millrace_staging.*[Pp]ermission denied"),
        (None, "c.db: the catalog is opened to be read only; leave `mode` and `immutable` out"),
    ],
)
def test_a_lake_that_can_only_be_read(folder, embedded_broker, topic_name, path, said):
    topic = topic_name("orders")
    embedded_broker.create_topic(topic, 1)
    servers = embedded_broker.bootstrap_servers
    send(servers, topic, [(0, key(n), event("c", n, "a", n, 10 + n)) for n in range(3)])
    (folder / "catalog.d").mkdir()
    file = write_job(folder, servers, [topic], target=LAKE.format(uri=CATALOG))
    assert not run_once(file).failed
    assert target_failures(file) == []
    send(servers, topic, [(0, key(1), event("u", 1, "b", 1, 20)), (0, key(2), event("d", 2, at=21))])
    opened_to_all(folder)
    if path is None:
        whole = file.read_text()
        file.write_text(whole.replace(CATALOG, f"file:{CATALOG}?mode=ro&uri=true"))
    else:
        (folder / path).chmod(0o555 if (folder / path).is_dir() else 0o444)
    with without_privileges():
        (finding,) = target_failures(file)
        error = run_once(file).tables[topic].error
    for text in (finding, error):
        assert re.search(said, text), text
        assert "\n" not in text
    opened_to_all(folder)
    if path is None:
        file.write_text(whole)
    assert not run_once(file).failed
    with closing(target_of(load_job(file)).open()) as sink:
        rows = sorted((row["id"], row["name"]) for batch in sink.scan(topic) for row in batch.to_pylist())
    assert rows == [(0, "a"), (1, "b")]
