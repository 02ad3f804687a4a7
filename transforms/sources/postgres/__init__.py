"""Postgres as a source: a copy of each table, then the changes of its log, by logical replication."""

from typing import Final

from ..source import SourceSpec
from .options import PostgresOptions

SPEC: Final = SourceSpec(
    name="postgres",
    source=f"{__name__}.source:open_source",
    options=PostgresOptions,
    extra="postgres",
    files=("sslrootcert",),
    typed=True,
    libraries={"psycopg": "client"},
)
