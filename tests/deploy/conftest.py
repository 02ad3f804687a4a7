"""The package, built once for the tests of this folder."""

from pathlib import Path

import pytest
from support.fresh_environments import built

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def dist(tmp_path_factory) -> Path:
    """The folder of an sdist and of the wheel that is built from it."""
    place = tmp_path_factory.mktemp("dist")
    built(ROOT, place)
    return place


@pytest.fixture(scope="session")
def wheel(dist) -> Path:
    (found,) = dist.glob("*.whl")
    return found
