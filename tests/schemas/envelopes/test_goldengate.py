"""Messages of Oracle GoldenGate's formatter json in the shapes that its documentation shows."""

import json

from support.jobs import rows, run_once
from support.plain_messages import changes, decoded, words

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.job.load import load_job
from millrace.schemas.model.change import UNAVAILABLE
from millrace.schemas.model.route import OnTruncate
from millrace.transforms.sources.scripted.source import ScriptedSource

ROW = {"CUST_CODE": "WILL", "ORDER_ID": 144, "PRICE": 17_520.5, "AMOUNT": 3}


def message(kind, before, after, place, **more):
    value = {"table": "QASOURCE.E", "op_type": kind, "op_ts": "2015-11-05 18:45:36.000000"}
    value |= {"current_ts": "2016-10-05T10:15:51.267000", "pos": place, "primary_keys": ["CUST_CODE", "ORDER_ID"]}
    return value | {name: image for name, image in (("before", before), ("after", after)) if image} | more


def test_documented_messages_are_changes_with_their_place_in_the_trail():
    newer, key = {**ROW, "PRICE": 14_000.0}, {"CUST_CODE": "WILL", "ORDER_ID": 144}
    values = [message("I", None, ROW, "00000000000000002928"), message("U", ROW, newer, "00000000000000004300")]
    done = decoded("goldengate", [*values, message("D", ROW, None, "00000000010000000017")])
    assert changes(done) == [("+", ROW), ("+", newer), ("-", key)]
    assert words(done) == [(0, 2_928, 0), (0, 4_300, 1), (1, 17, 2)]
    assert done.mark.climbs[0].latest == 1_446_749_136_000


def test_a_key_that_an_update_changes_moves_the_row():
    moved = {**ROW, "ORDER_ID": 145}
    done = decoded("goldengate", [message("U", ROW, moved, "00000000000000004300")])
    assert changes(done) == [("-", {"CUST_CODE": "WILL", "ORDER_ID": 144}), ("+", moved)]


def test_columns_that_an_update_lacks_are_unavailable_and_those_that_are_null_are_not():
    key = {"CUST_CODE": "WILL", "ORDER_ID": 144}
    partial = message("U", key, {**key, "PRICE": None}, "00000000000000004300")
    done = decoded("goldengate", [message("I", None, ROW, "00000000000000002928"), partial])
    assert done.changes[0].column(UNAVAILABLE).to_pylist() == [None, ["AMOUNT"]]


def test_an_update_that_moves_a_row_and_is_not_whole_is_a_dead_letter():
    whole = message("I", None, ROW, "00000000000000002928")
    moved = message("U", ROW, {"CUST_CODE": "WILL", "ORDER_ID": 145}, "00000000000000004300")
    (letter,) = decoded("goldengate", [whole, moved]).letters
    assert letter.offset == 1 and "changes the key and lacks columns" in letter.error


def test_a_truncate_is_one_of_the_table():
    done = decoded("goldengate", [message("T", None, None, "00000000000000004300")], on_truncate=OnTruncate.APPLY)
    assert (done.truncates, done.letters) == (1, [])


def test_a_later_run_keeps_what_its_first_updates_do_not_tell(tmp_path):
    """Its decoder has never seen the column: that the table has it is asked."""
    source, topic = ScriptedSource("goldengate-partial"), "QASOURCE.E"
    source.create_topic(topic)
    file = tmp_path / "job.yaml"
    file.write_text(
        f"job: g\nsource: {{type: scripted, name: goldengate-partial, topics: [{topic}]}}\n"
        "format: {type: goldengate}\ntarget: {type: duckdb, path: out.duckdb}\n"
    )
    key = {"CUST_CODE": "WILL", "ORDER_ID": 144}
    for value in (
        message("I", None, ROW, "00000000000000002928"),
        message("U", key, {**key, "PRICE": 1.5}, "00000000000000004300"),
    ):
        source.send(topic, json.dumps(value).encode(), key=b"WILL144")
        summary = run_once(file)
        assert (summary.failed, summary.total("dead")) == (False, 0), summary.lines()
    assert rows(tmp_path, "E", '"PRICE", "AMOUNT"') == [(1.5, 3)]
    for report in verify_job(load_job(file)):
        assert report.ok, report.to_json()
    source.clear()
