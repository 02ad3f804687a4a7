"""What a snapshot of an Iceberg table is made of: data files, the deletes of each, and the manifests that list them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from .....schemas.errors import TerminalSinkError
from ...shared.damage import intact
from ..pyiceberg import DataFileContent, FileFormat, ManifestContent, ManifestEntryStatus
from .data_files import PATH_ID, Files, Numbers

EMPTY: Final = np.empty(0, np.int64)


def united(parts: Iterable[Numbers], rows: int) -> Numbers:
    """The row numbers, below `rows`, that are in any of the parts; sorted, each once."""
    mask = np.zeros(rows, np.bool_)
    for part in parts:
        mask[part] = True
    return np.flatnonzero(mask)


@dataclass(eq=False, slots=True)
class Deletes:
    """A file of position deletes: `entry` of the `manifest` (its path) that lists it.

    `target` is the data file that it is for, None where it is for several. `rows` are the deleted rows by data file,
    None before they were read or written here.
    """

    entry: Any
    manifest: str
    target: str | None
    rows: dict[str, Numbers] | None = None

    @property
    def path(self) -> str:
        return self.entry.data_file.file_path

    @property
    def count(self) -> int:
        return self.entry.data_file.record_count

    def of(self, data: str, files: Files) -> Numbers:
        """The rows of one data file."""
        if self.rows is None:
            self.rows = files.read_deletes(self.path)
        return self.rows.get(data, EMPTY)


@dataclass(eq=False, slots=True)
class Live:
    """A data file of the snapshot, and the files of deletes for it. Its `number` stands for it in `keys.row_index`."""

    entry: Any
    manifest: str
    number: int
    deletes: list[Deletes] = field(default_factory=list)

    @property
    def data(self) -> Any:
        return self.entry.data_file

    @property
    def path(self) -> str:
        return self.entry.data_file.file_path

    @property
    def rows(self) -> int:
        return self.entry.data_file.record_count

    @property
    def dead(self) -> int:
        """How many rows are deleted; files of other engines that span data files count whole."""
        return sum(part.count for part in self.deletes)

    def dead_rows(self, files: Files) -> Numbers:
        """The deleted rows, sorted, each once."""
        return united([part.of(self.path, files) for part in self.deletes], self.rows) if self.deletes else EMPTY


@dataclass(slots=True)
class Layout:
    """What a snapshot consists of. `snapshot_id` is None before the first snapshot.

    `files` are its data files and `deletes` those of deletes, by path; `manifests`, and the live entries of each, by
    path of the manifest. `written` holds the rows of delete files that are about to be committed on top of it.
    """

    snapshot_id: int | None = None
    files: dict[str, Live] = field(default_factory=dict)
    deletes: dict[str, Deletes] = field(default_factory=dict)
    manifests: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, list[Any]] = field(default_factory=dict)
    written: dict[str, dict[str, Numbers]] = field(default_factory=dict)

    @property
    def numbers(self) -> dict[int, Live]:
        return {file.number: file for file in self.files.values()}


class Numbering:
    """A small number for each data file ever seen, which it keeps as long as the sink is open."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, path: str) -> int:
        return self._numbers.setdefault(path, len(self._numbers))


@dataclass(frozen=True, slots=True)
class Held:
    """What is known before a layout is put together: the one before, the numbers of data files, how files are read."""

    before: Layout
    numbering: Numbering
    files: Files


def read_layout(table: Any, before: Layout, numbering: Numbering) -> Layout:
    """The newest snapshot's layout. Manifests that `before` has are not read again, nor its deletes.

    Raises TerminalSinkError for a table with equality deletes or deletion vectors, which other engines write.
    """
    snapshot = table.current_snapshot()
    if snapshot is None:
        return Layout()
    name = table.name()[-1]
    with intact(name, f"the manifest list {snapshot.manifest_list}", whole=True):
        manifests = {manifest.manifest_path: manifest for manifest in snapshot.manifests(table.io)}
    entries = {}
    for path, manifest in manifests.items():
        with intact(name, f"the manifest {path}", whole=True):
            entries[path] = before.entries[path] if path in before.entries else live_entries(manifest, table.io)
    return assembled(snapshot.snapshot_id, manifests, entries, Held(before, numbering, Files.of(table)))


def live_entries(manifest: Any, io: Any) -> list[Any]:
    """The entries of a manifest but the deleted ones."""
    found = manifest.fetch_manifest_entry(io, discard_deleted=True)
    return [entry for entry in found if entry.status != ManifestEntryStatus.DELETED]


def assembled(
    snapshot_id: int,
    manifests: dict[str, Any],
    entries: dict[str, list[Any]],
    held: Held,
) -> Layout:
    """The layout of these manifests' entries."""
    before, numbering, files = held.before, held.numbering, held.files
    layout = Layout(snapshot_id, manifests=manifests, entries=entries)
    for path, found in entries.items():
        if manifests[path].content == ManifestContent.DATA:
            for entry in found:
                name = entry.data_file.file_path
                layout.files[name] = Live(entry, path, numbering.of(name))
    for path, found in entries.items():
        if manifests[path].content == ManifestContent.DELETES:
            for entry in found:
                _attach(layout, entry, path, before, files)
    return layout


def _attach(layout: Layout, entry: Any, manifest: str, before: Layout, files: Files) -> None:
    data = entry.data_file
    if data.content != DataFileContent.POSITION_DELETES or data.file_format != FileFormat.PARQUET:
        what = "equality deletes" if data.content == DataFileContent.EQUALITY_DELETES else "deletes in no Parquet file"
        raise TerminalSinkError(
            f"the Iceberg table has {what} ({data.file_path}), which another engine wrote; "
            "rewrite its data files with that engine first"
        )
    lower, upper = ((bounds or {}).get(PATH_ID) for bounds in (data.lower_bounds, data.upper_bounds))
    target = lower.decode() if lower is not None and lower == upper else None
    known = before.deletes.get(data.file_path)
    made = Deletes(entry, manifest, target, known.rows if known else before.written.pop(data.file_path, None))
    layout.deletes[data.file_path] = made
    for name in [target] if target is not None else _spanned(made, files):
        if name in layout.files:
            layout.files[name].deletes.append(made)


def _spanned(made: Deletes, files: Files) -> Iterable[str]:
    """The data files that a file of deletes is for, told by reading it."""
    made.rows = made.rows if made.rows is not None else files.read_deletes(made.path)
    return made.rows
