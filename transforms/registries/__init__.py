"""Schema registries, and the options that a job file gives them."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from ...schemas.option_values import Interval, read_secret, refuse_password
from ...schemas.options import Location, Options, mistake
from .confluent import ConfluentRegistry
from .connection import OAuth

__all__ = ["ConfluentRegistry", "OAuthOptions", "RegistryOptions", "as_url"]


def _check_urls(urls: str) -> str:
    for url in urls.split(","):
        if not url.strip().startswith(("http://", "https://", "${")):
            raise ValueError("is not an http:// or https:// address; a folder is format.schemas")
        refuse_password(url.strip())
    return urls


def as_url(value: Any) -> Any:
    """One address alone is a mapping with it."""
    return value if isinstance(value, Mapping) or value is None else {"url": value}


Reference = Annotated[str, AfterValidator(read_secret)]


class OAuthOptions(Options):
    """OAuth client credentials (RFC 6749, section 4.4)."""

    token_url: Annotated[str, AfterValidator(_check_urls)] = Field(description="Where tokens are fetched.")
    client_id: str = Field(description="Who asks for a token.")
    client_secret: Reference = Field(repr=False, description="A reference: ${env:NAME} or ${file:PATH}.")
    scope: str | None = Field(default=None, description="What the token is for.")

    def oauth(self) -> OAuth:
        """The credentials, secrets as references."""
        return OAuth(self.token_url, self.client_id, self.client_secret, self.scope)


class RegistryOptions(Options):
    """A schema registry that speaks Confluent's REST protocol. Files are PEM."""

    url: Annotated[str, AfterValidator(_check_urls)] = Field(description="http:// or https://; several with commas.")
    username: str | None = Field(default=None, description="For HTTP basic authentication.")
    password: Reference | None = Field(
        default=None, repr=False, description="A reference: ${env:NAME} or ${file:PATH}."
    )
    token: Reference | None = Field(
        default=None, repr=False, description="A bearer token, as a reference: ${env:NAME} or ${file:PATH}."
    )
    oauth: OAuthOptions | None = Field(default=None, description="OAuth client credentials.")
    ca: Location | None = Field(default=None, description="Certificates that are trusted.")
    certificate: Location | None = Field(default=None, description="The client's certificate.")
    certificate_key: Location | None = Field(default=None, description="The key of the client's certificate.")
    timeout: Interval = Field(default=timedelta(seconds=10), description="Of one request.")
    give_up_after: Interval = Field(default=timedelta(seconds=60), description="For all tries of one schema.")
    remember_refusals: Interval = Field(
        default=timedelta(seconds=30), description="How long an unknown id is not asked for again."
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        given = [name for name in ("username", "token", "oauth") if getattr(self, name) is not None]
        if len(given) > 1:
            raise mistake(f"stands beside format.registry.{given[0]}; a registry takes one of the two", given[1])
        return self

    def registry(self) -> ConfluentRegistry:
        """The registry, not asked yet."""
        texts = ("url", "username", "password", "token", "ca", "certificate", "certificate_key")
        return ConfluentRegistry(
            **{name: getattr(self, name) for name in texts},
            oauth=self.oauth.oauth() if self.oauth is not None else None,
            timeout=self.timeout.total_seconds(),
            give_up_after=self.give_up_after.total_seconds(),
            remember_refusals=self.remember_refusals.total_seconds(),
        )
