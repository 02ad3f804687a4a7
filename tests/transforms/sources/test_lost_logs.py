"""What is said where a log cannot be read on: what happened, in the words of its source and of its job file."""

import pytest

from millrace.schemas.model.ledger import TopicPartition
from millrace.transforms.sources.source import lost_offsets, recreated_topic

PARTITION = TopicPartition("shop.orders", 0)


@pytest.mark.parametrize("typed", [False, True])
def test_the_advice_is_what_the_job_file_can_say(typed):
    errors = [
        lost_offsets(PARTITION, 3, 5, 9, typed=typed),
        lost_offsets(PARTITION, 30, 5, 9, typed=typed),
        recreated_topic("shop.orders", "since the last run", "shop.orders[0] at 3", typed=typed),
    ]
    for error in errors:
        # A job that reads tables makes a new copy, and has no topics.
        assert "millrace resync JOB --table TABLE" in str(error) and ("new copy" in str(error)) == typed
        assert ("topic" in str(error) or "retention" in str(error)) != typed
