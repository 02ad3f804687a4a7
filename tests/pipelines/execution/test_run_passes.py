"""`run --once` over a real Kafka protocol: rows, resume, accounts, tables that stop, windows by event time."""

import pytest
from kafka import KafkaAdminClient
from support.jobs import ENVELOPE, KEY, contracts, event, key, rows, run_once, send, wire, write_job

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.job.load import load_job
from millrace.schemas.errors import SourceError


@pytest.fixture
def topic(embedded_broker, topic_name):
    name = topic_name("shop.orders")
    embedded_broker.create_topic(name, 2)
    return name


def table_of(topic):
    return topic.rpartition(".")[2]


def test_changes_become_rows_and_the_second_run_goes_on(embedded_broker, topic, tmp_path):
    servers, table = embedded_broker.bootstrap_servers, table_of(topic)
    send(servers, topic, [(0, key(1), event("c", 1, "a", 1, 10)), (1, key(2), event("c", 2, "b", None, 11))])
    file = write_job(tmp_path, servers, [topic])
    first = run_once(file)
    assert rows(tmp_path, table) == [(1, "a", 1), (2, "b", None)]
    assert (first.total("read"), first.total("applied"), first.total("lag"), first.failed) == (2, 2, 0, False)
    send(servers, topic, [(0, key(1), event("u", 1, "c", 2, 12)), (1, key(2), event("d", 2, at=13)), (1, key(2), None)])
    second = run_once(file)
    assert rows(tmp_path, table) == [(1, "c", 2)]
    assert (second.total("read"), second.total("applied"), second.total("filtered")) == (3, 2, 1)
    assert run_once(file).total("read") == 0


def test_older_and_repeated_changes_are_superseded(embedded_broker, topic, tmp_path):
    servers, table = embedded_broker.bootstrap_servers, table_of(topic)
    file = write_job(tmp_path, servers, [topic])
    send(servers, topic, [(0, key(1), event("u", 1, "new", 2, 20)), (0, key(2), event("d", 2, at=21))])
    run_once(file)
    send(servers, topic, [(0, key(1), event("u", 1, "old", 1, 10)), (0, key(2), event("c", 2, "late", 1, 15))])
    summary = run_once(file)
    assert rows(tmp_path, table) == [(1, "new", 2)]
    assert (summary.total("applied"), summary.total("superseded")) == (0, 2)


def test_bad_messages_are_dead_letters_and_good_rows_are_applied(embedded_broker, topic, tmp_path):
    servers, table = embedded_broker.bootstrap_servers, table_of(topic)
    bad = [(0, key(9), b""), (0, key(9), b"\0"), (1, key(9), b"\0\0\0\0\x63x"), (1, key(9), event("c", 9)[:-1])]
    send(servers, topic, [(0, key(1), event("c", 1, "a", 1)), *bad, (1, key(2), event("c", 2, "b", 2))])
    summary = run_once(write_job(tmp_path, servers, [topic]))
    assert rows(tmp_path, table) == [(1, "a", 1), (2, "b", 2)]
    assert (summary.total("read"), summary.total("dead")) == (6, 4)
    assert len(list((tmp_path / "dead_letters").rglob("*.avro"))) == 1


def test_too_many_dead_letters_stop_the_table_with_nothing_committed(embedded_broker, topic, tmp_path):
    servers = embedded_broker.bootstrap_servers
    send(servers, topic, [(0, key(1), event("c", 1, "a", 1)), (0, key(9), b"x"), (0, key(9), b"y")])
    summary = run_once(write_job(tmp_path, servers, [topic], more="max_dead_letters: 1\n"))
    (table,) = summary.tables.values()
    assert "2 dead letters among 3 messages" in table.error
    assert table.applied == 0
    assert list((tmp_path / "dead_letters").rglob("*.avro"))


def test_a_stream_whose_first_messages_are_all_dead_is_not_drained(embedded_broker, topic, tmp_path):
    """A wrong key in the job file: right after it is mended, every message is read."""
    servers, table = embedded_broker.bootstrap_servers, table_of(topic)
    send(servers, topic, [(0, key(n), event("c", n, "a", n)) for n in range(20)])
    wrong = write_job(tmp_path, servers, [topic], more=f"tables: [{{from: {topic}, key: [idd]}}]\n")
    summary = run_once(wrong)
    assert summary.failed
    assert "all of the first 20 messages are dead letters" in summary.tables[table].error
    assert "idd" in summary.tables[table].error
    assert not list((tmp_path / "dead_letters").rglob("*.avro"))
    assert run_once(write_job(tmp_path, servers, [topic])).total("applied") == 20


def test_a_half_of_dead_letters_stops_a_job_that_names_no_limit(embedded_broker, topic, tmp_path):
    servers, table = embedded_broker.bootstrap_servers, table_of(topic)
    good = [(0, key(n), event("c", n, "a", n)) for n in range(20)]
    send(servers, topic, [*good, *[(0, key(9), b"x")] * 100])
    assert not run_once(write_job(tmp_path, servers, [topic])).failed
    send(servers, topic, [(0, key(9), b"x")] * 101)
    summary = run_once(write_job(tmp_path, servers, [topic]))
    assert "101 dead letters among 101 messages" in summary.tables[table].error
    assert "max_dead_letters: 50% (the default) allows 100" in summary.tables[table].error


def test_a_run_whose_messages_are_all_dead_has_failed_and_says_why(embedded_broker, topic, tmp_path):
    servers = embedded_broker.bootstrap_servers
    send(servers, topic, [(0, key(9), b"x"), (0, key(9), b"\0"), (0, key(9), b"\0")])
    summary = run_once(write_job(tmp_path, servers, [topic], more="max_dead_letters: 100%\n"))
    assert summary.failed and not any(table.error for table in summary.tables.values())
    said = next(line for line in summary.lines() if "all messages became dead letters" in line)
    assert "frame: value: " in said


def test_an_incompatible_schema_stops_one_table_and_the_others_go_on(embedded_broker, topic_name, tmp_path):
    servers = embedded_broker.bootstrap_servers
    one, two = topic_name("one"), topic_name("two")
    for name in (one, two):
        embedded_broker.create_topic(name, 1)
    changed = {"type": "record", "name": "E", "fields": [dict(field) for field in ENVELOPE["fields"]]}
    row = {"type": "record", "name": "V", "fields": [{"name": "id", "type": "long"}, {"name": "name", "type": "long"}]}
    changed["fields"][0] = {"name": "before", "type": ["null", row]}
    changed["fields"][1] = {"name": "after", "type": ["null", "V"]}
    source = {"sequence": '["5","5"]', "lsn": 5}
    odd = wire(7, {"before": None, "after": {"id": 1, "name": 3}, "source": source, "op": "u"}, changed)
    file = write_job(tmp_path, servers, [one, two])
    contracts(tmp_path / "contracts", {1: KEY, 2: ENVELOPE, 7: changed})
    send(servers, one, [(0, key(1), event("c", 1, "a", 1))])
    send(servers, two, [(0, key(1), event("c", 1, "a", 1))])
    run_once(file)
    send(servers, one, [(0, key(1), odd)])
    send(servers, two, [(0, key(2), event("c", 2, "b", 2))])
    summary = run_once(file)
    assert "column 'name'" in summary.tables[one].error
    assert summary.tables[two].error is None
    assert rows(tmp_path, one) == [(1, "a", 1)]
    assert rows(tmp_path, two) == [(1, "a", 1), (2, "b", 2)]


def test_a_truncate_stops_the_table_or_empties_it(embedded_broker, topic, tmp_path):
    servers, table = embedded_broker.bootstrap_servers, table_of(topic)
    truncate = wire(2, {"before": None, "after": None, "source": {"sequence": '["15","15"]', "lsn": 15}, "op": "t"})
    send(
        servers,
        topic,
        [(0, key(1), event("c", 1, "a", 1, 10)), (1, None, truncate), (0, key(2), event("c", 2, "b", 2, 20))],
    )
    file = write_job(tmp_path, servers, [topic])
    assert "on_truncate: apply" in run_once(file).tables[table].error
    more = f"tables: [{{from: {topic}, to: {table}, on_truncate: apply}}]\n"
    summary = run_once(write_job(tmp_path, servers, [topic], more=more))
    assert not summary.failed
    assert rows(tmp_path, table) == [(2, "b", 2)]
    send(servers, topic, [(0, key(3), event("c", 3, "late", 3, 12))])
    assert run_once(file).total("superseded") == 1
    assert rows(tmp_path, table) == [(2, "b", 2)]


def test_windows_by_event_time_commit_the_same_rows(embedded_broker, topic, tmp_path):
    servers, table = embedded_broker.bootstrap_servers, table_of(topic)
    send(servers, topic, [(i % 2, key(i % 7), event("u", i % 7, f"v{i}", i, 100 + i)) for i in range(60)])
    file = write_job(tmp_path, servers, [topic], more="window: {every: 10ms, by: event, allowed_lateness: 1h}\n")
    summary = run_once(file)
    newest = {i % 7: (i % 7, f"v{i}", i) for i in range(60)}
    assert rows(tmp_path, table) == sorted(newest.values(), key=repr)
    assert summary.total("read") == summary.total("applied") + summary.total("superseded") == 60
    assert run_once(file).total("read") == 0


def test_windows_by_event_time_are_committed_in_their_order(embedded_broker, topic, tmp_path):
    """Row 3 becomes row 5 without its large value, then another one becomes 3: whatever a runner hands over first."""
    servers, table, at = embedded_broker.bootstrap_servers, table_of(topic), 1_700_000_000_000
    file = write_job(tmp_path, servers, [topic], more="window: {every: 10ms, by: event, allowed_lateness: 1h}\n")
    send(servers, topic, [(1, key(3), event("c", 3, "large", 3, 10), [], at)])
    run_once(file)
    moved, old = event("c", 5, "__debezium_unavailable_value", 3, 20), [("__debezium.oldkey", b'{"id": 3}')]
    later = [(0, key(3), event("c", 3, "other", 1, 30), [], at + 78)]
    send(servers, topic, [*later, (1, key(3), event("d", 3, at=20), [], at + 33), (1, key(5), moved, old, at + 33)])
    run_once(file)
    assert rows(tmp_path, table) == [(3, "other", 1), (5, "large", 3)]


def test_a_partition_added_later_is_read_from_its_beginning(embedded_broker, topic_name, tmp_path):
    servers, first, second = embedded_broker.bootstrap_servers, topic_name("a"), topic_name("a")
    for name in (first, second):
        embedded_broker.create_topic(name, 1)
    more = "tables: [{{from: [{0}], to: both}}]\n"
    send(servers, first, [(0, key(1), event("c", 1, "a", 1, 10))])
    run_once(write_job(tmp_path, servers, [first], more=more.format(first)))
    send(servers, second, [(0, key(2), event("c", 2, "b", 2, 11))])
    run_once(write_job(tmp_path, servers, [first, second], more=more.format(f"{first}, {second}")))
    assert rows(tmp_path, "both") == [(1, "a", 1), (2, "b", 2)]


def test_start_latest_is_remembered(embedded_broker, topic, tmp_path):
    servers, table = embedded_broker.bootstrap_servers, table_of(topic)
    send(servers, topic, [(0, key(1), event("c", 1, "a", 1, 10))])
    file = write_job(tmp_path, servers, [topic])
    file.write_text(file.read_text().replace("topics:", "start: latest, topics:"))
    assert run_once(file).total("read") == 0
    send(servers, topic, [(0, key(2), event("c", 2, "b", 2, 11))])
    assert run_once(file).total("read") == 1
    assert rows(tmp_path, table) == [(2, "b", 2)]


def test_a_topic_that_is_not_there_is_named(embedded_broker, tmp_path):
    file = write_job(tmp_path, embedded_broker.bootstrap_servers, ["no.such.topic"])
    with pytest.raises(SourceError, match=r"there is no topic 'no.such.topic'"):
        run_once(file)


def test_a_topic_created_anew_is_not_taken_for_the_old_one(embedded_broker, topic, tmp_path):
    servers, table = embedded_broker.bootstrap_servers, table_of(topic)
    file = write_job(tmp_path, servers, [topic])
    send(servers, topic, [(0, key(1), event("c", 1, "a", 1, 10))])
    run_once(file)
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.delete_topics([topic])
    admin.close()
    embedded_broker.create_topic(topic, 2)
    send(servers, topic, [(0, key(n), event("c", n, "b", n, 20 + n)) for n in range(5)])
    error = run_once(file).tables[table].error
    assert f"the topic {topic} was deleted and created again" in error
    assert f"{topic}[0] at 1" in error
    assert rows(tmp_path, table) == [(1, "a", 1)]


ICEBERG = "{type: iceberg, namespace: shop, catalog: {type: sql, uri: 'sqlite:///c.db', warehouse: ./lake}}"


@pytest.mark.parametrize("target", ["{type: duckdb, path: out.duckdb}", "{type: delta, path: lake}", ICEBERG])
def test_a_table_begun_in_the_middle_is_proved_from_there(target, embedded_broker, topic, tmp_path):
    servers = embedded_broker.bootstrap_servers
    send(servers, topic, [(0, key(n), event("c", n, "a", n, 10 + n)) for n in range(4)])
    file = write_job(tmp_path, servers, [topic], target=target)
    file.write_text(file.read_text().replace("topics:", "start: latest, topics:"))
    run_once(file)
    send(servers, topic, [(n % 2, key(n), event("c", n, "b", n, 20 + n)) for n in range(2, 6)])
    assert run_once(file).total("applied") == 4
    (report,) = verify_job(load_job(file))
    assert report.ok, report.to_json()
    assert report.expected == 4
