"""Files of one Iceberg table: data files by field id, and position deletes of one data file each; all Parquet."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .....schemas.errors import TerminalSinkError
from .....schemas.model.change import POSITION
from .....schemas.model.table import cast
from ...shared.damage import way_out
from ..pyiceberg import DataFile, DataFileContent, FileFormat
from .column_bounds import Metrics
from .columns import FIELD_ID

Numbers = NDArray[np.int64]

PATH_ID: Final = 2147483546
POS_ID: Final = 2147483545
DELETES: Final = pa.schema(
    [
        pa.field("file_path", pa.string(), nullable=False, metadata={FIELD_ID: str(PATH_ID)}),
        pa.field("pos", pa.int64(), nullable=False, metadata={FIELD_ID: str(POS_ID)}),
    ]
)
ROW_GROUP: Final = 1 << 18
CODECS: Final = {
    "zstd": "zstd",
    "snappy": "snappy",
    "gzip": "gzip",
    "lz4": "lz4",
    "uncompressed": "none",
    "none": "none",
}


@dataclass(frozen=True, slots=True)
class FileSize:
    """How many rows a file has, and its length in bytes."""

    rows: int
    length: int


@dataclass(frozen=True, slots=True)
class Place:
    """The partition that a file is in, and the spec that it follows."""

    spec_id: int
    partition: Any


@dataclass(frozen=True, slots=True)
class Files:
    """Where a table's files are. `io` and `locations` are pyiceberg's; `codec` is of its property."""

    io: Any
    locations: Any
    codec: str = "zstd"

    @classmethod
    def of(cls, table: Any) -> "Files":
        codec = CODECS.get(table.properties.get("write.parquet.compression-codec", "zstd").lower(), "zstd")
        return cls(table.io, table.location_provider(), codec)

    def write(self, rows: pa.Table, spec_id: int, partition: Any) -> Any:
        """One data file of `rows`, whose schema is `Shape.file`. Raises OSError; then no file is in use."""
        path = self.locations.new_data_location(f"{uuid.uuid4().hex}.parquet")
        texts = [field.name for field in rows.schema if pa.types.is_string(field.type)]
        size = self._put(path, rows, texts)
        metrics = Metrics(frozenset(_id(field) for field in rows.schema if field.name == POSITION))
        for field, column in zip(rows.schema, rows.columns, strict=True):
            metrics.add(_id(field), column)
        return _entry(DataFileContent.DATA, path, FileSize(len(rows), size), Place(spec_id, partition), metrics)

    def write_deletes(self, data: Any, rows: Numbers) -> Any:
        """One file of position deletes, of these rows of `data`, which are sorted."""
        path = self.locations.new_data_location(f"{uuid.uuid4().hex}-deletes.parquet")
        column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rows), np.int8)), pa.array([data.file_path]))
        table = pa.table([column.cast(pa.string()), pa.array(rows)], schema=DELETES)
        size = self._put(path, table, ["file_path"])
        name = data.file_path.encode()
        metrics = Metrics()
        metrics.values = {PATH_ID: len(rows), POS_ID: len(rows)}
        metrics.nulls = {PATH_ID: 0, POS_ID: 0}
        ends = int(rows[0]).to_bytes(8, "little"), int(rows[-1]).to_bytes(8, "little")
        metrics.lower, metrics.upper = {PATH_ID: name, POS_ID: ends[0]}, {PATH_ID: name, POS_ID: ends[1]}
        place = Place(data.spec_id, data.partition)
        return _entry(DataFileContent.POSITION_DELETES, path, FileSize(len(rows), size), place, metrics)

    def _put(self, path: str, rows: pa.Table, dictionaries: list[str]) -> int:
        output = self.io.new_output(path)
        with output.create() as stream:
            pq.write_table(
                rows,
                stream,
                compression=self.codec,
                compression_level=1 if self.codec == "zstd" else None,
                use_dictionary=dictionaries,
                store_schema=False,
                row_group_size=ROW_GROUP,
            )
            return stream.tell()

    def read(self, path: str, fields: Sequence[pa.Field]) -> pa.Table:
        """These columns (of `Shape.file`) of a data file, in the types of the fields; NULL where the file lacks one."""
        with _opened(self.io, path) as file:
            held = {
                _id(field): (number, field.name) for number, field in enumerate(file.schema_arrow) if _has_id(field)
            }
            if not held:
                raise TerminalSinkError(f"{path} has no field ids: Millrace reads files that Iceberg writers made")
            wanted = [held[_id(field)] for field in fields if _id(field) in held]
            rows = file.read(columns=_leaves(file, [number for number, _ in wanted]))
            count = file.metadata.num_rows
        columns = []
        for field in fields:
            if _id(field) in held:
                column = rows.column(held[_id(field)][1])
                columns.append(pa.chunked_array([cast(chunk, field.type) for chunk in column.chunks], field.type))
            else:
                columns.append(pa.chunked_array([pa.nulls(count, field.type)]))
        return pa.Table.from_arrays(columns, schema=pa.schema(fields))

    def read_deletes(self, path: str) -> dict[str, Numbers]:
        """The deleted rows by data file."""
        with _opened(self.io, path) as file:
            table = file.read(columns=["file_path", "pos"])
        names = table.column("file_path").combine_chunks().dictionary_encode()
        codes, rows = np.asarray(names.indices), np.asarray(table.column("pos"))
        return {name: rows[codes == code] for code, name in enumerate(names.dictionary.to_pylist())}


@contextmanager
def _opened(io: Any, path: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file to read. Raises TerminalSinkError for one that is not whole."""
    with io.new_input(path).open() as stream:
        try:
            yield pq.ParquetFile(stream)
        except (pa.ArrowInvalid, EOFError) as error:
            said = " ".join(str(error).split())
            raise TerminalSinkError(f"{path} cannot be read ({said}); {way_out('TABLE')}") from error


def _has_id(field: pa.Field) -> bool:
    return FIELD_ID in (field.metadata or {})


def _id(field: pa.Field) -> int:
    return int(field.metadata[FIELD_ID])


def _leaves(file: pq.ParquetFile, tops: list[int]) -> list[str]:
    """The leaf columns below these top-level ones, by their paths: names alone would not do where they hold dots."""
    counts = [_leaf_count(field.type) for field in file.schema_arrow]
    owner = np.repeat(np.arange(len(counts)), counts)
    return [file.schema.column(number).path for number in np.flatnonzero(np.isin(owner, tops))]


def _leaf_count(kind: pa.DataType) -> int:
    if not pa.types.is_nested(kind):
        return 1
    return sum(_leaf_count(kind.field(number).type) for number in range(kind.num_fields))


def _entry(content: Any, path: str, size: FileSize, place: Place, metrics: Metrics) -> Any:
    file = DataFile.from_args(
        content=content,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=place.partition,
        record_count=size.rows,
        file_size_in_bytes=size.length,
        column_sizes=None,
        value_counts=metrics.values,
        null_value_counts=metrics.nulls,
        nan_value_counts=metrics.nans,
        lower_bounds=metrics.lower,
        upper_bounds=metrics.upper,
        key_metadata=None,
        split_offsets=None,
        equality_ids=None,
        sort_order_id=None,
    )
    file.spec_id = place.spec_id
    return file
