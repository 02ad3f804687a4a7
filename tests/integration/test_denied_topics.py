"""A topic that an ACL denies stops its own table, and no other."""

from contextlib import closing

import pytest
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType
from support.jobs import event, key, rows, run_once, send, write_job
from support.kafka_broker import PASSWORD, USER

from millrace.pipelines.cli.check import check
from millrace.pipelines.execution.job_parts import source_of, target_of
from millrace.pipelines.execution.standings import standings
from millrace.pipelines.job.load import load_job
from millrace.pipelines.runners.findings import FAIL

pytestmark = pytest.mark.java

LOGIN = (
    f"client: {{security_protocol: SASL_PLAINTEXT, sasl_mechanism: PLAIN, sasl_plain_username: {USER}, "
    "sasl_plain_password: '${env:KAFKA_PASSWORD}'}"
)


RIGHTS = (ACLOperation.READ, ACLOperation.DESCRIBE, ACLOperation.ALL)


@pytest.mark.parametrize("right", RIGHTS, ids=lambda one: one.name)
def test_it_stops_its_own_table(kafka_broker, admin, create, tmp_path, monkeypatch, right):
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)
    free, denied = create(), create()
    place = ResourcePattern(ResourceType.TOPIC, denied)
    acls = [ACL(f"User:{USER}", "*", right, ACLPermissionType.DENY, place)]
    # Where a topic has ACLs, who is not named in one may do nothing.
    acls += [ACL(f"User:{USER}", "*", ACLOperation.DESCRIBE, ACLPermissionType.ALLOW, place)]
    assert not admin.create_acls(acls)["failed"]
    for topic in (free, denied):
        send(kafka_broker.bootstrap_servers, topic, [(0, key(1), event("c", 1, "a", 1, 11))])
    file = write_job(tmp_path, kafka_broker.sasl_servers, [free, denied])
    servers = f"'{kafka_broker.sasl_servers}'"
    file.write_text(file.read_text().replace(servers, f"{servers}, {LOGIN}"))
    tables = run_once(file).tables
    assert f"the topic {denied}: give it the rights READ and DESCRIBE" in tables[denied].error
    assert tables[free].error is None
    assert rows(tmp_path, free) == [(1, "a", 1)]
    job = load_job(file)
    assert denied in "".join(finding.what + finding.found for finding in check(job) if finding.level == FAIL)
    with closing(source_of(job).connect()) as connection, closing(target_of(job).open()) as sink:
        assert [one.source.topic for one in standings(job, connection, sink)] == [free]
