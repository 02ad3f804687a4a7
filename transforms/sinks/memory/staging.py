"""Staged rows in the memory of this process."""

from dataclasses import dataclass

import pyarrow as pa

from ..shared.staging_folders import write_file
from .tables import make_tables, tables_of


@dataclass(frozen=True)
class MemoryFolder:
    """A `StagingFolder` beside the tables of this name."""

    name: str

    @property
    def place(self) -> str:
        return f"memory {self.name!r}"

    def uri(self, name: str) -> str:
        return f"memory:{self.name}/{name}"

    def write(self, name: str, rows: pa.RecordBatch) -> None:
        """Raises TerminalSinkError where no test has made the name."""
        staged = tables_of(self.name).staged
        out = pa.BufferOutputStream()
        write_file(out, rows)
        staged[self.uri(name)] = out.getvalue()

    def open(self, uri: str) -> pa.Buffer:
        data = tables_of(self.name).staged.get(uri)
        if data is None:
            raise FileNotFoundError(f"it is gone from {self.place}")
        return data

    def delete(self, uri: str) -> None:
        make_tables(self.name).staged.pop(uri, None)

    def uris(self) -> list[str]:
        return list(make_tables(self.name).staged)

    def close(self) -> None:
        """Nothing is held open."""
