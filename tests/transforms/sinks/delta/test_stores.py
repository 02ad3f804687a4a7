"""Delta Lake on S3 and on Google Cloud Storage: the same tables, and writers that meet there."""

import json
import threading
from uuid import uuid4

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from support import gcs_rival
from support.concurrent_commits import Meddling
from support.gcs_xml import xml_front
from support.targets import Target, delete, upsert

from millrace.schemas.errors import MillraceError, TransientSinkError
from millrace.schemas.model.ledger import Account


@pytest.fixture(scope="module")
def gcs_xml(gcs):
    with xml_front(gcs.endpoint) as url:
        yield url


def key_for(url):
    """The storage options that lead to this server. With `google_skip_signature` a token is asked for all the same."""
    key = {"gcs_base_url": url, "disable_oauth": True, "private_key": "", "private_key_id": "", "client_email": ""}
    return {"google_service_account_key": json.dumps(key)}


@pytest.fixture(params=["s3", "gcs"])
def target(request, tmp_path):
    name = f"lake-{uuid4().hex[:12]}"
    if request.param == "s3":
        store = request.getfixturevalue("s3")
        options = {"AWS_ACCESS_KEY_ID": store.key, "AWS_SECRET_ACCESS_KEY": store.secret, "AWS_REGION": store.region}
        options |= {"AWS_ENDPOINT_URL": store.endpoint, "AWS_ALLOW_HTTP": "true"}
    else:
        store = request.getfixturevalue("gcs")
        options = key_for(request.getfixturevalue("gcs_xml"))
    path = f"{request.param.replace('gcs', 'gs')}://{store.create_bucket(name)}/lake"
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


def test_two_writers_at_once_lose_and_double_nothing(target):
    target.apply(upsert(1, id=1, v="a"))
    other = Target("delta", target.folder, target.options, job="other", topic="elsewhere")
    meddle = [lambda: other.apply(upsert(5, id=1, v="other")), lambda: other.apply(upsert(9, id=2, v="other"))]
    commit = Meddling(target.job, (Account("orders", 0, 1, 4, read=3),), meddle=meddle)
    staged = [target.stage(upsert(4, id=1, v="late"), upsert(4, id=2, v="late"), upsert(4, id=3, v="mine"))]
    (settled,) = target.sink.commit(target.table(), staged, commit)
    assert (settled.applied, settled.superseded) == (1, 2)
    assert target.rows() == [(1, "other"), (2, "other"), (3, "mine")]
    assert (target.next, other.next) == (4, 2)
    other.close()


def test_the_condition_of_the_store_decides_between_two_commits_of_one_version(gcs, tmp_path):
    bucket = gcs.create_bucket(f"rival-{uuid4().hex[:12]}")
    with xml_front(gcs.endpoint, gcs_rival.__name__) as url:
        options = {"path": f"gs://{bucket}/lake", "storage_options": key_for(url)}
        target = Target("delta", tmp_path, options)
        assert target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v="b")) == (2, 0)
        assert (target.rows(), target.next) == ([(1, "a"), (2, "b")], 2)
        history = DeltaTable(f"{options['path']}/orders", storage_options=options["storage_options"]).history()
        assert [(part["version"], "millrace" in part) for part in history] == [(2, True), (1, False), (0, False)]
        target.close()


def test_many_writers_at_once_commit_each_once(target):
    """The losers of a race are told so (`TransientSinkError`) and come again, as a job's workers do."""
    target.apply(upsert(1, id=0, v="a"))
    writers = [Target("delta", target.folder, target.options, job=f"job{number}") for number in range(3)]
    barrier, failures = threading.Barrier(len(writers)), []

    def fill(number, writer):
        try:
            barrier.wait(60)
            for at in range(2):
                change = upsert(3 * at + number + 2, id=number * 10 + at, v=f"{number}")
                staged = [writer.stage(change, upsert(3 * at + number + 2, id=99, v=f"{at}-{number}"))]
                account = writer.account(2)
                while True:
                    try:
                        writer.commit(staged, account)
                    except TransientSinkError:
                        continue
                    break
        except (MillraceError, AssertionError, threading.BrokenBarrierError) as error:
            failures.append(error)

    threads = [threading.Thread(target=fill, args=one, daemon=True) for one in enumerate(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert not failures and not any(thread.is_alive() for thread in threads)
    mine = [(number * 10 + at, f"{number}") for number in range(3) for at in range(2)]
    assert target.rows() == sorted([*mine[1:], (0, "0"), (99, "1-2")], key=repr)
    assert [writer.next for writer in writers] == [4, 4, 4]
    for writer in writers:
        writer.close()


def test_other_clients_read_the_table(target, request):
    """deltalake by itself; and by Arrow's own client the files that the log of commits names."""
    target.apply(*(upsert(1, id=number, v="x" * 100) for number in range(2_000)))
    target.apply(upsert(2, id=1, v="new"), delete(2, id=2), upsert(2, id=3, v="too"))
    expected = target.rows()
    read = DeltaTable(f"{target.options['path']}/orders", storage_options=target.options["storage_options"])
    assert as_rows(read.to_pyarrow_table()) == expected
    if target.options["path"].startswith("gs:"):
        endpoint = request.getfixturevalue("gcs").endpoint
        files = pafs.GcsFileSystem(anonymous=True, scheme="http", endpoint_override=endpoint.removeprefix("http://"))
    else:
        store = request.getfixturevalue("s3")
        keys = {"access_key": store.key, "secret_key": store.secret}
        files = pafs.S3FileSystem(**keys, endpoint_override=store.endpoint, region=store.region)
    folder = target.options["path"].partition("://")[2] + "/orders"
    names = sorted(info.path for info in files.get_file_info(pafs.FileSelector(f"{folder}/_delta_log")))
    live: set[str] = set()
    for name in (name for name in names if name.endswith(".json")):
        with files.open_input_stream(name) as stream:
            actions = [json.loads(line) for line in stream.read().splitlines()]
        live |= {action["add"]["path"] for action in actions if "add" in action}
        live -= {action["remove"]["path"] for action in actions if "remove" in action}
    tables = [pq.ParquetFile(files.open_input_file(f"{folder}/{name}")).read() for name in live]
    assert as_rows(pa.concat_tables(tables)) == expected


def as_rows(found):
    return sorted((tuple(row.values()) for row in found.select(["id", "v"]).to_pylist()), key=repr)


def test_a_bucket_that_is_not_there_is_named(target):
    options = {**target.options, "path": f"{target.options['path'].partition('//')[0]}//no-such-bucket/lake"}
    with pytest.raises(MillraceError, match="no-such-bucket"):
        Target("delta", target.folder, options).apply(upsert(1, id=1, v="a"))
