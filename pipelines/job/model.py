"""A job as its file describes it; immutable, and its repr shows no secret.

What stands in one part alone is checked there; the rules between parts are those of `Job`.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)

from ...schemas.envelopes import ENVELOPES
from ...schemas.errors import JobError
from ...schemas.model.epoch import OnNewSource
from ...schemas.model.incompatible_columns import OnIncompatible
from ...schemas.model.modes import Mode
from ...schemas.model.route import OnSnapshot, OnTruncate, OnTwoSources, OrderBy
from ...schemas.model.unrepresentable import OnUnrepresentable
from ...schemas.option_values import Interval, built, read_name
from ...schemas.options import Duration, Location, Options, mistake, mistakes_at
from ...schemas.suggestions import guess
from ...transforms.dead_letter_limit import DEFAULT_LIMIT, Limit
from ...transforms.dead_letters import letters_at
from ...transforms.sinks import SINKS
from ...transforms.sinks.shared.guarantees import Promise
from ...transforms.sources.copy_options import DatabaseOptions
from ...transforms.stores import SCHEMES, Address, unknown_scheme
from .format import NO_FORMAT, Format, read_format
from .source import Source, read_source
from .table_entry import TableEntry
from .target import Target, no_mode, read_target

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
KEEPING: Final = (Mode.SOFT_DELETE, Mode.SCD2)
"""The modes that keep rows which were deleted."""

DEFAULT_DEAD_LETTERS: Final = {"path": "dead_letters"}
"""Read like what is written, for its path starts in the job file's folder."""

Mistake = tuple[str, tuple[int | str, ...]]
"""What is wrong, and the way to it from the top of the file."""


def _check_job_name(name: str) -> str:
    if NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a name of letters, digits, '_', '-' and '.'")
    return name


def _read_limit(value: Any) -> Limit:
    if isinstance(value, Limit):
        return value
    try:
        return Limit.parse("nothing" if value is None else value)
    except JobError as error:
        raise ValueError(str(error)) from None


JobName = Annotated[
    str,
    BeforeValidator(read_name, json_schema_input_type=str),
    AfterValidator(_check_job_name),
    WithJsonSchema({"type": "string", "pattern": f"^{NAME.pattern}$"}),
]
LimitText = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%?\s*$"})]


class Window(Options):
    """How much goes into one commit. `allowed_lateness` is zero where windows are by arrival."""

    model_config = ConfigDict(
        json_schema_extra={
            "dependentSchemas": {
                "allowed_lateness": {"properties": {"by": {"const": "event"}}, "required": ["by"]},
            }
        }
    )

    every: Interval = Field(
        default=timedelta(seconds=10), description="The length of a window: each table is committed once a window."
    )
    by: Literal["arrival", "event"] = Field(
        default="arrival", description="Windows by when changes are read, or by their own time."
    )
    allowed_lateness: Duration = Field(
        default=timedelta(0), description="With by: event, how long a closed window takes changes."
    )

    @model_validator(mode="after")
    def _late_by_event_only(self) -> Self:
        if "allowed_lateness" in self.model_fields_set and self.by != "event":
            text = "has a meaning with by: event only; windows by arrival are never late"
            raise mistake(text, "allowed_lateness")
        return self


class DeadLetters(Options):
    """Where the messages go that cannot be applied."""

    path: Location = Field(description="A folder, or a URL.")
    storage_options: Mapping[str, Any] = Field(default={}, repr=False, description="Settings of the URL's store.")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        address = self.address()
        if self.path.startswith("${"):
            return self
        if address.scheme not in SCHEMES:
            raise mistake(f"{self.path!r}: {unknown_scheme(address.scheme)}", "path")
        if self.storage_options and address.folder is not None:
            raise mistake("belong to a URL, and dead_letters.path is a local folder", "storage_options")
        return self

    def address(self) -> Address:
        """The place, secrets as references."""
        return letters_at(self.path, self.storage_options)


class Job(Options):
    """A job file: `file` as it was given, `folder` absolute, where its relative paths start."""

    job: JobName = Field(description="Names the job: the target keeps offsets under it, so a new name starts anew.")
    source: Annotated[Source, PlainValidator(read_source)]
    format: Annotated[Format, PlainValidator(read_format)] = Field(default=NO_FORMAT)
    tables: tuple[TableEntry, ...] = Field(
        default=(), description="Without it each topic becomes a table, by its last part."
    )
    on_new_source: OnNewSource = Field(
        default=OnNewSource.STOP,
        description="Where the source was failed over, restored or replaced: stop the table, or follow the new source.",
    )
    on_incompatible: OnIncompatible = Field(
        default=OnIncompatible.STOP,
        description="Where a column's type changes and the table's column cannot hold it: stop the table, give it a "
        "column beside, or make such messages dead letters.",
    )
    window: Window = Field(default=Window(), description="How often tables are committed.")
    target: Annotated[Target, PlainValidator(read_target)]
    dead_letters: Annotated[Address, built(DeadLetters, DeadLetters.address)] = Field(
        default=cast(Address, DEFAULT_DEAD_LETTERS)
    )
    max_dead_letters: Annotated[Limit, PlainValidator(_read_limit, json_schema_input_type=int | LimitText)] = Field(
        default=DEFAULT_LIMIT, description="A number, or a percentage such as 0.1%; beyond it a table stops."
    )
    on_unrepresentable: OnUnrepresentable = Field(
        default=OnUnrepresentable.NULL_AND_NOTE,
        description="What becomes of a value that no target's type has, such as the timestamp infinity.",
    )

    _file: Path = PrivateAttr(Path("job.yaml"))

    def model_post_init(self, context: Any, /) -> None:
        self._file = (context or {}).get("file", self._file)

    @property
    def file(self) -> Path:
        """As it was given."""
        return self._file

    @property
    def folder(self) -> Path:
        """Absolute; relative paths of the file start here."""
        return self._file.absolute().parent

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        found = [*self._format_mistakes(), *self._window_mistakes(), *self._table_mistakes(), *self._sync_mistakes()]
        if found:
            raise mistakes_at(found)
        return self

    def _format_mistakes(self) -> Iterator[Mistake]:
        if self.source.typed and self.format is not NO_FORMAT:
            yield f"a source of type {self.source.type} has types of its own; leave format out", ("format",)
        if not self.source.typed and self.format is NO_FORMAT:
            yield "the key 'format' is missing", ()
        elif not self.source.typed and ENVELOPES.find(self.format.envelope).several_changes:
            text = f"append keeps a row a message, and a message of {self.format.envelope} may hold several changes"
            places: list[tuple[str | int, ...]] = [
                ("tables", at, "mode") for at, table in enumerate(self.tables) if Mode.APPEND in (table.modes or ())
            ]
            all_told = bool(self.tables) and all(table.modes for table in self.tables)
            if Mode.APPEND in self.target.modes and not all_told:
                places.append(("target", "mode"))
            yield from ((text, place) for place in places)

    def _sync_mistakes(self) -> Iterator[Mistake]:
        """A copy that is made anew does not tell what happened since the one before."""
        if not isinstance(self.source.options, DatabaseOptions) or self.source.options.sync != "full":
            return
        said = "sync: full copies what is there, and does not tell what happened: mode: {} needs sync: hybrid"
        yield from ((said.format(mode), ("target", "mode")) for mode in self.target.modes if mode is not Mode.MIRROR)
        for number, table in enumerate(self.tables):
            others = [mode for mode in table.modes or () if mode is not Mode.MIRROR]
            yield from ((said.format(mode), ("tables", number, "mode")) for mode in others)

    def _window_mistakes(self) -> Iterator[Mistake]:
        if self.window.by == "event" and Promise.EVENT_TIME in SINKS.find(self.target.type).exceptions:
            text = f"a target of type {self.target.type} takes windows by arrival only; write by: arrival"
            yield text, ("window", "by")

    def _table_mistakes(self) -> Iterator[Mistake]:
        names: dict[str, int] = {}
        topics: set[str] = set()
        for number, table in enumerate(self.tables):
            place = ("tables", number)
            yield from ((text, (*place, *way)) for text, way in self._entry_mistakes(table))
            for at, topic in enumerate(table.topics):
                if topic in topics:
                    yield f"{topic!r} already goes to another table", (*place, "from", at)
            topics.update(table.topics)
            first = names.setdefault(table.to.casefold(), number)
            if first != number:
                text = (
                    f"the table {table.to!r} stands twice (tables[{first}]); several topics into one table are one item"
                )
                yield f"{text}: from: [a, b]", (*place, "to")

    def _snapshot_mistakes(self, table: TableEntry) -> Iterator[Mistake]:
        if table.on_snapshot is OnSnapshot.UPSERT:
            return
        place = ("on_snapshot",)
        if self.source.typed or not ENVELOPES.find(self.format.envelope).marks_snapshots:
            yield "replace needs messages that say where a snapshot begins and ends, as Debezium's do", place
        if len(table.topics) > 1:
            yield "replace needs a table of one topic: a row does not tell which of several it is from", place
        if table.order_by is OrderBy.TIMESTAMP:
            yield "replace needs order_by: position", place
        if table.on_two_sources is not OnTwoSources.STOP:
            yield "replace needs a table of one source: a row does not tell which of several it is from", place
        if set(table.modes or self.target.modes) == {Mode.APPEND}:
            yield "a table with mode: append keeps every message, so there is nothing to replace", place

    def _source_mistakes(self, table: TableEntry) -> Iterator[Mistake]:
        if table.on_two_sources is OnTwoSources.STOP:
            return
        place, word = ("on_two_sources",), table.on_two_sources
        if table.on_truncate is OnTruncate.APPLY:
            yield f"{word} cannot apply a TRUNCATE: it does not say which rows are of its source", place
        if table.order_by is OrderBy.TIMESTAMP:
            yield "order_by: timestamp compares the changes of all sources already; leave one of the two out", place
        timeless = self.source.typed or not ENVELOPES.find(self.format.envelope).tells_clock
        if word is OnTwoSources.NEWEST_TIME and timeless:
            yield "newest_time needs messages that bear the time of the source, as Debezium's do", place

    def _entry_mistakes(self, table: TableEntry) -> Iterator[Mistake]:
        word = "table" if self.source.typed else "topic"
        where = f"match source.{word}_pattern" if self.source.topic_pattern else f"stand in source.{word}s"
        for at, topic in enumerate(table.topics):
            if not self.source.reads(topic):
                free = [name for name in self.source.topics if not any(name in entry.topics for entry in self.tables)]
                yield f"{topic!r} does not {where}{guess(topic, free)}", ("from", at)
        refusal = SINKS.find(self.target.type).exceptions.get(Promise.RENAMES)
        if table.renames and refusal is not None:
            yield f"a target of type {self.target.type} cannot rename columns: {refusal}", ("renames",)
        yield from self._snapshot_mistakes(table)
        yield from self._source_mistakes(table)
        able = SINKS.find(self.target.type).modes
        for at, mode in enumerate(table.modes or ()):
            if mode not in able:
                yield no_mode(self.target.type, mode), ("mode", at)
        keeping = [mode for mode in table.modes or self.target.modes if mode in KEEPING]
        if table.on_truncate is OnTruncate.APPLY and keeping:
            text = f"a table with mode: {keeping[0]} keeps what was deleted, and a TRUNCATE does not say which rows it "
            yield f"{text}deleted; write on_truncate: ignore, or fail", ("on_truncate",)
