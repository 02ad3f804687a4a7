"""What is remembered of Beam's answers is what Beam answers."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, StandardOptions
from apache_beam.transforms import userstate
from apache_beam.transforms.userstate import BagStateSpec

from millrace.pipelines.execution import remembered_beam
from millrace.pipelines.execution.remembered_beam import remembering
from millrace.transforms.sources.timer_read import Poll

WORDS = ["--runner=PrismRunner", "--experiments=a", "--streaming"]


@pytest.fixture
def as_installed(monkeypatch):
    """Beam as it is without the tests' own remembering."""
    monkeypatch.setattr(PipelineOptions, "__init__", remembered_beam._parse)
    monkeypatch.setattr(userstate, "get_dofn_specs", remembered_beam._specs)


@pytest.mark.parametrize("words", [[], WORDS], ids=len)
def test_options_are_those_that_beam_parses(as_installed, words):
    parsed = PipelineOptions(words).get_all_options()
    with remembering():
        for _ in range(2):
            assert PipelineOptions(words).get_all_options() == parsed


def test_what_one_user_of_options_adds_no_other_sees():
    with remembering():
        first, second = (PipelineOptions(WORDS).view_as(DebugOptions) for _ in range(2))
        first.add_experiment("b")
        first.view_as(StandardOptions).runner = "DirectRunner"
    assert (first.experiments, second.experiments) == (["a", "b"], ["a"])
    assert PipelineOptions(WORDS).view_as(StandardOptions).runner == "PrismRunner"


def test_states_and_timers_are_those_that_beam_finds(as_installed):
    class Users(beam.DoFn):
        STATE = BagStateSpec("seen", beam.coders.VarIntCoder())

        def process(self, item, seen=beam.DoFn.StateParam(STATE)):  # noqa: B008
            yield item

    users, ours = Users(), Poll.__new__(Poll)
    found = [userstate.get_dofn_specs(one) for one in (users, ours)]
    assert found[0] == ({Users.STATE}, set())
    assert all(found[1])
    with remembering():
        for _ in range(2):
            again = [userstate.get_dofn_specs(one) for one in (users, ours)]
            assert again == found
            again[1][0].clear()


def test_afterwards_beam_is_as_others_know_it(as_installed):
    with pytest.raises(ZeroDivisionError), remembering(), remembering():
        assert PipelineOptions.__init__ is not remembered_beam._parse
        1 / 0  # noqa: B018
    assert PipelineOptions.__init__ is remembered_beam._parse
    assert userstate.get_dofn_specs is remembered_beam._specs
