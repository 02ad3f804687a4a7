"""Options of a Postgres target."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from ....schemas.option_values import ConnectionString
from ....schemas.options import Duration, Options, unless_reference


def _schema(name: str) -> str:
    if not name or "\0" in name:
        raise ValueError("is not a name of a schema, such as public")
    return name


class PostgresOptions(Options):
    """`dsn` is a connection string of libpq, `schema` one that is there already."""

    dsn: ConnectionString
    schema_: Annotated[str, unless_reference(_schema)] = Field("public", alias="schema")
    tombstone_retention: Duration = timedelta(days=7)
