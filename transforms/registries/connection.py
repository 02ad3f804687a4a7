"""Where a registry is and who asks it, as a job file says it: no client library is needed for that."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OAuth:
    """Client credentials (RFC 6749, section 4.4); texts may hold `${env:NAME}` and `${file:PATH}`."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None


@dataclass(frozen=True)
class Connection:
    """Where a registry is and who asks it: `urls` of servers that are one registry, asked in turn.

    At most one of a user name, a `token` and `oauth`. `ca`, `certificate` and `certificate_key` are PEM files.
    Seconds: `timeout` of one request, `give_up_after` for all tries of one answer.
    """

    urls: tuple[str, ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    oauth: OAuth | None = None
    ca: str | None = None
    certificate: str | None = None
    certificate_key: str | None = None
    timeout: float = 8.0
    give_up_after: float = 60.0


def addresses(url: str | Sequence[str]) -> tuple[str, ...]:
    """The addresses of one registry: a list of them, or a text with commas between."""
    listed = [url] if isinstance(url, str) else url
    return tuple(part.strip() for text in listed for part in text.split(",") if part.strip())
