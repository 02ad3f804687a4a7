"""Engines and catalogs of Iceberg that are not ours: readers in environments of their own, and a REST catalog.

What they need is fetched once, into .cache. A reader gives the rows of a table as lists, read from its newest metadata
file, with dates and times as whole microseconds or days, and bytes in hexadecimal.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from support.kafka_broker import free_ports
from support.object_stores import Server, _made, _run

READERS = ("duckdb==1.5.5", "duckdb-extension-iceberg==1.5.5", "duckdb-extension-avro==1.5.5", "pytz")
READERS += ("polars==2.1.*", "pyiceberg[pyarrow]==0.12.*", "pyarrow==26.*")
SPARK = "3.5.6"
ICEBERG = "1.10.0"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"

DUCKDB = """
import json, sys, duckdb, duckdb_extension_avro, duckdb_extension_iceberg
from pathlib import Path

db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
for module, name in ((duckdb_extension_avro, "avro"), (duckdb_extension_iceberg, "iceberg")):
    (path,) = Path(module.__file__).parent.rglob(f"{name}.duckdb_extension")
    db.execute(f"LOAD '{path}'")
rows = db.execute(f"SELECT {sys.argv[2]} FROM iceberg_scan('{sys.argv[1]}')").fetchall()
print(json.dumps(rows, default=str))
"""
POLARS = """
import json, sys, polars

columns = sys.argv[2].split(", ")
frame = polars.scan_iceberg(sys.argv[1], reader_override=sys.argv[3]).select(columns).collect()
print(json.dumps([list(row) for row in frame.rows()], default=str))
"""
SPARK_READER = """
import json, os, sys
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.jars", sys.argv[3])
    .config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .getOrCreate()
)
frame = spark.read.format("iceberg").load(sys.argv[1]).selectExpr(*sys.argv[2].split(", "))
print("ROWS " + json.dumps([list(row) for row in frame.collect()], default=str))
spark.stop()
"""
SPARK_SQL = """
import sys
from pyspark.sql import SparkSession

builder = SparkSession.builder.master("local[1]").config("spark.jars", sys.argv[1]).config("spark.ui.enabled", "false")
extensions = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
builder = builder.config("spark.sql.extensions", extensions).config("spark.sql.shuffle.partitions", "1")
builder = builder.config("spark.sql.catalog.lake", "org.apache.iceberg.spark.SparkCatalog")
builder = builder.config("spark.sql.catalog.lake.type", "rest").config("spark.sql.catalog.lake.uri", sys.argv[2])
spark = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
for statement in sys.argv[3:]:
    rows = spark.sql(statement).collect()
import json
print("ROWS " + json.dumps([list(row) for row in rows], default=str))
spark.stop()
"""
METASTORE = """
import org.apache.hadoop.hive.conf.HiveConf;
import org.apache.hadoop.hive.metastore.HiveMetaStore;
import org.apache.hadoop.hive.metastore.txn.TxnDbUtil;
public class Metastore {
  public static void main(String[] arguments) throws Throwable {
    TxnDbUtil.prepDb(new HiveConf());
    HiveMetaStore.main(new String[] {"-p", arguments[0]});
  }
}
"""
HIVE_SETTINGS = {
    "hive.async.log.enabled": "false",
    "javax.jdo.option.ConnectionURL": "jdbc:derby:;databaseName=metastore;create=true",
    "datanucleus.schema.autoCreateAll": "true",
    "hive.metastore.schema.verification": "false",
    "java.io.tmpdir": ".",
}


def duckdb_rows(metadata: str, columns: str) -> list[list]:
    """DuckDB 1.5.5 with its own Iceberg extension."""
    return run_script([str(readers()), "-c", DUCKDB, _path(metadata), columns])


def polars_rows(metadata: str, columns: str, reader: str = "native") -> list[list]:
    """Polars: `native`, its own reader, or `pyiceberg`."""
    return run_script([str(readers()), "-c", POLARS, metadata, columns, reader])


def spark_rows(metadata: str, columns: str) -> list[list]:
    """Spark 3.5 with the runtime of the Java reference implementation."""
    return run_script([str(spark()), "-c", SPARK_READER, _path(metadata), columns, str(jar())])


def spark_sql(url: str, *statements: str) -> list[list]:
    """What the last of these statements gives; `lake` is the REST catalog at the URL."""
    return run_script([str(spark()), "-c", SPARK_SQL, str(jar()), url, *statements])


def missing_for_java() -> str | None:
    """Why there can be no Spark and no REST catalog here, or None."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            return f"Spark and the REST catalog of Iceberg need Java 17 and Maven: {program} is not installed"
    return None


@contextmanager
def rest_catalog(warehouse: Path) -> Iterator[str]:
    """The Java reference implementation's REST catalog, over SQLite; its URL."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    environment = {"CATALOG_WAREHOUSE": f"file://{warehouse}", "CATALOG_URI": f"jdbc:sqlite:file:{warehouse}/rest.db"}
    settings = [f"{name}={value}" for name, value in {**environment, "CATALOG_REST_PORT": str(port)}.items()]
    options = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    command = ["env", *settings, "java", *options, "-jar", str(open_api())]
    with Server("iceberg-rest", command, lambda _: _answers(f"{url}/v1/config")):
        yield url


def missing_for_hive() -> str | None:
    """Why there can be no Hive metastore here, or None."""
    for program in ("java", "javac"):
        if shutil.which(program) is None:
            return f"the Hive metastore needs a JDK: {program} is not installed"
    return None


@contextmanager
def hive_metastore(warehouse: Path) -> Iterator[str]:
    """Hive's own metastore, of the jars that come with Spark, over Derby; its URL. It takes locks, as commits need."""
    (port,) = free_ports(1)
    place = metastore()
    settings = {**HIVE_SETTINGS, "hive.metastore.warehouse.dir": f"file://{warehouse}"}
    options = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *(f"-D{k}={v}" for k, v in settings.items())]
    command = ["java", *options, "-cp", f"{place}:{_spark_jars()}/*", "Metastore", str(port)]
    with Server("hive-metastore", command, lambda _: _listens(port)):
        yield f"thrift://127.0.0.1:{port}"


def hive_settings(url: str, warehouse: Path) -> dict[str, str]:
    """pyiceberg's properties of this metastore."""
    settings = {"type": "hive", "uri": url, "warehouse": f"file://{warehouse}", "lock-check-max-wait-time": "0.2"}
    return {**settings, "lock-check-retries": "50", "hive.hive2-compatible": "true"}


def metastore() -> Path:
    with _made(f"hive-metastore-{SPARK}") as (place, new):
        if new is not None:
            (new / "Metastore.java").write_text(METASTORE)
            _run(["javac", "-cp", f"{_spark_jars()}/*", "-d", str(new), f"{new}/Metastore.java"])
    return place


def _spark_jars() -> Path:
    (jars,) = spark().parents[1].glob("lib/python*/site-packages/pyspark/jars")
    return jars


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def jar() -> Path:
    """The runtime of Iceberg for Spark."""
    return _maven("org.apache.iceberg:iceberg-spark-runtime-3.5_2.12", ICEBERG)


def open_api() -> Path:
    return _maven("org.apache.iceberg:iceberg-open-api", ICEBERG)


def _maven(artifact: str, version: str) -> Path:
    name = f"{artifact.rpartition(':')[2]}-{version}"
    with _made(name) as (place, new):
        if new is not None:
            _run(["mvn", "-B", "-q", COPY, f"-Dartifact={artifact}:{version}", f"-DoutputDirectory={new}"])
    return place / f"{name}.jar"


def readers() -> Path:
    with _made("iceberg-readers-1.5.5") as (place, new):
        if new is not None:
            _run([sys.executable, "-m", "venv", str(new)])
            _run([f"{new}/bin/python", "-m", "pip", "install", "-q", *READERS])
    return place / "bin" / "python"


def spark() -> Path:
    with _made(f"pyspark-{SPARK}") as (place, new):
        if new is not None:
            _run([sys.executable, "-m", "venv", str(new)])
            _run([f"{new}/bin/python", "-m", "pip", "install", "-q", "setuptools", "wheel", f"pyspark=={SPARK}"])
    return place / "bin" / "python"


def _path(metadata: str) -> str:
    return metadata.removeprefix("file://")


def run_script(command: list[str]) -> list[list]:
    """The rows that an engine's script prints."""
    environment = {**os.environ, "PYTHONPATH": "", "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1].removeprefix("ROWS "))


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except (URLError, OSError):
        return False
    return True
