"""Options of a job file as frozen models: the types that several parts share.

Each part (a source, an encoding, a target) declares a subclass of `Options`; the job file is read into them whole,
before anything is opened. One rule for references to secrets, `${env:NAME}` and `${file:PATH}`: they may stand in any
text and stay as written until a worker resolves them (`Options.resolved`). Lengths of time, sizes, numbers and words of
a fixed list are written out.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from .errors import JobError
from .secrets import REFERENCE, masked, resolved, secrets_in_clear
from .suggestions import nearest

AMOUNT: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-z]*)")
MILLISECONDS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST: Final = timedelta(days=36_500)
BYTES: Final = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
KINDS: Final = {
    "dict_type": "a mapping (key: value)",
    "mapping_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "string_type": "text",
    "path_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
}
"""What should stand where a value of another kind stands, by pydantic's name of the mistake."""
MISTAKE: Final = "mistake"
"""The type of a pydantic error whose text is the sentence."""
UNKNOWN_KEY: Final = "unknown_key"
"""The type of a pydantic error that is about a key itself, not about its value."""
SMALLEST_BARE: Final = 1 << 20
LARGEST: Final = 1 << 50
WRITTEN_OUT: Final = "is a reference; references may stand in texts only, so write the value itself"

NO_VALUE: Final = "has no value: write one, or leave the key out"


class Marking(StrEnum):
    """Beside an option's type. SHOWN: it may stand in clear, though its name looks like that of a secret."""

    SHOWN = "shown"


class Options(BaseModel):
    """A part of the job file: immutable, no unknown key, and errors that never show what was written.

    A secret that a job file holds in clear is refused, in whichever part it stands.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True, validate_default=True
    )

    def resolved(self) -> Self:
        """A copy with the references in its texts looked up, checked again. Never print, log or pickle it.

        Raises JobError for a secret that is not there, or that the option cannot be.
        """
        return read_options(type(self), resolved(self.model_dump(by_alias=True)))

    @classmethod
    def keys(cls) -> dict[str, FieldInfo]:
        """The keys as the job file has them, each with its field."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, written: Any, info: ValidationInfo) -> Any:
        """Unknown keys are told alone: what else is missing is often what was meant."""
        if not isinstance(written, Mapping):
            return written
        known = cls.keys()
        refuse_unknown(written, known)
        if folder_of(info) is not None:
            empty = [key for key, value in written.items() if value is None and not known[key].is_required()]
            if empty:
                raise mistakes_at((NO_VALUE, (key,)) for key in empty)
        return written

    @model_validator(mode="after")
    def _check_secrets(self, info: ValidationInfo) -> Self:
        """Only what a job file writes: a worker reads the options again with the secrets in their places."""
        if folder_of(info) is None:
            return self
        found = [
            wrong
            for name, field in type(self).model_fields.items()
            if Marking.SHOWN not in field.metadata
            for wrong in secrets_in_clear(field.alias or name, getattr(self, name))
        ]
        if found:
            raise mistakes_at(found)
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, masked(name or "", value)


O = TypeVar("O", bound=Options)  # noqa: E741


def read_options(model: type[O], written: Mapping[str, Any], section: str = "target", folder: Path | None = None) -> O:
    """The options as a model. Raises JobError, which names the first wrong one, as `target.path`.

    `folder` is the job file's: relative paths start there.
    """
    try:
        return model.model_validate(dict(written), context={"folder": folder})
    except ValidationError as error:
        path, sentence = next(mistakes(error))
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
        raise JobError(f"{section}{place}: {sentence}") from None


def mistakes(error: ValidationError) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Each wrong option, as the way to it (keys and places in lists), and what is wrong as half a sentence."""
    for found in error.errors(include_url=False):
        kind, path, context = found["type"], found["loc"], found.get("ctx", {})
        if kind == "value_error":
            yield path, str(context["error"])
        elif kind in (MISTAKE, UNKNOWN_KEY):
            yield path, found["msg"]
        elif kind == "missing":
            yield path[:-1], f"the key {path[-1]!r} is missing"
        elif kind == "extra_forbidden":
            yield path, "unknown key"
        elif kind in ("enum", "literal_error"):
            yield path, f"{found['input']!r} is not known; known are {context['expected'].replace(' or ', ', ')}"
        else:
            yield path, f"expected {KINDS.get(kind) or found['msg'].removeprefix('Input should be ')}"


def has_reference(value: Any) -> bool:
    """Whether the value is a text with a reference to a secret in it."""
    return isinstance(value, str) and REFERENCE.search(value) is not None


def unless_reference(check: Callable[[str], str]) -> AfterValidator:
    """A check of a text that waits for the worker where the text holds a reference."""
    return AfterValidator(lambda text: text if has_reference(text) else check(text))


def read_duration(value: Any) -> Any:
    """A length of time as written: a number and its unit (`200ms`, `1.5h`, `7d`). Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    form = "is not a duration; write a number and a unit, as in 500ms, 10s, 5m, 1h or 7d"
    length = _amount(value, MILLISECONDS, form, "{0}s for seconds, or ms, m, h, d")
    if length > LONGEST / timedelta(milliseconds=1):
        raise ValueError(f"{value!r} is not between 1ms and {LONGEST.days}d")
    return timedelta(milliseconds=round(length))


def read_size(value: Any) -> Any:
    """An amount of memory in bytes as written: a number and its unit (`512MB`, `2GB`). Raises ValueError.

    From Python a number of bytes stands for itself, from 1 MB on.
    """
    if isinstance(value, int) and value >= SMALLEST_BARE:
        return value
    form = "is not a size; write a number and a unit, as in 512MB or 2GB"
    size = _amount(value, BYTES, form, "{0}MB, or KB, GB")
    if size > LARGEST:
        raise ValueError(f"{value!r} is not below {LARGEST >> 30} GB")
    return int(size)


def _amount(value: Any, units: Mapping[str, int], form: str, with_unit: str) -> float:
    """A number times its unit, where what is wrong is said in the words of `form` and `with_unit`."""
    if has_reference(value):
        raise ValueError(f"{value!r} {WRITTEN_OUT}")
    written = str(value)
    found = AMOUNT.fullmatch(written)
    if found is None:
        raise ValueError(f"{written!r} {form}")
    unit = {name.lower(): name for name in units}.get(found["unit"].lower())
    if not found["unit"]:
        raise ValueError(f"{written!r} has no unit; write {with_unit.format(written)}")
    if unit is None:
        raise ValueError(f"{written!r}: the unit {found['unit']!r} is not one of {', '.join(units)}")
    return float(found["number"]) * units[unit]


def duration_text(length: timedelta) -> str:
    """A length of time as a job file writes it, in the largest unit that divides it: `7d`."""
    number = length // timedelta(milliseconds=1)
    unit = next(unit for unit in reversed(MILLISECONDS) if not number % MILLISECONDS[unit]) if number else "s"
    return f"{number // MILLISECONDS[unit]}{unit}"


def size_text(size: int) -> str:
    """A size in bytes as a job file writes it, in the largest unit that divides it: `512MB`."""
    unit = next((unit for unit in reversed(BYTES) if size and not size % BYTES[unit]), "KB")
    return f"{size // BYTES[unit]}{unit}"


def located(path: str, folder: Path) -> str:
    """A path of the job file as an absolute one; URLs, references and `:memory:` as they are."""
    if "://" in path or path.startswith(("${", ":")):
        return path
    return str(folder / Path(path).expanduser())


def folder_of(info: ValidationInfo) -> Path | None:
    """The folder of the job file that is being read; None where options come from elsewhere."""
    return (info.context or {}).get("folder")


def read_location(path: str, info: ValidationInfo) -> str:
    """A place as written: relative to the job file's folder, where it is a path."""
    folder = folder_of(info)
    return path if folder is None else located(path, folder)


def read_texts(value: Any) -> Any:
    """A mapping of texts as written: YAML's numbers, true and false become the texts that they were."""
    if not isinstance(value, Mapping):
        return value
    return {
        str(name): str(part).lower() if isinstance(part, bool) else str(part) if isinstance(part, int | float) else part
        for name, part in value.items()
    }


Duration = Annotated[
    timedelta,
    BeforeValidator(read_duration),
    PlainSerializer(duration_text, str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*([mM][sS]|[sSmMhHdD])$"}),
]
"""A length of time, written `10s`, `1.5h`, `7d`."""

Size = Annotated[
    int,
    BeforeValidator(read_size),
    PlainSerializer(size_text, str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*[kKmMgG][bB]$"}),
]
"""An amount of memory in bytes, written `512MB`, `2GB`."""


Location = Annotated[str, AfterValidator(read_location)]
"""A path, relative to the job file's folder, or a URL."""

Texts = Annotated[
    Mapping[str, str], BeforeValidator(read_texts, json_schema_input_type=Mapping[str, str | int | float | bool])
]
"""A client library's own settings."""


def mistake(text: str, *at: int | str) -> ValidationError:
    """What a validator of a model raises to point at a part of what it validates: `raise mistake("is ...", "path")`."""
    return mistakes_at([(text, at)])


def mistakes_at(found: Iterable[tuple[str, tuple[int | str, ...]]], kind: str = MISTAKE) -> ValidationError:
    """The same of several: what is wrong, and the way to it."""
    details = [
        InitErrorDetails(type=PydanticCustomError(kind, "{text}", {"text": text}), loc=at, input=None)
        for text, at in found
    ]
    return ValidationError.from_exception_data("options", details)


def refuse_unknown(written: Mapping[Any, Any], known: Iterable[str]) -> None:
    """Raise ValidationError for the keys that are not known, each with the nearest that is."""
    words = list(known)
    unknown = [str(key) for key in written if key not in words]
    if unknown:
        raise mistakes_at(((f"unknown key{nearest(key, words, 'known are')}", (key,)) for key in unknown), UNKNOWN_KEY)
