"""Lakes that Millrace writes and Trino reads: the options of our target beside the catalog of Trino's."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace.transforms.sinks.delta.columns import column_name
from millrace.transforms.sinks.iceberg.catalog.names import catalog_name
from millrace.transforms.sinks.shared.names import folder_name
from support import postgres_server
from support.object_stores import S3
from support.trino_server import TrinoServer

FILES = {"fs.hadoop.enabled": "true"}
AT_ONCE = {
    "iceberg": {"iceberg.expire-snapshots.min-retention": "0s", "iceberg.remove-orphan-files.min-retention": "0s"},
    "delta_lake": {"delta.vacuum.min-retention": "0s", "delta.register-table-procedure.enabled": "true"},
}


@dataclass(frozen=True)
class Lake:
    """`kind` and `options` are those of our target, `catalog` is Trino's, `schema` holds its tables."""

    trino: TrinoServer
    kind: str
    options: dict[str, Any]
    catalog: str
    schema: str = "shop"
    appears: Callable[[str], None] = lambda table: None
    """Called with a table's name before Trino first looks for it."""

    def table(self, name: str) -> str:
        """A table as Trino's SQL names it."""
        self.appears(name)
        stored = catalog_name(name) if self.kind == "iceberg" else folder_name(name)
        return f'{self.catalog}.{self.schema}."{stored.lower()}"'

    def column(self, name: str) -> str:
        stored = column_name(name) if self.kind == "delta" else name
        return f'"{stored.lower()}"'

    def sql(self, statement: str) -> list[tuple]:
        """A statement in which `orders` is the table."""
        return self.trino.sql(statement.replace("orders", self.table("orders")), legacy_primitive_types=True)


def iceberg_in_postgres(trino: TrinoServer, folder: Path) -> Lake:
    """Iceberg's JDBC catalog, in a database of its own."""
    server, name = postgres_server.server(), f"catalog_{os.urandom(4).hex()}"
    server.sql(f"CREATE DATABASE {name} OWNER {postgres_server.ROLE}")
    user, password = postgres_server.ROLE, postgres_server.ROLE_PASSWORD
    place, warehouse = f"127.0.0.1:{server.port}/{name}", f"file://{folder}/lake"
    catalog = {"type": "sql", "uri": f"postgresql+psycopg://{user}:{password}@{place}", "warehouse": warehouse}
    jdbc = {"catalog-name": "default", "driver-class": "org.postgresql.Driver", "schema-version": "V1"}
    jdbc |= {"connection-url": f"jdbc:postgresql://{place}", "connection-user": user}
    jdbc |= {"connection-password": password, "default-warehouse-dir": warehouse}
    named = {f"iceberg.jdbc-catalog.{key}": value for key, value in jdbc.items()}
    properties = {"iceberg.catalog.type": "jdbc", **named, **FILES, **AT_ONCE["iceberg"]}
    return Lake(trino, "iceberg", {"namespace": "shop", "catalog": catalog}, trino.catalog("iceberg", properties))


def iceberg_by_rest(trino: TrinoServer, url: str, warehouse: Path, namespace: str) -> Lake:
    catalog = {"type": "rest", "uri": url}
    properties = {"iceberg.catalog.type": "rest", "iceberg.rest-catalog.uri": url, **FILES, **AT_ONCE["iceberg"]}
    options = {"namespace": namespace, "catalog": catalog, "staging": f"file://{warehouse}"}
    return Lake(trino, "iceberg", options, trino.catalog("iceberg", properties), namespace)


def iceberg_in_hive(trino: TrinoServer, settings: dict[str, str], namespace: str) -> Lake:
    properties = {"iceberg.catalog.type": "hive_metastore", "hive.metastore.uri": settings["uri"]}
    properties |= {**FILES, **AT_ONCE["iceberg"]}
    options = {"namespace": namespace, "catalog": settings}
    return Lake(trino, "iceberg", options, trino.catalog("iceberg", properties), namespace)


def delta(trino: TrinoServer, folder: Path) -> Lake:
    """Delta tables in a local folder, which Trino reads, but does not write: it knows no lock for them."""
    (folder / "lake").mkdir(exist_ok=True)
    return _delta(trino, {"path": f"{folder}/lake"}, f"file://{folder}/lake", {**_folder(folder), **FILES})


def delta_in_hive(trino: TrinoServer, folder: Path, url: str, schema: str) -> Lake:
    """Delta tables in a local folder, registered in a Hive metastore."""
    (folder / "lake").mkdir(exist_ok=True)
    properties = {"hive.metastore.uri": url, **FILES}
    return _delta(trino, {"path": f"{folder}/lake"}, f"file://{folder}/lake", properties, schema)


def delta_in_s3(trino: TrinoServer, folder: Path, s3: S3) -> Lake:
    """Delta tables in a bucket of their own, which both write."""
    root = f"s3://{s3.create_bucket(f'lake-{os.urandom(4).hex()}')}/lake"
    storage = {"aws_access_key_id": s3.key, "aws_secret_access_key": s3.secret, "aws_endpoint": s3.endpoint}
    storage |= {"aws_region": s3.region, "aws_allow_http": "true"}
    properties = {"fs.native-s3.enabled": "true", "s3.endpoint": s3.endpoint, "s3.region": s3.region}
    properties |= {"s3.aws-access-key": s3.key, "s3.aws-secret-key": s3.secret, "s3.path-style-access": "true"}
    options = {"path": root, "storage_options": storage}
    return _delta(trino, options, root, {**_folder(folder), **properties})


def _folder(folder: Path) -> dict[str, str]:
    """A metastore of Trino's own."""
    place = {"hive.metastore": "file", "hive.metastore.catalog.dir": f"local://{folder}/meta"}
    return {**place, "fs.native-local.enabled": "true", "local.location": "/"}


def _delta(
    trino: TrinoServer, options: dict[str, Any], root: str, properties: dict[str, str], schema: str = "shop"
) -> Lake:
    catalog = trino.catalog("delta_lake", {**properties, **AT_ONCE["delta_lake"]})
    trino.sql(f"CREATE SCHEMA {catalog}.{schema} WITH (location = '{root}')")
    known: set[str] = set()

    def register(name: str) -> None:
        if name not in known:
            known.add(name)
            at = f"'{schema}', '{folder_name(name).lower()}', '{root}/{folder_name(name)}'"
            trino.sql(f"CALL {catalog}.system.register_table({at})")

    return Lake(trino, "delta", options, catalog, schema, register)
