"""The tree explains the system: each rule of the house over every module, and beside each a breach that it must find.

A breach that stands today is named in KNOWN, and one that is gone must be taken out of it: the lists only shrink.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest
from support.architecture import LAYERS, LONG_FILE, MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS, Breach, read_modules
from support.house_rules import KNOWN, RULES

ROOT = Path(__file__).parents[1]
MODULES = read_modules(ROOT)


@pytest.mark.parametrize("name", RULES)
def test_the_tree_keeps_the_rule(name):
    found = set(RULES[name](MODULES)) - KNOWN.get(name, frozenset())
    assert not found, "\n".join(f"{where}: {what}" for where, what in sorted(found))


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_breach_that_is_mended_leaves_the_list(name):
    mended = KNOWN[name] - set(RULES[name](MODULES))
    assert not mended, "take out of KNOWN:\n" + "\n".join(f"{where}: {what}" for where, what in sorted(mended))


PLANTED: tuple[tuple[str, Mapping[str, str], Breach], ...] = (
    (
        "arrows",
        {"schemas/new.py": "from ..transforms.retry import retried\n", "transforms/retry.py": ""},
        Breach("schemas.new", "imports transforms.retry"),
    ),
    (
        "arrows",
        {"transforms/new.py": "def late():\n    from ..pipelines.job import load\n", "pipelines/job/load.py": ""},
        Breach("transforms.new", "imports pipelines.job.load"),
    ),
    (
        "arrows",
        {"transforms/sinks/shared/new.py": "from ...steps import decode\n", "transforms/steps/decode.py": ""},
        Breach("transforms.sinks.shared.new", "imports transforms.steps.decode"),
    ),
    (
        "arrows",
        {"transforms/steps/new.py": "from ..proof.verify import verify\n", "transforms/proof/verify.py": ""},
        Breach("transforms.steps.new", "imports transforms.proof.verify"),
    ),
    *(
        (
            "arrows",
            {
                "transforms/proof/new.py": f"from {'.' * 3}{room} import {part}\n",
                f"{room.replace('.', '/')}/{part}.py": "",
            },
            Breach("transforms.proof.new", f"imports {room}.{part}"),
        )
        for room, part in (
            ("schemas.encodings.avro", "decoder"),
            ("schemas.encodings", "wire_format"),
            ("schemas.envelopes.debezium", "source_position"),
            ("schemas.merging", "newest_by_key"),
            ("schemas.model", "position"),
            ("schemas.model", "key"),
        )
    ),
    (
        "arrows",
        {"transforms/proof/new.py": "from ..sinks.shared import guard\n", "transforms/sinks/shared/guard.py": ""},
        Breach("transforms.proof.new", "imports transforms.sinks.shared.guard"),
    ),
    (
        "arrows",
        {
            "pipelines/execution/new.py": "from ..runners.flink.rest import FlinkRest\n",
            "pipelines/runners/flink/rest.py": "",
        },
        Breach("pipelines.execution.new", "imports pipelines.runners.flink.rest"),
    ),
    ("arrows", {"schemas/new.py": "", "transforms/new.py": ""}, None),
    (
        "relative",
        {"pipelines/new.py": "from millrace.schemas import errors\n"},
        Breach("pipelines.new", "imports millrace.schemas absolutely"),
    ),
    (
        "relative",
        {"pipelines/new.py": "import schemas.errors\n"},
        Breach("pipelines.new", "imports schemas.errors absolutely"),
    ),
    (
        "connectors",
        {"transforms/steps/new.py": "from ..sinks.delta import sink\n", "transforms/sinks/delta/sink.py": ""},
        Breach("transforms.steps.new", "imports the connector transforms.sinks.delta"),
    ),
    (
        "connectors",
        {"transforms/sinks/new/sink.py": "from ..delta.sink import DeltaSink\n", "transforms/sinks/delta/sink.py": ""},
        Breach("transforms.sinks.new.sink", "imports the connector transforms.sinks.delta"),
    ),
    (
        "connectors",
        {"schemas/encodings/json/new.py": "from ..avro import decoder\n", "schemas/encodings/avro/decoder.py": ""},
        Breach("schemas.encodings.json.new", "imports the connector schemas.encodings.avro"),
    ),
    (
        "connectors",
        {"transforms/stores/new.py": "from .s3 import S3Store\n", "transforms/stores/s3.py": ""},
        Breach("transforms.stores.new", "imports the connector transforms.stores.s3"),
    ),
    (
        "connectors",
        {
            "transforms/sinks/__init__.py": "from .delta.sink import DeltaSink\n",
            "transforms/sinks/delta/sink.py": "from . import merge\nfrom ..shared import guard\n",
            "transforms/sinks/delta/merge.py": "",
            "transforms/sinks/shared/guard.py": "",
        },
        None,
    ),
    (
        "clients",
        {"transforms/sinks/new/sink.py": "import psycopg.sql\n"},
        Breach("transforms.sinks.new.sink", "imports the library psycopg"),
    ),
    (
        "clients",
        {"schemas/new.py": "import apache_beam as beam\n"},
        Breach("schemas.new", "imports the library apache_beam"),
    ),
    (
        "clients",
        {"transforms/sinks/new/client.py": "import new_database\n"},
        Breach("transforms.sinks.new.client", "imports the library new_database, which has no room"),
    ),
    ("clients", {"schemas/new.py": "import json\nimport pyarrow.compute\n"}, None),
    ("names", {"schemas/avro_utils.py": ""}, Breach("schemas.avro_utils", "avro_utils says nothing of what is in it")),
    ("names", {"schemas/common/row.py": ""}, Breach("schemas.common.row", "common says nothing of what is in it")),
    ("names", {"schemas/database.py": ""}, None),
    (
        "cycles",
        {
            "schemas/a.py": "from .b import b\n",
            "schemas/b.py": "from .c import c\n",
            "schemas/c.py": "def late():\n    from .a import a\n",
        },
        Breach("schemas.a", "imports itself by way of schemas.b -> schemas.c"),
    ),
    (
        "cycles",
        {"schemas/a.py": "from . import b, c\n", "schemas/b.py": "from . import c\n", "schemas/c.py": ""},
        None,
    ),
    ("files", {"schemas/new.py": "\n" * (MAX_FILE + 1)}, Breach("schemas/new.py", f"more than {MAX_FILE} lines")),
    ("files", {"schemas/new.py": "\n" * (LONG_FILE + 1)}, Breach("schemas/new.py", f"more than {LONG_FILE} lines")),
    ("files", {"schemas/new.py": "\n" * LONG_FILE}, None),
    (
        "functions",
        {"schemas/new.py": "class New:\n    def long(self):\n" + "        pass\n" * MAX_FUNCTION},
        Breach("schemas.new.long", f"more than {MAX_FUNCTION} lines"),
    ),
    ("functions", {"schemas/new.py": "def short():\n" + "    pass\n" * (MAX_FUNCTION - 1)}, None),
    (
        "parameters",
        {"schemas/new.py": "def wide(a, /, b, c, d, *, e, f, g): ...\n"},
        Breach("schemas.new.wide", f"more than {MAX_PARAMETERS} parameters"),
    ),
    ("parameters", {"schemas/new.py": "class New:\n    def narrow(self, a, b, c, d, e, f): ...\n"}, None),
)
"""A rule, a tree, and what the rule finds there; None: nothing."""


@pytest.mark.parametrize(("name", "files", "breach"), PLANTED)
def test_a_planted_breach_is_found(tmp_path, name, files, breach):
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert set(RULES[name](read_modules(tmp_path))) == ({breach} if breach else set())


def test_each_rule_has_a_breach_planted():
    assert {name for name, _, breach in PLANTED if breach} == RULES.keys()


def test_the_package_holds_the_three_layers():
    for layer in LAYERS:
        link = ROOT / "src" / "millrace" / layer
        assert link.is_symlink()
        assert link.resolve() == ROOT / layer
