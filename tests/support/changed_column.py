"""A topic whose column changes, in its type or its name, and the job that reads it."""

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.job.load import load_job
from support.jobs import KEY, SOURCE, contracts, key, rows, run_once, send, wire, write_job


def envelope(kind, name="v"):
    fields = [{"name": "id", "type": "long"}, {"name": name, "type": ["null", kind], "default": None}]
    row = {"type": "record", "name": "Value", "fields": fields}
    return {
        "type": "record",
        "name": "Envelope",
        "fields": [
            {"name": "before", "type": ["null", row]},
            {"name": "after", "type": ["null", "Value"]},
            {"name": "source", "type": SOURCE},
            {"name": "op", "type": "string"},
        ],
    }


def change(schema_id, schema, number, value, at, op="u", name="v"):
    row = {"id": number, name: value}
    before, after = (row, None) if op == "d" else (None, row)
    source = {"sequence": f'["{at}","{at}"]', "lsn": at}
    return (0, key(number), wire(schema_id, {"before": before, "after": after, "source": source, "op": op}, schema))


class Table:
    """A table of its own: `before` messages have the column `v` of type `old`, `after` ones `name` of `new`."""

    def __init__(self, broker, topic, folder, old, new, name="v", **job):
        self.servers, self.topic, self.folder, self.name = broker.bootstrap_servers, topic, folder, name
        self.old, self.new = envelope(old), envelope(new, name)
        self.file = write_job(folder, self.servers, [topic], **job)
        contracts(folder / "contracts", {1: KEY, 8: self.old, 9: self.new})

    def send(self, *messages):
        send(self.servers, self.topic, messages)

    def before(self, number, value, at, **more):
        return change(8, self.old, number, value, at, **more)

    def after(self, number, value, at, **more):
        return change(9, self.new, number, value, at, **{"name": self.name, **more})

    def run(self):
        return run_once(self.file).tables[self.topic.rpartition(".")[2]]

    def rows(self, table=None):
        return rows(self.folder, table or self.topic.rpartition(".")[2])

    @property
    def where(self):
        return self.topic.rpartition(".")[2]

    def proved(self):
        return all(report.ok for report in verify_job(load_job(self.file)))
