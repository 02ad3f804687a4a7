"""`python -m millrace.pipelines.cli.compile_kernels`: compile the loops now instead of in the first run.

Modules register what is compiled (`schemas.loops`). numba keeps the results in `__pycache__` beside each module, or in
the user's cache folder where that cannot be written.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from ...schemas.loops import LOOPS, compile_ahead

PACKAGE: Final = (__package__ or "").partition(".")[0]
LAYERS: Final = ("schemas", "transforms")


def registering_modules() -> Iterator[str]:
    """Modules whose text registers loops: no other has to be imported, nor the libraries that it needs."""
    for layer in LAYERS:
        for folder in import_module(f"{PACKAGE}.{layer}").__path__:
            for file in sorted(Path(folder).rglob("*.py")):
                if f"@{compile_ahead.__name__}(" in file.read_text(encoding="utf-8"):
                    parts = file.relative_to(folder).with_suffix("").parts
                    yield ".".join((PACKAGE, layer, *parts))


def compile_loop(name: str) -> None:
    """Compile the loop of this name, `module:function`, unless that is done already."""
    import_module(name.partition(":")[0])
    LOOPS[name].compile()


def main() -> None:
    """Compile all in two processes, those first that take as long as the others together."""
    started = time.monotonic()
    for module in registering_modules():
        import_module(module)
    names = sorted(LOOPS, key=lambda name: not LOOPS[name].slow)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(compile_loop, names))
    print(f"{len(names)} loops compiled in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
