"""Options of a MySQL or MariaDB target."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from ....schemas.options import Duration, Location, Options, unless_reference

SslMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]


def _database(name: str) -> str:
    if not name or "\0" in name:
        raise ValueError("is not a name of a database, such as shop")
    return name


class MySqlTargetOptions(Options):
    """How to reach a server, and the database, which is there already."""

    host: str = Field(description="The server's name or address.")
    port: int = Field(default=3306, ge=1, le=65535, description="The server's port.")
    username: str = Field(description="A user that may create, change and drop tables in the database.")
    password: str | None = Field(default=None, repr=False, description="Its password, as a reference.")
    database: Annotated[str, unless_reference(_database)] = Field(description="The database of the tables.")
    sslmode: SslMode = Field(default="prefer", description="Whether TLS is used, and what is checked.")
    sslrootcert: Location | None = Field(default=None, description="A file of certificates that are trusted.")
    tombstone_retention: Duration = timedelta(days=7)
