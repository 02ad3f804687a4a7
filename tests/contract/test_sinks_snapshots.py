"""What every target promises of `on_snapshot: replace`: rows that a whole snapshot does not have end with it."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from random import Random

import pytest
from support.log_reader import JOB, TABLE, LogReader
from support.simulated_database import PARTITIONS, SCHEMAS, TOPIC, Connector, Database, messages
from support.targets import Target

from millrace.schemas.encodings.avro.schema_text import AVRO
from millrace.schemas.encodings.schema_store import FolderSchemaStore
from millrace.schemas.errors import SourceError
from millrace.schemas.model.modes import Mode
from millrace.schemas.model.route import OnSnapshot
from millrace.transforms.sinks import SINKS
from millrace.transforms.steps.snapshot_ends import SnapshotEnds

MODES = (Mode.MIRROR, Mode.SOFT_DELETE, Mode.SCD2)
PLACES = [(kind, mode) for kind in sorted(SINKS) for mode in MODES if mode in SINKS[kind].modes]


@pytest.fixture(scope="module")
def contracts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schemas")
    for number, schema in SCHEMAS.items():
        (folder / f"{number}.avsc").write_text(json.dumps(schema))
    return FolderSchemaStore(folder, AVRO)


@dataclass
class Replaced:
    """A table of a simulated source whose connector lost its place: `log` are the messages so far."""

    reader: LogReader
    database: Database = field(default_factory=lambda: Database(Random(1), large=False, truncates=False))
    offsets: dict = field(default_factory=lambda: defaultdict(int))
    log: list = field(default_factory=list)

    def __post_init__(self):
        self.connector = Connector(self.database, replaces=True)
        self.database.touch_all()
        self.connector.made_anew()
        self.reader.commit(self.sent())

    def sent(self):
        found = messages(self.connector.sent, self.offsets)
        self.connector.sent = []
        self.reader.source.know(found)
        self.log += found
        return found

    def unheard(self):
        """A row is deleted and another one changed while nobody listens; then a whole snapshot."""
        del self.database.rows[3]
        self.database.rows[2] = {**self.database.rows[2], "text": "changed"}
        self.connector.snapshot()
        return self.sent()

    def right(self):
        held = {key: row["text"] for key, row in self.reader.rows().items()}
        report = self.reader.proof(self.log)
        assert report.ok, report.to_json()
        return held == {key: row["text"] for key, row in self.connector.table.items()}


@pytest.fixture(params=PLACES, ids="-".join)
def replaced(request, tmp_path, contracts):
    kind, mode = request.param
    target = Target(kind, tmp_path)
    reader = LogReader(target.sink, contracts, TOPIC, PARTITIONS, Random(2), mode=mode, on_snapshot=OnSnapshot.REPLACE)
    found = Replaced(reader)
    found.target = target
    yield found
    target.close()


def test_a_row_that_a_whole_snapshot_lacks_ends_once_all_partitions_are_read(replaced):
    snapshot = replaced.unheard()
    for partition in range(PARTITIONS):
        assert 3 in replaced.reader.rows()
        replaced.reader.commit([one for one in snapshot if one.partition == partition])
    assert 3 not in replaced.reader.rows()
    assert replaced.right()
    replaced.target.reopen()
    replaced.reader.sink = replaced.target.sink
    replaced.database.touch_all()
    replaced.connector.read = len(replaced.database.log) - 6
    replaced.connector.stream()
    replaced.reader.commit(replaced.sent())
    assert 3 in replaced.reader.rows()
    assert replaced.right()


def test_a_crash_before_the_older_rows_end_loses_nothing(replaced, monkeypatch):
    snapshot = replaced.unheard()
    with monkeypatch.context() as patched:
        patched.setattr(SnapshotEnds, "_end", _crash)
        with pytest.raises(SourceError):
            replaced.reader.commit(snapshot)
    assert 3 in replaced.reader.rows()
    replaced.target.reopen()
    sink = replaced.reader.sink = replaced.target.sink
    ends = SnapshotEnds(job=JOB, route=replaced.reader.route, decoders=replaced.reader.decoders)
    assert ends.act(sink).deleted == 1
    assert ends.act(sink).deleted == 0
    assert replaced.right()
    assert TABLE in sink.tables()


def _crash(*more):
    raise SourceError("killed")
