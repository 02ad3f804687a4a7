"""What clusters do to a job on Flink, under a steady stream: after each fault the table is the oracle's.

One job runs through all of them, in the order of this file. `recovery_seconds` of each is in the report (--junitxml).
"""

import os
import re
import time
from pathlib import Path
from urllib.parse import urlparse

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewPartitions, NewTopic
from support import postgres_server
from support.jobs import ENVELOPE, KEY
from support.processes import until
from support.registry_server import Fault, RegistryServer
from support.steady_stream import SteadyStream
from support.streamed_jobs import StreamedJob

from millrace.pipelines.runners.flink.rest import FlinkRest

pytestmark = [pytest.mark.java, pytest.mark.timeout(900)]


class OnFlink:
    """A job that was left to the cluster."""

    def __init__(self, job, cluster, jar):
        self.job, self.cluster, self._jar = job, cluster, jar
        self.rest = FlinkRest(cluster.url)

    def start(self, parallelism=2, savepoint=None):
        words = [
            *("--runner", "FlinkRunner", f"--flink_master={self.cluster.url}", f"--flink_job_server_jar={self._jar}"),
            *("--environment_type=EXTERNAL", f"--environment_config={self.cluster.workers.address}"),
            *(f"--parallelism={parallelism}", "--checkpointing_interval=2000"),
        ]
        self.job.submit(*words, *([f"--savepoint_path={savepoint}"] if savepoint else []))

    @property
    def id(self):
        return self.rest.job(self.job.name).id

    def checkpoints(self):
        return self.cluster.get(f"/jobs/{self.id}/checkpoints")["counts"]["completed"]

    def checkpointed(self, times=2):
        before = self.checkpoints()
        assert until(lambda: self.checkpoints() >= before + times, 180, 0.3), self.cluster.output()

    def savepoint(self):
        found = self.rest.stop_with_savepoint(self.id)
        assert until(lambda: not self.rest.job(self.job.name).live, 120)
        return found

    def cancel(self):
        self.rest.cancel(self.id)
        assert until(lambda: not self.rest.job(self.job.name).live, 120)

    def settles(self, record_property):
        """The stream goes on for a while, then rests; the table is the oracle's."""
        began = time.monotonic()
        time.sleep(3)
        self.job.stream.pause()
        try:
            self.job.settles()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.rest.exceptions(self.id)[:1]}\n{self.cluster.output()}") from error
        record_property("recovery_seconds", round(time.monotonic() - began, 1))
        self.job.stream.resume()


def topic_of(servers, name, partitions=4):
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics([NewTopic(name, partitions, 1)])
    admin.close()
    return name


@pytest.fixture(scope="module")
def streamed(flink_cluster, flink_jar, kafka_broker, tmp_path_factory):
    """A job into Delta Lake, running, and a stream that does not rest."""
    servers, name = kafka_broker.bootstrap_servers, f"faults-{time.time_ns()}"
    with SteadyStream(servers, topic_of(servers, name), 4) as stream:
        folder = tmp_path_factory.mktemp("faults") / "job"
        job = StreamedJob(folder, name, servers, stream, f"{{type: delta, path: {folder / 'lake'}}}")
        found = OnFlink(job, flink_cluster, flink_jar)
        found.start()
        job.recovered()
        yield found
        if found.rest.job(name).live:
            found.cancel()


def test_a_python_worker_is_killed(streamed, flink_cluster, record_property):
    streamed.checkpointed()
    os.kill(flink_cluster.workers.children()[0], 9)
    streamed.settles(record_property)


def test_a_task_manager_is_killed_and_another_takes_over(streamed, flink_cluster, record_property):
    streamed.checkpointed()
    flink_cluster.task_managers[0].kill()
    flink_cluster.start_task_manager()
    streamed.settles(record_property)
    flink_cluster.ready()


def test_the_job_manager_is_killed(streamed, flink_cluster, record_property):
    streamed.checkpointed()
    before = streamed.id
    flink_cluster.job_manager.kill()
    flink_cluster.start_job_manager()
    flink_cluster.ready()
    assert until(lambda: (job := streamed.rest.job(streamed.job.name)) is not None and job.live, 180)
    assert streamed.id == before
    streamed.settles(record_property)


def test_the_broker_is_killed_and_comes_back(streamed, kafka_broker, record_property):
    kafka_broker.kill()
    time.sleep(2)
    kafka_broker.start()
    streamed.settles(record_property)


def test_the_broker_stands_still_for_half_a_minute(streamed, kafka_broker, record_property):
    kafka_broker.pause()
    try:
        time.sleep(30)
    finally:
        kafka_broker.resume()
    streamed.settles(record_property)


def test_partitions_are_added(streamed, kafka_broker, record_property):
    admin = KafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap_servers)
    admin.create_partitions({streamed.job.stream.topic: NewPartitions(6)})
    admin.close()
    streamed.job.stream.widen(6)
    streamed.settles(record_property)


def test_a_savepoint_is_restored_at_another_parallelism(streamed, record_property):
    """The partitions that were added lie in it too; and its state has few names, after some thousand reads."""
    place = streamed.savepoint()
    names = re.findall(rb"sdf_checkpoint[^\0]*", Path(urlparse(place).path, "_metadata").read_bytes())
    assert len(set(names)) < 10, len(set(names))
    streamed.start(parallelism=3, savepoint=place)
    streamed.settles(record_property)


def test_a_savepoint_does_not_fit_parallelism_one(streamed, record_property):
    """Flink chains other operators then. The job says it, and the ledger knows the way."""
    place = streamed.savepoint()
    with pytest.raises(AssertionError, match="one of --parallelism=1 and the other of more; start it without"):
        streamed.start(parallelism=1, savepoint=place)
    streamed.start()
    streamed.settles(record_property)


def test_a_savepoint_older_than_the_table_is_restored(streamed, record_property):
    old = streamed.savepoint()
    streamed.start(savepoint=old)
    streamed.settles(record_property)
    streamed.cancel()
    streamed.start(savepoint=old)
    streamed.settles(record_property)


def test_a_start_without_a_savepoint_goes_on_from_the_ledger(streamed, record_property):
    streamed.cancel()
    streamed.start()
    streamed.settles(record_property)
    streamed.cancel()


def test_the_registry_is_away_when_a_new_worker_asks_for_schemas(
    flink_cluster, flink_jar, kafka_broker, tmp_path, record_property
):
    servers, name = kafka_broker.bootstrap_servers, f"registry-{time.time_ns()}"
    with SteadyStream(servers, topic_of(servers, name, 2), 2) as stream, RegistryServer() as registry:
        registry.add(1, KEY).add(2, ENVELOPE)
        job = StreamedJob(tmp_path, name, servers, stream, f"{{type: delta, path: {tmp_path / 'lake'}}}")
        url = f"registry: {{url: '{registry.url}', timeout: 1s, give_up_after: 2s}}"
        job.file.write_text(job.file.read_text().replace("schemas: ./contracts", url))
        found = OnFlink(job, flink_cluster, flink_jar)
        found.start()
        job.recovered()
        found.checkpointed()
        registry.faults.extend(Fault(status=503) for _ in range(100_000))
        asked = registry.requests.total()
        for worker in flink_cluster.workers.children():
            os.kill(worker, 9)
        assert until(lambda: registry.requests.total() > asked, 120)
        time.sleep(45)
        registry.faults.clear()
        found.settles(record_property)
        found.cancel()


def test_the_target_is_gone_for_a_while(flink_cluster, flink_jar, kafka_broker, tmp_path, record_property):
    reason = postgres_server.missing()
    if reason is not None:
        pytest.skip(reason)
    servers, name = kafka_broker.bootstrap_servers, f"target-{time.time_ns()}"
    with SteadyStream(servers, topic_of(servers, name, 2), 2) as stream:
        target = postgres_server.make_database(tmp_path, name)
        job = StreamedJob(tmp_path, name, servers, stream, target)
        found = OnFlink(job, flink_cluster, flink_jar)
        found.start()
        job.recovered()
        server = postgres_server.server()
        server.stop()
        time.sleep(20)
        server.start()
        found.settles(record_property)
        found.cancel()
