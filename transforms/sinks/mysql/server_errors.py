"""Errors of MySQL and MariaDB by number: which pass by themselves, and what a person has to do about the others."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about errors of these numbers, or with these words; `passes`: another try may succeed."""

    numbers: frozenset[int]
    said: str
    words: tuple[str, ...] = ()
    passes: bool = False


NOT_LOCAL: Final = frozenset({1148, 3948, 4166, 2068})
"""LOAD DATA LOCAL is not let."""
LOST: Final = frozenset({2002, 2003, 2006, 2013, 2014, 2055, 1053, 1152, 1158, 1159, 1160, 1161, 1077, 1079})
"""The connection, or the server behind it."""
PASSING: Final = frozenset({1205, 1213, 1180, 1040, 1203, 1226, 1317, 1412, 1614, 1637, 3024, 1969, 3101, 1927, 4031})
"""Locks, deadlocks, limits on connections and statements that others ended."""
UNKNOWN_TABLE: Final = 1146
VALUES: Final = frozenset({1062, 1264, 1265, 1292, 1366, 1367, 1406, 1411, 1690, 3140, 3141, 3156, 1048})
"""A value that a column does not take."""
TLS: Final = "the server's certificate is not trusted, or it has no TLS; see target.sslmode and target.sslrootcert"
ADVICE: Final = (
    Advice(frozenset({1045, 1698, 1251}), "target.username or target.password are wrong"),
    Advice(
        frozenset({1049}), "the database {database!r} does not exist; CREATE DATABASE it, or correct target.database"
    ),
    Advice(
        frozenset({1044, 1142, 1143, 1227, 1370}),
        "the database {database!r} does not exist, or the user of target.username has no permission in it: GRANT ALL "
        "on it to this user",
    ),
    Advice(frozenset({1130}), "the server does not let in this user from here"),
    Advice(frozenset({2026, 3159}), TLS, ("certificate", "CERTIFICATE", "SSL is required")),
    Advice(
        frozenset({1290, 1836, 3098}),
        "the server is read-only; connect to the primary, or let this user write",
        ("read-only",),
        passes=True,
    ),
    Advice(
        frozenset({1114, 1021, 1037, 1038, 1041}),
        "the server has no room; nothing was committed, make some and run again",
        ("No space left", "error 28"),
        passes=True,
    ),
    Advice(frozenset({1118, 1117}), "the table has more, or wider, columns than a row of MySQL can have"),
    Advice(frozenset({1071, 1070}), "the key has more, or wider, columns than a key of MySQL can have"),
    Advice(frozenset({1153}), "a row is larger than the server takes; raise its max_allowed_packet"),
    Advice(frozenset({1060}), "two columns have one name in MySQL; rename one at the source"),
    Advice(frozenset({1665}), "the server's binlog_format is STATEMENT; set it to ROW or MIXED"),
)
