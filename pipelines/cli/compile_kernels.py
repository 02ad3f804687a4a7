"""`python -m millrace.pipelines.cli.compile_kernels`: compile the loops now instead of in the first run.

numba keeps the results in `__pycache__` beside each module, or in the user's cache folder where that cannot be written.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from ...schemas.encodings.avro.interpreter import new_state

_typeof: Any = numba.typeof


def _made(kind: Any, dimensions: int = 1) -> NDArray[Any]:
    return np.zeros((2,) * dimensions, kind)


def _read_only(kind: Any) -> NDArray[Any]:
    array = _made(kind)
    array.flags.writeable = False
    return array


_BYTES: Final = _read_only(np.uint8)
_PLACES: Final = _made(np.int64)
_TEXTS: Final = (_made(np.uint8), _made(np.int32), _made(np.bool_))
_CELLS: Final = _made(np.int64, 2)
_NUMBERS: Final = _made(np.uint64, 2)
_STATE: Final = new_state(_PLACES, _made(np.uint8), 1)
_PAYLOADS: Final = (_BYTES, _read_only(np.int64), _read_only(np.int64))

_RAW: Final = (_made(np.uint8), _BYTES)
_LIMBS: Final = (_NUMBERS, np.frombuffer(bytes(32), np.uint64).reshape(2, 2))

_LOWS: Final = (np.uint8, np.uint64)

_VALID: Final = _made(np.bool_)
_TAG: Final = _made(np.uint8)
_STRINGS: Final = ((_RAW[0], _made(np.int32)), *((raw, _read_only(np.int32)) for raw in _RAW))

KERNELS: Final[tuple[tuple[str, Sequence[tuple[Any, ...]]], ...]] = (
    ("schemas.encodings.avro.interpreter:walk", [(*_PAYLOADS, _CELLS, _STATE, _made(np.int32), _PLACES)]),
    (
        "transforms.sources.kafka.record_varints:walk",
        [(_BYTES, cells, 1, 1, 1, 1, True) for cells in (_CELLS, np.zeros((3, 3), np.int64)[:, 1:])],
    ),
    ("schemas.envelopes.debezium.source_position:_sequence", [_TEXTS]),
    ("schemas.envelopes.debezium.source_position:_trailing_number", [_TEXTS]),
    ("schemas.envelopes.debezium.source_position:_decimal", [_TEXTS]),
    ("schemas.envelopes.debezium.source_position:_sql_server_lsn", [_TEXTS]),
    ("schemas.envelopes.tombstones:_same_bytes", [(_BYTES, *[_PLACES] * 4)]),
    ("schemas.envelopes.tombstones:_carried", [(_PLACES, *[_made(np.uint64)] * 2, _made(np.bool_))]),
    ("schemas.envelopes.debezium.placeholders:_named", [(_BYTES, (_PLACES,) * 3, _PLACES, _BYTES)]),
    ("transforms.sources.kafka.record_varints:find_headers", [(_BYTES, _PLACES, _PLACES, _CELLS)]),
    ("schemas.model.key:_number_integers", [(_read_only(np.int64),)]),
    (
        "schemas.merging.newest_by_key:_newest",
        [(codes, 1, _NUMBERS) for codes in (_made(np.int32), _read_only(np.int32))],
    ),
    (
        "transforms.sinks.postgres.copy_format.encode:_place",
        [(_made(np.uint8), _PLACES, raw, _PLACES, _PLACES) for raw in _RAW],
    ),
    (
        "transforms.sinks.postgres.copy_format.numeric:_write",
        [(limbs, 1, _made(np.bool_), _made(np.uint8), _PLACES) for limbs in _LIMBS],
    ),
    (
        "transforms.sinks.iceberg.keys.digests:_mix",
        [(_BYTES, _read_only(np.int64), _made(np.bool_), _read_only(np.uint64), *[_made(np.uint64)] * 2)],
    ),
    *(
        (
            f"transforms.sinks.iceberg.keys.row_index:{name}",
            [
                (_made(np.uint64), _made(low), *places, _made(np.uint64), _made(low), _PLACES, np.uint64(1))
                for low in _LOWS
            ],
        )
        for name, places in (("_insert", (_PLACES,)), ("_find", ()))
    ),
    (
        "transforms.sinks.bigquery.encoding:_varints",
        [(numbers, _VALID, _TAG) for numbers in (_PLACES, _read_only(np.int64))],
    ),
    ("transforms.sinks.bigquery.encoding:_fixed64", [(_BYTES, _VALID, _TAG)]),
    ("transforms.sinks.bigquery.encoding:_lengths", [(*strings, _VALID, _TAG) for strings in _STRINGS]),
    ("schemas.encodings.avro.encode:_longs", [(_PLACES, _VALID)]),
    ("schemas.encodings.avro.encode:_widths", [(raw, 1, _VALID) for raw in _RAW]),
    ("schemas.encodings.avro.encode:_texts", [(raw, _PLACES, _VALID) for raw in _RAW]),
    ("schemas.encodings.avro.encode:_lists", [(_made(np.uint8), _PLACES, _PLACES, _VALID)]),
    ("schemas.encodings.avro.encode:_place", [(_made(np.uint8), _PLACES, _made(np.uint8), _PLACES, _VALID)]),
    ("schemas.encodings.avro.text:gather", [(_BYTES, _PLACES, _PLACES, _made(np.int32), _made(np.uint8))]),
    ("schemas.encodings.avro.text:uuid_texts", [(_BYTES, _PLACES, _PLACES, _made(np.uint8))]),
    (
        "schemas.encodings.avro.decimals:_write_texts",
        [(_BYTES, (_PLACES,) * 3, (_made(np.uint64), _made(np.uint8)), _PLACES, _made(np.uint8))],
    ),
)
"""What jobs call from Python, the slowest to compile first, with arguments of the types that they give."""


def loop(name: str) -> Any:
    """The numba function of a name in `KERNELS`."""
    module, _, function = name.partition(":")
    return getattr(import_module(f"...{module}", __package__), function)


def compile_loop(name: str) -> None:
    """Compile one of `KERNELS` for its arguments, unless that is done already."""
    for arguments in dict(KERNELS)[name]:
        loop(name).compile(tuple(_typeof(argument) for argument in arguments))


def main() -> None:
    """Compile all in two processes: the first loop takes as long as the others together."""
    started = time.monotonic()
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(compile_loop, [name for name, _ in KERNELS]))
    print(f"{len(KERNELS)} loops compiled in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
