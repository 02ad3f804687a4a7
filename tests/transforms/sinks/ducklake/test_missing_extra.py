"""Without the extra, the first question is answered with its name, and not the first commit."""

import pytest

from millrace.schemas.errors import MissingExtraError
from millrace.transforms.sinks import open_sink
from millrace.transforms.sinks.ducklake import extensions


def test_a_missing_extra_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(extensions.importlib.util, "find_spec", lambda name: None)
    options = {"catalog": f"sqlite:{tmp_path / 'lake.db'}", "data_path": str(tmp_path / "lake")}
    with pytest.raises(MissingExtraError, match="ducklake"):
        open_sink("ducklake", options).tables()
