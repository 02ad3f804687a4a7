"""Fetch and build all that tests start, three things at a time; else each test does so when it needs it.

`PYTHONPATH=tests python -m support.fetch`, on a machine with Java, Maven and Go.
"""

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from support import debezium, delta_engines, iceberg_engines, kafka_broker, mysql_server, object_stores, trino_server
from support.downloads import beam_flink_jar, flink_lib
from support.go_programs import BOOT, KUBECONFORM, PRISM, built

MAVEN = (
    *(kafka_broker.jars, beam_flink_jar, object_stores.hadoop, iceberg_engines.open_api, iceberg_engines.jar),
    *(debezium.connect_jars, debezium.registry_files, trino_server.fetched, delta_engines.jars),
)
GO = (*(lambda program=program: built(program) for program in (PRISM, BOOT, KUBECONFORM)), object_stores.fake_gcs)
PYTHON = (
    flink_lib,
    object_stores.moto,
    iceberg_engines.readers,
    iceberg_engines.metastore,
    delta_engines.readers,
    mysql_server.mysql_files,
)


def one_by_one(parts: Sequence[Callable[[], object]]) -> None:
    """Maven, for one, does not like two of itself in one repository."""
    for part in parts:
        part()


def main() -> int:
    """Fetch all; the reason of the first that failed is raised."""
    started = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(one_by_one, (MAVEN, GO, PYTHON)))
    print(f"what tests start is there after {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
