"""Options of a job file as frozen models: the types that several parts share.

Each part (a source, an encoding, a target) declares a subclass of `Options`; the job file is read into them whole,
before anything is opened. One rule for references to secrets, `${env:NAME}` and `${file:PATH}`: they may stand in any
text and stay as written until a worker resolves them (`Options.resolved`). Lengths of time, sizes, numbers and words of
a fixed list are written out.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
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
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from .errors import JobError
from .secrets import REFERENCE, masked, resolved
from .suggestions import nearest

DURATION: Final = re.compile(r"(?P<number>\d{1,9}(?:\.\d{1,9})?)\s*(?P<unit>ms|s|m|h|d)", re.IGNORECASE)
MILLISECONDS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST: Final = timedelta(days=36_500)
SIZE: Final = re.compile(r"(?P<number>\d{1,9})\s*(?P<unit>KB|MB|GB)", re.IGNORECASE)
BYTES: Final = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
KINDS: Final = {
    "dict_type": "a mapping (key: value)",
    "mapping_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "string_type": "text",
    "tuple_type": "a list",
    "bool_parsing": "true or false",
    "int_parsing": "a whole number",
}
"""What should stand where a value of another kind stands, by pydantic's name of the mistake."""
MISTAKE: Final = "mistake"
"""The type of a pydantic error whose text is the sentence."""
UNKNOWN_KEY: Final = "unknown_key"
"""The type of a pydantic error that is about a key itself, not about its value."""
WRITTEN_OUT: Final = "is a reference; references may stand in texts only, so write the value itself"


class Options(BaseModel):
    """A part of the job file: immutable, no unknown key, and errors that never show what was written."""

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
    def _refuse_unknown(cls, written: Any) -> Any:
        """Unknown keys are told alone: what else is missing is often what was meant."""
        if isinstance(written, Mapping):
            refuse_unknown(written, cls.keys())
        return written

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
    if has_reference(value):
        raise ValueError(f"{value!r} {WRITTEN_OUT}")
    found = DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is not a length of time such as 10s, 1.5h or 7d")
    length = timedelta(milliseconds=round(float(found["number"]) * MILLISECONDS[found["unit"].lower()]))
    if length > LONGEST:
        raise ValueError(f"{value!r} is longer than a century")
    return length


def read_size(value: Any) -> Any:
    """An amount of memory in bytes as written: a number and its unit (`512MB`, `2GB`). Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if has_reference(value):
        raise ValueError(f"{value!r} {WRITTEN_OUT}")
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is not a size such as 512MB or 2GB")
    return int(found["number"]) * BYTES[found["unit"].upper()]


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
    BeforeValidator(read_duration, json_schema_input_type=str),
    PlainSerializer(duration_text, str, when_used="json"),
]
"""A length of time, written `10s`, `1.5h`, `7d`."""

Size = Annotated[
    int, BeforeValidator(read_size, json_schema_input_type=str), PlainSerializer(size_text, str, when_used="json")
]
"""An amount of memory in bytes, written `512MB`, `2GB`."""

Location = Annotated[str, AfterValidator(read_location)]
"""A path, relative to the job file's folder, or a URL."""

Texts = Annotated[Mapping[str, str], BeforeValidator(read_texts)]
"""A client library's own settings."""


def mistake(text: str, *at: int | str, kind: str = MISTAKE) -> ValidationError:
    """What a validator of a model raises to point at a part of what it validates: `raise mistake("is ...", "path")`."""
    error = PydanticCustomError(kind, "{text}", {"text": text})
    return ValidationError.from_exception_data("options", [InitErrorDetails(type=error, loc=at, input=None)])


def refuse_unknown(written: Mapping[Any, Any], known: Iterable[str]) -> None:
    """Raise ValidationError for the keys that are not known, each with the nearest that is."""
    words = list(known)
    errors = [
        InitErrorDetails(
            type=PydanticCustomError(
                UNKNOWN_KEY, "{text}", {"text": f"unknown key{nearest(str(key), words, 'known are')}"}
            ),
            loc=(str(key),),
            input=None,
        )
        for key in written
        if key not in words
    ]
    if errors:
        raise ValidationError.from_exception_data("options", errors)
