"""Schemas of messages: by registry id, by fingerprint or by topic, each whole, in the language of one encoding."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from ..errors import JobError, SchemaError, UnknownSchemaError

Side = Literal["key", "value"]

MAX_ID: Final = (1 << 32) - 1
ID_IN_NAME: Final = re.compile(r"(?:(?P<label>.*)\.)?(?P<id>\d+)", re.DOTALL)


class SchemaLanguage(Protocol):
    """How the schemas of one encoding are written. Picklable; stores hand it texts, and what a schema refers to."""

    @property
    def registry_type(self) -> str:
        """What a registry calls it: `AVRO`, `JSON`, `PROTOBUF`."""

    @property
    def suffix(self) -> str:
        """How the names of its files end, with the dot."""

    def parse(self, text: str) -> Any:
        """A schema of its text; what it refers to may be missing. Raises SchemaError with the line."""

    def types(self, name: str, schema: Any) -> Iterable[tuple[str, Any]]:
        """What a schema defines for others, each with the name by which they refer to it.

        `name` is that of the reference in a registry, or of the file. Raises SchemaError.
        """

    def complete(self, schema: Any, types: Mapping[str, Any]) -> Any:
        """The schema so that it stands alone; raises SchemaError for what is neither in it nor in `types`."""

    def fingerprint(self, schema: Any) -> bytes | None:
        """8 bytes that name the schema in messages, None in a language without. Raises SchemaError."""


class SchemaStore(Protocol):
    """Where the schemas of a job come from. Safe to share between threads, and picklable.

    Each answer is a parsed schema of the store's language that stands alone.
    Raises UnknownSchemaError or SchemaError (the message becomes a dead letter), RegistryError (the registry
    does not answer) or JobError (the job asks for what this kind of store cannot give).
    """

    def by_id(self, schema_id: int) -> Any:
        """The schema that the Confluent wire format names."""

    def by_fingerprint(self, fingerprint: bytes) -> Any:
        """The schema that single-object encoding names: 8 bytes, CRC-64-AVRO, little-endian."""

    def by_topic(self, topic: str, side: Side) -> Any:
        """The one fixed schema of a topic's bare data."""

    def newest_id(self, topic: str, side: Side) -> int | None:
        """The id of the newest schema named after the topic (`<topic>-<side>`), read anew; None where there is none."""


class FolderSchemaStore:
    """The schema files of a folder and the folders below it, all read at once.

    With Avro's suffix: `<anything>.<id>.avsc` and `<id>.avsc` have a registry id, every file has its fingerprint, and
    `<topic>-key.avsc` and `<topic>-value.avsc` (also with an id) serve bare data. A file may use the types of
    another. Raises JobError with the file's name, and the line where the text is wrong.
    """

    def __init__(self, path: str | Path, language: SchemaLanguage) -> None:
        self.path, self._suffix = Path(path), language.suffix
        if not self.path.is_dir():
            raise JobError(f"{self.path}: there is no such folder of {self._suffix} files")
        parsed = {file: _parsed(file, language) for file in sorted(self.path.rglob(f"*{self._suffix}"))}
        if not parsed:
            raise JobError(f"{self.path}: the folder holds no {self._suffix} file")
        shared = _Shared(parsed, language)
        schemas = {file: shared.complete(file) for file in parsed}
        self._ids = _ids(schemas)
        self._fingerprints = {_file_fingerprint(file, schema, language): schema for file, schema in schemas.items()}
        self._labels = _labels(schemas)

    def by_id(self, schema_id: int) -> Any:
        """The schema of the file that ends in this id."""
        if schema_id not in self._ids:
            raise UnknownSchemaError(
                f"schema id {schema_id}: {self.path} holds no file named <name>.{schema_id}{self._suffix}"
            )
        return self._ids[schema_id]

    def by_fingerprint(self, fingerprint: bytes) -> Any:
        """The schema whose fingerprint in its language this is."""
        if fingerprint not in self._fingerprints:
            raise UnknownSchemaError(f"schema fingerprint {fingerprint.hex()}: no file in {self.path} has it")
        return self._fingerprints[fingerprint]

    def by_topic(self, topic: str, side: Side) -> Any:
        """The schema of the file `<topic>-<side>`; a file without an id stands before those with one."""
        label = f"{topic}-{side}"
        files = self._labels.get(label, {})
        if not files:
            raise JobError(
                f"{topic}: bare data need the schema of the {side}s in {self.path}, as {label}{self._suffix}"
            )
        plain = f"{label}{self._suffix}"
        if len(files) > 1 and plain not in files:
            raise JobError(f"{topic}: which schema wrote the {side}s, {' or '.join(sorted(files))}? Name it {plain}")
        return files[plain] if plain in files else next(iter(files.values()))

    def newest_id(self, topic: str, side: Side) -> int | None:
        """The largest id of the files `<topic>-<side>.<id>`."""
        names = [ID_IN_NAME.fullmatch(Path(name).stem) for name in self._labels.get(f"{topic}-{side}", {})]
        return max((int(name["id"]) for name in names if name is not None), default=None)

    def __repr__(self) -> str:
        return f"FolderSchemaStore({str(self.path)!r})"


class _Shared:
    """The types of all files; a name with two definitions serves only the files that hold one."""

    def __init__(self, parsed: Mapping[Path, Any], language: SchemaLanguage) -> None:
        self.parsed, self.language = parsed, language
        self.types: dict[str, Any] = {}
        self.twice: dict[str, set[Path]] = {}
        origin: dict[str, Path] = {}
        for file, schema in parsed.items():
            for name, definition in language.types(file.name, schema):
                if name in self.types and self.types[name] != definition:
                    self.twice.setdefault(name, {origin[name]}).add(file)
                self.types.setdefault(name, definition)
                origin.setdefault(name, file)

    def complete(self, file: Path) -> Any:
        usable = {name: definition for name, definition in self.types.items() if name not in self.twice}
        try:
            return self.language.complete(self.parsed[file], usable)
        except SchemaError as error:
            raise JobError(f"{file}: {error}{self._hint(str(error))}") from None

    def _hint(self, text: str) -> str:
        for name, files in self.twice.items():
            if f"'{name}'" in text:
                return f": {' and '.join(sorted(file.name for file in files))} define it in different ways"
        return ""


def _parsed(file: Path, language: SchemaLanguage) -> Any:
    try:
        return language.parse(file.read_text(encoding="utf-8-sig"))
    except SchemaError as error:
        raise JobError(f"{file}, {error}") from None
    except UnicodeDecodeError:
        raise JobError(f"{file}: not UTF-8 text") from None


def _file_fingerprint(file: Path, schema: Any, language: SchemaLanguage) -> bytes | None:
    try:
        return language.fingerprint(schema)
    except SchemaError as error:
        raise JobError(f"{file}: {error}") from None


def _ids(schemas: Mapping[Path, Any]) -> dict[int, Any]:
    files: dict[int, Path] = {}
    for file in schemas:
        match = ID_IN_NAME.fullmatch(file.stem)
        if match is None or int(match["id"]) > MAX_ID:
            continue
        other = files.setdefault(int(match["id"]), file)
        if other is not file:
            raise JobError(f"{file} and {other}: two files have the schema id {int(match['id'])}")
    return {schema_id: schemas[file] for schema_id, file in files.items()}


def _labels(schemas: Mapping[Path, Any]) -> dict[str, dict[str, Any]]:
    labels: dict[str, dict[str, Any]] = {}
    for file, schema in schemas.items():
        match = ID_IN_NAME.fullmatch(file.stem)
        label = match["label"] if match and match["label"] else file.stem
        labels.setdefault(label, {})[file.name] = schema
    return labels
