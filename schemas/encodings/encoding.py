"""The contract of an encoding: the bytes of keys and values to Arrow columns."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

import pyarrow as pa
from numpy.typing import NDArray

from ..errors import JobError
from ..model.declared_type import DeclaredType
from ..model.message_batch import MessageBatch
from ..options import Options
from ..plugins import imported
from .schema_store import SchemaLanguage, SchemaStore, Side

NULL: Final = 0
BY_ID: Final = 1
BY_FINGERPRINT: Final = 2
BARE: Final = 3
BAD: Final = 4

PRIMITIVE_KEY: Final = "key"
"""The column of a datum that is no record."""

Keep = Callable[[tuple[str, ...]], bool]
"""Asked for a field path, outermost first, such as `("after", "id")`: whether anybody needs this field.

An item of a list of rows is `[]`: `("data", "[]", "id")`.
"""


@dataclass(frozen=True, slots=True)
class Framed:
    """One row a message: how it is framed, the schema it names, and the payload's place in the batch's `data`.

    `kind` (uint8) is NULL (no bytes), BY_ID (a registry's id), BY_FINGERPRINT, BARE (names no schema) or BAD; `schema`
    (uint64) the id or fingerprint, 0 for the others. The payload is `data[at:at+length]` (int64 both).
    """

    kind: NDArray[Any]
    schema: NDArray[Any]
    at: NDArray[Any]
    length: NDArray[Any]


class Expected(Protocol):
    """What is known of fields whose types the messages do not say; a path is as for `Keep`."""

    def declared(self, path: tuple[str, ...]) -> DeclaredType | None:
        """The type that the job or the envelope declares, None where it is to be inferred."""

    def may_lack(self, path: tuple[str, ...]) -> Sequence[str] | None:
        """Of an object that tells which fields it lacks (`model.absent_fields`) those that the table has, else None."""

    def column(self, path: tuple[str, ...]) -> str | None:
        """The column that this field becomes, None for a field that is none."""

    def held(self, path: tuple[str, ...]) -> pa.DataType | None:
        """The type of the table's column for this field in the target, None where there is none."""


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """Which schema wrote one side of a topic's messages: `kind` and `number` as in `Framed`.

    `expected` says more of messages that name no schema (BARE).
    """

    topic: str
    side: Side
    kind: int
    number: int
    expected: Expected | None = field(default=None, compare=False)


class DecodedColumn(Protocol):
    """Payloads decoded: a row each."""

    @property
    def array(self) -> pa.Array:
        """The values: of records a struct array, of anything else (a key that is one string) an array of it.

        A value that its type has not is null, and its text stands beside it (`model.value_texts.text_field`).
        """

    @property
    def errors(self) -> NDArray[Any]:
        """Not 0 where the payload could not be decoded; the array's row is null there."""

    def message(self, row: int) -> str:
        """What is wrong with the payload of a row whose error is not 0, in one sentence."""


class ColumnDecoder(Protocol):
    """Decodes the payloads that one schema wrote."""

    def decode(self, data: NDArray[Any], at: NDArray[Any], length: NDArray[Any]) -> DecodedColumn:
        """Decode `data[at[i] : at[i] + length[i]]` as row i. Raises SchemaError where no column can hold them.

        Exact or an error: each payload is read to its last byte. One that is truncated, corrupt, nested too deeply or
        has lengths beyond its end is an error of its row; it harms no other row, and never the process.
        """


class Encoding(Protocol):
    """Bytes of keys and values to Arrow columns. Picklable; its class is made with its options and the job's schemas.

    The class is called with two arguments: an object of the spec's `options`, and the job's SchemaStore, or None where
    the job names none. One that infers types from messages says so by an attribute `infers` that is true: it is told
    of the columns in the target.
    """

    def frame(self, messages: MessageBatch, side: Side) -> Framed:
        """Which schema wrote each key or value, and where its payload begins; no Python by message."""

    def explain(self, message: bytes) -> str:
        """Why `frame` calls these bytes BAD, in one sentence."""

    def decoder(self, schema: WriterSchema, keep: Keep | None) -> ColumnDecoder:
        """A decoder for one schema; fields that `keep` refuses are checked, and absent from the columns.

        Raises UnknownSchemaError or SchemaError (the messages become dead letters), RegistryError (the registry does
        not answer) or JobError (the job lacks what is needed to decode them).
        """


@runtime_checkable
class NamesNewest(Protocol):
    """An encoding whose schemas lie elsewhere than in the messages: a topic's newest is known before it is used."""

    def newest(self, topic: str, side: Side) -> WriterSchema | None:
        """The newest schema of one side; None where none is named after the topic. Raises as `Encoding.decoder`."""


def infers(encoding: Encoding) -> bool:
    """Whether it finds types in the messages, and has to know those of the target."""
    return bool(getattr(encoding, "infers", False))


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingSpec:
    """An encoding by its name in the job file: `format.encoding`.

    `encoding` is `module:Class`, imported when it is used; `options` the model of its keys under `format`; `extra` the
    optional libraries that it needs. `language` is the `module:object` that keeps the contract of `SchemaLanguage`, in
    an encoding whose schemas come from a registry or a folder; with `schemas` a job must name one of them. `by_folder`
    has by option the values that need a folder, since a registry finds schemas by id only.
    """

    name: str
    encoding: str
    options: type[Options] = Options
    language: str | None = None
    schemas: bool = False
    by_folder: Mapping[str, Collection[str]] = field(default_factory=dict)
    extra: str | None = None

    def open(self, options: Options, schemas: SchemaStore | None) -> Encoding:
        """The encoding. Raises MissingExtraError."""
        made: Encoding = imported(self.encoding, f"format.encoding: {self.name}", self.extra)(options, schemas)
        return made

    def schema_language(self) -> SchemaLanguage:
        """How its schemas are written. Raises JobError where it takes none."""
        if self.language is None:
            raise JobError(f"format.encoding: {self.name} takes no schemas: leave registry and schemas out")
        made: SchemaLanguage = imported(self.language, f"format.encoding: {self.name}", self.extra)
        return made
