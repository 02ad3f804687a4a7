"""Targets that several files of tests share."""

import pytest
from support.change_logs import LogTarget, places
from support.targets import bigquery_server


@pytest.fixture(params=["local", "s3", "gcs", "hdfs"])
def log(request, tmp_path):
    """A change log in each kind of place."""
    kind, options = places(tmp_path, request.getfixturevalue)[f"files-{request.param}"]()
    found = LogTarget(kind, tmp_path, options)
    yield found
    found.close()


@pytest.fixture
def local(tmp_path):
    """A change log in a folder."""
    found = LogTarget("files", tmp_path)
    yield found
    found.close()


@pytest.fixture
def bigquery():
    """The server of all tests, without faults that a test has left."""
    found = bigquery_server()
    found.faults.clear()
    found.spread = 0
    found.requests.clear()
    yield found
    found.faults.clear()
    found.spread = 0
