"""Maintenance of an Iceberg table between its commits: files rewritten, snapshots expired, orphans deleted.

A rewrite is a commit of its own, made after a commit of rows. Where another writer is faster, it is dropped. Each
rewrites one group of files of a partition: those whose rows are mostly deleted, or eight of about one size. So a row is
rewritten only as often as the logarithm of the table's size, and a commit meets few files of each size.

Commits expire snapshots too. The newest stay, and of older ones one for each 24th of `time_travel` (of a day: one an
hour), so that metadata stays small. This deletes no file. Files that no snapshot needs, and those of failed commits,
are deleted by `sweep` once they are old, because a reader may still use an expired snapshot.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from .keys.keyed_table import Found, KeyedTable
from .rows import read_all, write
from .table_format.manifests import EMPTY, Live, live_entries
from .table_format.snapshots import Change

TARGET_BYTES: Final = 128 << 20
SMALLEST: Final = 64 << 10
FAN: Final = 8
MOSTLY_DELETED: Final = 0.4
"""The share of deleted rows above which a file is rewritten, if they are at least MOSTLY_DELETED_ROWS too."""
MOSTLY_DELETED_ROWS: Final = 5_000
KEPT: Final = 20
SLOTS: Final = 24
EXPIRED_AT_ONCE: Final = 8
SWEEP_EVERY: Final = 250
SAFE_AGE: Final = timedelta(hours=6)

Keep = tuple[str, pa.Scalar]


@dataclass(frozen=True, slots=True)
class Maintenance:
    """How long snapshots are kept, and which rows a rewrite leaves out: those whose column is below the value."""

    time_travel: timedelta
    keep: Keep | None = None

    @property
    def slot(self) -> timedelta:
        return max(self.time_travel / SLOTS, timedelta(milliseconds=1))

    @property
    def safe_age(self) -> timedelta:
        """How old an unneeded file is when it is deleted."""
        return max(SAFE_AGE, 2 * self.slot)

    def maintain_if_due(self, target: KeyedTable) -> None:
        """What is due after a commit: a step, and a sweep at each multiple of `SWEEP_EVERY` in the table's sequence.

        The table counts, not the sink: that may be opened for one commit. Raises Conflict, OSError.
        """
        self.step(target)
        due = target.sequence // SWEEP_EVERY > target.swept // SWEEP_EVERY
        target.swept = target.sequence
        if due:
            self.sweep(target)

    def step(self, target: KeyedTable) -> int:
        """Rewrite one group of files if there is one that is due; how many files. Raises Conflict."""
        group = due(target.layout.files.values())
        if group:
            self._rewrite(target, group)
        return len(group)

    def whole(self, target: KeyedTable) -> int:
        """Rewrite all that is small or has deleted rows, merge all manifests; how many files. Raises Conflict."""
        groups = compactable(target.layout.files.values())
        for group in groups:
            self._rewrite(target, group)
        target.commit(Change(rewrite=True, merge=True, expired=self.expired(target.table, 1)), "")
        return sum(map(len, groups))

    def _rewrite(self, target: KeyedTable, group: Sequence[Live]) -> None:
        assert target.shape is not None
        own = [field.name for field in target.shape.schema.fields if field.field_id not in target.shape.ids]
        names = [*target.shape.table.columns.names, *own]
        rows = pa.concat_tables(read_all(target, target.shape, names, group))
        if self.keep is not None:
            rows = rows.filter(pc.greater_equal(rows.column(self.keep[0]), self.keep[1]))
        added = write(target.files, target.shape, target.table.spec(), rows) if len(rows) else []
        change = Change(files=[data for data, _ in added], rewrite=True)
        for file in group:
            target.drop(file, change)
        target.commit(change, "")
        target.learn(added, Found(EMPTY, EMPTY, EMPTY, EMPTY))

    def expired(self, table: Any, least: int = EXPIRED_AT_ONCE) -> list[int]:
        """Snapshots to expire, unless they are fewer than `least`. Those of branches and tags of others stay."""
        kept = _protected(table)
        line = sorted((one for one in table.snapshots()), key=lambda one: one.timestamp_ms)
        if not line:
            return []
        limit = line[-1].timestamp_ms - int(self.time_travel / timedelta(milliseconds=1))
        slot = max(1, int(self.slot / timedelta(milliseconds=1)))
        last = {one.timestamp_ms // slot: one.snapshot_id for one in line if one.timestamp_ms >= limit}
        kept |= {one.snapshot_id for one in line[-KEPT:]} | set(last.values())
        found = [one.snapshot_id for one in line if one.snapshot_id not in kept]
        return found if len(found) >= least else []

    def sweep(self, target: KeyedTable) -> int:
        """Delete files below the table's location that no snapshot needs and that are old; how many.

        The age is that of the store's clock: from the newest file there. Raises OSError.
        """
        files, root = target.catalog.file_system(target.table.location())
        listed = [
            info
            for folder in ("data", "metadata")
            for info in files.get_file_info(pafs.FileSelector(f"{root}/{folder}", recursive=True, allow_not_found=True))
            if info.is_file and info.mtime is not None
        ]
        target.refresh()
        needed = {target.catalog.file_system_path(path) for path in reachable(target)}
        if not listed or not needed:
            return 0
        limit = max(info.mtime for info in listed) - self.safe_age
        old = [info.path for info in listed if info.mtime < limit and info.path not in needed]
        for path in old:
            files.delete_file(path)
        return len(old)


def due(files: Iterable[Live]) -> list[Live]:
    """The group of files to rewrite first: at most about `TARGET_BYTES`."""
    groups: dict[tuple[int, str], list[Live]] = {}
    for file in files:
        groups.setdefault((file.data.spec_id, repr(file.data.partition)), []).append(file)
    for group in groups.values():
        mostly_deleted = [file for file in group if file.dead > max(MOSTLY_DELETED_ROWS, MOSTLY_DELETED * file.rows)]
        if mostly_deleted:
            return _filled(mostly_deleted)
        tiers: dict[int, list[Live]] = {}
        for file in group:
            if file.data.file_size_in_bytes < TARGET_BYTES:
                tiers.setdefault(tier(_live_bytes(file)), []).append(file)
        crowded = next((tiers[number] for number in sorted(tiers) if len(tiers[number]) >= FAN), None)
        if crowded:
            return _filled(crowded)
    return []


def compactable(files: Iterable[Live]) -> list[list[Live]]:
    """All groups of files that are small, or have a tenth of their rows deleted."""
    groups: dict[tuple[int, str], list[Live]] = {}
    for file in files:
        if file.dead > 0.1 * file.rows or file.data.file_size_in_bytes < TARGET_BYTES / 2:
            groups.setdefault((file.data.spec_id, repr(file.data.partition)), []).append(file)
    found = []
    for group in groups.values():
        while group:
            first = _filled(group)
            group = group[len(first) :]
            if len(first) > 1 or first[0].dead:
                found.append(first)
    return found


def _filled(group: Sequence[Live]) -> list[Live]:
    """The first of these files that make one of the target's size, at least one."""
    found, size = [group[0]], _live_bytes(group[0])
    for file in group[1:]:
        size += _live_bytes(file)
        if size > TARGET_BYTES:
            break
        found.append(file)
    return found


def _live_bytes(file: Live) -> int:
    return int(file.data.file_size_in_bytes * max(0, file.rows - file.dead) / max(1, file.rows))


def tier(size: int) -> int:
    """0 up to 64 KB, 1 up to 512 KB, 2 up to 4 MB, and so on."""
    number, limit = 0, SMALLEST
    while size > limit:
        number, limit = number + 1, limit * FAN
    return number


def _protected(table: Any) -> set[int]:
    """Heads of branches and tags, and what stands before those of others than main."""
    parents = {one.snapshot_id: one.parent_snapshot_id for one in table.snapshots()}
    found = set()
    for name, ref in table.refs().items():
        at: int | None = ref.snapshot_id
        while at is not None and at in parents and at not in found:
            found.add(at)
            at = None if name == "main" else parents[at]
    return found


def reachable(target: KeyedTable) -> set[str]:
    """Every file that a snapshot of the table, or its metadata, names."""
    table, found, seen = target.table, set(), set()
    found.add(table.metadata_location)
    found |= {entry.metadata_file for entry in table.metadata.metadata_log}
    for kind in (table.metadata.statistics, table.metadata.partition_statistics):
        found |= {one.statistics_path for one in kind}
    for snapshot in table.snapshots():
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path not in seen:
                seen.add(manifest.manifest_path)
                entries = target.layout.entries.get(manifest.manifest_path)
                live = live_entries(manifest, table.io) if entries is None else entries
                found |= {entry.data_file.file_path for entry in live}
    return found | seen
