"""A job that is left to a Flink cluster goes on when the command that submitted it has ended."""

import json
import time

import pytest
from support.jobs import event, key, send, write_job
from support.processes import until

from millrace.pipelines.cli.main import main
from millrace.pipelines.runners.flink.rest import FlinkRest


@pytest.mark.java
@pytest.mark.timeout(900)
def test_a_detached_job_is_the_clusters_and_commits(
    flink_cluster, flink_jar, embedded_broker, topic_name, tmp_path, capsys
):
    topic, servers, name = topic_name("detached"), embedded_broker.bootstrap_servers, f"detached-{time.time_ns()}"
    embedded_broker.create_topic(topic, 2)
    target = f"{{type: delta, path: {tmp_path / 'lake'}}}"
    file = write_job(tmp_path, servers, [topic], target=target, more="window: {every: 1s}\n")
    file.write_text(file.read_text().replace("job: test", f"job: {name}", 1))
    send(servers, topic, [(number % 2, key(number), event("c", number, "a", number, number)) for number in range(8)])
    words = [
        f"--flink_master={flink_cluster.url}",
        f"--flink_job_server_jar={flink_jar}",
        "--environment_type=EXTERNAL",
        f"--environment_config={flink_cluster.workers.address}",
    ]
    assert main(["run", str(file), "--detach", "--runner", "FlinkRunner", *words]) == 0
    rest = FlinkRest(flink_cluster.url)
    found = rest.job(name)
    assert found is not None

    def committed():
        capsys.readouterr()
        assert main(["status", str(file), "--json"]) == 0
        return all(one["committed"] == one["end"] for one in json.loads(capsys.readouterr().out))

    try:
        assert until(committed, 240, 1.0), (rest.exceptions(found.id), flink_cluster.output())
    finally:
        rest.cancel(found.id)
        assert until(lambda: not rest.job(name).live, 60)
