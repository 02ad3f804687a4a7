"""The files of a change log under test, as any reader would list them."""

import pyarrow as pa
import pyarrow.parquet as pq

from support.change_logs import LogTarget, logged


def again(log) -> LogTarget:
    """Another writer of the same job to the same place."""
    return LogTarget(log.kind, log.folder, log.options)


def files(log) -> list[str]:
    """Names of all files of changes, as any reader would list them."""
    return [name for name in log.sink._store.names("orders") if "/_" not in name]


def listed_offsets(log) -> list[int]:
    """Offsets of all changes in all files, without a look at the ledger."""
    found = [pq.read_table(pa.BufferReader(log.sink._store.read(name))) for name in files(log)]
    return sorted(pa.concat_tables(found, promote_options="default")["_millrace_offset"].to_pylist())


def range_of(*offsets: int, **more) -> list:
    """A change of each of these offsets; the row's id is the offset."""
    return [logged(offset, id=offset, **more) for offset in offsets]
