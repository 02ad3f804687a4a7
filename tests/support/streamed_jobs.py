"""Jobs that stream while a test breaks things: how far they are committed, and whether they end as the oracle says."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path

from deltalake import DeltaTable
from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition

from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.execution.job_parts import target_of
from millrace.pipelines.job.load import load_job
from millrace.schemas.errors import MillraceError
from millrace.schemas.model.ledger import TopicPartition
from millrace.transforms.dead_letters import read
from support import postgres_server
from support.jobs import write_job
from support.processes import until

TESTS = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}", "PYTHONWARNINGS": "ignore"}
COUNTED = ("applied", "superseded", "filtered", "dead")
ACCOUNT = ("read", *COUNTED)


class StreamedJob:
    """A job file in `folder` that fills the table named after the stream's topic."""

    def __init__(self, folder, name, servers, stream, target, more=""):
        folder.mkdir(exist_ok=True)
        self.stream, self.servers, self.name = stream, servers, name
        self.file = write_job(folder, servers, [stream.topic], target=target, more=f"window: {{every: 1s}}\n{more}")
        self.file.write_text(self.file.read_text().replace("job: test", f"job: {name}", 1))
        self.job = load_job(self.file)

    @contextmanager
    def sink(self):
        with closing(target_of(self.job).open()) as sink:
            yield sink

    def ends(self):
        """The end offset of each partition there is."""
        consumer = KafkaConsumer(bootstrap_servers=self.servers, group_id=None)
        try:
            partitions = consumer.partitions_for_topic(self.stream.topic) or set()
            return consumer.end_offsets([KafkaPartition(self.stream.topic, number) for number in sorted(partitions)])
        finally:
            consumer.close()

    def committed(self):
        """The ledger's next offset by partition number; empty while the target does not answer."""
        sources = [TopicPartition(self.stream.topic, number) for number in range(self.stream.partitions)]
        try:
            with self.sink() as sink:
                found = sink.ledger(self.job.job, self.stream.topic, sources).next
        except MillraceError:
            return {}
        return {source.partition: offset for source, offset in found.items()}

    def reaches(self, ends, seconds):
        """Whether everything below these end offsets is committed within that time."""
        wanted = {source.partition: end for source, end in ends.items() if end}

        def there():
            done = self.committed()
            return all(done.get(partition, 0) >= end for partition, end in wanted.items())

        return until(there, seconds, 0.3)

    def recovered(self, seconds=240):
        """Seconds until all that is in the topic now is committed."""
        began, ends = time.monotonic(), self.ends()
        assert self.reaches(ends, seconds), f"{self.name}: committed {self.committed()} of {ends}"
        return time.monotonic() - began

    def rows(self):
        with self.sink() as sink:
            batches = sink.scan(self.stream.topic, ["id", "name", "count"])
            return sorted(tuple(row.values()) for batch in batches for row in batch.to_pylist())

    def accounts(self):
        """What became of the records, summed over all commits."""
        if self.job.target.type == "delta":
            return self._delta_accounts()
        held = json.loads((self.file.parent / "postgres").read_text())
        names = ", ".join(f"sum({name})::bigint" for name in ACCOUNT)
        (row,) = postgres_server.server().sql(f"SELECT {names} FROM _millrace_ledger", dbname=held["name"])
        return Counter(dict(zip(ACCOUNT, row, strict=True)))

    def _delta_accounts(self):
        sums = Counter()
        for commit in DeltaTable(str(self.file.parent / "lake" / self.stream.topic)).history():
            told = commit.get("millrace")
            for account in json.loads(told)["accounts"] if told else ():
                sums.update({name: account[name] for name in ACCOUNT})
        return sums

    def settles(self, seconds=240):
        """All that was sent is committed, the table is the oracle's, the accounts add up, and the proof holds.

        The stream must rest. What a runner brings twice is in the accounts twice, the second time as superseded.
        """
        self.recovered(seconds)
        assert self.rows() == self.stream.rows()
        sums = self.accounts()
        assert sums["read"] == sum(sums[name] for name in COUNTED), sums
        assert sums["read"] >= self.stream.messages
        assert len(list(read(self.job.dead_letters))) == self.stream.poison
        for report in verify_job(self.job):
            assert report.ok, json.dumps(report.to_json(), indent=1)

    def submit(self, *options, detach=True):
        """`millrace run` with these options; a process where it does not detach."""
        command = [sys.executable, "-m", "millrace.pipelines", "run", str(self.file), *options]
        if not detach:
            return command
        done = subprocess.run([*command, "--detach"], env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        return command
