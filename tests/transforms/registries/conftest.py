"""A registry over a real socket, and little patience for its replicas."""

import pytest
from support.registry_server import RegistryServer

from millrace.transforms.registries import confluent


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    monkeypatch.setattr(confluent, "REPLICA_SECONDS", 0.1)
    monkeypatch.setattr(confluent, "REPLICA_PAUSE", 0.02)


@pytest.fixture
def server():
    with RegistryServer() as running:
        yield running
