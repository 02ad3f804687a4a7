"""Delta Lake on S3: the same tables, and writers that meet there.

Google Cloud Storage is not tried: deltalake writes there by the XML interface, which fake-gcs-server does not have.
"""

from uuid import uuid4

import pyarrow as pa
import pytest
from targets import Target, delete, upsert

from millrace.schemas.errors import MillraceError
from millrace.schemas.ledger import Account, Commit


@pytest.fixture
def target(s3, tmp_path):
    options = {"AWS_ACCESS_KEY_ID": s3.key, "AWS_SECRET_ACCESS_KEY": s3.secret, "AWS_REGION": s3.region}
    options |= {"AWS_ENDPOINT_URL": s3.endpoint, "AWS_ALLOW_HTTP": "true"}
    path = f"s3://{s3.create_bucket(f'lake-{uuid4().hex[:12]}')}/lake"
    found = Target("delta", tmp_path, {"path": path, "storage_options": options})
    yield found
    found.close()


def test_a_table_lives_in_a_bucket(target):
    assert target.sink.tables() == ()
    target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v="b"), upsert(1, id=3, v="c"))
    assert target.apply(upsert(2, id=1, v="new"), delete(2, id=2), upsert(0, id=3, v="late")) == (2, 1)
    wide = pa.schema([("id", pa.int64()), ("v", pa.string()), ("w", pa.float64())])
    target.apply(upsert(3, ["v"], id=3, w=1.5), schema=wide)
    target.reopen()
    assert target.rows() == [(1, "new", None), (3, "c", 1.5)]
    assert (target.next, target.sink.tables()) == (7, ("orders",))
    assert target.apply(upsert(1, id=2, v="late"), schema=wide) == (0, 1)


class Meddling(Commit):
    """A commit during which another writer commits; S3 then refuses the first one's version of the log."""

    def settle(self, applied, superseded):
        settled = super().settle(applied, superseded)
        if self.meddle:
            self.meddle.pop()()
        return settled


def test_two_writers_at_once_lose_and_double_nothing(target):
    target.apply(upsert(1, id=1, v="a"))
    other = Target("delta", target.folder, target.options, job="other", topic="elsewhere")
    commit = Meddling(target.job, (Account("orders", 0, 1, 4, read=3),))
    meddle = [lambda: other.apply(upsert(5, id=1, v="other")), lambda: other.apply(upsert(9, id=2, v="other"))]
    object.__setattr__(commit, "meddle", meddle)
    staged = [target.stage(upsert(4, id=1, v="late"), upsert(4, id=2, v="late"), upsert(4, id=3, v="mine"))]
    (settled,) = target.sink.commit(target.table(), staged, commit)
    assert (settled.applied, settled.superseded) == (1, 2)
    assert target.rows() == [(1, "other"), (2, "other"), (3, "mine")]
    assert (target.next, other.next) == (4, 2)
    other.close()


def test_a_bucket_that_is_not_there_is_named(target):
    options = {**target.options, "path": f"{target.options['path'].partition('//')[0]}//no-such-bucket/lake"}
    with pytest.raises(MillraceError, match="no-such-bucket"):
        Target("delta", target.folder, options).apply(upsert(1, id=1, v="a"))
