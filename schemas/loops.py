"""The register of loops that are compiled ahead of the first run.

Numba compiles a loop for the types of its arguments when it is first called, which takes seconds. A loop that Python
calls is therefore registered beside its definition with arguments of all the types that its callers give it; the loops
that it calls are compiled with it. `pipelines.cli.compile_kernels` compiles what is registered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

LoopT = TypeVar("LoopT", bound=Callable[..., Any])
_typeof: Any = numba.typeof


@dataclass(frozen=True)
class Loop:
    """A function of numba, and arguments of each combination of types. `slow`: it takes longer than a few seconds."""

    function: Any
    arguments: tuple[tuple[Any, ...], ...]
    slow: bool = False

    @property
    def name(self) -> str:
        """`module:function`."""
        return f"{self.function.__module__}:{self.function.__name__}"

    def compile(self) -> None:
        """Compile it for these types, unless that is done already."""
        for arguments in self.arguments:
            self.function.compile(tuple(_typeof(argument) for argument in arguments))


LOOPS: Final[dict[str, Loop]] = {}
"""By name those of all modules that were imported."""


def compile_ahead(*arguments: tuple[Any, ...], slow: bool = False) -> Callable[[LoopT], LoopT]:
    """Register the loop with tuples of arguments, one for each combination of types. Their values do not matter."""

    def register(function: LoopT) -> LoopT:
        loop = Loop(function, arguments, slow)
        LOOPS[loop.name] = loop
        return function

    return register


def array(kind: Any, dimensions: int = 1) -> NDArray[Any]:
    """An array of this type as NumPy makes it."""
    return np.zeros((2,) * dimensions, kind)


def read_only(kind: Any) -> NDArray[Any]:
    """An array of this type as a view of Arrow's buffers, or of bytes: for numba another type."""
    made = array(kind)
    made.flags.writeable = False
    return made
