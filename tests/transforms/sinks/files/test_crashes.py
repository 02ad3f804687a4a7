"""A change log whose writers crash, wake up late or meet: each change is there once."""

import pytest
from support.change_logs import DAY, NOON
from support.log_files import again, files, listed_offsets, range_of

from millrace.schemas.errors import TerminalSinkError
from millrace.schemas.model.ledger import Account
from millrace.transforms.sinks.files import ledger


class Killed(BaseException):
    """The process dies here."""


def die(*_):
    raise Killed


def test_a_writer_that_was_thought_dead_adds_nothing_that_another_has_added(log):
    """Stopped before its first file, while the other commits the same changes with other borders."""
    log.log(*range_of(0))
    zombie, other = again(log), again(log)
    staged = [zombie.put(*range_of(1, 2, 3))]
    create = type(zombie.sink._store).create

    def slow(name: str, data) -> bool:
        if name.endswith(".parquet") and other.next == 1:
            other.log(*range_of(1, 2))
            other.log(*range_of(3, 4, 5))
        return create(zombie.sink._store, name, data)

    zombie.sink._store.create = slow
    settled = zombie.commit(staged, Account("orders", 0, 1, 4, read=3))
    assert (settled.applied, settled.superseded) == (0, 3)
    assert listed_offsets(log) == log.offsets() == [0, 1, 2, 3, 4, 5]
    assert log.next == 6


def test_a_writer_that_was_thought_dead_between_two_of_its_files(log):
    zombie, other = again(log), again(log)
    days = [*range_of(0, 1), *range_of(2, 3, time=NOON + DAY)]
    staged = [zombie.put(*days)]
    create, done = type(zombie.sink._store).create, []

    def slow(name: str, data) -> bool:
        if name.endswith(".parquet"):
            done.append(name)
            if len(done) == 2:
                other.log(*days[:3])
        return create(zombie.sink._store, name, data)

    zombie.sink._store.create = slow
    zombie.commit(staged, Account("orders", 0, 0, 4, read=4))
    assert len(done) >= 2
    assert listed_offsets(log) == log.offsets() == [0, 1, 2, 3]
    assert log.next == 4


def test_a_name_that_another_writer_took_for_fewer_changes_and_died(log):
    """Its file holds the first of ours: the rest go into a file of their own."""
    log.log(*range_of(0))
    mine, killed = again(log), again(log)
    create, done = type(mine.sink._store).create, []

    def die_at_the_ledger(name: str, data) -> bool:
        if name.endswith(".json"):
            raise Killed
        return create(killed.sink._store, name, data)

    def slow(name: str, data) -> bool:
        if name.endswith(".parquet") and not done:
            done.append(name)
            with pytest.raises(Killed):
                killed.log(*range_of(1))
        return create(mine.sink._store, name, data)

    killed.sink._store.create, mine.sink._store.create = die_at_the_ledger, slow
    assert mine.log(*range_of(1, 2, 3)).applied == 3
    assert listed_offsets(log) == log.offsets() == [0, 1, 2, 3]


@pytest.mark.parametrize("files_written", [0, 1, 2])
def test_a_commit_that_was_killed_leaves_nothing_out_and_doubles_nothing(log, files_written):
    log.log(*range_of(0))
    killed = again(log)
    create, done = type(killed.sink._store).create, []

    def limited(name: str, data) -> bool:
        if name.endswith((".parquet", ".json")):
            if len(done) == files_written:
                raise Killed
            done.append(name)
        return create(killed.sink._store, name, data)

    changes = [*range_of(1, 2), *range_of(3, 4, time=NOON + DAY)]
    staged = [killed.put(*changes)]
    killed.sink._store.create = limited
    with pytest.raises(Killed):
        killed.commit(staged, Account("orders", 0, 1, 5, read=4))
    assert (log.offsets(), log.next) == ([0], 1)
    later = again(log)
    settled = later.log(*changes[:1], first=1, stop=2)
    assert (settled.applied, later.next) == (1, 2)
    assert later.offsets() == [0, 1]
    later.log(*changes[1:], *range_of(5, 6, time=NOON + DAY), first=2)
    assert listed_offsets(later) == later.offsets() == [0, 1, 2, 3, 4, 5, 6]


def test_a_change_that_can_be_decoded_now_and_could_not_before_a_crash(local, monkeypatch):
    """The first change of the range is a dead letter before the crash and a row after it: other names, same changes."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("millrace.transforms.sinks.files.commit.write", die)
        local.log(*range_of(1, 2, 3), first=0)
    later = again(local)
    later.log(*range_of(0, 1, 2, 3, 4))
    assert listed_offsets(later) == later.offsets() == [0, 1, 2, 3, 4]
    assert len(files(later)) == 3


@pytest.mark.parametrize("cut", [(range(10),), (range(4), range(4, 10)), (range(1), range(1, 6), range(6, 10))])
@pytest.mark.parametrize("held", [(0, 1, 3, 4, 5, 6, 9), (0, 9), (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (2, 5)])
def test_a_file_left_behind_is_taken_over_for_the_changes_that_it_holds(local, monkeypatch, held, cut):
    """Before the crash some messages between others were dead letters; the next run decodes all."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("millrace.transforms.sinks.files.commit.write", die)
        local.log(*range_of(*held), first=0, stop=10)
    later = again(local)
    applied = sum(later.log(*range_of(*part), first=part[0], stop=part[-1] + 1).applied for part in cut)
    assert applied == 10
    assert listed_offsets(later) == later.offsets() == list(range(10))


def test_two_writers_at_once_commit_one_after_the_other(log):
    first, second = again(log), again(log)
    mine, other = Account("orders", 0, 0, 2, read=2), Account("orders", 1, 0, 2, read=2)
    staged = first.put(*range_of(0, 1, source=0))
    others = second.put(*range_of(0, 1, partition=1, source=0))
    create, met = type(first.sink._store).create, []

    def meet(name: str, data) -> bool:
        if name.endswith(".json") and not met:
            met.append(second.sink.commit(others.table, [others], second.order(other)))
        return create(first.sink._store, name, data)

    first.sink._store.create = meet
    (settled,) = first.sink.commit(staged.table, [staged], first.order(mine))
    assert (settled.applied, met[0][0].applied) == (2, 2)
    assert listed_offsets(log) == log.offsets() == [0, 0, 1, 1]
    assert ledger.newest(log.sink._store, "orders").version == 2


def test_half_written_files_are_seen_by_no_reader(local):
    local.log(*range_of(0))
    half = local.folder / "logs" / "_millrace_staging" / f"{0:012d}-x.part"
    half.parent.mkdir(exist_ok=True)
    half.write_bytes(b"PAR1 half")
    assert (local.offsets(), len(files(local))) == ([0], 1)
    local.log(*range_of(1))
    assert local.offsets() == [0, 1]
    local.close()
    assert not half.exists()


def test_a_broken_file_in_the_way_is_named(local):
    local.log(*range_of(0))
    broken = local.folder / "logs" / "orders" / "date=2026-11-25" / f"shop+orders+0+{1:020d}.parquet"
    broken.write_bytes(b"PAR1 half")
    with pytest.raises(TerminalSinkError, match=r"0001\.parquet is not a whole file .* restore it from a copy"):
        local.log(*range_of(1, 2))
    assert local.next == 1
    broken.unlink()
    local.log(*range_of(1, 2))
    assert local.offsets() == [0, 1, 2]


def test_a_file_of_an_older_topic_of_the_same_name_is_not_taken_for_this_ones(local, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("millrace.transforms.sinks.files.commit.write", die)
        local.log(*range_of(0, 1), topic_ids={"orders": 1})
    with pytest.raises(TerminalSinkError, match="another topic of that name"):
        again(local).log(*range_of(0, 1), topic_ids={"orders": 2})


@pytest.mark.parametrize("torn", [b"", b'{"format": 1, "vers', b"[]", b"null", b'{"format": 1}'])
def test_a_torn_ledger_is_named_and_nothing_is_written(local, torn):
    local.log(*range_of(0, 1))
    local.log(*range_of(2))
    (newest,) = local.folder.rglob("00000000000000000002.json")
    newest.write_bytes(torn)
    before = listed_offsets(local)
    for action in (lambda: again(local).log(*range_of(3)), lambda: again(local).offsets(), lambda: again(local).next):
        with pytest.raises(TerminalSinkError, match=r"00000000000000000002\.json is not a whole ledger .* restore it"):
            action()
    assert listed_offsets(local) == before
