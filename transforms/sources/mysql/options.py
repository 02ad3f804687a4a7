"""What a job file says of a MySQL or MariaDB source."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ....schemas.option_values import read_secret
from ....schemas.options import Location, mistake
from ..copy_options import DatabaseOptions

Reference = Annotated[str, AfterValidator(read_secret)]
SslMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]


def _check_place(text: str) -> str:
    if re.fullmatch(r".+\.\d+:\d+", text) is None:
        raise ValueError(f"{text!r} is not FILE:POSITION, such as binlog.000012:157; SHOW BINARY LOG STATUS tells both")
    return text


BinlogPlace = Annotated[str, AfterValidator(_check_place)]


class MySqlOptions(DatabaseOptions):
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
    binlog_start: BinlogPlace | None = Field(
        default=None,
        description="With sync: incremental, where the log begins: FILE:POSITION; else where it ends now.",
    )

    @model_validator(mode="after")
    def _with_a_log(self) -> Self:
        if self.binlog_start is not None and self.sync != "incremental":
            raise mistake(f"a job with sync: {self.sync} begins with a copy; take it out", "binlog_start")
        return self
