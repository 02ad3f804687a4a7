"""Canal's flat messages in the shapes that its documentation, and Flink's, show."""

from support.plain_messages import changes, decoded, words

from millrace.schemas.model.route import OnTruncate

TYPES = {"id": "int64", "weight": "decimal(9,2)"}


def message(kind, data, **more):
    value = {"data": data, "database": "inventory", "es": 1_589_373_560_000, "id": 9, "isDdl": False}
    value |= {"mysqlType": {"id": "INTEGER", "weight": "FLOAT"}, "old": None, "pkNames": ["id"], "sql": ""}
    return value | {"sqlType": {"id": 4}, "table": "e", "ts": 1_589_373_560_798, "type": kind} | more


def test_one_message_holds_a_change_of_each_row():
    rows = [{"id": "111", "name": "scooter", "weight": "5.18"}, {"id": "112", "name": None, "weight": None}]
    old = [{"weight": "5.15"}, {"weight": "1"}]
    done = decoded("canal", [message("INSERT", rows), message("UPDATE", rows, old=old)], columns=TYPES)
    assert done.key == ("id",) and done.letters == []
    assert [(sign, row["id"], str(row.get("weight"))) for sign, row in changes(done)] == [
        *(("+", 111, "5.18"), ("+", 112, "None")) * 2
    ]
    assert words(done) == [(0, 0, 0), (0, 0, 0), (0, 0, 1), (0, 0, 1)]
    assert (done.read, done.filtered) == (4, 0)


def test_rows_that_swap_keys_in_one_statement_end_where_they_went():
    data = [{"id": "3", "name": "was two"}, {"id": "2", "name": "was one"}]
    done = decoded("canal", [message("UPDATE", data, old=[{"id": "2"}, {"id": "1"}])])
    assert changes(done) == [("-", {"id": "1"}), ("+", data[0]), ("+", data[1])]


def test_a_row_that_one_statement_changes_twice_is_what_it_was_in_the_end():
    data = [{"id": "2", "n": "a"}, {"id": "3", "n": "b"}]
    done = decoded("canal", [message("UPDATE", data, old=[{"id": "1"}, {"id": "2"}])])
    assert changes(done) == [("-", {"id": "1"}), ("-", {"id": "2"}), ("+", data[1])]
    assert (done.read, done.filtered) == (2, 1)


def test_statements_are_no_changes_and_a_truncate_is_one_of_the_table():
    ddl = message("ALTER", None, isDdl=True, pkNames=None, mysqlType=None, sqlType=None, sql="alter table e")
    done = decoded("canal", [ddl, message("TRUNCATE", None, isDdl=True)], on_truncate=OnTruncate.APPLY)
    assert (done.filtered, done.truncates, done.letters) == (1, 1, [])


def test_a_message_that_cannot_be_is_one_dead_letter_whatever_rows_it_has():
    rows = [{"id": "1", "n": "a"}, {"id": "2", "n": "b"}]
    done = decoded("canal", [message("UPDATE", rows, old=[{}]), message("INSERT", rows, table=None)])
    assert [(letter.offset, letter.error) for letter in done.letters] == [
        (1, "a change without the names of its database and table"),
        (0, "old has another number of rows than data"),
    ]
    assert done.read == 2
