"""The oracles of the modes: what messages, in any order, leave behind in each."""

import itertools

from support.debezium_stream import GONE, Stream, old_key

from millrace.schemas.model.modes import Mode
from millrace.transforms.proof.canonical import Moment
from millrace.transforms.proof.reference_modes import reference_for
from millrace.transforms.proof.rules import Rules


def folded(mode, contracts, messages, **rules):
    return reference_for(mode, Rules("debezium", contracts, **rules)).add_all(messages)


def timed(stream):
    """Each message with its offset as its time."""
    return [one._replace(timestamp=one.offset) for one in stream.messages]


def at(milliseconds):
    return Moment("instant", milliseconds, 1_000_000)


def shown(fold, *names):
    found = [tuple(row.get(name) for name in names) for _, _, row in fold.rows()]
    return sorted(found, key=repr)


def test_soft_deletes_keep_the_last_row(contracts):
    stream = Stream().put(1, 10, "a").put(1, 20, GONE).delete(1, 30, tombstone=False)
    stream.delete(2, 40, tombstone=False).put(3, 50, "c")
    for order in itertools.islice(itertools.permutations(timed(stream)), 0, 5040, 97):
        fold = folded(Mode.SOFT_DELETE, contracts, order)
        assert shown(fold, "id", "text", "_millrace_deleted", "_millrace_deleted_at") == [
            (1, "a", True, at(2)),
            (2, None, True, at(3)),
            (3, "c", False, None),
        ]


def test_a_log_has_every_message_that_counts(contracts):
    stream = Stream().put(1, 10, "a").put(1, 20, GONE).delete(1, 30).change("t", None, 40).raw(b"poison", b"poison")
    names = ("_millrace_offset", "_millrace_change", "id", "text", "_millrace_not_sent", "_millrace_timestamp")
    log = [
        (0, "upsert", 1, "a", None, at(0)),
        (1, "upsert", 1, None, ["text"], at(1)),
        (2, "delete", 1, None, None, at(2)),
        (4, "truncate", None, None, None, at(4)),
    ]
    fold = folded(Mode.APPEND, contracts, [*timed(stream), *timed(stream)[:2]], truncate=True)
    assert shown(fold, *names) == log
    assert shown(folded(Mode.APPEND, contracts, timed(stream)), *names) == log[:3]
    assert fold.row(("t", 0, 1, "upsert"))["_millrace_partition"] == 0
    assert fold.row(("t", 0, 9, "upsert")) is None


def test_versions_end_where_the_next_event_is(contracts):
    stream = Stream().put(1, 10, "a").put(1, 30, GONE).delete(1, 40, tombstone=False).put(1, 50, "d")
    stream.delete(2, 60, tombstone=False).put(1, 20, "late").delete(2, 61, tombstone=False)
    names = ("id", "text", "_millrace_valid_from", "_millrace_valid_to", "_millrace_is_current", "_millrace_deleted")
    for order in itertools.islice(itertools.permutations(timed(stream)), 0, 5040, 97):
        fold = folded(Mode.SCD2, contracts, order)
        assert shown(fold, *names) == [
            (1, "a", at(0), at(5), False, False),
            (1, "d", at(3), None, True, False),
            (1, "late", at(1), at(2), False, False),
            (1, "late", at(5), at(1), False, False),
            (2, None, at(4), at(4), False, True),
            (2, None, at(6), at(6), False, True),
        ]
    key, _, row = next(fold.rows())
    assert fold.row(key) == row
    assert fold.position(key) is None


def test_a_version_of_a_moved_row_has_the_value_of_the_old_key(contracts):
    stream = Stream().put(1, 10, "big").delete(1, 20, new_key=2).put(2, 21, GONE, headers=old_key(1))
    fold = folded(Mode.SCD2, contracts, timed(stream))
    assert shown(fold, "id", "text", "_millrace_is_current") == [(1, "big", False), (2, "big", True)]
    unknown = [one._replace(timestamp=-1) for one in stream.messages]
    assert shown(folded(Mode.SCD2, contracts, unknown), "_millrace_valid_from") == [(None,), (None,)]
