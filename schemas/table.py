"""A table of the target: its name, key and columns, and how it may grow."""

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Table:
    """`columns` are the user's (no `_millrace_` ones); `key` names those that identify a row."""

    name: str
    key: tuple[str, ...]
    columns: pa.Schema
