"""Imports that cost more than a small run does, and that a run on the runner of its own process never uses.

`import apache_beam` imports all of Beam's own sources and sinks, and with them pandas and the clients of MongoDB,
Amazon and Google: more than half of its time. Arrow imports pandas when it is first given a list. Numba imports a
parser of C to find loops in it. NumPy starts a thread of linear algebra for each core.
"""

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from typing import Final

UNUSED: Final = (
    *("boto3", "botocore", "google.api_core", "google.auth", "google.cloud", "pandas", "pymongo", "pyarrow.parquet"),
    "apache_beam.io.gcp.bigquery",
)
"""What Beam's sources and sinks import where it is installed, and do without where it is not."""


class _Beside(MetaPathFinder):
    """Finds nothing; while `module` is imported, up to where it sets the name `last`, `packages` seem not installed."""

    def __init__(self, module: str, last: str, packages: Sequence[str]) -> None:
        self._module, self._last, self._packages = module, last, packages

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> None:
        module = sys.modules.get(self._module)
        if module is not None and not hasattr(module, self._last):
            _refuse(name, self._packages)


class _BesideArrow(MetaPathFinder):
    """Finds nothing; pandas seems not to be installed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> None:
        _refuse(name, ("pandas",))


def _refuse(name: str, packages: Sequence[str]) -> None:
    if any(f"{name}.".startswith(f"{package}.") for package in packages):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def import_less() -> None:
    """Import Arrow without pandas, Beam without `UNUSED` and Numba without C when it comes to that.

    Only for a process that is the command's own: Beam's connectors do not work in it. Arrow imports pandas later, where
    it is asked for a data frame.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # The last that Beam's own module sets is its version.
    sys.meta_path.insert(0, _Beside("apache_beam", "__version__", UNUSED))
    sys.meta_path.insert(0, _Beside("numba.core.typing.cffi_utils", "ffi", ("cffi",)))
    if "pandas" in sys.modules:
        return
    finder = _BesideArrow()
    sys.meta_path.insert(0, finder)
    try:
        import pyarrow

        pyarrow.array([0])
    finally:
        sys.meta_path.remove(finder)
