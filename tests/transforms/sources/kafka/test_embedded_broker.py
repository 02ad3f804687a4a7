"""The embedded broker: it answers, and it is gone afterwards, however that comes."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from millrace.transforms.sources.kafka.embedded_broker import EmbeddedBroker

HOLDER = """
import sys, time
from millrace.transforms.sources.kafka.embedded_broker import EmbeddedBroker
with EmbeddedBroker() as broker:
    print(broker.bootstrap_servers, flush=True)
    time.sleep(60)
"""


def listens(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def gone(address):
    deadline = time.monotonic() + 5
    while listens(address) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not listens(address)


def test_a_message_goes_through():
    with EmbeddedBroker() as broker:
        broker.create_topic("t", 2)
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
        producer.send("t", b"v", b"k", partition=1).get(10)
        producer.close()
        consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers)
        assert consumer.partitions_for_topic("t") == {0, 1}
        assert consumer.end_offsets([TopicPartition("t", 1)]) == {TopicPartition("t", 1): 1}
        consumer.close()
    assert gone(broker.bootstrap_servers)


def test_it_ends_with_an_exception():
    with pytest.raises(ZeroDivisionError), EmbeddedBroker() as broker:
        raise ZeroDivisionError
    assert gone(broker.bootstrap_servers)


def test_it_ends_when_its_process_is_killed():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, env=environment) as holder:
        address = holder.stdout.readline().decode().strip()
        assert listens(address)
        holder.send_signal(signal.SIGKILL)
    assert gone(address)
