"""Iceberg tables as others see them: pyiceberg's own catalog on what a test's target wrote."""

from millrace.transforms.sinks.iceberg.catalog.names import catalog_name
from support.targets import PLACES, Target


def catalog_of(target: Target):
    """pyiceberg's catalog with the target's properties."""
    from pyiceberg.catalog import load_catalog

    options = {**PLACES["iceberg"](target.folder), **target.options}
    return load_catalog("default", **options["catalog"])


def opened(target: Target):
    """pyiceberg's table."""
    return catalog_of(target).load_table(("shop", catalog_name(target.name)))


def live_files(table):
    """(data files, delete files) of the newest snapshot."""
    found = ([], [])
    for manifest in table.current_snapshot().manifests(table.io):
        for entry in manifest.fetch_manifest_entry(table.io):
            found[manifest.content].append(entry.data_file)
    return found
