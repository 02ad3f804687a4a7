"""One Iceberg table of rows by key, open for writing: its newest snapshot, and where the row of each key stands.

Rows are found by key columns only. Keys of a data file are read when the file may hold one that is looked for (its
bounds, its partition), and then stay in an index, which follows the commits made here; after another writer's commit
the files that it changed are read again. Where the index would outgrow its share of memory, keys are read each time.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ...shared.guard import above
from ..catalog.catalog import IcebergCatalog
from ..table_format.columns import Shape, read_shape
from ..table_format.data_files import Files, Numbers
from ..table_format.manifests import Layout, Live, Numbering, read_layout, united
from ..table_format.snapshots import COMMIT, Change, Producer
from .digests import Digests, digest
from .file_pruning import candidates
from .row_index import ROW_BITS, RowIndex, places

MERGED_DELETES: Final = 2


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of the table that have one of the keys looked for; int64 arrays with an item for each such row.

    `row` is which of the keys, `number` that of the data file, `at` the row in the file, `slot` that of the index, -1
    where the row was found without it.
    """

    row: Numbers
    number: Numbers
    at: Numbers
    slot: Numbers

    def where(self, mask: Any) -> "Found":
        return Found(self.row[mask], self.number[mask], self.at[mask], self.slot[mask])

    def by_file(self) -> Iterable[tuple[int, Numbers]]:
        """(file number, which of these) of each file."""
        order = np.argsort(self.number, kind="stable")
        numbers, starts = np.unique(self.number[order], return_index=True)
        return zip(numbers.tolist(), np.split(order, starts[1:]), strict=True) if len(numbers) else ()


class KeyedTable:
    """A table's newest snapshot with an index of its keys. Not thread-safe.

    `memory` is what the index may take, in bytes. `recent`: the snapshot comes of a commit made here. `swept` is the
    sequence number that maintenance saw last, `_indexed` the numbers of the files whose keys are in the index.
    """

    def __init__(self, catalog: IcebergCatalog, name: str, memory: int) -> None:
        self.catalog, self.name, self._memory = catalog, name, memory
        self.table: Any = None
        self.recent = False
        self.swept = 0
        self.shape: Shape | None = None
        self.layout = Layout()
        self.numbering = Numbering()
        self._index = RowIndex()
        self._indexed: set[int] = set()

    @property
    def files(self) -> Files:
        return Files.of(self.table)

    def refresh(self) -> bool:
        """Read the newest snapshot; whether there is a table. Raises TerminalSinkError for one that others changed."""
        self.recent = False
        self._take(self.catalog.load(self.name))
        return self.table is not None

    def known(self) -> bool:
        """As `refresh`, but a snapshot that was committed here just now is taken for the newest.

        Where it is not, the next commit ends in a Conflict.
        """
        return self.recent or self.refresh()

    def _take(self, table: Any) -> None:
        if table is None or (self.table is not None and table.metadata.table_uuid != self.table.metadata.table_uuid):
            self.layout, self._index, self._indexed = Layout(), RowIndex(), set()
        if self.table is None and table is not None:
            self.swept = table.metadata.last_sequence_number
        self.table = table
        self.shape = None if table is None else read_shape(table.properties, table.schema(), self.name)
        if table is not None and table.metadata.current_snapshot_id != self.layout.snapshot_id:
            self._follow(read_layout(table, self.layout, self.numbering))

    def _follow(self, layout: Layout) -> None:
        """Another writer's snapshot: files that are gone or have other deletes are no longer indexed."""
        before = {path: {part.path for part in file.deletes} for path, file in self.layout.files.items()}
        now = {path: {part.path for part in file.deletes} for path, file in layout.files.items()}
        changed = {self.numbering.of(path) for path, deletes in before.items() if now.get(path) != deletes}
        self._forget(changed)
        self.layout = layout

    def _forget(self, numbers: set[int]) -> None:
        if numbers & self._indexed:
            self._index.forget(numbers & self._indexed)
            self._indexed -= numbers

    def find(self, keys: Sequence[pa.Array]) -> Found:
        """All live rows with one of these keys, whose columns are of stored types and in the key's order."""
        wanted = digest(keys)
        files = [file for file in self.layout.files.values() if file.number not in self._indexed]
        streamed = []
        if files:
            assert self.shape is not None
            for file in candidates(self.table, self.shape, files, dict(zip(self.shape.key_ids, keys, strict=True))):
                if not self._index.fits(file.rows, self._memory):
                    streamed.append(file)
                    continue
                found, at = self._keys(file, self.key_fields)
                self._index.add(found, places(file.number, at))
                self._indexed.add(file.number)
        # A place is the file's number above ROW_BITS bits of the row.
        row, slot = self._index.find(wanted)
        where = self._index.at(slot)
        parts = [Found(row, where >> ROW_BITS, where & ((1 << ROW_BITS) - 1), slot)]
        if streamed:
            parts += self.stream(wanted, streamed, self.key_fields)
        return Found(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("row", "number", "at", "slot")))

    def stream(self, wanted: Digests, files: Sequence[Live], fields: Sequence[pa.Field]) -> list[Found]:
        """As `find`, by any columns, not only the key's, and without the index: the files are read.

        Here the keys are indexed, by their number, and the rows of each file are looked up.
        """
        index, parts = RowIndex(len(wanted)), []
        index.add(wanted, np.arange(len(wanted)))
        for file in files:
            keys, at = self._keys(file, fields)
            row, slot = index.find(keys)
            number = np.full(len(row), file.number)
            parts.append(Found(index.at(slot), number, at[row], np.full(len(row), -1)))
        return parts

    def _keys(self, file: Live, fields: Sequence[pa.Field]) -> tuple[Digests, Numbers]:
        """The digests of these columns of a file's live rows, and the rows."""
        rows = self.files.read(file.path, fields).combine_chunks()
        at = np.arange(len(rows))
        if file.deletes:
            at = np.delete(at, file.dead_rows(self.files))
        columns = [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in rows.columns]
        return digest(columns).take(at), at

    @property
    def key_fields(self) -> list[pa.Field]:
        """The key columns as files hold them."""
        return self.fields(self.shape.key_ids if self.shape else ())

    def fields(self, ids: Sequence[int]) -> list[pa.Field]:
        """These columns as files hold them."""
        assert self.shape is not None
        held = {field.field_id: number for number, field in enumerate(self.shape.schema.fields)}
        file = self.shape.file
        return [file.field(held[number]) for number in ids]

    def values(self, found: Found, ids: Sequence[int]) -> pa.Table:
        """The values of these columns in the rows found, in their order."""
        fields = self.fields(ids)
        order, parts = [np.empty(0, np.int64)], [pa.schema(fields).empty_table()]
        numbers = self.layout.numbers
        for number, mine in found.by_file():
            rows = self.files.read(numbers[number].path, fields)
            parts.append(rows.take(pa.array(found.at[mine])))
            order.append(mine)
        # Rows were read file by file: `back` is where each row of `found` stands among them.
        back = np.argsort(np.concatenate(order), kind="stable")
        return pa.concat_tables(parts).take(pa.array(back))

    def newer(self, found: Found, positions: pa.Array) -> Any:
        """By row found, whether the key's position is larger than the row's.

        Most are told by the file's upper bound alone; only the positions of the rest are read.
        """
        newer = np.zeros(len(found.row), np.bool_)
        mine = positions.take(pa.array(found.row))
        numbers = self.layout.numbers
        position_id = self.shape.position_id if self.shape else 0
        for number, rows in found.by_file():
            upper = (numbers[number].data.upper_bounds or {}).get(position_id)
            if upper is not None:
                newer[rows] = above(mine.take(pa.array(rows)), pa.scalar(upper, pa.binary()))
        rest = np.flatnonzero(~newer)
        if len(rest):
            held = self.values(found.where(rest), [position_id]).column(0)
            newer[rest] = above(mine.take(pa.array(rest)), held.combine_chunks())
        return newer

    def delete_rows(self, file: Live, rows: Numbers, change: Change) -> None:
        """Delete these rows of a file. Older deletes that are not much larger are merged in; an empty file goes."""
        if not len(rows):
            return
        if len(rows) + file.dead >= file.rows:
            whole = united([rows, file.dead_rows(self.files)], file.rows)
            if len(whole) == file.rows:
                self.drop(file, change)
                return
        parts, merged = [rows], len(rows)
        for part in sorted(file.deletes, key=lambda part: part.count):
            if part.target is None or part.count > MERGED_DELETES * merged:
                break
            parts.append(part.of(file.path, self.files))
            merged += part.count
            change.removed.add(part.path)
        whole = united(parts, file.rows)
        made = self.files.write_deletes(file.data, whole)
        self.layout.written[made.file_path] = {file.path: whole}
        change.deletes.append(made)

    def drop(self, file: Live, change: Change) -> None:
        """Remove a whole data file with the deletes that are its own."""
        change.removed.add(file.path)
        change.removed |= {part.path for part in file.deletes if part.target is not None}

    def commit(self, change: Change, commit: str) -> None:
        """Commit on top of the layout that was read. Raises Conflict and whatever the catalog raises.

        `commit` is an id that a snapshot's summary or a property has, so that a lost answer can be told from a failure;
        where it is empty, one is made.
        """
        commit = commit or uuid.uuid4().hex
        change.summary.setdefault(COMMIT, commit)
        producer = Producer(self.table, self.layout, self.numbering)
        produced = producer.produce(change)
        table = self.catalog.commit(self.table, produced, commit)
        dropped = {self.layout.files[path].number for path in change.removed if path in self.layout.files}
        self._forget(dropped)
        if table.metadata.current_snapshot_id == produced.layout.snapshot_id:
            self.layout = produced.layout
        self._take(table)
        self.recent = True

    def learn(self, added: Sequence[tuple[Any, Sequence[pa.Array]]], deleted: Found) -> None:
        """After a commit: rows found that it deleted, and the key columns of the files that it added."""
        self._index.remove(deleted.slot[deleted.slot >= 0])
        for data, keys in added:
            file = self.layout.files.get(data.file_path)
            if file is None or file.deletes or not self._index.fits(file.rows, self._memory):
                continue
            self._index.add(digest(keys), places(file.number, np.arange(file.rows)))
            self._indexed.add(file.number)

    def forget_index(self) -> None:
        """Drop what is known of rows: it is read again when it is needed."""
        self._index, self._indexed = RowIndex(), set()

    @property
    def sequence(self) -> int:
        """The sequence number of the newest commit."""
        return int(self.table.metadata.last_sequence_number)

    @property
    def memory(self) -> int:
        """Bytes that the index takes."""
        return self._index.size
