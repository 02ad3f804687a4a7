"""What a job file says of a MySQL or MariaDB source."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ....schemas.option_values import read_secret
from ....schemas.options import Location, Options
from ..copy_options import SYNC, CopyOptions, Sync

Reference = Annotated[str, AfterValidator(read_secret)]
SslMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]


class MySqlOptions(Options):
    """How to reach a server, and what is read of it."""

    host: str = Field(description="The server's name or address.")
    port: int = Field(default=3306, ge=1, le=65535, description="The server's port.")
    username: str = Field(description="A user that may read the tables, and has REPLICATION SLAVE and CLIENT.")
    password: Reference | None = Field(default=None, repr=False, description="Its password, as a reference.")
    sslmode: SslMode = Field(default="prefer", description="Whether TLS is used, and what is checked.")
    sslrootcert: Location | None = Field(default=None, description="A file of certificates that are trusted.")
    server_id: int | None = Field(
        default=None, ge=1, le=4_294_967_295, description="The id of this reader among the server's replicas."
    )
    sync: Sync = Field(default="hybrid", description=SYNC)
    snapshot: CopyOptions = Field(default=CopyOptions(), description="How tables are copied.")
