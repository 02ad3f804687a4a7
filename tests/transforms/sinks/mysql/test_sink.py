"""What is MySQL's own: its types, names and limits, and what people see of its tables."""

import pyarrow as pa
import pymysql
import pytest
from support import mysql_target
from support.mysql_target import sql
from support.targets import Target, delete, delta, upsert

from millrace.schemas.errors import TableError, TerminalSinkError, TransientSinkError
from millrace.transforms.sinks.mysql import client
from millrace.transforms.sinks.mysql.columns import converts, physical
from millrace.transforms.sinks.mysql.row_text import encode, moments


@pytest.fixture
def target(tmp_path):
    found = Target("mysql", tmp_path)
    yield found
    found.close()


def types(target, table="orders"):
    query = "SELECT column_type FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s"
    name = mysql_target.database_of(target.folder)
    found = mysql_target.server().sql(f"{query} ORDER BY ordinal_position", [table], database=name)
    return [kind.replace("bigint(20)", "bigint").replace("int(11)", "int") for (kind,) in found]


def test_the_tables_have_the_types_of_the_mapping(target):
    kinds = {"a": pa.uint64(), "b": pa.timestamp("ms", "UTC"), "c": pa.decimal256(50, 2), "d": pa.duration("s")}
    kinds |= {"e": pa.time32("s"), "f": pa.binary(4), "g": pa.string(), "h": pa.decimal256(70, 2), "i": pa.binary()}
    kinds |= {"j": pa.timestamp("ns"), "k": pa.date32(), "l": pa.float16(), "m": pa.bool_(), "n": pa.float64()}
    target.key = ("id", "t")
    schema = [("id", pa.int64()), ("t", pa.string()), *kinds.items()]
    target.apply(upsert(1, id=1, t="x"), schema=pa.schema(schema))
    assert types(target) == [
        *("bigint", "varchar(745)", "bigint unsigned", "datetime(6)", "decimal(50,2)", "bigint", "time(6)"),
        *("binary(4)", "longtext", "varchar(82)", "longblob", "bigint", "date", "float", "tinyint(1)", "double"),
        "binary(32)",
    ]


def test_other_programs_read_the_rows(target):
    kinds = [("id", pa.int64()), ("tags", pa.list_(pa.string())), ("at", pa.timestamp("us", "UTC")), ("n", pa.uint64())]
    target.schema = pa.schema([*kinds, ("t", pa.time64("us")), ("f", pa.float32())])
    late = 100 * 3_600_000_000
    rows = delta(target.schema, [upsert(1, id=1, tags=["a", "b"], at=1_000_000, n=2**64 - 1, f=float("nan"))])
    rows = rows.set_column(4, "t", pa.array([late]).view(pa.time64("us")))
    target.commit([target.sink.stage(target.table(), rows)])
    query = "SELECT JSON_UNQUOTE(JSON_EXTRACT(tags, '$[1]')), CAST(at AS CHAR), n, CAST(t AS CHAR), f FROM orders"
    assert sql(target, query) == [("b", "1970-01-01 00:00:01.000000", 2**64 - 1, "100:00:00.000000", None)]
    assert (
        str(target.read()["f"][0].as_py()) == "nan" and target.read()["t"].chunk(0).view(pa.int64())[0].as_py() == late
    )


def test_keys_that_differ_in_case_accent_or_a_space_are_rows_of_their_own(target):
    target.key, target.schema = ("k",), pa.schema([("k", pa.string()), ("v", pa.string())])
    keys = ["a", "A", "a ", " a", "ä", "a\0", "", "x" * 768, "x" * 767 + "y"]
    target.apply(*(upsert(1, k=key, v=key) for key in keys))
    assert target.rows() == sorted(((key, key) for key in keys), key=repr)
    assert target.apply(delete(2, k="a "), upsert(1, k="A", v="late")) == (1, 1)
    assert ("a", "a") in target.rows() and ("a ", "a ") not in target.rows()


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (pa.string(), "x" * 769, "holds a value of 769 characters; a key of MySQL has room for 768"),
        (pa.binary(), b"x" * 3073, "holds a value of 3073 bytes; a key of MySQL has room for 3072"),
        (pa.float64(), float("nan"), "holds a value beyond MySQL's range"),
        (pa.string(), None, "holds NULL, which MySQL's primary keys do not"),
    ],
)
def test_a_key_that_no_primary_key_holds_is_refused_in_words(target, kind, value, message):
    target.key, target.schema = ("k",), pa.schema([("k", kind), ("v", pa.string())])
    with pytest.raises(TableError, match=f"the key column 'k' {message}"):
        target.apply(upsert(1, k=value, v="a"))
    assert target.sink.tables() == ()


@pytest.mark.parametrize("name", ["😀" * 3, "x" * 70, "ends with a space ", "ä" * 60])
def test_names_that_mysql_has_not_are_written_as_what_fits_of_them(target, name):
    assert physical(name) != name and len(physical(name)) <= 64 and "~" in physical(name)
    target.name, target.schema = name, pa.schema([("id", pa.int64()), (name, pa.string())])
    target.apply(upsert(1, **{"id": 1, name: "a"}), delete(1, id=2))
    assert target.rows() == [(1, "a")] and target.sink.tables() == (name,)


def test_rows_go_by_insert_where_load_data_is_not_let(target, monkeypatch):
    sent = []
    monkeypatch.setattr(client.Session, "_insert", lambda self, *more, real=client.Session._insert: (
        sent.append(more[0]), real(self, *more)))  # fmt: skip
    target.schema = pa.schema([("id", pa.int64()), ("v", pa.string()), ("b", pa.binary()), ("f", pa.float64())])
    odd = {"v": "'\\\n),\0😀", "b": bytes(range(256)), "f": 1e-300}
    on = mysql_target.server()
    ((before,),) = on.sql("SELECT @@GLOBAL.local_infile")
    on.sql("SET GLOBAL local_infile = 0")
    try:
        target.apply(*(upsert(1, id=number, **odd) for number in range(100)), upsert(1, id=100, v=None))
    finally:
        on.sql(f"SET GLOBAL local_infile = {before}")
    assert sent
    rows = {row.pop("id"): row for row in target.read().to_pylist()}
    assert rows[7] == odd and rows[100] == {"v": None, "b": None, "f": None} and len(rows) == 101


def test_pages_of_insert_keep_within_what_a_server_takes(target):
    con = target.sink._server.connect()
    con._local = False
    (most,) = con.run("SELECT @@max_allowed_packet")[0]
    con.con.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client.Session, "load", lambda self, relation, columns, rows: self._insert(
            f"INSERT INTO {relation} {columns} VALUES ", rows))  # fmt: skip
        target.apply(*(upsert(1, id=n, v="x" * (most // 5)) for n in range(8)))
        assert len(target.rows()) == 8
        with pytest.raises(
            TerminalSinkError, match="a row is larger than the server takes; raise its max_allowed_pack"
        ):
            target.apply(upsert(2, id=1, v="x" * most))
    assert target.next == 8


def test_what_load_data_only_warns_of_is_an_error(target):
    session = target.sink._server.connect()
    session.run("CREATE TABLE small (a tinyint)")
    rows = encode.encode([encode.cells(pa.array([1, 1000]))])
    with pytest.raises(pymysql.err.DataError, match="Out of range value"):
        session.load(session.name("small"), "(a)", rows)
    session.con.close()


def test_a_server_gets_no_file_that_it_asks_for(target, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("(1),\n")
    session = target.sink._server.connect()
    session.run("CREATE TABLE taken (a longtext)")
    with pytest.raises(RuntimeError, match="local_infile option is false"):
        session.run(f"LOAD DATA LOCAL INFILE '{secret}' INTO TABLE taken")
    session.con._force_close()
    session = target.sink._server.connect()
    rows = encode.encode([encode.cells(pa.array(["mine"]))])
    with pytest.raises(pymysql.err.OperationalError, match="the server did not ask for the rows"):
        session._load(f"LOAD DATA LOCAL INFILE '{secret}' INTO TABLE taken", rows.data)
    assert sql(target, "SELECT * FROM taken") == []


def test_a_trigger_that_refuses_is_told_and_nothing_is_committed(target):
    target.apply(upsert(1, id=1, v="a"))
    sql(
        target,
        "CREATE TRIGGER no BEFORE UPDATE ON orders FOR EACH ROW SIGNAL SQLSTATE '45000' SET message_text = 'no!'",
    )
    with pytest.raises(TerminalSinkError, match="no!"):
        target.apply(upsert(2, id=1, v="b"), upsert(2, id=2, v="c"))
    assert (target.rows(), target.next) == ([(1, "a")], 1)


def test_times_and_their_texts():
    numbers = pa.array([0, 1, -1, 86_399_999_999, 86_400_000_000, -3_020_399_000_000, None])
    texts = moments.moment_texts(pa.time64("us"), numbers)
    assert texts.to_pylist()[1:3] + texts.to_pylist()[4:] == [
        *("0:00:00.000001", "-0:00:00.000001", "24:00:00.000000", "-838:59:59.000000", None),
    ]
    assert moments.of_texts(pa.time64("us"), texts).tolist() == [*numbers.to_pylist()[:-1], 0]
    assert not converts(pa.date32(), pa.timestamp("ns")) and converts(pa.date32(), pa.timestamp("us"))


def test_staged_rows_that_were_left_behind_go_after_a_day(target):
    target.apply(upsert(1, id=1, v="a"))
    old, new = (f"_millrace_staged_1_{at:x}_{'a' * 24}" for at in (1_000_000_000, 9_000_000_000))
    for name in (old, new, "_millrace_staged_mine"):
        sql(target, f"CREATE TABLE {name} (a int)")
    target.reopen()
    target.apply(upsert(2, id=1, v="b"))
    target.close()
    found = {name for (name,) in sql(target, "SHOW TABLES") if name.startswith("_millrace_staged")}
    assert found == {new, "_millrace_staged_mine"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"password": "wrong"}, "target.username or target.password are wrong"),
        ({"port": 1}, "does not answer"),
        ({"sslmode": "verify-full"}, "see target.sslmode and target.sslrootcert"),
    ],
)
def test_a_server_that_lets_nobody_in_is_told_in_one_sentence(target, options, message):
    target.options = options
    with pytest.raises((TerminalSinkError, TransientSinkError), match=message) as caught:
        target.apply(upsert(1, id=1, v="a"))
    assert "\n" not in str(caught.value) and mysql_target.WRITER_PASSWORD not in str(caught.value)


def test_a_certificate_is_checked(target):
    target.options = {"sslmode": "verify-ca", "sslrootcert": str(mysql_target.server().certificate)}
    target.apply(upsert(1, id=1, v="a"))
    assert target.sink._open.run("SHOW STATUS LIKE 'Ssl_cipher'")[0][1]
