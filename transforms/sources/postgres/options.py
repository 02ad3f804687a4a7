"""What a job file says of a Postgres source."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from ....schemas.option_values import read_secret
from ....schemas.options import Location
from ..copy_options import DatabaseOptions

NAME: Final = re.compile(r"[a-z0-9_]{1,63}")


def _check_slot(name: str) -> str:
    if NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a name of lower-case letters, digits and '_', at most 63")
    return name


Name = Annotated[str, AfterValidator(_check_slot)]
Reference = Annotated[str, AfterValidator(read_secret)]
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


class PostgresOptions(DatabaseOptions):
    """How to reach a database, and what is read of it."""

    host: str = Field(description="The server's name or address: the primary, not a standby.")
    port: int = Field(default=5432, ge=1, le=65535, description="The server's port.")
    database: str = Field(description="The database that holds the tables.")
    username: str = Field(description="A role that may read the tables, and has REPLICATION.")
    password: Reference | None = Field(default=None, repr=False, description="Its password, as a reference.")
    sslmode: SslMode = Field(default="prefer", description="libpq's sslmode.")
    sslrootcert: Location | None = Field(default=None, description="A file of certificates that are trusted.")
    slot: Name = Field(default="millrace", description="The replication slot: one for each job, made by the first run.")
    publication: Name = Field(
        default="millrace", description="The publication, made by the first run if it is not there."
    )
