"""Each name of pyiceberg that is not public, or whose behaviour Millrace leans on, in the version that is installed."""

import uuid
from importlib.metadata import version

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from support.targets import Target, upsert

from millrace.transforms.sinks.iceberg import pyiceberg
from millrace.transforms.sinks.iceberg.keys.digests import _sip, digest
from millrace.transforms.sinks.iceberg.keys.row_index import RowIndex
from millrace.transforms.sinks.iceberg.pyiceberg import ManifestContent, ManifestEntryStatus, ManifestWriterV2
from millrace.transforms.sinks.iceberg.table_format import column_bounds
from millrace.transforms.sinks.iceberg.table_format.data_files import Files


def test_the_minor_version_is_the_one_that_was_read():
    assert version("pyiceberg").startswith("0.12.")


@pytest.fixture
def table(tmp_path):
    target = Target("iceberg", tmp_path)
    target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v="b"))
    keyed, _ = target.sink._opened("orders")
    yield keyed
    target.close()


def test_meta_of_a_manifest_writer_says_what_the_manifest_holds(table, tmp_path):
    """`ManifestWriterV2._meta` and `content` are overridden: Avro metadata and manifest list must both say deletes."""
    assert "_meta" in vars(ManifestWriterV2) and "content" in vars(ManifestWriterV2)
    file = next(iter(table.layout.files.values())).data
    entry = pyiceberg.ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=7, data_file=file)
    output = table.table.io.new_output(f"file://{tmp_path}/deletes.avro")
    with pyiceberg.DeleteManifestWriter(table.table.spec(), table.table.schema(), output, 7, "gzip") as writer:
        writer.add(entry)
    assert writer.to_manifest_file().content == ManifestContent.DELETES
    with (tmp_path / "deletes.avro").open("rb") as stream:
        reader = fastavro.reader(stream)
        assert reader.metadata["content"] == "deletes"
        (row,) = reader
    assert (row["status"], row["sequence_number"], row["data_file"]["record_count"]) == (1, None, 2)


def test_entries_of_a_new_manifest_inherit_the_snapshots_sequence_number(table):
    (manifest,) = table.table.current_snapshot().manifests(table.table.io)
    assert (manifest.sequence_number, manifest.min_sequence_number) == (1, 1)
    (entry,) = manifest.fetch_manifest_entry(table.table.io)
    assert (entry.sequence_number, entry.file_sequence_number) == (1, 1)


def test_a_commit_is_refused_where_the_branch_has_moved(table):
    """`Catalog.commit_table` checks `AssertRefSnapshotId`: without it two writers could leave two live rows."""
    requirement = pyiceberg.AssertRefSnapshotId(ref="main", snapshot_id=12345)
    update = pyiceberg.SetPropertiesUpdate(updates={"x": "y"})
    with pytest.raises(pyiceberg.CommitFailedException):
        table.catalog._catalog.commit_table(table.table, (requirement,), (update,))
    assert "x" not in table.catalog.load("orders").properties


def test_a_commit_is_refused_for_another_table_of_the_same_name(table):
    requirement = pyiceberg.AssertTableUUID(uuid=uuid.uuid4())
    with pytest.raises(pyiceberg.CommitFailedException):
        table.catalog._catalog.commit_table(table.table, (requirement,), ())


def test_locations_and_file_systems(tmp_path):
    found = pyiceberg.PyArrowFileIO.parse_location(f"file://{tmp_path}/a b/c.parquet", {})
    assert found == ("file", "", f"{tmp_path}/a b/c.parquet")
    assert pyiceberg.PyArrowFileIO.parse_location("s3://bucket/a/b", {}) == ("s3", "bucket", "bucket/a/b")
    io = pyiceberg.load_file_io({"py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO"}, f"file://{tmp_path}")
    assert io.fs_by_scheme("file", "").get_file_info(str(tmp_path)).is_file is False


def test_a_file_of_ours_has_the_bounds_that_pyiceberg_would_write(table, tmp_path):
    """Against pyiceberg's own writer, column by column."""
    from pyiceberg.conversions import from_bytes
    from pyiceberg.types import DecimalType, DoubleType, StringType

    columns = {
        "n": pa.array([3, -7, None]),
        "s": pa.array(["b", "x" * 40, None]),
        "d": pa.array(["-1.25", "300.00", None]).cast(pa.decimal128(9, 2)),
        "f": pa.array([1.5, float("nan"), None]),
        "b": pa.array([b"\xff" * 20, b"\x00", None]),
    }
    metrics = column_bounds.Metrics()
    for number, column in enumerate(columns.values()):
        metrics.add(number, pa.chunked_array([column]))
    assert metrics.nulls == dict.fromkeys(range(5), 1)
    assert metrics.nans == {3: 1}
    assert from_bytes(StringType(), metrics.upper[1]) == "x" * 15 + "y"
    assert str(from_bytes(DecimalType(9, 2), metrics.lower[2])) == "-1.25"
    assert from_bytes(DoubleType(), metrics.upper[3]) == 1.5
    assert (metrics.lower[4], 4 in metrics.upper) == (b"\x00", False)
    assert column_bounds.decoded(metrics.lower[2], pa.decimal128(9, 2)).as_py() == columns["d"][0].as_py()
    assert column_bounds.decoded((5).to_bytes(4, "little"), pa.int64()).as_py() == 5


@pytest.mark.parametrize("cut", ["a" * 15 + "\U0010ffff" + "z", "a" * 15 + "\ud7ff" + "z"])
def test_an_upper_bound_that_was_cut_is_larger_than_the_value(cut):
    metrics = column_bounds.Metrics()
    metrics.add(1, pa.chunked_array([[cut]]))
    assert metrics.upper[1].decode() > cut
    assert len(metrics.upper[1].decode()) <= 16


def test_a_file_without_field_ids_is_refused(table, tmp_path):
    import pyarrow.parquet as pq

    from millrace.schemas.errors import TerminalSinkError

    pq.write_table(pa.table({"id": [1]}), tmp_path / "plain.parquet")
    with pytest.raises(TerminalSinkError, match="has no field ids"):
        Files.of(table.table).read(f"file://{tmp_path}/plain.parquet", table.key_fields)


def test_the_hash_is_siphash():
    """The vector of 16 bytes in the reference implementation, whose key and message count up from 0."""
    words = np.frombuffer(bytes(range(16)), np.uint64)
    found = _sip(np.zeros(1, np.uint8), 0, 0, words[0], words[1], words[0], words[1])
    assert int(found) == 0x3F2ACC7F57C29BDB


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([["ab"], ["c"]], [["a"], ["bc"]]),
        ([[""], ["x"]], [[None], ["x"]]),
        ([["x"], [None]], [["x"], [""]]),
        ([["x\0"], [""]], [["x"], ["\0"]]),
    ],
)
def test_different_keys_have_different_digests(left, right):
    keys = [digest([pa.array(column, pa.string()) for column in columns]) for columns in (left, right)]
    assert (keys[0].high[0], keys[0].low[0]) != (keys[1].high[0], keys[1].low[0])


def test_rows_that_are_forgotten_take_no_room_in_the_index():
    index, memory = RowIndex(), 2_000 * 30
    for turn in range(20):
        assert index.fits(1_000, memory)
        index.add(digest([pa.array(np.arange(1_000) + turn * 1_000)]), np.arange(1_000) + (turn << 32))
        assert index.fits(1_000, memory) and not index.fits(1_001, memory)
        assert index.size <= memory
        index.forget([turn])


def test_the_index_finds_what_a_dictionary_finds():
    dice, index, held = np.random.default_rng(3), RowIndex(), {}
    for turn in range(60):
        keys = dice.choice(500, 40, replace=False)
        row, slot = index.find(digest([pa.array(keys)]))
        found = dict(zip(keys[row].tolist(), index.at(slot).tolist(), strict=True))
        assert found == {key: held[key] for key in keys.tolist() if key in held}
        index.remove(slot)
        for key in keys.tolist():
            held.pop(key, None)
        where = np.arange(40) + (turn << 32)
        index.add(digest([pa.array(keys)]), where)
        held.update(zip(keys.tolist(), where.tolist(), strict=True))
        if turn % 20 == 19:
            index.forget([turn - 1, turn - 2])
            held = {key: place for key, place in held.items() if place >> 32 not in (turn - 1, turn - 2)}
