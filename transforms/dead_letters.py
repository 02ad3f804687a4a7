"""Dead letters in Avro container files: written beside each commit, listed and shown by the command line, limited."""

import os
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, Self

import fastavro

from ..schemas.dead_letter import DeadLetter
from ..schemas.errors import DeadLetterLimitError, JobError

NULLABLE_BYTES: Final = ["null", "bytes"]
SCHEMA: Final = fastavro.parse_schema(
    {
        "type": "record",
        "name": "DeadLetter",
        "namespace": "millrace",
        "fields": [
            {"name": "job", "type": "string"},
            {"name": "written_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "topic", "type": "string"},
            {"name": "partition", "type": "int"},
            {"name": "offset", "type": "long"},
            {"name": "timestamp", "type": "long", "doc": "milliseconds since the epoch, -1 where unknown"},
            {"name": "key", "type": NULLABLE_BYTES},
            {"name": "value", "type": NULLABLE_BYTES},
            {"name": "schema_id", "type": ["null", "long"]},
            {"name": "step", "type": "string"},
            {"name": "error", "type": "string"},
        ],
    }
)
LETTER_FIELDS: Final = tuple(DeadLetter.__slots__)
PLACE: Final = re.compile(r"(?P<topic>.+)(?:\[(?P<a>\d+)\]@|/(?P<b>\d+)/)(?P<offset>\d+)")
FEWEST_READ: Final = 1_000
EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class Written:
    """A dead letter as found in `file`; `written_at` is UTC."""

    letter: DeadLetter
    job: str
    written_at: datetime
    file: Path


@dataclass(slots=True)
class DeadLetterFiles:
    """The dead letters of one run: one file a `write`, `<job>-<run start>-<counter>-<random>.avro`.

    Picklable; copies in other workers write other files. A letter may be written twice (a step that was
    tried again): `read` gives it once.
    """

    path: Path
    job: str
    started: datetime
    count: int = field(default=0)

    def __post_init__(self) -> None:
        if "://" in str(self.path):
            raise JobError(f"dead_letters.path: {self.path} is not a local folder")

    def write(self, letters: Sequence[DeadLetter]) -> Path | None:
        """Write all letters into a new file, on disk when this returns; None where there are none.

        Call it before the commit that counts them. The file appears whole or not at all.
        """
        if not letters:
            return None
        self.path.mkdir(parents=True, exist_ok=True)
        self.count += 1
        job = re.sub(r"[^\w.-]", "_", self.job)
        name = f"{job}-{self.started.astimezone(UTC):%Y%m%dT%H%M%SZ}-{self.count:06d}-{uuid.uuid4().hex[:8]}.avro"
        hidden, final = self.path / f".{name}.tmp", self.path / name
        try:
            with hidden.open("xb") as file:
                fastavro.writer(file, SCHEMA, self._records(letters), codec="deflate")
                file.flush()
                os.fsync(file.fileno())
            hidden.rename(final)
        finally:
            hidden.unlink(missing_ok=True)
        _sync_folder(self.path)
        return final

    def _records(self, letters: Sequence[DeadLetter]) -> Iterator[dict[str, Any]]:
        now = datetime.now(UTC)
        for letter in letters:
            record = {name: getattr(letter, name) for name in LETTER_FIELDS}
            record["error"] = letter.error.encode("utf-8", "backslashreplace").decode()
            yield {**record, "job": self.job, "written_at": now}


@dataclass(frozen=True, slots=True)
class Limit:
    """`max_dead_letters`: a whole number, or a percentage of the messages read; None is no limit.

    A percentage is of at least 1,000 messages, so that the first bad message of a small run does not stop it;
    `0%` and `0` stop at the first.
    """

    count: int | None = None
    percent: Decimal | None = None

    @classmethod
    def parse(cls, value: object) -> Self:
        """From the job file: `100`, `"100"`, `0.1%`, or None. Raises JobError."""
        text = str(value).strip()
        if value is None:
            return cls()
        if re.fullmatch(r"\d+", text):
            return cls(count=int(text))
        try:
            percent = Decimal(text.removesuffix("%").strip())
        except InvalidOperation:
            percent = Decimal(-1)
        if not text.endswith("%") or not percent.is_finite() or not 0 <= percent <= 100:
            raise JobError(f"max_dead_letters: {text!r} is neither a whole number nor a percentage such as 0.1%")
        return cls(percent=percent)

    def allowed(self, read: int) -> int | None:
        """How many dead letters are good among so many messages; None is any number."""
        if self.percent is not None:
            return int(self.percent * max(read, FEWEST_READ) / 100)
        return self.count

    def check(self, dead: int, read: int, letters: Sequence[DeadLetter] = ()) -> None:
        """Raise DeadLetterLimitError with the counts and the first of `letters`, where there are too many."""
        allowed = self.allowed(read)
        if allowed is None or dead <= allowed:
            return
        setting = f"{self.percent}%" if self.percent is not None else str(self.count)
        examples = "".join(f"\n  {place(letter)}: {letter.step}: {letter.error}" for letter in letters[:EXAMPLES])
        raise DeadLetterLimitError(
            f"{dead:,} dead letters among {read:,} messages, and max_dead_letters: {setting} allows {allowed:,}"
            f"{'; the first:' if examples else ''}{examples}"
        )


def place(letter: DeadLetter) -> str:
    """`topic[partition]@offset`, as `show` takes it."""
    return f"{letter.topic}[{letter.partition}]@{letter.offset}"


def read(path: str | Path) -> Iterator[Written]:
    """Each dead letter of a folder (or one file) once, the newest of each place, in the order they were written.

    Reads the files twice, and holds places but no payloads. Raises JobError where a file cannot be read.
    """
    newest: dict[tuple[str, int, int], tuple[datetime, int, int]] = {}
    files = _files(Path(path))
    for number, file in enumerate(files):
        for index, record in enumerate(_records(file)):
            where = (record["topic"], record["partition"], record["offset"])
            here = (record["written_at"], number, index)
            newest[where] = max(here, newest.get(where, here))
    chosen = {(number, index) for _, number, index in newest.values()}
    for number, file in enumerate(files):
        for index, record in enumerate(_records(file)):
            if (number, index) in chosen:
                letter = DeadLetter(**{name: record[name] for name in LETTER_FIELDS})
                yield Written(letter, record["job"], record["written_at"], file)


def listing(path: str | Path) -> Iterator[dict[str, Any]]:
    """One object a dead letter, ready for JSON, without the payloads: what `millrace dead-letters ls` prints."""
    for written in read(path):
        letter = written.letter
        yield {
            "place": place(letter),
            "timestamp": _moment(letter.timestamp),
            "step": letter.step,
            "error": letter.error,
            "schema_id": letter.schema_id,
            "key_bytes": None if letter.key is None else len(letter.key),
            "value_bytes": None if letter.value is None else len(letter.value),
            "job": written.job,
            "written_at": written.written_at.isoformat(timespec="milliseconds"),
            "file": written.file.name,
        }


def show(path: str | Path, where: str) -> Written:
    """The dead letter at `topic[3]@42` or `topic/3/42`, payloads included; JobError where there is none."""
    match = PLACE.fullmatch(where)
    if match is None:
        raise JobError(f"{where!r} is no place of a message: write topic[partition]@offset or topic/partition/offset")
    wanted = (match["topic"], int(match["a"] or match["b"]), int(match["offset"]))
    for written in read(path):
        if (written.letter.topic, written.letter.partition, written.letter.offset) == wanted:
            return written
    raise JobError(f"{path} holds no dead letter of {where}; `millrace dead-letters ls` lists those it holds")


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.glob("[!.]*.avro"))
    if not path.exists():
        raise JobError(f"{path}: no dead letters there")
    return [path]


def _records(file: Path) -> Iterator[dict[str, Any]]:
    with file.open("rb") as opened:
        try:
            yield from fastavro.reader(opened, reader_schema=SCHEMA)  # type: ignore[misc]
        except (ValueError, EOFError, KeyError, fastavro.read.SchemaResolutionError) as error:
            raise JobError(f"{file}: not a file of dead letters, or damaged: {error}") from None


def _moment(milliseconds: int) -> str | None:
    if not 0 <= milliseconds < 253402300800000:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
