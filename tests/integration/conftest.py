"""Real Kafka for the tests of this folder, and topics of one's own in it."""

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from support.debezium import Registry
from support.downloads import missing_java


@pytest.fixture
def servers(kafka_broker):
    return kafka_broker.bootstrap_servers


@pytest.fixture
def admin(servers):
    client = KafkaAdminClient(bootstrap_servers=servers)
    yield client
    client.close()


@pytest.fixture(scope="session")
def connect_registry():
    """The registry of a live Debezium."""
    reason = missing_java("Debezium")
    if reason is not None:
        pytest.skip(reason)
    with Registry() as server:
        yield server


@pytest.fixture
def create(admin, topic_name):
    """Makes a topic, with options of the broker where `_` stands for `.`; gives its name."""

    def made(partitions=1, **configs):
        name = topic_name("orders")
        configs = {key.replace("_", "."): str(value) for key, value in configs.items()}
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
        return name

    return made
