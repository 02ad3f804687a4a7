"""Postgres as a target."""

from typing import Final

from ..spec import SinkSpec
from .options import PostgresOptions

SPEC: Final = SinkSpec(
    name="postgres",
    sink=f"{__name__}.sink:PostgresSink",
    options=PostgresOptions,
    extra="postgres",
    libraries=("psycopg",),
    ports=(5432,),
)
