"""Samples of what Millrace stores, one for each version of a format, in `tests/data/stored`.

`python tests/support/stored_samples.py` writes those of the newest versions; older ones stay as they are.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from millrace.schemas.model.connector_mark import ConnectorMark  # noqa: E402
from millrace.schemas.model.dead_letter import DeadLetter  # noqa: E402
from millrace.schemas.model.ledger import TopicPartition  # noqa: E402
from millrace.schemas.model.source_mark import Climb, SourceMark  # noqa: E402
from millrace.transforms.dead_letters import DeadLetterFiles, letters_at  # noqa: E402
from support import mysql_target, postgres_server  # noqa: E402
from support.bigquery_tables import Row, Table  # noqa: E402
from support.change_logs import LogTarget, logged  # noqa: E402
from support.iceberg_tables import opened  # noqa: E402
from support.targets import PLACES, Target, bigquery_tables, delete, position, upsert  # noqa: E402

STORED = ROOT / "tests" / "data" / "stored"
VERSION = 1
VERSIONS = {"dead_letters": 2}
"""Of the kinds whose newest version is another one."""
ROWS = [(1, "new"), (3, "c")]
NEXT = 6
CLIMBED = SourceMark(climbs=(Climb("shop", 4, (5, 1), (7, 2), 1_600_000_000_000, 1_700_000_000_000, 101, (101,)),))
MARK = SourceMark({"shop": ConnectorMark((7, 2), 1_700_000_000_000, (101,))})
HEADERS = (("trace", b"1"), ("empty", None))
LETTER = DeadLetter("orders", 0, 7, 1_000, b"key", b"value", 3, "decode", "a byte too many", HEADERS)


def fill(target: Target) -> None:
    """Two rows and two tombstones, a TRUNCATE below them all, five offsets."""
    target.commit([], target.account(0, 0, 1), truncate=position(5), truncates={})
    target.apply(upsert(10, id=1, v="a"), upsert(10, id=2, v="b"), upsert(10, id=3, v="c"))
    target.apply(upsert(20, id=1, v="new"), delete(20, id=2), marks={TopicPartition("orders", 0): CLIMBED})


def fill_log(log: LogTarget) -> None:
    """Three changes of one key."""
    log.log(logged(0, id=1, v="a"), logged(1, id=1, v="b"), logged(2, "delete", id=1))


def keep_folder(folder: Path, sample: Path) -> None:
    shutil.copytree(folder, sample, ignore=lambda _, names: [name for name in names if "staging" in name])


def restore_folder(sample: Path, folder: Path) -> None:
    shutil.copytree(sample, folder, dirs_exist_ok=True)


def keep_duckdb(folder: Path, sample: Path) -> None:
    """In small blocks: a sixteenth of the size."""
    sample.mkdir(parents=True)
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{folder / 'warehouse.duckdb'}' AS a (READ_ONLY)")
        con.execute(f"ATTACH '{sample / 'warehouse.duckdb'}' AS b (BLOCK_SIZE 16384)")
        con.execute("COPY FROM DATABASE a TO b")


def keep_postgres(folder: Path, sample: Path) -> None:
    """By table its columns, keys and rows as JSON."""
    schema, kept = postgres_server.schema_of(folder), {}
    names = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace::regnamespace::text = quote_ident(%s)"
    for (table,) in postgres_server.server().sql(names, [schema]):
        columns = "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass "
        relation = f'"{schema}"."{table}"'
        found = postgres_server.server().sql(f"{columns} AND attnum > 0 ORDER BY attnum", [relation])
        rows = postgres_server.server().sql(f"SELECT row_to_json(t) FROM {relation} t")
        keys = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p' AND conrelid = %s::regclass"
        declared = [f'"{name}" {kind}' for name, kind in found]
        declared += [key for (key,) in postgres_server.server().sql(keys, [relation])]
        unique = "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE NOT indisprimary AND indrelid = %s::regclass"
        indexes = [
            text.replace(f'"{schema}"', "SCHEMA") for (text,) in postgres_server.server().sql(unique, [relation])
        ]
        kept[table] = {"declared": declared, "indexes": indexes, "rows": [row for (row,) in rows]}
    sample.mkdir(parents=True)
    (sample / "tables.json").write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def restore_postgres(sample: Path, folder: Path) -> None:
    postgres_server.place(folder)
    schema = postgres_server.schema_of(folder)
    for table, kept in json.loads((sample / "tables.json").read_text()).items():
        relation = f'"{schema}"."{table}"'
        postgres_server.server().sql(f"CREATE TABLE {relation} ({', '.join(kept['declared'])})")
        for index in kept["indexes"]:
            postgres_server.server().sql(index.replace("SCHEMA", f'"{schema}"'))
        for row in kept["rows"]:
            filled = f"INSERT INTO {relation} SELECT * FROM json_populate_record(NULL::{relation}, %s::json)"
            postgres_server.server().sql(filled, [json.dumps(row)])
        postgres_server.server().sql(f"ALTER TABLE {relation} OWNER TO {postgres_server.ROLE}")


def keep_mysql(folder: Path, sample: Path) -> None:
    """By table, as JSON, the statement that makes it and its rows, bytes as hexadecimal digits."""
    kept, on, database = {}, mysql_target.server("mariadb"), mysql_target.database_of(folder)
    for (name,) in on.sql("SHOW TABLES", database=database):
        if "_staged_" in name:
            continue
        ((_, made),) = on.sql(f"SHOW CREATE TABLE {mysql_target.quote(name)}", database=database)
        rows = on.sql(f"SELECT * FROM {mysql_target.quote(name)}", database=database)
        cells = [[{"hex": one.hex()} if isinstance(one, bytes) else one for one in row] for row in rows]
        kept[name] = {"made": made, "rows": cells}
    sample.mkdir(parents=True)
    (sample / "tables.json").write_text(json.dumps(kept, indent=1, sort_keys=True, default=str) + "\n")


def restore_mysql(sample: Path, folder: Path) -> None:
    mysql_target.place(folder)
    on, database = mysql_target.server("mariadb"), mysql_target.database_of(folder)
    for name, kept in json.loads((sample / "tables.json").read_text()).items():
        on.sql(kept["made"], database=database)
        for row in kept["rows"]:
            values = [bytes.fromhex(one["hex"]) if isinstance(one, dict) else one for one in row]
            filled = f"INSERT INTO {mysql_target.quote(name)} VALUES ({', '.join(['%s'] * len(row))})"
            on.sql(filled, values, database=database)


def keep_bigquery(folder: Path, sample: Path) -> None:
    """By table, as JSON, its resource and what each change of a key is, and the rows as Parquet."""
    sample.mkdir(parents=True)
    for name, table in bigquery_tables(folder).items():
        changes = [[row.sequence, row.deleted] for row in table.rows.values()]
        rows = [row.values for row in table.rows.values()]
        schema = pa.schema([(part.name, part.arrow) for part in table.columns])
        (sample / f"{name}.json").write_text(json.dumps([table.json(), changes], indent=1, sort_keys=True) + "\n")
        pq.write_table(pa.Table.from_pylist(rows, schema), sample / f"{name}.parquet")


def restore_bigquery(sample: Path, folder: Path) -> None:
    Target("bigquery", folder).sink.close()
    tables = bigquery_tables(folder)
    for file in sample.glob("*.json"):
        resource, changes = json.loads(file.read_text())
        table = Table.make(file.stem, resource)
        rows = pq.read_table(file.with_suffix(".parquet")).to_pylist()
        for (sequence, deleted), row in zip(changes, rows, strict=True):
            table.rows[tuple(row[name] for name in table.key)] = Row(tuple(sequence), deleted, row)
        tables[file.stem] = table


KEEP: dict[str, Callable[[Path, Path], None]] = {
    "bigquery": keep_bigquery,
    "delta": keep_folder,
    "duckdb": keep_duckdb,
    "files": keep_folder,
    "mysql": keep_mysql,
    "postgres": keep_postgres,
}
RESTORE: dict[str, Callable[[Path, Path], None]] = {
    "bigquery": restore_bigquery,
    "delta": restore_folder,
    "duckdb": restore_folder,
    "files": restore_folder,
    "mysql": restore_mysql,
    "postgres": restore_postgres,
}


def sample_of(kind: str, version: int | None = None) -> Path:
    return STORED / f"{kind}-{version or VERSIONS.get(kind, VERSION)}"


def keep_iceberg(folder: Path, sample: Path) -> None:
    """The table's properties, in which the ledger and the stream's columns are; the files are Iceberg's own."""
    found = opened(Target("iceberg", folder)).properties
    sample.mkdir(parents=True)
    own = {name: text for name, text in found.items() if name.startswith("millrace.")}
    (sample / "properties.json").write_text(json.dumps(own, indent=1, sort_keys=True) + "\n")


def write(kind: str) -> None:
    """The sample of one target."""
    with tempfile.TemporaryDirectory() as folder:
        if kind == "files":
            target: Target = LogTarget(kind, Path(folder), PLACES[kind](Path(folder)))
            fill_log(target)
        else:
            target = Target(kind, Path(folder))
            fill(target)
        target.close()
        shutil.rmtree(sample_of(kind), ignore_errors=True)
        (keep_iceberg if kind == "iceberg" else KEEP[kind])(Path(folder), sample_of(kind))


def write_dead_letters() -> None:
    sample = sample_of("dead_letters")
    shutil.rmtree(sample, ignore_errors=True)
    DeadLetterFiles(letters_at(sample), "shop", datetime(2026, 1, 2, tzinfo=UTC)).write([LETTER])


def main(kinds: list[str]) -> None:
    for kind in kinds or [*KEEP, "iceberg", "dead_letters"]:
        if kind == "dead_letters":
            write_dead_letters()
        else:
            write(kind)


if __name__ == "__main__":
    main(sys.argv[1:])
