"""`binlog_to_arrow` beside mysql-replication: the binlog of a MariaDB to Arrow, by our loops and by rows of Python."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import feather

from millrace.transforms.sources.mysql.binlog import event_types as types
from millrace.transforms.sources.mysql.binlog.columns import struct_of
from millrace.transforms.sources.mysql.binlog.events import Place, split
from millrace.transforms.sources.mysql.binlog.rows import find_rows
from millrace.transforms.sources.mysql.binlog.table_map import TableMap, table_map

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support.downloads import kept
from support.mysql_server import PASSWORD, USER, MariaDb

PEER = "mysql-replication==1.0.17"
BLOCK = 4 << 20
MAGIC = 4
"""Bytes of a file before its first event."""
COMPARED = 20_000
"""Rows of which both programs' columns are compared."""
A_COMMIT = 10_000
TABLE = (
    "CREATE TABLE orders (id BIGINT PRIMARY KEY, customer VARCHAR(40), quantity INT, amount DECIMAL(12,2), "
    "updated_at DATETIME(6), note VARCHAR(80), active TINYINT, weight DOUBLE) CHARACTER SET utf8mb4"
)
ROWS = (
    "INSERT INTO orders SELECT seq, CONCAT('customer ', seq % 1000), seq % 100, seq / 7, '2024-01-01' + INTERVAL seq "
    "SECOND, CONCAT('a note that tells of order ', seq, ' what a person wrote beside it'), seq % 2, seq * 0.25 "
    "FROM seq_{first}_to_{last}"
)


@contextmanager
def written(rows: int) -> Iterator[dict[str, Any] | None]:
    """A server whose newest file holds so many inserted rows; None, and why on stderr, where it cannot be had."""
    reason = MariaDb.missing()
    if reason is not None:
        print(f"no figures of the binlog: {reason}", file=sys.stderr)
        yield None
        return
    server = MariaDb()
    try:
        server.sql("CREATE DATABASE bench")
        server.sql(TABLE, database="bench")
        server.sql("SET GLOBAL max_binlog_size = 1073741824")
        server.sql("FLUSH BINARY LOGS")
        for first in range(1, rows, A_COMMIT):
            server.sql(ROWS.format(first=first, last=first + A_COMMIT - 1), database="bench")
        name = server.sql("SHOW BINARY LOGS")[-1][0]
        yield {"port": server.port, "file": str(server.folder / "data" / name), "peer": str(peer_files()), "rows": rows}
    finally:
        server.close()


def peer_files() -> Path:
    """The folder of the peer's package and of what it needs."""

    def make(folder: Path) -> Path:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--target", str(folder / "files"), PEER], check=True)
        return folder / "files"

    return kept("mysql-replication-1.0.17", make)


def _blocks(data: bytes) -> Iterator[bytes]:
    """Whole events, about BLOCK bytes at a time."""
    first = p = 0
    while p < len(data):
        p += int.from_bytes(data[p + 9 : p + 13], "little")
        if p - first >= BLOCK or p == len(data):
            yield data[first:p]
            first = p


def _structs(file: str) -> Iterator[pa.StructArray]:
    table: TableMap | None = None
    for block in _blocks(Path(file).read_bytes()[MAGIC:]):
        events = split(block, Place(file, MAGIC), checksum=True)
        described = events.of_kind(types.TABLE_MAP)
        if len(described):
            table = table_map(events.body(int(described[0])), mariadb=True)
        found = events.of_kind(*types.ROWS)
        if table is not None and len(found):
            yield struct_of(events.data, find_rows(events.only(found), table).after, table)


def ours(arguments: dict[str, Any]) -> Callable[[], int]:
    """From the file's bytes, checksums verified, to Arrow columns of all rows."""
    first = next(_structs(arguments["file"]))[:COMPARED]
    _keep(arguments, pa.Table.from_struct_array(first))
    return lambda: sum(len(struct) for struct in _structs(arguments["file"]))


def theirs(arguments: dict[str, Any]) -> Callable[[], int]:
    """A tenth of the rows, as a person would write it: rows of dicts, and a table of Arrow made of them."""
    rows = _rows(arguments)
    _keep(arguments, pa.Table.from_pylist(list(islice(rows, COMPARED))))

    def measured() -> int:
        count = 0
        while count < arguments["rows"] // 10:
            count += len(pa.Table.from_pylist(list(islice(rows, COMPARED))))
        return count

    return measured


def _rows(arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    sys.path.append(arguments["peer"])
    from pymysqlreplication import BinLogStreamReader
    from pymysqlreplication.row_event import WriteRowsEvent

    server = {"host": "127.0.0.1", "port": arguments["port"], "user": USER, "passwd": PASSWORD}
    stream = BinLogStreamReader(
        connection_settings=server,
        server_id=99,
        log_file=Path(arguments["file"]).name,
        log_pos=MAGIC,
        only_events=[WriteRowsEvent],
    )
    return (row["values"] for event in stream for row in event.rows)


def _keep(arguments: dict[str, Any], table: pa.Table) -> None:
    feather.write_feather(table, Path(arguments["folder"]) / "first.arrow")


def same_rows(left: Path, right: Path) -> bool:
    """Whether the first rows of both are the same, in our types."""
    a, b = (feather.read_table(folder / "first.arrow") for folder in (left, right))
    return bool(a.num_rows == COMPARED and a.equals(b.select(a.column_names).cast(a.schema)))
