"""One RabbitMQ for all tests of the room."""

from uuid import uuid4

import pytest
from support import rabbitmq_server
from support.rabbitmq_server import IN_A_JOB, USER, VHOST

from millrace.transforms.sources.rabbitmq.options import RabbitmqOptions
from millrace.transforms.sources.rabbitmq.source import RabbitmqSource


@pytest.fixture(scope="session")
def rabbitmq():
    """A test that stops it starts it again."""
    return rabbitmq_server.server()


@pytest.fixture
def stream(rabbitmq):
    """The name of a stream of one's own, empty."""
    name = f"t{uuid4().hex[:8]}"
    rabbitmq.create_stream(name)
    return name


@pytest.fixture
def source_of(rabbitmq):
    """The source with other options than the usual ones."""

    def make(**options):
        usual = {
            "servers": [rabbitmq.address],
            "virtual_host": VHOST,
            "username": USER,
            "password": f"${{env:{IN_A_JOB}}}",
        }
        return RabbitmqSource(RabbitmqOptions.model_validate({**usual, **options}))

    return make
