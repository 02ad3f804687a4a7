"""MySQL and MariaDB as a source: a copy of each table, then the changes of the server's binlog."""

from typing import Final

from ..source import SourceSpec
from .options import MySqlOptions

SPEC: Final = SourceSpec(
    name="mysql",
    source=f"{__name__}.source:open_source",
    options=MySqlOptions,
    extra="mysql",
    files=("sslrootcert",),
    typed=True,
    libraries={"pymysql": "client"},
)
