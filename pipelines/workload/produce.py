"""Send a made-up workload to a topic, with its schemas in a folder of .avsc files."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Self, cast, get_args

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from ...schemas.encodings import ENCODINGS
from ...schemas.encodings.schema_store import FolderSchemaStore
from ...schemas.errors import JobError, SourceError
from ...schemas.model.ledger import TopicPartition
from ...transforms.sources.kafka.cluster import open_broker
from ...transforms.sources.kafka.options import KafkaOptions
from ...transforms.sources.kafka.settings import KafkaSettings
from ..job.formatting import duration
from ..job.load import load_job
from ..job.model import Job
from .change_stream import Stream, Workload
from .orders import SCHEMAS, Encoder, MessageEncoder
from .plain_messages import PlainEncoder, PlainForm

CHUNK: Final = 2_000
BOOTSTRAP_MS: Final = 15_000
FLUSH_SECONDS: Final = 60
NUMBERED: Final = re.compile(r"(?P<label>.+)\.(?P<id>\d+)\.avsc")
PRODUCER: Final[dict[str, Any]] = {
    "acks": "all",
    "batch_size": 256 << 10,
    "client_id": "millrace-produce",
    "compression_type": "lz4",
    "linger_ms": 20,
    "metrics_enabled": False,
}

Form = Literal["debezium", "upsert", "maxwell", "goldengate"]
Report = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Produced:
    """What was sent; `counts` are the stream's."""

    topic: str
    messages: int
    seconds: float
    counts: dict[str, int]

    def lines(self) -> list[str]:
        """For people."""
        rate = self.messages / max(self.seconds, 1e-9)
        made = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in self.counts.items() if count)
        return [
            f"{self.messages:,} messages sent to {self.topic} in {duration(self.seconds)}: {rate:,.0f} a second",
            made,
        ]

    def to_json(self) -> dict[str, Any]:
        rate = round(self.messages / max(self.seconds, 1e-9))
        seconds = round(self.seconds, 3)
        return {
            "topic": self.topic,
            "messages": self.messages,
            "seconds": seconds,
            "messages_per_second": rate,
            **self.counts,
        }


@dataclass(frozen=True, kw_only=True)
class Order:
    """Where a workload goes: the topic, the table that messages name, and the folder of its schemas."""

    kafka: KafkaSettings
    topic: str
    format: Form = "debezium"
    schemas: Path = Path("contracts")
    table: str = ""

    @classmethod
    def of_job(cls, file: Path) -> Self:
        """The first topic of a job, in its format. Raises JobError where it names none, or no folder of schemas."""
        job = load_job(file)
        if not job.source.topics:
            raise JobError(f"{file}: source.topic_pattern names no topic to produce to; add --topic NAME")
        form = job.format.envelope
        if form in get_args(PlainForm):
            only = getattr(job.format.envelope_options, "only", None)
            table = f"shop.{job.source.topics[0].rpartition('.')[2]}" if only is None else only.replace("*", "x")
            return cls(kafka=settings_of(job), topic=job.source.topics[0], format=cast(Form, form), table=table)
        if job.format.schemas is None:
            raise JobError(f"{file}: produce needs format.schemas, a folder: it registers nothing in a registry")
        if job.format.encoding != "avro" or form not in get_args(Form):
            raise JobError(f"{file}: produce writes debezium and upsert in avro, {' and '.join(get_args(PlainForm))}")
        schemas = job.format.schemas
        return cls(kafka=settings_of(job), topic=job.source.topics[0], format=cast(Form, form), schemas=schemas)

    @classmethod
    def of_options(cls, bootstrap_servers: str | None, topic: str | None) -> Self:
        """From the command line alone; raises JobError for what is missing."""
        if bootstrap_servers is None or topic is None:
            missing = "--bootstrap-servers HOST:PORT" if bootstrap_servers is None else "--topic NAME"
            raise JobError(f"millrace produce: missing: a job file, or {missing}; see millrace produce --help")
        return cls(kafka=KafkaSettings(bootstrap_servers), topic=topic)

    def but(self, **changes: Any) -> Self:
        """With those of `changes` that are not None."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})


def produce(
    order: Order, workload: Workload, rate: float | None = None, report: Report = lambda sent: None
) -> Produced:
    """Create the topic and the schemas where they are missing, then send the whole workload.

    An existing topic keeps its number of partitions, and positions go on behind what it holds. Raises JobError where
    the folder holds other schemas of this name, SourceError where the broker refuses.
    """
    encoder: MessageEncoder
    if workload.format in ("maxwell", "goldengate"):
        encoder = PlainEncoder(workload.format, order.table)
    else:
        encoder = write_schemas(order.schemas, order.topic, workload.format)
    create_topic(order.kafka, order.topic, workload.partitions)
    stream = Stream(continued(order.kafka, order.topic, workload), encoder)
    done = send(order.kafka, order.topic, stream, rate=rate, report=report)
    report(0)
    return done


def send(
    settings: KafkaSettings,
    topic: str,
    stream: Stream,
    changes: int | None = None,
    rate: float | None = None,
    report: Report = lambda sent: None,
) -> Produced:
    """Send the stream's next messages (`changes` of them, None: all of its workload); at most `rate` messages a second.

    All are acknowledged when this returns. `report` is told how many were sent, now and then.
    """
    started, before = time.monotonic(), dict(stream.counts)
    sent, waiting = 0, list[Any]()
    with _kafka_errors(settings), closing(KafkaProducer(**{**PRODUCER, **_known(settings, KafkaProducer)})) as producer:
        for partition, key, value in stream.messages(changes):
            waiting.append(producer.send(topic, value=value, key=key, partition=partition))
            sent += 1
            if rate is not None:
                _slow_down(sent, started, rate)
            if sent % CHUNK == 0:
                waiting = [future for future in waiting if not _acknowledged(future)]
                report(sent)
        producer.flush(FLUSH_SECONDS)
        for future in waiting:
            future.get(FLUSH_SECONDS)
    counts = {name: count - before[name] for name, count in stream.counts.items()}
    return Produced(topic=topic, messages=sent, seconds=time.monotonic() - started, counts=counts)


def _acknowledged(future: Any) -> bool:
    if future.failed():
        raise future.exception
    return bool(future.is_done)


def _slow_down(sent: int, started: float, rate: float) -> None:
    early = started + sent / rate - time.monotonic()
    if early > 0:
        time.sleep(early)


def settings_of(job: Job) -> KafkaSettings:
    """The Kafka cluster of a job. Raises JobError for a job that reads from elsewhere."""
    if not isinstance(job.source.options, KafkaOptions):
        raise JobError(f"{job.file}: messages can be produced to kafka only, not to a source of type {job.source.type}")
    return job.source.options.kafka


def create_topic(settings: KafkaSettings, topic: str, partitions: int) -> None:
    """Create the topic, with the broker's own replication; one that exists is left as it is. Raises SourceError."""
    with _kafka_errors(settings), closing(KafkaAdminClient(**_known(settings, KafkaAdminClient))) as admin:
        if topic not in admin.list_topics():
            with suppress(TopicAlreadyExistsError):
                admin.create_topics([NewTopic(topic, partitions, -1)])


def continued(settings: KafkaSettings, topic: str, workload: Workload) -> Workload:
    """The workload with the topic's partitions, and after what it holds. Raises SourceError."""
    with open_broker(settings) as broker:
        partitions = broker.topics([topic])[topic]
        ends = broker.offsets([TopicPartition(topic, part) for part in partitions])
    return replace(workload, partitions=len(partitions), after=sum(end for _, end in ends.values()))


def write_schemas(folder: Path, topic: str, form: Form) -> Encoder:
    """Write `<name>-key.<id>.avsc` and `<name>-value.<id>.avsc` where they are missing; an encoder with their ids.

    `<name>` is the topic's last part. Raises JobError where a file of that name holds another schema.
    """
    name = topic.rpartition(".")[2]
    folder.mkdir(parents=True, exist_ok=True)
    sides = {"key": "orders-key", "value": "orders-envelope" if form == "debezium" else "orders-row"}
    ids = {side: _schema_id(folder, f"{name}-{side}", SCHEMAS / f"{file}.avsc") for side, file in sides.items()}
    FolderSchemaStore(folder, ENCODINGS["avro"].schema_language())
    return Encoder(ids["key"], ids["value"])


def _schema_id(folder: Path, label: str, original: Path) -> int:
    """The id of the schema in the folder, which is written with the next free id where it is missing."""
    for file in sorted(folder.glob(f"{label}.*.avsc")):
        match = NUMBERED.fullmatch(file.name)
        if match is None or match["label"] != label:
            continue
        if _schema(file) != _schema(original):
            raise JobError(f"{file} is another schema than that of the workload; name another folder: --schemas")
        return int(match["id"])
    taken = [int(match["id"]) for file in folder.iterdir() if (match := NUMBERED.fullmatch(file.name))]
    number = max(taken, default=0) + 1
    shutil.copyfile(original, folder / f"{label}.{number}.avsc")
    return number


def _schema(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _known(settings: KafkaSettings, client: Any) -> dict[str, Any]:
    """The settings that this kind of client has, with the secrets."""
    options, _ = settings.resolved()
    known = {name: value for name, value in options.items() if name in client.DEFAULT_CONFIG}
    return {"bootstrap_timeout_ms": BOOTSTRAP_MS, **known}


@contextmanager
def _kafka_errors(settings: KafkaSettings) -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        raise SourceError(f"{settings.bootstrap_servers}: the broker does not take the workload: {error}") from None
