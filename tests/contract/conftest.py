import pytest
from support.targets import MIRRORS, Target


@pytest.fixture(params=MIRRORS)
def target(request, tmp_path):
    """A target of each kind in the registry that keeps a row a key, empty; `test_sinks_log` has the others too."""
    found = Target(request.param, tmp_path)
    yield found
    found.close()
