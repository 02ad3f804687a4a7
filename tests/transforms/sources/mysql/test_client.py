"""The parts of PyMySQL that are not public, and what is read through them, beside what its cursor gives."""

import os
from contextlib import closing

import numpy as np
import pytest
from support.mysql_server import KINDS, ROLE, ROLE_PASSWORD, server

from millrace.schemas.errors import JobError, LostOffsetsError
from millrace.transforms.mysql_protocol.packets import count_rows, fill_fields
from millrace.transforms.sources.mysql.client import BinlogDump, MySqlSettings, Session

QUERY = (
    "SELECT 1, NULL, '', repeat('a', 250), repeat('b', 251), repeat('c', 70000), repeat('d', 17000000) "
    "UNION ALL SELECT 2, 'x', NULL, '', repeat('e', 65535), NULL, 'y'"
)


@pytest.fixture(params=sorted(KINDS))
def place(request):
    os.environ["CLIENT_TEST"] = ROLE_PASSWORD
    found = server(request.param)
    found.sql("SET GLOBAL max_allowed_packet = 67108864")
    return found


def settings(place, mode="prefer", certificate=None):
    return MySqlSettings("127.0.0.1", place.port, ROLE, "${env:CLIENT_TEST}", mode, certificate, None)


@pytest.mark.parametrize("mode", ["disable", "verify-ca"])
def test_raw_rows_are_those_of_the_cursor(place, mode):
    certificate = str(place.certificate) if mode == "verify-ca" else None
    if place.name == "mysql" and mode == "disable":
        pytest.skip("MySQL's way of authentication wants TLS, or its key")
    with closing(Session(settings(place, mode, certificate))) as session:
        data = np.frombuffer(session.copied(QUERY), np.uint8)
        count = count_rows(data)
        at, size = np.empty((7, count), np.int64), np.empty((7, count), np.int64)
        assert fill_fields(data, at, size)
        rows = [
            tuple(
                None if size[i, n] < 0 else data[at[i, n] : at[i, n] + size[i, n]].tobytes().decode() for i in range(7)
            )
            for n in range(count)
        ]
        assert rows == [(str(row[0]), *row[1:]) for row in session.rows(QUERY)]
        with pytest.raises(JobError, match="denied"):
            session.copied("SELECT * FROM mysql.nothing INTO OUTFILE '/tmp/none'")
        assert session.rows("SELECT 1") == [(1,)]


def test_a_certificate_that_is_not_trusted_is_said(place, tmp_path):
    with pytest.raises(JobError, match=r"source\.sslrootcert"):
        Session(settings(place, "verify-full"))


def test_a_place_that_the_log_has_not_is_lost(place):
    with closing(BinlogDump(settings(place), "binlog.999999", 4)) as dump, pytest.raises(LostOffsetsError):
        dump.events(1 << 20, 10.0)


def test_the_server_s_defaults_do_not_say_what_is_read(place):
    """Rows of an open transaction are not read, and no row is left out."""
    place.sql("SET GLOBAL TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
    place.sql("SET GLOBAL sql_select_limit = 1")
    place.sql("CREATE DATABASE IF NOT EXISTS defaults")
    try:
        with place.connect(autocommit=False) as other, other.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS defaults.t (id int)")
            cursor.execute("INSERT INTO defaults.t VALUES (1), (2)")
            other.commit()
            cursor.execute("INSERT INTO defaults.t VALUES (3)")
            with closing(Session(settings(place))) as session:
                assert session.rows("SELECT id FROM defaults.t ORDER BY id") == [(1,), (2,)]
    finally:
        place.sql("SET GLOBAL TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        place.sql("SET GLOBAL sql_select_limit = 18446744073709551615")
        place.sql("DROP DATABASE defaults")
