"""Makes a snapshot: from what it adds and removes to manifests, a manifest list, and updates for the catalog.

Manifests are merged as they are written: a new one takes in those that hold at most twice as many entries, so their
number grows with the logarithm of the table's files, and a commit rewrites what it changes and little more.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..pyiceberg import (
    AddPartitionSpecUpdate,
    AddSchemaUpdate,
    AddSnapshotUpdate,
    AssertRefSnapshotId,
    AssertTableUUID,
    DeleteManifestWriter,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    Operation,
    RemoveSnapshotsUpdate,
    SetCurrentSchemaUpdate,
    SetDefaultSpecUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    Snapshot,
    SnapshotRefType,
    Summary,
    write_manifest_list,
)
from .columns import Shape
from .data_files import Files
from .manifests import Held, Layout, Numbering, assembled

COMMIT: Final = "millrace.commit"
MAIN: Final = "main"
LARGEST: Final = 4000
WRITERS: Final = {ManifestContent.DATA: ManifestWriterV2, ManifestContent.DELETES: DeleteManifestWriter}

Group = tuple[Any, int]
"""Manifests that may be merged: (content, id of the partition spec)."""


@dataclass(slots=True)
class Change:
    """What a snapshot does: files of rows and of deletes that it adds, paths that it removes, properties that it sets.

    `shape` and `spec` are set where columns or partitions are new; `expired` are ids of snapshots to forget. With
    `rewrite` no row changes; with `merge` all manifests are merged.
    """

    files: list[Any] = field(default_factory=list)
    deletes: list[Any] = field(default_factory=list)
    removed: set[str] = field(default_factory=set)
    properties: dict[str, str] = field(default_factory=dict)
    summary: dict[str, str] = field(default_factory=dict)
    shape: Shape | None = None
    spec: Any = None
    expired: Sequence[int] = ()
    rewrite: bool = False
    merge: bool = False


@dataclass(frozen=True, slots=True)
class ManifestEntries:
    """What one manifest lists: new files, those that stay, and those that are gone with this snapshot."""

    added: Sequence[Any]
    stay: Sequence[Any]
    gone: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Produced:
    """What the catalog is asked to do, and the layout once it has done so."""

    updates: tuple[Any, ...]
    requirements: tuple[Any, ...]
    layout: Layout


class Producer:
    """Writes the manifests of one attempt to commit on top of `layout`, the newest snapshot of `table`."""

    def __init__(self, table: Any, layout: Layout, numbering: Numbering) -> None:
        self._table, self._layout, self._numbering = table, layout, numbering
        self._metadata = table.metadata
        self._sequence = self._metadata.next_sequence_number()
        self._id = self._metadata.new_snapshot_id()
        self._token = uuid.uuid4().hex

    def produce(self, change: Change) -> Produced:
        """Write all that the snapshot needs. Raises OSError; then nothing is in use."""
        schema = change.shape.schema if change.shape else self._metadata.schema()
        specs = {**self._metadata.specs(), **({change.spec.spec_id: change.spec} if change.spec else {})}
        manifests, entries = self._manifests(change, schema, specs)
        location = self._location(f"snap-{self._id}-0-{self._token}.avro")
        with write_manifest_list(
            2, self._table.io.new_output(location), self._id, self._layout.snapshot_id, self._sequence, self._codec
        ) as writer:
            writer.add_manifests(list(manifests.values()))
        for manifest in manifests.values():
            if manifest.sequence_number < 0:
                manifest.sequence_number = self._sequence
                manifest.min_sequence_number = max(0, manifest.min_sequence_number) or self._sequence
        snapshot = Snapshot(
            snapshot_id=self._id,
            parent_snapshot_id=self._layout.snapshot_id,
            sequence_number=self._sequence,
            timestamp_ms=max(int(time.time() * 1000), self._metadata.last_updated_ms + 1),
            manifest_list=location,
            summary=self._summary(change, entries),
            schema_id=schema.schema_id,
        )
        held = Held(self._layout, self._numbering, Files.of(self._table))
        live = {path: manifest for path, manifest in manifests.items() if entries[path]}
        layout = assembled(self._id, live, {path: entries[path] for path in live}, held)
        return Produced(self._updates(change, snapshot), self._requirements(), layout)

    def _location(self, name: str) -> str:
        return self._table.location_provider().new_metadata_location(name)

    @property
    def _codec(self) -> Any:
        return self._metadata.properties.get("write.avro.compression-codec", "gzip")

    def _updates(self, change: Change, snapshot: Any) -> tuple[Any, ...]:
        updates: list[Any] = []
        if change.shape is not None:
            change.properties |= change.shape.properties()
            if change.shape.schema.schema_id != self._metadata.current_schema_id:
                updates += [AddSchemaUpdate(schema=change.shape.schema), SetCurrentSchemaUpdate(schema_id=-1)]
        if change.spec is not None:
            updates += [AddPartitionSpecUpdate(spec=change.spec), SetDefaultSpecUpdate(spec_id=-1)]
        if change.properties:
            updates.append(SetPropertiesUpdate(updates=change.properties))
        updates += [
            AddSnapshotUpdate(snapshot=snapshot),
            SetSnapshotRefUpdate(ref_name=MAIN, type=SnapshotRefType.BRANCH, snapshot_id=self._id),
        ]
        if change.expired:
            updates.append(RemoveSnapshotsUpdate(snapshot_ids=list(change.expired)))
        return tuple(updates)

    def _requirements(self) -> tuple[Any, ...]:
        return (
            AssertTableUUID(uuid=self._metadata.table_uuid),
            AssertRefSnapshotId(ref=MAIN, snapshot_id=self._layout.snapshot_id),
        )

    def _manifests(
        self, change: Change, schema: Any, specs: Mapping[int, Any]
    ) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        """The manifests of the snapshot and the live entries of each: kept, rewritten, merged and new ones."""
        layout = self._layout
        kept, entries = dict(layout.manifests), dict(layout.entries)
        added: dict[Group, list[Any]] = {}
        for content, files in ((ManifestContent.DATA, change.files), (ManifestContent.DELETES, change.deletes)):
            for file in files:
                added.setdefault((content, file.spec_id), []).append(self._added(file))
        # Manifests are never changed: those that list a removed file are written anew, with what stays.
        touched = {
            found.manifest for path in change.removed if (found := layout.files.get(path) or layout.deletes.get(path))
        }
        touched |= set(kept) if change.merge else set()
        groups = {*added, *(_group(kept[path]) for path in touched)}
        made: dict[str, Any] = {}
        for group in sorted(groups, key=lambda one: (one[0].value, one[1])):
            mine = [path for path in touched if _group(layout.manifests[path]) == group]
            mine += self._small(group, len(added.get(group, ())) + sum(len(entries[path]) for path in mine), mine)
            old = [entry for path in mine for entry in entries[path]]
            gone = [entry for entry in old if entry.data_file.file_path in change.removed]
            stay = [entry for entry in old if entry.data_file.file_path not in change.removed]
            for path in mine:
                del kept[path], entries[path]
            manifest = self._write(group, schema, specs[group[1]], ManifestEntries(added.get(group, []), stay, gone))
            made[manifest.manifest_path] = manifest
            entries[manifest.manifest_path] = [*added.get(group, []), *stay]
        for fresh in added.values():
            for entry in fresh:
                entry.sequence_number = entry.file_sequence_number = self._sequence
        return {**made, **kept}, entries

    def _small(self, group: Group, size: int, taken: Sequence[str]) -> list[str]:
        """Manifests to merge into one that has `size` entries so far, the smallest first."""
        entries, found = self._layout.entries, []
        mates = [path for path, one in self._layout.manifests.items() if _group(one) == group and path not in taken]
        for path in sorted(mates, key=lambda path: len(entries[path])):
            if len(entries[path]) > 2 * size or size + len(entries[path]) > LARGEST:
                break
            found.append(path)
            size += len(entries[path])
        return found

    def _added(self, file: Any) -> Any:
        return ManifestEntry.from_args(
            status=ManifestEntryStatus.ADDED, snapshot_id=self._id, sequence_number=None, data_file=file
        )

    def _write(self, group: Group, schema: Any, spec: Any, found: ManifestEntries) -> Any:
        output = self._table.io.new_output(self._location(f"{uuid.uuid4().hex}-m0.avro"))
        with WRITERS[group[0]](spec, schema, output, self._id, self._codec) as writer:
            for entry in found.added:
                writer.add(entry)
            for entry in found.stay:
                writer.existing(entry)
            for entry in found.gone:
                writer.delete(entry)
        return writer.to_manifest_file()

    def _summary(self, change: Change, entries: Mapping[str, list[Any]]) -> Any:
        layout = self._layout
        gone = [layout.files[path].data for path in change.removed if path in layout.files]
        undone = [layout.deletes[path].entry.data_file for path in change.removed if path in layout.deletes]
        live = [entry.data_file for found in entries.values() for entry in found]
        rows = [file for file in live if file.content == 0]
        dead = [file for file in live if file.content != 0]
        counts = {
            "added-data-files": len(change.files),
            "added-records": _records(change.files),
            "added-files-size": _bytes(change.files) + _bytes(change.deletes),
            "added-delete-files": len(change.deletes),
            "added-position-delete-files": len(change.deletes),
            "added-position-deletes": _records(change.deletes),
            "deleted-data-files": len(gone),
            "deleted-records": _records(gone),
            "removed-files-size": _bytes(gone) + _bytes(undone),
            "removed-delete-files": len(undone),
            "removed-position-delete-files": len(undone),
            "removed-position-deletes": _records(undone),
        }
        totals = {
            "total-data-files": len(rows),
            "total-records": _records(rows),
            "total-delete-files": len(dead),
            "total-position-deletes": _records(dead),
            "total-equality-deletes": 0,
            "total-files-size": _bytes(live),
        }
        found = {name: str(number) for name, number in counts.items() if number}
        found |= {name: str(number) for name, number in totals.items()}
        return Summary(operation=_operation(change, bool(gone)), **found, **change.summary)


def _group(manifest: Any) -> Group:
    return manifest.content, manifest.partition_spec_id


def _operation(change: Change, gone: bool) -> Any:
    if change.rewrite:
        return Operation.REPLACE
    if change.files:
        return Operation.OVERWRITE if change.deletes or gone else Operation.APPEND
    return Operation.DELETE if change.deletes or gone else Operation.APPEND


def _records(files: Sequence[Any]) -> int:
    return sum(file.record_count for file in files)


def _bytes(files: Sequence[Any]) -> int:
    return sum(file.file_size_in_bytes for file in files)
