"""pyiceberg's files, counted: name it as a catalog's `py-io-impl`, and `OPENED` lists what was read and written."""

from pathlib import Path

from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

OPENED: list[str] = []


class CountedIO(PyArrowFileIO):
    """Its own catalog's metadata goes through it as well."""

    def new_input(self, location: str) -> PyArrowFile:
        OPENED.append(location)
        return super().new_input(location)

    def new_output(self, location: str) -> PyArrowFile:
        OPENED.append(location)
        return super().new_output(location)


def taken() -> tuple[int, int]:
    """(files, their bytes) since the last call, each as often as it was opened; of a local warehouse."""
    found = list(OPENED)
    OPENED.clear()
    return len(found), sum(Path(path.removeprefix("file://")).stat().st_size for path in found)
