"""The splits of a source for the reads by timer: each is given once, wherever a bundle ends."""

import pickle

from apache_beam.io.unbounded_source import UnboundedSource
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from hypothesis import given
from hypothesis import strategies as st

from millrace.transforms.sources.timer_read import Splits


class Parts(UnboundedSource):
    """Its splits are words; a second split gives others, as that of a topic which has grown."""

    asked = 0

    def __init__(self, *parts):
        self.parts = parts

    def split(self, desired_num_splits, options=None):
        Parts.asked += 1
        return list(self.parts) if Parts.asked == 1 else [*self.parts, "grown"]


@given(st.lists(st.integers(1, 3), max_size=6))
def test_each_split_is_given_once_wherever_bundles_end(lengths):
    Parts.asked = 0
    source = Splits(Parts("a", "b", "c", "d"))
    assert source.split(20) == [source]
    mark, found = None, []
    for length in [*lengths, 10]:
        reader = source.create_reader(None, mark)
        there = reader.start()
        for number in range(length):
            if there:
                found.append(reader.get_current())
                assert reader.get_current_timestamp() == reader.get_watermark() == MIN_TIMESTAMP
                there = number + 1 < length and reader.advance()
        coder = source.get_checkpoint_mark_coder()
        mark = coder.decode(coder.encode(reader.get_checkpoint_mark()))
        reader.close()
    assert found == [("0", "a"), ("1", "b"), ("2", "c"), ("3", "d")]
    assert Parts.asked == 1
    assert not source.create_reader(None, mark).start()


def test_a_source_of_splits_travels_to_workers():
    assert pickle.loads(pickle.dumps(Splits(Parts("a"))))._source.parts == ("a",)
