"""Real Kafka for the tests of this folder, and topics of one's own in it."""

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from support import iceberg_engines
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


@pytest.fixture(scope="session")
def rest_catalog(tmp_path_factory):
    """The URL of Iceberg's REST catalog, and its warehouse."""
    reason = iceberg_engines.missing_for_java()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("rest")
    with iceberg_engines.rest_catalog(folder) as url:
        yield url, folder


@pytest.fixture(scope="session")
def hive_settings(tmp_path_factory):
    """pyiceberg's properties of a Hive metastore."""
    reason = iceberg_engines.missing_for_hive()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("hive")
    with iceberg_engines.hive_metastore(folder) as url:
        yield iceberg_engines.hive_settings(url, folder)
