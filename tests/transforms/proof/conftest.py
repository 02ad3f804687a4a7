"""What the tests of the proof share."""

import pytest
from support.debezium_stream import contracts_in


@pytest.fixture(scope="module")
def contracts(tmp_path_factory):
    """The schemas of `support.debezium_stream`."""
    return contracts_in(tmp_path_factory.mktemp("schemas"))
