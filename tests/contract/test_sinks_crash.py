"""A target whose process dies inside a commit, and the next one cuts the log elsewhere: the table is the same."""

import pytest
from support.targets import MIRRORS, Target, delete, upsert

from millrace.transforms.sinks.shared import commit


class Killed(BaseException):
    """The process dies here."""


def die(*_):
    raise Killed


@pytest.fixture(params=MIRRORS)
def target(request, tmp_path):
    found = Target(request.param, tmp_path)
    yield found
    found.close()


def crash(target: Target, *changes) -> None:
    """A commit of which all is written but the ledger."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit, "LedgerChange", die)
        with pytest.raises(Killed):
            target.apply(*changes)
    target.reopen()


def test_deletes_of_a_commit_that_never_came_refuse_nothing_before_them(target):
    target.apply(upsert(10, id=1, v="old"), upsert(11, id=9, v="z"), delete(12, id=8))
    crash(target, delete(30, id=1), upsert(31, id=2, v="moved"))
    target.apply(upsert(20, id=1, v="new"))
    assert target.rows() == [(1, "new"), (9, "z")]
    target.apply(delete(21, id=9))
    crash(target, delete(30, id=1), upsert(31, id=2, v="moved"))
    target.apply(upsert(25, id=1, v="newer"))
    assert target.rows() == [(1, "newer")]
    target.apply(delete(30, id=1), upsert(31, id=2, v="moved"))
    target.reopen()
    target.apply(upsert(25, id=1, v="newer"), upsert(5, id=8, v="replayed"), upsert(11, id=9, v="replayed"))
    assert target.rows() == [(2, "moved")]


def test_the_first_commit_of_a_table_may_be_the_one_that_never_came(target):
    crash(target, upsert(9, id=2, v="b"), delete(30, id=1))
    target.apply(upsert(20, id=1, v="new"))
    assert target.rows() == [(1, "new")]
    target.apply(delete(30, id=1))
    target.reopen()
    target.apply(upsert(20, id=1, v="replayed"), upsert(31, id=3, v="c"))
    assert target.rows() == [(3, "c")]
