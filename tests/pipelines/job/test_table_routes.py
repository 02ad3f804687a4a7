"""Topics to tables: names, keys, several topics into one, and collisions."""

import pytest

from millrace.pipelines.job.load import TableRoute, load_job, route
from millrace.schemas.errors import JobError
from millrace.schemas.model.route import OnTruncate


def job(tmp_path, tables=""):
    file = tmp_path / "job.yaml"
    file.write_text(
        "job: j\nsource: {type: kafka, bootstrap_servers: a, topic_pattern: '.*'}\n"
        f"format: {{type: upsert, schemas: c}}\ntarget: {{type: duckdb, path: w}}\n{tables}"
    )
    return load_job(file)


def test_topics_take_their_last_part_or_what_tables_say(tmp_path):
    tables = "tables: [{from: shop.orders, to: Bestellungen, key: [id], on_truncate: apply}]"
    assert route(job(tmp_path, tables), ["shop.orders", "shop.items", "plain"]) == {
        "plain": TableRoute(table="plain", key=None, on_truncate=OnTruncate.FAIL, topics=("plain",)),
        "shop.items": TableRoute(table="items", key=None, on_truncate=OnTruncate.FAIL, topics=("shop.items",)),
        "shop.orders": TableRoute(
            table="Bestellungen", key=("id",), on_truncate=OnTruncate.APPLY, topics=("shop.orders",)
        ),
    }


def test_several_topics_of_one_item_share_a_table(tmp_path):
    routes = route(job(tmp_path, "tables: [{from: [b.t, a.t, not.there], to: t}]"), ["a.t", "b.t"])
    assert {entry.table for entry in routes.values()} == {"t"}
    assert routes["a.t"].topics == routes["b.t"].topics == ("a.t", "b.t")


@pytest.mark.parametrize(
    ("tables", "topics", "sentence"),
    [
        (
            "",
            ["a.orders", "b.Orders"],
            "the topics a.orders and b.Orders would both go to the table 'Orders'; "
            "name one of them under tables: {from: b.Orders, to: ...}",
        ),
        (
            "tables: [{from: a.x, to: orders}]",
            ["a.x", "b.orders"],
            "the topics a.x and b.orders would both go to the table 'orders'; "
            "name one of them under tables: {from: b.orders, to: ...}",
        ),
        ("", ["a."], "the topic a. gives no table name; name it under tables: {from: a., to: ...}"),
        (
            "",
            ["a._millrace_x"],
            "the topic a._millrace_x gives no table name; name it under tables: {from: a._millrace_x, to: ...}",
        ),
    ],
)
def test_collisions_are_refused(tmp_path, tables, topics, sentence):
    with pytest.raises(JobError) as caught:
        route(job(tmp_path, tables), topics)
    assert str(caught.value) == f"{tmp_path}/job.yaml: {sentence}"
