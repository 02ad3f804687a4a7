"""Engines that read and write Delta Lake and are not ours: DuckDB and Spark, in environments of their own.

What they need is fetched once, into .cache.
"""

import sys
from pathlib import Path

from support.downloads import maven_jars
from support.iceberg_engines import run_script, spark
from support.object_stores import _made, _run

READERS = ("duckdb==1.5.5", "duckdb-extension-delta==1.5.5", "pytz")
DELTA = "3.3.2"
DUCKDB = """
import json, sys, duckdb, duckdb_extension_delta
from pathlib import Path

db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
(path,) = Path(duckdb_extension_delta.__file__).parent.rglob("delta.duckdb_extension")
db.execute(f"LOAD '{path}'")
rows = db.execute(f"SELECT {sys.argv[2]} FROM delta_scan('{sys.argv[1]}')").fetchall()
print(json.dumps(rows, default=str))
"""
SPARK_SQL = """
import json, sys
from pyspark.sql import SparkSession

builder = SparkSession.builder.master("local[1]").config("spark.jars", sys.argv[1]).config("spark.ui.enabled", "false")
builder = builder.config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
builder = builder.config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
builder = builder.config("spark.databricks.delta.retentionDurationCheck.enabled", "false")
builder = builder.config("spark.databricks.delta.snapshotPartitions", "1")
builder = builder.config("spark.sql.shuffle.partitions", "1").config("spark.sql.session.timeZone", "UTC")
spark = builder.getOrCreate()
answers = [[list(row) for row in spark.sql(statement).collect()] for statement in sys.argv[2:]]
print("ROWS " + json.dumps(answers, default=str))
spark.stop()
"""


def duckdb_rows(path: Path, columns: str) -> list[list]:
    """DuckDB 1.5.5 with its own Delta extension."""
    return run_script([str(readers()), "-c", DUCKDB, str(path), columns])


def spark_sql(*statements: str) -> list[list[list]]:
    """What each statement gives in Spark 3.5 with Delta 3.3; a table is called delta.`PATH`."""
    found = ",".join(map(str, sorted(jars().glob("*.jar"))))
    return run_script([str(spark()), "-c", SPARK_SQL, found, *statements])


def jars() -> Path:
    """Delta Lake for Spark."""
    return maven_jars(f"delta-spark-{DELTA}", f"io.delta:delta-spark_2.12:{DELTA}")


def readers() -> Path:
    with _made("delta-readers-1.5.5") as (place, new):
        if new is not None:
            _run([sys.executable, "-m", "venv", str(new)])
            _run([f"{new}/bin/python", "-m", "pip", "install", "-q", *READERS])
    return place / "bin" / "python"
