"""The job file's `source`: which topics of which cluster."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from ...schemas.option_values import Moment, distinct, listed, one_of, one_or_more, read_name
from ...schemas.options import Options, mistake, refuse_unknown
from ...transforms.sources import SOURCES
from .part_type import known_type

TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")

Start = Literal["earliest", "latest"] | datetime


class StartTime(Options):
    """Where a job starts by the clock of Kafka's records."""

    timestamp: Moment = Field(description="A time with its zone, as 2026-01-01T00:00:00Z.")


def check_topic(topic: str) -> str:
    """A name that Kafka allows. Raises ValueError."""
    if TOPIC.fullmatch(topic) is None:
        advice = "; for a pattern use source.topic_pattern" if re.search(r"[*+?\\|()\[\]]", topic) else ""
        raise ValueError(f"{topic!r} cannot be a topic: names have letters, digits, '.', '_' and '-' only{advice}")
    return topic


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    return pattern


def _read_start(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, Mapping):
        return StartTime.model_validate(value, context=info.context).timestamp
    return (
        value
        if isinstance(value, datetime)
        else one_of(value, ("earliest", "latest"), "{timestamp: 2026-01-01T00:00:00Z}")
    )


Topic = Annotated[
    str,
    BeforeValidator(read_name, json_schema_input_type=str),
    AfterValidator(check_topic),
    WithJsonSchema({"type": "string", "pattern": f"^{TOPIC.pattern}$"}),
]
TopicNames = Annotated[
    tuple[Topic, ...], AfterValidator(distinct), BeforeValidator(listed, json_schema_input_type=one_or_more(Topic))
]


class Topics(Options):
    """Which partitions are read, and from where on; exactly one of `topics` and `topic_pattern` is set."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["topics"]}, {"required": ["topic_pattern"]}]},
    )

    topics: TopicNames = Field(default=(), validate_default=False, description="The topics to read.")
    topic_pattern: Annotated[str, AfterValidator(_check_pattern)] | None = Field(
        default=None,
        description="A regular expression that the whole name of a topic matches; new topics are taken up.",
    )
    start: Annotated[
        Start, PlainValidator(_read_start, json_schema_input_type=Literal["earliest", "latest"] | StartTime)
    ] = Field(default="earliest", description="Where reading begins while the target holds no offsets of a table.")

    @model_validator(mode="after")
    def _one_way_to_topics(self) -> Self:
        if self.topics and self.topic_pattern is not None:
            raise mistake("stands beside source.topics; a job has one of the two", "topic_pattern")
        if not self.topics and self.topic_pattern is None:
            raise mistake("says no topics: add topics: [NAME, ...] or topic_pattern: 'REGEX'")
        return self


class SourceTables(Options):
    """Which tables of a database are read; exactly one of `tables` and `table_pattern` is set."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["tables"]}, {"required": ["table_pattern"]}]},
    )

    tables: TopicNames = Field(default=(), validate_default=False, description="The tables to read, as SCHEMA.TABLE.")
    table_pattern: Annotated[str, AfterValidator(_check_pattern)] | None = Field(
        default=None, description="A regular expression that the whole name SCHEMA.TABLE matches."
    )

    @model_validator(mode="after")
    def _one_way_to_tables(self) -> Self:
        if self.tables and self.table_pattern is not None:
            raise mistake("stands beside source.tables; a job has one of the two", "table_pattern")
        if not self.tables and self.table_pattern is None:
            raise mistake("says no tables: add tables: [SCHEMA.TABLE, ...] or table_pattern: 'REGEX'")
        return self


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source of the type `type` with its options, references to secrets unresolved, and the topics to read."""

    type: str
    options: Options
    topics: tuple[str, ...] = ()
    topic_pattern: str | None = None
    start: Start = "earliest"

    @property
    def typed(self) -> bool:
        """Whether its log has types, so that the job has no format."""
        return SOURCES.find(self.type).typed

    def reads(self, topic: str) -> bool:
        """Whether a topic of this name belongs to the job."""
        if self.topic_pattern is None:
            return topic in self.topics
        return re.fullmatch(self.topic_pattern, topic) is not None


def read_source(written: Any, info: ValidationInfo) -> Any:
    """The source as written: the model of its own options is that of its `type`. Raises ValueError."""
    if isinstance(written, Source):
        return written
    if not isinstance(written, Mapping):
        return Options.model_validate(written)
    kind = known_type(written, SOURCES)
    spec = SOURCES.find(kind)
    model = spec.options
    if spec.typed:
        return _read_tables(kind, written, model, info)
    general, own = list(Topics.keys()), list(model.keys())
    refuse_unknown(written, ("type", *own, *general))
    options = model.model_validate({key: written[key] for key in own if key in written}, context=info.context)
    read = Topics.model_validate({key: written[key] for key in general if key in written}, context=info.context)
    return Source(type=kind, options=options, topics=read.topics, topic_pattern=read.topic_pattern, start=read.start)


def _read_tables(kind: str, written: Mapping[str, Any], model: type[Options], info: ValidationInfo) -> Source:
    """A source whose log has types: its topics are the tables that it names."""
    own, general = list(model.keys()), list(SourceTables.keys())
    refuse_unknown(written, ("type", *own, *general))
    options = model.model_validate({key: written[key] for key in own if key in written}, context=info.context)
    read = SourceTables.model_validate({key: written[key] for key in general if key in written}, context=info.context)
    return Source(type=kind, options=options, topics=read.tables, topic_pattern=read.table_pattern)
