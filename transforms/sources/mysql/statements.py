"""Statements of the binlog that change a table without its rows: what they do to it."""

import re
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

EMPTIES, LOSES = "empties", "loses"
"""It leaves no row; or what it did is not in the log, so that a new copy is needed."""
NAME: Final = r"(?:`(?:[^`]|``)+`|\"[^\"]+\"|[\w$\u0080-\uffff]+)"
TABLE: Final = rf"{NAME}(?:\s*\.\s*{NAME})?"
QUOTED: Final = r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`(?:[^`]|``)*`"
COMMENT: Final = re.compile(
    rf"({QUOTED})|/\*!(?:M?\d+)?(.*?)\*/|/\*.*?\*/|(?:--(?=\s|\Z)|#)[^\n]*", re.DOTALL | re.IGNORECASE
)
"""What is quoted is no comment; what stands in one that names a version is a part of the statement."""
PREFIX: Final = re.compile(r"SET\s+STATEMENT\s.*?\sFOR\s+(?=[A-Z])", re.IGNORECASE | re.DOTALL)
"""Of MariaDB: variables that hold for one statement."""
TRUNCATE: Final = re.compile(rf"TRUNCATE\s+(?:TABLE\s+)?({TABLE})", re.IGNORECASE)
DROP: Final = re.compile(rf"DROP\s+TABLES?\s+(?:IF\s+EXISTS\s+)?({TABLE}(?:\s*,\s*{TABLE})*)", re.IGNORECASE)
REPLACED: Final = re.compile(rf"CREATE\s+OR\s+REPLACE\s+TABLE\s+({TABLE})", re.IGNORECASE)
"""Of MariaDB: the table that was there is dropped with its rows."""
DROP_DATABASE: Final = re.compile(rf"DROP\s+(?:DATABASE|SCHEMA)\s+(?:IF\s+EXISTS\s+)?({NAME})", re.IGNORECASE)
RENAME: Final = re.compile(r"RENAME\s+TABLES?\s+(?:IF\s+EXISTS\s+)?(.*)", re.IGNORECASE | re.DOTALL)
PAIR: Final = re.compile(rf"({TABLE})\s+(?:WAIT\s+\d+\s+|NOWAIT\s+)?TO\s+({TABLE})", re.IGNORECASE)
ALTER: Final = re.compile(
    rf"ALTER\s+(?:ONLINE\s+|OFFLINE\s+|(IGNORE)\s+)*TABLE\s+(?:IF\s+EXISTS\s+)?({TABLE})(.*)", re.IGNORECASE | re.DOTALL
)
"""With IGNORE, rows that a new key does not allow go."""
MOVED: Final = re.compile(
    rf"\bRENAME\s+(?:TO\s+|AS\s+|=\s*)?(?!COLUMN\b|INDEX\b|KEY\b)({TABLE})\s*(?:,|$)", re.IGNORECASE
)
PARTITION: Final = re.compile(
    r"\b(?:(?:DROP|TRUNCATE|EXCHANGE|DISCARD|IMPORT)\s+(?:PARTITION|TABLESPACE)|CONVERT\s+(?:PARTITION|TABLE))\b",
    re.IGNORECASE,
)
CHANGES: Final = re.compile(r"(?:WITH|INSERT|UPDATE|DELETE|REPLACE|LOAD)\b", re.IGNORECASE)
WORDS: Final = re.compile(NAME)


class Effect(NamedTuple):
    """What a statement does to a table; `how` is EMPTIES or LOSES."""

    topic: str
    how: str


def effects(database: str, text: str, topics: Collection[str], *, folded: bool = False) -> Iterator[Effect]:
    """What a statement does to these tables, which are named `DATABASE.TABLE`.

    `folded`: the case of names does not count at this server (`lower_case_table_names`).
    """
    plain = PREFIX.sub("", _uncommented(text), count=1)
    if not folded:
        yield from (effect for effect in _found(database, plain, topics) if effect.topic in topics)
        return
    by_name = {topic.casefold(): topic for topic in topics}
    for topic, how in _found(database.casefold(), plain.casefold(), by_name):
        if topic.casefold() in by_name:
            yield Effect(by_name[topic.casefold()], how)


def _uncommented(text: str) -> str:
    kept = COMMENT.sub(lambda match: match[1] or match[2] or " ", text)
    return kept.strip().rstrip(";").strip()


def _found(database: str, text: str, topics: Collection[str]) -> Iterator[Effect]:
    if match := TRUNCATE.match(text) or REPLACED.match(text):
        yield Effect(_topic(database, match[1]), EMPTIES)
    elif match := DROP.match(text):
        for name in re.findall(TABLE, match[1]):
            yield Effect(_topic(database, name), EMPTIES)
    elif match := DROP_DATABASE.match(text):
        yield from (Effect(topic, EMPTIES) for topic in topics if topic.startswith(f"{_plain(match[1])}."))
    elif match := RENAME.match(text):
        for before, after in PAIR.findall(match[1]):
            yield Effect(_topic(database, before), LOSES)
            yield Effect(_topic(database, after), LOSES)
    elif match := ALTER.match(text):
        yield from _altered(database, _topic(database, match[2]), match[3], ignores=match[1] is not None)
    elif CHANGES.match(text):
        words = {_plain(word) for word in WORDS.findall(text)}
        yield from (Effect(topic, LOSES) for topic in topics if topic.partition(".")[2] in words)


def _altered(database: str, topic: str, rest: str, *, ignores: bool) -> Iterator[Effect]:
    if ignores or PARTITION.search(rest):
        yield Effect(topic, LOSES)
    if match := MOVED.search(rest):
        yield Effect(topic, LOSES)
        yield Effect(_topic(database, match[1]), LOSES)


def _topic(database: str, name: str) -> str:
    parts = [_plain(part) for part in WORDS.findall(name)]
    return ".".join(parts if len(parts) == 2 else [database, *parts])


def _plain(name: str) -> str:
    if name[0] in '`"':
        return name[1:-1].replace(name[0] * 2, name[0])
    return name
