"""What a target keeps of its tables, torn: one sentence with the place and the way out, and the way out works."""

import pytest
from support.targets import Target, delete, upsert
from support.torn import ELSEWHERE, LOST, MENDED

from millrace.schemas.errors import MillraceError
from millrace.schemas.model.ledger import Account, Commit, TopicPartition
from millrace.transforms.sinks import SINKS
from millrace.transforms.sinks.shared.resync import Swap

SOURCE = TopicPartition("orders", 0)
BOTH = [(kind, tears, name) for tears in (MENDED, LOST) for kind, found in tears.items() for name in found]


def torn(kind, tmp_path, tear) -> Target:
    """A table of rows and tombstones, of two commits, as a new process finds it."""
    target = Target(kind, tmp_path)
    target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v="b"), delete(2, id=3))
    target.apply(delete(3, id=2), upsert(3, id=4, v="d"))
    target.reopen()
    tear(target)
    target.reopen()
    return target


def snapshot(target):
    with target.sink.snapshot("orders") as table:
        return table.ledger("shop", [SOURCE]), list(table.scan(None)) if table.there else []


def commit(target):
    staged = target.stage(upsert(9, id=1, v="z"), delete(9, id=4))
    target.sink.commit(target.table(), [staged], Commit("shop", (Account("orders", 0, 5, 7, read=2),)))


VERBS = {"ledger": lambda target: target.ledger, "rows": Target.rows, "snapshot": snapshot, "commit": commit}


def test_every_target_is_torn_here_or_says_why_not():
    assert set(MENDED) == set(LOST) == set(SINKS) - set(ELSEWHERE)


@pytest.mark.parametrize(("kind", "tears", "name"), BOTH, ids=lambda value: value if isinstance(value, str) else "")
def test_each_verb_works_or_says_one_sentence(kind, tears, name, tmp_path):
    target = torn(kind, tmp_path, tears[kind][name])
    said = []
    for verb in VERBS.values():
        try:
            verb(target)
        except MillraceError as error:
            said.append(str(error))
        target.reopen()
    target.close()
    assert said and all("\n" not in sentence for sentence in said)
    if tears is MENDED and name != "position":
        assert any("millrace resync JOB --table" in sentence for sentence in said), said


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, found in MENDED.items() for name in found])
def test_a_table_that_is_built_again_mends_it(kind, name, tmp_path):
    target = torn(kind, tmp_path, MENDED[kind][name])
    beside = Target(kind, tmp_path, name="orders__resync", _sink=target.sink)
    beside.sink.drop(beside.name)
    beside.sink.commit(beside.table(), [], Commit("shop", (Account("orders", 0, 0, 0),)))
    beside.commit([beside.stage(upsert(1, id=1, v="a"), delete(3, id=2), upsert(3, id=4, v="d"))])
    wanted = Swap(job="shop", table="orders", beside=beside.name, sources=[SOURCE], starts={SOURCE: 0}, lost=True)
    target.sink.swap(wanted)
    target.sink.drop(beside.name)
    target.reopen()
    assert (target.rows(), target.next) == ([(1, "a"), (4, "d")], 3)
    assert target.apply(upsert(2, id=2, v="late"), upsert(4, id=4, v="e")) == (1, 1)
    target.close()
