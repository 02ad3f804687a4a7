"""References to secrets, `${env:NAME}` and `${file:PATH}`: kept as written, resolved at the moment of use."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from .errors import JobError

REFERENCE: Final = re.compile(r"\$\{(?:(?P<kind>[A-Za-z_]\w*):)?(?P<name>[^}]*)\}")
SECRET_NAME: Final = re.compile(
    r"password|passwd|secret|token|credential|auth|dsn|jaas|(access|api|private|account)_?key", re.I
)
NO_SECRET_NAME: Final = re.compile(
    r"[_.-](id|enabled|type|uri|url|endpoint|name|path|file|at|scope|server|provider|class|region|version)$"
    r"|credentials(_file)?$",
    re.I,
)
"""How names end that look like a secret's and are none: `s3.access-key-id`, `google_application_credentials`."""
PASSWORD_SETTING: Final = re.compile(
    r"(?:^|[\s?&;])(?:ssl)?(?:password|passwd|pwd)\s*=\s*(?!['\"]?\$\{)['\"]?[^\s'\"&;]", re.I
)
PASSWORD_IN_URL: Final = re.compile(r"://[^/@\s]*:[^/@\s]+@")
WRITTEN_OUT: Final = "is a secret: write ${env:NAME} or ${file:PATH} instead of the value"
PASSWORD_INSIDE: Final = "has a password in it: write ${env:NAME} or ${file:PATH} in place of the password"


Way = tuple[int | str, ...]
"""Keys and places in lists, from a part of the job file down to a value."""


class Secret:
    """Text that is shown as ***; `text` is what was written, a literal or with references."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return "***"


def resolve(text: str) -> str:
    """The text with each reference replaced by the secret; never store, log or pickle what it gives.

    A file's trailing line ends are cut. Raises JobError, which names the variable or path and no secret.
    """
    return REFERENCE.sub(_secret, text)


def resolved(value: Any) -> Any:
    """The value with the references to secrets in its texts looked up. Never print, log or pickle what it gives."""
    if isinstance(value, str):
        return resolve(value)
    if isinstance(value, Mapping):
        return {name: resolved(part) for name, part in value.items()}
    return [resolved(part) for part in value] if isinstance(value, list) else value


def resolve_url(url: str) -> tuple[str, str | None, str | None]:
    """(url without user information, user name, password) with references resolved.

    The url is taken apart first, so a secret may hold `@`, `:` or `/`; what is written in the url itself is
    percent-decoded in the name and the password.
    """
    secrets: list[str] = []

    def masked(reference: re.Match[str]) -> str:
        secrets.append(resolve(reference[0]))
        return f"-{len(secrets) - 1}-secret-"

    def clear(text: str, decode: Callable[[str], str] = str) -> str:
        parts = re.split(r"-(\d+)-secret-", text)
        return "".join(secrets[int(part)] if i % 2 else decode(part) for i, part in enumerate(parts))

    whole = resolve(url) if REFERENCE.match(url) else REFERENCE.sub(masked, url)
    scheme, separator, rest = whole.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    name, _, password = user.partition(":")
    base = clear(f"{scheme}{separator}{host}{slash}{path}")
    return (base, clear(name, unquote), clear(password, unquote)) if at else (base, None, None)


def shown(url: str) -> str:
    """The url for people and logs: without user name and password."""
    scheme, separator, rest = url.partition("://")
    masked = REFERENCE.sub(lambda reference: "*" * len(reference[0]), rest)
    authority = masked.partition("/")[0]
    return f"{scheme}{separator}{rest[authority.rfind('@') + 1 :]}"


def looks_secret(name: str) -> bool:
    """Whether a setting of this name is one that must not be shown."""
    return SECRET_NAME.search(name) is not None


def has_password(url: str) -> bool:
    """Whether a password is written out in the url; one that is a reference is not."""
    return PASSWORD_IN_URL.search(REFERENCE.sub("", url)) is not None


def holds_password(text: str) -> bool:
    """Whether a password is written out in a connection string, `password=x` or a URL."""
    return has_password(text) or PASSWORD_SETTING.search(text) is not None


def secrets_in_clear(name: str, value: Any, way: Way = ()) -> Iterator[tuple[str, Way]]:
    """What is wrong with a setting that holds secrets in clear, as half a sentence each, and the way to it.

    References and plain addresses are no secrets, nor is an empty text.
    """
    here = (*way, name)
    if isinstance(value, Mapping):
        for part, inner in value.items():
            yield from secrets_in_clear(str(part), inner, here)
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from ((text, (*here, place)) for text, _ in secrets_in_clear(name, inner))
    elif isinstance(value, str) and has_password(value):
        yield PASSWORD_INSIDE, here
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and _must_be_reference(name, str(value)):
        yield WRITTEN_OUT, here


def _must_be_reference(name: str, text: str) -> bool:
    harmless = not text.strip() or REFERENCE.search(text) or re.fullmatch(r"\w+://[^@\s]*", text)
    return looks_secret(name) and not NO_SECRET_NAME.search(name) and not harmless


def masked(name: str, value: Any) -> Any:
    """The setting `name` for people and logs: *** for what looks like a secret, URLs without their password."""
    if isinstance(value, Mapping):
        return {part: masked(str(part), inner) for part, inner in value.items()}
    if isinstance(value, str) and has_password(value):
        return shown(value)
    return Secret(str(value)) if value is not None and looks_secret(name) else value


def _secret(reference: re.Match[str]) -> str:
    kind, name = reference["kind"], reference["name"]
    if kind == "env":
        if name not in os.environ:
            raise JobError(f"${{env:{name}}}: the environment variable {name} is not set")
        return os.environ[name]
    if kind == "file":
        try:
            return Path(name).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise JobError(f"${{file:{name}}}: {error.strerror}: {name}") from None
        except UnicodeDecodeError:
            raise JobError(f"${{file:{name}}}: {name} is not UTF-8 text") from None
    raise JobError(f"{reference[0]}: a secret is written ${{env:NAME}} or ${{file:PATH}}")
