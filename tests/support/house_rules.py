"""The rules of the house as tables: who may import what, and what breaks a rule today."""

from collections.abc import Collection, Mapping

from millrace.schemas.encodings import ENCODINGS
from millrace.schemas.envelopes import ENVELOPES
from millrace.transforms.sinks import SINKS
from millrace.transforms.sources import SOURCES

from .architecture import (
    LAYERS,
    MAX_FUNCTION,
    Breach,
    Rule,
    arrows,
    client_rooms,
    connectors,
    file_lengths,
    function_lengths,
    no_cycles,
    parameter_counts,
    plain_names,
    relative_inside,
)

MAY_IMPORT = {
    "schemas": ("schemas",),
    "schemas.errors": ("schemas.installation",),
    "schemas.model": ("schemas.errors", "schemas.loops", "schemas.model"),
    "schemas.encodings": (
        *("schemas.encodings", "schemas.errors", "schemas.model", "schemas.options", "schemas.plugins"),
        "schemas.loops",
    ),
    "schemas.envelopes": (
        *("schemas.encodings", "schemas.envelopes", "schemas.errors", "schemas.model", "schemas.options"),
        *("schemas.loops", "schemas.plugins"),
    ),
    "transforms": ("schemas", "transforms"),
    "transforms.coders": ("schemas",),
    "transforms.retry": ("schemas",),
    "transforms.dead_letter_marks": ("schemas", "transforms.stores"),
    "transforms.dead_letters": ("schemas", "transforms.dead_letter_marks", "transforms.retry", "transforms.stores"),
    "transforms.dead_letter_limit": ("schemas", "transforms.dead_letters"),
    "transforms.dead_letter_reasons": ("schemas",),
    "transforms.stop_notes": ("schemas", "transforms.dead_letter_marks", "transforms.stores"),
    "transforms.stores": ("schemas", "transforms.retry", "transforms.stores"),
    "transforms.registries": ("schemas", "transforms.retry", "transforms.registries"),
    "transforms.mysql_protocol": ("schemas.loops",),
    "transforms.sources": (
        *("schemas", "transforms.coders", "transforms.mysql_protocol", "transforms.retry", "transforms.sources"),
    ),
    "transforms.sinks": (
        *("schemas", "transforms.mysql_protocol", "transforms.retry", "transforms.sinks", "transforms.stores"),
    ),
    "transforms.steps": (
        *("schemas", "transforms.coders", "transforms.dead_letters", "transforms.retry", "transforms.steps"),
        *("transforms.dead_letter_limit", "transforms.dead_letter_reasons", "transforms.stop_notes"),
        *("transforms.sinks", "transforms.sources", "transforms.rules", "transforms.observe"),
    ),
    "transforms.proof": (
        *("transforms.proof", "schemas.errors", "schemas.encodings.schema_store"),
        *(
            "schemas.model.change",
            "schemas.model.declared_type",
            "schemas.model.ledger",
            "schemas.model.message",
            "schemas.model.modes",
        ),
        "schemas.model.unrepresentable",
    ),
    "pipelines": ("millrace", *LAYERS),
    "pipelines.job": ("schemas", "transforms", "pipelines.job"),
    "pipelines.workload": ("schemas", "transforms", "pipelines.job", "pipelines.workload"),
    "pipelines.runners": ("schemas", "transforms", "pipelines.job", "pipelines.runners"),
    "pipelines.render": ("schemas", "transforms", "pipelines.job", "pipelines.render", "pipelines.runners"),
    "pipelines.execution": (
        *("schemas", "transforms", "pipelines.execution", "pipelines.job"),
        *("pipelines.runners!", "pipelines.runners.registry", "pipelines.runners.errors", "pipelines.runners.runner"),
    ),
}
"""By room what it may import of the project; the longest room that a module is in counts. `!`: that module alone."""

REGISTRIES = {
    "schemas.encodings": ("schemas.encodings",),
    "schemas.envelopes": ("schemas.envelopes",),
    "transforms.sources": ("transforms.sources",),
    "transforms.sinks": ("transforms.sinks",),
    "transforms.registries": ("transforms.registries",),
    "transforms.stores": ("transforms.stores",),
    "pipelines.runners": ("pipelines.runners", "pipelines.runners.registry"),
}

PARTS: Mapping[str, Collection[str]] = {
    "schemas.encodings": ENCODINGS,
    "schemas.envelopes": ENVELOPES,
    "transforms.registries": ("confluent",),
    "transforms.sources": SOURCES,
    "transforms.sinks": SINKS,
    "pipelines.runners": ("dataflow", "flink", "prism"),
}
"""By such a folder its connectors, of which each has a folder or file of that name: the rest is what they share."""

OTHER_ROOMS: Mapping[str, tuple[str, ...]] = {
    "kafka": ("pipelines.workload.produce",),
    "apache_beam": ("transforms", "pipelines"),
    "boto3": ("transforms.stores.s3",),
    "botocore": ("transforms.stores.s3",),
    "cramjam": ("transforms.sinks.files", "transforms.sources.compression"),
    "fastavro": (
        "schemas.encodings.avro",
        "transforms.dead_letters",
        "transforms.proof.avro_reader",
        "transforms.sinks.files.avro",
    ),
    "google": ("schemas.encodings.protobuf", "transforms.proof", "transforms.stores.gcs"),
    "grpc_tools": ("schemas.encodings.protobuf.protoc",),
    "hdfs_native": ("transforms.stores.hdfs",),
    "lz4": ("transforms.sources.compression",),
    "pydantic": (
        *(
            "schemas.encodings",
            "schemas.envelopes",
            "schemas.option_values",
            "schemas.options",
            "transforms.registries",
        ),
        *("transforms.sinks", "transforms.sources", "pipelines.job"),
    ),
    "pydantic_core": ("schemas.options",),
    "requests": ("transforms.registries", "transforms.stores.gcs"),
    "yaml": ("pipelines.job.yaml_node", "pipelines.render.output_folder"),
    "zstandard": ("transforms.sources.compression",),
}
"""By library where it is imported, beside the connectors that say so in their specs."""

EVERYWHERE = ("llvmlite", "numba", "numpy", "pyarrow")


def rooms() -> Mapping[str, tuple[str, ...]]:
    """By library every room of it: those that the specs of targets and sources name, and those of `OTHER_ROOMS`."""
    found = dict(OTHER_ROOMS)
    for sink in (SINKS[name] for name in SINKS):
        for library in sink.libraries:
            found[library] = (*found.get(library, ()), f"transforms.sinks.{sink.name}")
    for source in (SOURCES[name] for name in SOURCES):
        for library, module in source.libraries.items():
            room = f"transforms.sources.{source.name}{'.' if module else ''}{module}"
            found[library] = (*found.get(library, ()), room)
    return found


ROOMS = rooms()

RULES: Mapping[str, Rule] = {
    "arrows": arrows(MAY_IMPORT),
    "relative": relative_inside,
    "connectors": connectors(REGISTRIES, PARTS),
    "clients": client_rooms(ROOMS, EVERYWHERE),
    "names": plain_names,
    "cycles": no_cycles,
    "files": file_lengths,
    "functions": function_lengths,
    "parameters": parameter_counts,
}

IMPORTERS: Mapping[str, tuple[str, ...]] = {
    "transforms.sources.kafka": (
        "pipelines.cli.demo",
        "pipelines.workload.produce",
    ),
    "pipelines.runners.dataflow": ("pipelines.cli.launch_template", "pipelines.render.dataflow"),
}
"""By connector the modules that import it past its registry today."""

KNOWN: Mapping[str, frozenset[Breach]] = {
    "arrows": frozenset(),
    "connectors": frozenset(
        Breach(module, f"imports the connector {connector}")
        for connector, modules in IMPORTERS.items()
        for module in modules
    ),
    "files": frozenset(),
    "functions": frozenset({Breach("transforms.sources.kafka.record_varints.walk", f"more than {MAX_FUNCTION} lines")}),
    "parameters": frozenset(),
}
"""By rule what breaks it today. Nothing is added here."""
