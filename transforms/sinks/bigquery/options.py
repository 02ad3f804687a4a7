"""Options of a BigQuery target."""

import re
from datetime import timedelta
from typing import Annotated, Final

from ....schemas.options import Duration, Location, Options, unless_reference

PROJECT: Final = re.compile(r"[a-z0-9.:-]{1,100}")
DATASET: Final = re.compile(r"[A-Za-z0-9_]{1,1024}")
ADDRESS: Final = re.compile(r"http://[^/\s]+")


def _project(name: str) -> str:
    if not PROJECT.fullmatch(name):
        raise ValueError(f"{name!r} is not the ID of a project: lower-case letters, digits, '-', '.' and ':'")
    return name


def _dataset(name: str) -> str:
    if not DATASET.fullmatch(name):
        raise ValueError(f"{name!r} is not the ID of a data set: letters, digits and '_'")
    return name


def _address(url: str) -> str:
    if not ADDRESS.fullmatch(url):
        raise ValueError(f"{url!r} is not an address such as http://localhost:9050, without TLS and credentials")
    return url


class Emulator(Options):
    """A server that speaks BigQuery's protocols without TLS and without credentials: none are sent to it."""

    rest: Annotated[str, unless_reference(_address)]
    grpc: str


class BigQueryOptions(Options):
    """`dataset` is there already. Above zero, `max_staleness` lets BigQuery answer queries with older rows.

    `staging` is where workers put rows for the commit: a folder or URL that all of them reach, and without it a
    temporary folder of this machine.
    """

    project: Annotated[str, unless_reference(_project)]
    dataset: Annotated[str, unless_reference(_dataset)]
    max_staleness: Duration = timedelta(0)
    staging: Location | None = None
    emulator: Emulator | None = None
