"""What the properties of histories share."""

import json

import pytest
from support.simulated_database import SCHEMAS

from millrace.schemas.encodings.avro.schema_text import AVRO
from millrace.schemas.encodings.schema_store import FolderSchemaStore


@pytest.fixture(scope="module")
def contracts(tmp_path_factory):
    """The schemas of the simulated database."""
    folder = tmp_path_factory.mktemp("schemas")
    for number, schema in SCHEMAS.items():
        (folder / f"{number}.avsc").write_text(json.dumps(schema))
    return FolderSchemaStore(folder, AVRO)
