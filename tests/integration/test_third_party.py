"""A package of somebody else brings a source, an encoding, an envelope and a target; a job runs through all four."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "support" / "third_party"
ENTRY_POINTS = """
[millrace.sources]
lines = lines_and_signs.specs:SOURCE
[millrace.encodings]
pairs = lines_and_signs.specs:ENCODING
[millrace.envelopes]
signs = lines_and_signs.specs:ENVELOPE
[millrace.sinks]
pickles = lines_and_signs.specs:SINK
"""
JOB = """
job: shop
source: {type: lines, folder: topics, topics: [orders]}
format: {encoding: pairs, envelope: signs}
tables: [{from: orders, to: orders, key: [id]}]
target: {type: pickles, path: out}
"""


@pytest.fixture
def installed(tmp_path):
    """The package, installed by hand: a folder of packages with a `dist-info`."""
    site = tmp_path / "site"
    shutil.copytree(PACKAGE, site / "lines_and_signs", ignore=shutil.ignore_patterns("__pycache__"))
    info = site / "lines_and_signs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lines-and-signs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return site


def millrace(site, *words):
    """The command in a process that has the package."""
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "millrace.pipelines", *words, "--json"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_job_runs_through_all_four(installed, tmp_path):
    (tmp_path / "topics").mkdir()
    lines = ["sign=+;id=1;name=a", "sign=+;id=2;name=b", "sign=+;id=1;name=c", "sign=-;id=2;name=b", "noise"]
    (tmp_path / "topics" / "orders").write_text("\n".join([*lines, "sign=?;id=3;name=d"]) + "\n")
    file = tmp_path / "job.yaml"
    file.write_text(JOB)
    done = millrace(installed, "run", str(file), "--once")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert {name: summary[name] for name in ("read", "dead", "lag")} == {"read": 6, "dead": 2, "lag": 0}
    held = pickle.loads((tmp_path / "out" / "orders.pickle").read_bytes())
    assert [(row["id"], row["name"]) for row in held["rows"].values()] == [(1, "c")]
    again = millrace(installed, "run", str(file), "--once")
    assert json.loads(again.stdout)["read"] == 0
    proof = millrace(installed, "verify", str(file))
    assert proof.returncode == 0, proof.stderr
    (report,) = json.loads(proof.stdout)
    assert (report["table"], report["messages"], report["undecodable"], report["match"]) == ("orders", 6, 2, 1)
    held["rows"][next(iter(held["rows"]))]["name"] = "another"
    (tmp_path / "out" / "orders.pickle").write_bytes(pickle.dumps(held))
    assert millrace(installed, "verify", str(file)).returncode == 3


def test_without_a_reader_of_the_package_the_proof_says_so(installed, tmp_path):
    specs = installed / "lines_and_signs" / "specs.py"
    specs.write_text(re.sub(r", proof=\{.*\}", "", specs.read_text()))
    (tmp_path / "topics").mkdir()
    (tmp_path / "topics" / "orders").write_text("sign=+;id=1;name=a\n")
    file = tmp_path / "job.yaml"
    file.write_text(JOB)
    proof = millrace(installed, "verify", str(file))
    assert proof.returncode == 2
    assert "the proof cannot read the encoding pairs with the envelope signs" in proof.stderr


def test_each_part_is_one_file_beside_its_spec():
    assert sorted(file.stem for file in PACKAGE.glob("*.py")) == [
        "__init__",
        "encoding",
        "envelope",
        "proof",
        "sink",
        "source",
        "specs",
    ]


def test_without_the_package_the_word_is_not_known(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(JOB)
    done = millrace(tmp_path, "check", str(file))
    assert done.returncode == 2
    assert "lines" in done.stderr and "kafka" in done.stderr
