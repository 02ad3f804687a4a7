"""MySQL and MariaDB as targets."""

from typing import Final

from ..shared.guarantees import Promise
from ..spec import SinkSpec
from .options import MySqlTargetOptions

SPEC: Final = SinkSpec(
    name="mysql",
    sink=f"{__name__}.sink:MySqlSink",
    options=MySqlTargetOptions,
    extra="mysql",
    libraries=("pymysql",),
    exceptions={Promise.NULL_KEYS: "a primary key holds no NULL: the table stops"},
    files=("sslrootcert",),
    ports=(3306,),
)
