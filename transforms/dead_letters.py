"""Dead letters in Avro container files: written before each commit, listed and shown by the command line."""

import io
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import fastavro
import pyarrow as pa

from ..schemas.errors import JobError, SinkError
from ..schemas.model import stored_format
from ..schemas.model.dead_letter import DeadLetter
from .dead_letter_marks import LetterMarks, State, folder_of, read_marks
from .retry import retried
from .stores import Address, Store, open_store, sweep

NULLABLE_BYTES: Final = ["null", "bytes"]
HEADER: Final = {
    "type": "record",
    "name": "Header",
    "fields": [{"name": "name", "type": "string"}, {"name": "value", "type": NULLABLE_BYTES}],
}
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
            {"name": "headers", "type": {"type": "array", "items": HEADER}, "default": []},
        ],
    }
)
LETTER_FIELDS: Final = tuple(DeadLetter.__slots__)
PLACE: Final = re.compile(r"(?P<topic>.+)(?:\[(?P<a>\d+)\]@|/(?P<b>\d+)/)(?P<offset>\d+)")
ENDING: Final = ".avro"
IN_A_FOLDER: Final = re.compile(r"[^/]+/\d{8}T\d{6}Z-\d+-[0-9a-f]{8}\.avro")


@dataclass(frozen=True, slots=True)
class Written:
    """A dead letter as found in `file`, a path or a URL; `written_at` is UTC."""

    letter: DeadLetter
    job: str
    written_at: datetime
    file: str


@dataclass
class DeadLetterFiles:
    """The dead letters of one run: one file a `write`, `<job>/<run start>-<counter>-<random>.avro`, in any store.

    Picklable, secrets still as references; copies in other workers write other files. A letter may be written twice
    (a step that was tried again): `read` gives it once.
    """

    address: Address
    job: str
    started: datetime
    count: int = field(default=0)
    _store: Store | None = field(default=None, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": None}

    def open(self) -> Store:
        """The store, once a worker; no connection yet. Raises JobError, MissingExtraError."""
        if self._store is None:
            self._store = open_letters(self.address)
        return self._store

    def write(self, letters: Sequence[DeadLetter]) -> str | None:
        """Write all letters into a new file, durable when this returns: its path or URL; None where there are none.

        Call it before the commit that counts them. The file appears whole or not at all, and a try after a lost
        answer makes no second one. A store that is away is asked again with back-off. Raises SinkError.
        """
        if not letters:
            return None
        store = self.open()
        self.count += 1
        file_name = f"{self.started.astimezone(UTC):%Y%m%dT%H%M%SZ}-{self.count:06d}-{uuid.uuid4().hex[:8]}.avro"
        name = f"{folder_of(self.job)}/{file_name}"
        file = io.BytesIO()
        version = {stored_format.KEY: str(stored_format.DEAD_LETTERS.newest)}
        fastavro.writer(file, SCHEMA, self._records(letters), codec="deflate", metadata=version)
        try:
            retried("dead letters", lambda: store.create(name, pa.py_buffer(file.getbuffer())))
        except SinkError as error:
            raise type(error)(f"dead letters: {error}") from error
        if self.count == 1:
            sweep(store)
        return f"{store.place}/{name}"

    def _records(self, letters: Sequence[DeadLetter]) -> Iterator[dict[str, Any]]:
        now = datetime.now(UTC)
        for letter in letters:
            record = {name: getattr(letter, name) for name in LETTER_FIELDS}
            record["error"] = letter.error.encode("utf-8", "backslashreplace").decode()
            record["headers"] = [{"name": name, "value": value} for name, value in letter.headers]
            yield {**record, "job": self.job, "written_at": now}


def place(letter: DeadLetter) -> str:
    """`topic[partition]@offset`, as `show` takes it."""
    return f"{letter.topic}[{letter.partition}]@{letter.offset}"


def letters_at(path: str | Path, options: Mapping[str, Any] | None = None) -> Address:
    """The place of dead letters at a local folder, whose parents are made where they are missing, or a URL."""
    return Address(str(path), options or {}, "dead_letters", parents=True, private=True)


def open_letters(address: Address) -> Store:
    """The store, secrets looked up; no connection yet. Raises JobError, MissingExtraError."""
    return open_store(address.resolved())


def read(address: Address, job: str | None = None) -> Iterator[Written]:
    """Each dead letter of a folder (or one file) once, the newest of each place, in the order they were written.

    Of one `job`, or of all whose folders lie there.

    Reads the files twice, and holds places but no payloads. Raises JobError where a file cannot be read, SinkError.
    """
    newest: dict[tuple[str, int, int], tuple[datetime, int, int]] = {}
    store, names = _files(address, job)
    for number, name in enumerate(names):
        for index, record in enumerate(_records(store, name)):
            if job not in (None, record["job"]):
                continue
            where = (record["topic"], record["partition"], record["offset"])
            here = (record["written_at"], number, index)
            newest[where] = max(here, newest.get(where, here))
    chosen = {(number, index) for _, number, index in newest.values()}
    for number, name in enumerate(names):
        for index, record in enumerate(_records(store, name)):
            if (number, index) in chosen:
                headers = tuple((header["name"], header["value"]) for header in record["headers"])
                letter = DeadLetter(**{part: record[part] for part in LETTER_FIELDS} | {"headers": headers})
                yield Written(letter, record["job"], record["written_at"], f"{store.place}/{name}")


def listing(address: Address, job: str | None = None) -> Iterator[dict[str, Any]]:
    """One object a dead letter, ready for JSON, without the payloads: what `millrace dead-letters ls` prints.

    `state` says whether it is open, or what became of it (`dead_letter_marks`), `why` the reason that a person gave.
    """
    marks: dict[str, LetterMarks] = {}
    for written in read(address, job):
        letter = written.letter
        if written.job not in marks:
            one_file = address.path.endswith(ENDING)
            marks[written.job] = LetterMarks([]) if one_file else read_marks(address, written.job)
        mark = marks[written.job].of(letter, written.written_at)
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
            "file": written.file.rpartition("/")[2],
            "state": str(State.OPEN if mark is None else mark.state),
            "why": None if mark is None else mark.reason or None,
        }


def place_of(where: str) -> tuple[str, int, int]:
    """(topic, partition, offset) of `topic[3]@42` or `topic/3/42`. Raises JobError."""
    match = PLACE.fullmatch(where)
    if match is None:
        raise JobError(f"{where!r} is no place of a message: write topic[partition]@offset or topic/partition/offset")
    return match["topic"], int(match["a"] or match["b"]), int(match["offset"])


def show(address: Address, where: str, job: str | None = None) -> Written:
    """The dead letter at `topic[3]@42` or `topic/3/42`, payloads included; JobError where there is none."""
    wanted = place_of(where)
    for written in read(address, job):
        if (written.letter.topic, written.letter.partition, written.letter.offset) == wanted:
            return written
    raise JobError(f"{address.path} holds no dead letter of {where}; `millrace dead-letters ls` lists those it holds")


def _files(address: Address, job: str | None) -> tuple[Store, list[str]]:
    """The files of a folder, or the one file that the address names; what was removed meanwhile holds nothing."""
    address = address.resolved()
    folder = address.folder
    if folder is not None and not Path(folder).exists():
        raise JobError(f"{address.path}: no dead letters there")
    above, _, name = (folder or address.path).rpartition("/")
    if name.endswith(ENDING) if folder is None else Path(folder).is_file():
        store = open_store(replace(address, path=above or "/"))
        if name in store.files():
            return store, [name]
    store = open_store(address)
    mine = store.folders() if job is None else {folder_of(job)}.intersection(store.folders())
    folders = [name for name in mine if not name.startswith((".", "_"))]
    # Files at the top are of Millraces that kept no folder a job.
    names = [name for name in store.files() if name.endswith(ENDING) and not name.startswith(".")]
    found = (name for folder in folders for name in store.names(folder))
    return store, [*names, *(name for name in found if IN_A_FOLDER.fullmatch(name))]


def _records(store: Store, name: str) -> Iterator[dict[str, Any]]:
    data = store.read(name)
    if data is None:
        return
    try:
        records = fastavro.reader(pa.BufferReader(data), reader_schema=SCHEMA)
        stored_format.DEAD_LETTERS.check(records.metadata.get(stored_format.KEY), f"{store.place}/{name}")
        yield from records  # type: ignore[misc]
    except (ValueError, EOFError, KeyError, fastavro.read.SchemaResolutionError) as error:
        raise JobError(f"{store.place}/{name}: not a file of dead letters, or damaged: {error}") from None


def _moment(milliseconds: int) -> str | None:
    if not 0 <= milliseconds < 253402300800000:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
