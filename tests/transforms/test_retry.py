"""Trying again: how long, how often, what ends it."""

import itertools
import threading

import pytest

from millrace.schemas.errors import SourceError, TerminalSinkError, TransientSinkError
from millrace.transforms.retry import BRIEF, ENDLESS, PATIENT, Backoff, Retry, retried


class Away:
    """Fails so often with these errors, one after the other, then answers."""

    def __init__(self, *errors):
        self.errors, self.tries = list(errors), 0

    def __call__(self):
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        return "here"


@pytest.mark.parametrize("backoff", [BRIEF, PATIENT, Backoff(0.1, 3.0, 20.0)])
def test_pauses_double_up_to_the_longest_and_their_sum_is_within_the_limit(backoff):
    for _ in range(50):
        pauses = list(backoff.pauses())
        assert sum(pauses) <= backoff.limit
        assert sum(pauses) + backoff.longest > backoff.limit
        for tries, pause in enumerate(pauses):
            full = min(backoff.first * 2**tries, backoff.longest)
            assert full / 2 <= pause <= full


def test_two_workers_do_not_come_back_at_the_same_moment():
    assert len({next(PATIENT.pauses()) for _ in range(20)}) == 20


def test_without_a_limit_there_is_always_another_pause():
    assert len(list(itertools.islice(ENDLESS.pauses(), 5_000))) == 5_000


def test_by_the_clock_the_tries_count_too():
    assert list(Backoff(0.01, 0.01, 0.0, by_clock=True).pauses()) == []
    pauses = Backoff(0.001, 0.001, 0.05, by_clock=True).pauses()
    next(pauses)
    threading.Event().wait(0.1)
    assert next(pauses, None) is None


def test_what_can_pass_is_tried_again_and_each_try_is_said():
    said = []
    away = Away(TransientSinkError("busy"), TransientSinkError("still busy"))
    assert retried("table t", away, Retry(Backoff(0.001, 0.002, 1.0), say=said.append)) == "here"
    assert [line.partition(";")[0] for line in said] == ["table t: busy", "table t: still busy"]
    assert all("trying again in 0.0 s" in line for line in said)


@pytest.mark.parametrize("error", [TerminalSinkError("no"), SourceError("other")])
def test_what_stays_is_not_tried_again(error):
    away = Away(error)
    with pytest.raises(type(error)):
        retried("t", away, Retry(Backoff(0.001, 0.002, 1.0)))
    lasting = Away(TransientSinkError("no"))
    with pytest.raises(TransientSinkError):
        retried("t", lasting, Retry(Backoff(0.001, 0.002, 1.0), lasts=lambda error: True))
    assert (away.tries, lasting.tries) == (1, 1)


def test_the_last_error_is_raised_when_the_limit_is_reached():
    away = Away(*(TransientSinkError(f"try {number}") for number in range(50)))
    with pytest.raises(TransientSinkError, match=f"try {away.tries}"):
        retried("t", away, Retry(Backoff(0.001, 0.001, 0.0)))
    assert away.tries == 1


def test_a_stop_ends_a_pause():
    stop, away = threading.Event(), Away(TransientSinkError("busy"))
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(TransientSinkError, match="busy"):
        retried("t", away, Retry(Backoff(60.0, 60.0), stop=stop))
    assert away.tries == 1
