"""Change logs through whole runs: exactly once in files, and proved."""

import duckdb
import pytest
from support.jobs import event, key, run_once, send, write_job

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.job.load import load_job


@pytest.mark.parametrize("place", ["local", "gcs", "s3"])
def test_a_log_is_written_and_proved(embedded_broker, topic_name, tmp_path, request, place):
    topic = topic_name("logs")
    embedded_broker.create_topic(topic, 2)
    target = "{type: files, path: log}"
    if place == "gcs":
        server = request.getfixturevalue("gcs")
        bucket = server.create_bucket(topic)
        options = f"{{endpoint: '{server.endpoint}', anonymous: 'true'}}"
        target = f"{{type: files, path: gs://{bucket}/log, storage_options: {options}}}"
    if place == "s3":
        server = request.getfixturevalue("s3")
        options = f"aws_endpoint_url: '{server.endpoint}', aws_access_key_id: x, aws_secret_access_key: '${{env:HOME}}'"
        options = f"{{{options}, aws_region: {server.region}}}"
        target = f"{{type: files, path: s3://{server.create_bucket(topic)}/log, storage_options: {options}}}"
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, [topic], target=target)
    for stretch in range(3):
        changes = [(n % 2, key(n), event("u", n, f"s{stretch}", n, 10 * stretch + n)) for n in range(6)]
        send(embedded_broker.bootstrap_servers, topic, [*changes, (0, key(2), event("d", 2, at=10 * stretch + 9))])
        summary = run_once(file)
        assert not summary.failed and summary.total("applied") == 7
    (report,) = verify_job(load_job(file))
    assert report.ok and report.expected == report.actual == 21
    if place == "local":
        pattern = f"{tmp_path}/log/*/*/*.parquet"
        found = duckdb.sql(f"SELECT _millrace_change, count(*) FROM read_parquet('{pattern}') GROUP BY 1 ORDER BY 1")
        assert found.fetchall() == [("delete", 3), ("upsert", 18)]
