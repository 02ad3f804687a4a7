"""Events without rows, as real servers write them and as the format says."""

import struct

import pytest
from support.binlog_events import Written, written
from support.mysql_server import server

from millrace.schemas.errors import SourceError
from millrace.transforms.sources.mysql.binlog import event_types as types
from millrace.transforms.sources.mysql.binlog.control import (
    Query,
    Rotate,
    format_description,
    gtid,
    mariadb_gtid,
    mariadb_gtids,
    previous_gtids,
    query,
    rotate,
    tagged_gtid,
)


def bodies(found: Written, kind: int) -> list[bytes]:
    return [found.events.body(int(i)) for i in found.events.of_kind(kind)]


def statements(kind: str, *texts: str, charset: str = "utf8mb4") -> Written:
    database = server(kind)
    database.sql("FLUSH BINARY LOGS")
    with database.connect(charset=charset) as con, con.cursor() as cursor:
        for text in texts:
            cursor.execute(text)
    return written(database)


def test_gtids_of_mysql_go_on_behind_those_of_the_files_before():
    found = statements("mysql", "DROP DATABASE IF EXISTS control_mysql", "CREATE DATABASE control_mysql")
    uuid = server("mysql").sql("SELECT @@server_uuid")[0][0]
    first, second = (gtid(body) for body in bodies(found, types.GTID))
    (before,) = bodies(found, types.PREVIOUS_GTIDS)
    assert previous_gtids(before)[uuid][-1][1] == first.number
    assert (second.source, second.number, second.text) == (uuid, first.number + 1, f"{uuid}:{first.number + 1}")


def test_gtids_with_a_tag_are_read():
    found = statements(
        "mysql", "SET gtid_next = 'AUTOMATIC:some_tag'", "DROP DATABASE IF EXISTS control_mysql",
        "SET gtid_next = 'AUTOMATIC'", "CREATE DATABASE control_mysql",
    )  # fmt: skip
    uuid = server("mysql").sql("SELECT @@server_uuid")[0][0]
    tagged = [tagged_gtid(body) for body in bodies(found, types.TAGGED_GTID)]
    assert [one.source for one in tagged] == [f"{uuid}:some_tag"] and tagged[0].number >= 1
    last = tagged[0].number
    server("mysql").sql("FLUSH BINARY LOGS")
    (before,) = bodies(written(server("mysql")), types.PREVIOUS_GTIDS)
    assert previous_gtids(before)[f"{uuid}:some_tag"] == [(1, last + 1)]
    assert uuid in previous_gtids(before)


def test_gtids_of_mariadb_name_domain_and_server():
    found = statements("mariadb", "SET gtid_domain_id = 7", "CREATE OR REPLACE DATABASE control_mariadb")
    (number,) = found.events.of_kind(types.MARIADB_GTID)
    one = mariadb_gtid(found.events.body(int(number)), int(found.events.server[number]))
    assert (one.source, one.text, one.alone) == ("7-1", f"7-1-{one.number}", True)
    server("mariadb").sql("FLUSH BINARY LOGS")
    (listed,) = bodies(written(server("mariadb")), types.MARIADB_GTID_LIST)
    assert (one.source, one.number) in {(each.source, each.number) for each in mariadb_gtids(listed)}


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
@pytest.mark.parametrize("charset", ["utf8mb4", "latin1"])
def test_a_statement_is_read_in_its_clients_character_set(kind, charset):
    name = f"control_{kind}_ü"
    found = statements(
        kind, f"DROP DATABASE IF EXISTS `{name}`", f"CREATE DATABASE `{name}`", f"USE `{name}`",
        "CREATE TABLE `tä` (id INT PRIMARY KEY)", charset=charset,
    )  # fmt: skip
    last = query(bodies(found, types.QUERY)[-1])
    assert last == Query(name, "CREATE TABLE `tä` (id INT PRIMARY KEY)", 0)


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_a_file_names_the_one_that_follows(kind):
    server(kind).sql("FLUSH BINARY LOGS")
    file = written(server(kind)).stored.place.file
    server(kind).sql("FLUSH BINARY LOGS")
    name, _, number = file.rpartition(".")
    path = server(kind).folder / "data" / file
    body = path.read_bytes()[: -types.CHECKSUM][-(8 + len(file)) :]
    assert rotate(body) == Rotate(f"{name}.{int(number) + 1:06d}", 4)


def test_another_version_of_the_log_is_refused():
    body = struct.pack("<H50sIB", 3, b"4.0.20", 0, 19) + bytes(40)
    with pytest.raises(SourceError, match="the binlog has version 3, and only 4 is read"):
        format_description(body)
