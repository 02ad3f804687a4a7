"""What options hold besides lengths of time and sizes: lists of words, points in time, and parts made from options."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationInfo

from .errors import JobError
from .options import LONGEST, Duration, Marking, Options, folder_of, has_reference, mistake, read_duration
from .secrets import PASSWORD_INSIDE, WRITTEN_OUT, has_password, holds_password, resolve
from .suggestions import guess

T = TypeVar("T")
O = TypeVar("O", bound=Options)  # noqa: E741


def listed(value: Any) -> Any:
    """One word alone is a list of one."""
    return value if isinstance(value, list | tuple | Mapping) or value is None else (value,)


def read_name(value: Any) -> Any:
    """A name as written, `${env:NAME}` and `${file:PATH}` looked up at once: it is no secret, and stands in reports."""
    if not isinstance(value, str):
        return value
    try:
        return resolve(value)
    except JobError as error:
        raise ValueError(str(error)) from None


def one_or_more(word: Any) -> Any:
    """The type of what `listed` takes, for the JSON Schema."""
    return word | Annotated[list[word], Field(min_length=1, json_schema_extra={"uniqueItems": True})]


def distinct(words: tuple[T, ...]) -> tuple[T, ...]:
    """The list, which has at least one entry and none twice. Raises ValueError."""
    if not words:
        raise ValueError("the list is empty")
    for place, word in enumerate(words):
        if word in words[:place]:
            raise mistake(f"{str(word)!r} stands twice in the list", place)
    return words


def read_interval(value: Any) -> Any:
    """A length of time above zero. Raises ValueError."""
    length = read_duration(value)
    if length < timedelta(milliseconds=1):
        raise ValueError(f"{value!r} is not between 1ms and {LONGEST.days}d")
    return length


def read_moment(value: Any) -> Any:
    """A point in time with its zone. Raises ValueError."""
    written = value.isoformat() if isinstance(value, date) else str(value)
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(f"{written!r} is not a time; write it as 2026-01-01T00:00:00Z") from None
    if found.tzinfo is None:
        raise ValueError(f"{written!r} has no time zone; write it as 2026-01-01T00:00:00Z")
    return found


def one_of(value: Any, known: tuple[str, ...], form: str = "") -> str:
    """The value, which is one of the words; `form` is what else may stand there. Raises ValueError."""
    if isinstance(value, str) and value in known:
        return value
    shown = "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else repr(str(value))
    other = f" or {form}" if form else ""
    raise ValueError(f"{shown} is not one of {', '.join(known)}{other}{guess(str(value), known)}")


def read_secret(text: str) -> str:
    """A text that must be a reference. Raises ValueError."""
    if not has_reference(text):
        raise ValueError(WRITTEN_OUT)
    return text


def refuse_password(url: str) -> str:
    """A URL whose password, if it has one, is a reference. Raises ValueError."""
    if has_password(url):
        raise ValueError(WRITTEN_OUT)
    return url


def built(model: type[O], make: Callable[[O], T], otherwise: Any = None) -> PlainValidator:
    """Reads a mapping as `model` and gives what `make` makes of it; what `make` has made already stays as it is.

    `otherwise` names a type that may be written instead of a mapping, for the JSON Schema.
    """

    def read(value: Any, info: ValidationInfo) -> Any:
        made = value is None or not isinstance(value, str | int | float | list | Mapping | Options)
        return value if made else make(model.model_validate(value, context=info.context))

    return PlainValidator(read, json_schema_input_type=model if otherwise is None else model | otherwise)


def in_schemes(*schemes: str) -> AfterValidator:
    """A check of a place: a path, or a URL with one of these schemes. Raises ValueError."""

    def check(path: str) -> str:
        scheme, separator, _ = path.partition("://")
        if separator and not has_reference(scheme) and scheme not in schemes:
            known = f"known are {', '.join(schemes)}" if schemes else "it is a path"
            raise ValueError(f"{scheme}:// is not known; {known}{guess(scheme, schemes)}")
        return path

    return AfterValidator(check)


def _check_connection(text: str, info: ValidationInfo) -> str:
    if folder_of(info) is not None and holds_password(text):
        raise ValueError(PASSWORD_INSIDE)
    return text


ConnectionString = Annotated[str, AfterValidator(_check_connection), Marking.SHOWN]
"""`host=db user=ann password=${env:PW}` or a URL; of what a job file writes only the password has to be a reference."""

Words = Annotated[
    tuple[str, ...], AfterValidator(distinct), BeforeValidator(listed, json_schema_input_type=one_or_more(str))
]
"""A list of texts without repetition; one text alone is a list of one."""

Interval = Annotated[Duration, BeforeValidator(read_interval)]
"""A length of time above zero, written `500ms`, `10s`, `1.5h`."""

Moment = Annotated[datetime, BeforeValidator(read_moment, json_schema_input_type=str)]
"""A point in time with its zone, written `2026-01-01T00:00:00Z`."""
