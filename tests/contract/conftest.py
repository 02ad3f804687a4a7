import pytest
from targets import Target

from millrace.transforms.sinks import SINKS


@pytest.fixture(params=sorted(SINKS))
def target(request, tmp_path):
    """A target of each kind in the registry, empty."""
    found = Target(request.param, tmp_path)
    yield found
    found.close()
