"""Options of a Delta Lake target."""

from datetime import timedelta

from pydantic import Field

from ....schemas.options import Duration, Location, Options, Texts


class DeltaOptions(Options):
    """Each table is a folder below `path`, which is local or a URL; `storage_options` are deltalake's."""

    path: Location
    storage_options: Texts = Field({})
    tombstone_retention: Duration = timedelta(days=7)
