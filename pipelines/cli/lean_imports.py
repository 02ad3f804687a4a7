"""Imports that cost more than a small run does, and that a run on the runner of its own process never uses.

`import apache_beam` imports all of Beam's own sources and sinks, and with them pandas and the clients of MongoDB,
Amazon and Google: more than half of its time. Arrow imports pandas when it is first given a list.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from typing import Final

UNUSED: Final = ("boto3", "botocore", "google.api_core", "google.auth", "google.cloud", "pandas", "pymongo")
"""What Beam's sources and sinks import where it is installed, and do without where it is not."""


class _BesideBeam(MetaPathFinder):
    """Finds nothing; while Beam is imported, what is in `UNUSED` seems not to be installed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> None:
        # The last that Beam's own module sets is its version.
        beam = sys.modules.get("apache_beam")
        if beam is not None and not hasattr(beam, "__version__"):
            _refuse(name, UNUSED)


class _BesideArrow(MetaPathFinder):
    """Finds nothing; pandas seems not to be installed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> None:
        _refuse(name, ("pandas",))


def _refuse(name: str, packages: Sequence[str]) -> None:
    if any(f"{name}.".startswith(f"{package}.") for package in packages):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def import_less() -> None:
    """Import Arrow without pandas, and Beam without `UNUSED` when it comes to that.

    Only for a process that is the command's own: Beam's connectors do not work in it. Arrow imports pandas later, where
    it is asked for a data frame.
    """
    sys.meta_path.insert(0, _BesideBeam())
    if "pandas" in sys.modules:
        return
    finder = _BesideArrow()
    sys.meta_path.insert(0, finder)
    try:
        import pyarrow

        pyarrow.array([0])
    finally:
        sys.meta_path.remove(finder)
