"""Implementations of one contract by name: Millrace's own, and those that installed packages bring.

A package brings one by an entry point. Its group is the contract's (`millrace.sources`, `millrace.encodings`,
`millrace.envelopes`, `millrace.sinks`), its name is what a job file writes, and it points to the implementation's spec.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar

from .errors import JobError, MissingExtraError
from .suggestions import nearest


class Spec(Protocol):
    """What is known of an implementation before anything of it is imported."""

    @property
    def name(self) -> str:
        """The word in the job file."""


SpecT = TypeVar("SpecT", bound=Spec)


class Plugins(Mapping[str, SpecT], Generic[SpecT]):
    """Specs by name. The names are known at once; a package's spec is imported when it is asked for.

    Millrace's own names cannot be taken by a package.
    """

    def __init__(self, group: str, place: str, own: Iterable[SpecT]) -> None:
        self.group, self.place = group, place
        self._own = {spec.name: spec for spec in own}

    def __getitem__(self, name: str) -> SpecT:
        if name in self._own:
            return self._own[name]
        return self._loaded(self._installed[name])

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._own, *self._installed}))

    def __len__(self) -> int:
        return len({*self._own, *self._installed})

    def find(self, name: str) -> SpecT:
        """The spec of this name. Raises JobError that tells the known names, or why a package's cannot be imported."""
        if name in self:
            return self[name]
        raise JobError(f"{self.place}: {name!r} is not known{nearest(name, self, 'known are')}")

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._installed

    @cached_property
    def _installed(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}

    def _loaded(self, point: EntryPoint) -> SpecT:
        try:
            spec: SpecT = point.load()
        except (ImportError, AttributeError) as error:
            raise JobError(
                f"{self.place}: {point.name!r} comes from an installed package, and {point.value} cannot be imported: "
                f"{error}"
            ) from None
        if spec.name != point.name:
            raise JobError(f"{self.place}: the entry point {point.name!r} leads to a spec with the name {spec.name!r}")
        return spec


def imported(path: str, what: str, extra: str | None = None) -> Any:
    """The class at `module:Class`.

    Raises MissingExtraError where a library of the extra is not installed, JobError where another package's module
    cannot be imported.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if extra is None or error.name is None or module.startswith(error.name):
            raise
        raise MissingExtraError(what, extra) from None
    except (ImportError, AttributeError) as error:
        if module.startswith(f"{__name__.partition('.')[0]}."):
            raise
        raise JobError(f"{what}: {path} cannot be imported: {error}") from None
