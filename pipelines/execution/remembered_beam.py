"""Beam asks the same of each class at every use: what remembers the answers makes small pipelines cheaper.

A pipeline of a few messages takes half of its processor time to parse the same options some 200 times, and to look
through the methods of the same DoFns some 80 times. The answers depend on a class and the options' words alone; for any
class that is not Millrace's own, Beam answers as ever.
"""

import copy
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import DoFn, userstate
from apache_beam.transforms.userstate import StateSpec, TimerSpec

OWN: Final = f"{__name__.partition('.')[0]}."

_parse: Final[Callable[..., None]] = PipelineOptions.__init__
_specs: Final = userstate.get_dofn_specs
_parsed: dict[tuple[type, int, tuple[str, ...]], tuple[dict[str, Any], dict[str, Any]]] = {}
"""By a class of options, how many such classes there are, and the words."""
_found: dict[type, tuple[frozenset[StateSpec], frozenset[TimerSpec]]] = {}


def _options(self: PipelineOptions, flags: Any = None, **overrides: Any) -> None:
    """`PipelineOptions.__init__`, with a copy of what the same words gave before."""
    if flags is None or isinstance(flags, str) or overrides:
        _parse(self, flags, **overrides)
        return
    key = type(self), len(PipelineOptions.__subclasses__()), tuple(flags)
    if key not in _parsed:
        _parse(self, flags)
        _parsed[key] = _copied(vars(self._visible_options)), _copied(self._all_options)
        return
    visible, every = _parsed[key]
    self._flags = flags
    self._visible_options, self._all_options = Namespace(**_copied(visible)), _copied(every)


def _copied(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by name; what can be changed is another object."""
    return {name: copy.deepcopy(value) if isinstance(value, list | dict) else value for name, value in options.items()}


def _dofn_specs(dofn: DoFn) -> tuple[set[StateSpec], set[TimerSpec]]:
    kind = type(dofn)
    if not kind.__module__.startswith(OWN):
        return _specs(dofn)
    if kind not in _found:
        found = _specs(dofn)
        _found[kind] = frozenset(found[0]), frozenset(found[1])
    states, timers = _found[kind]
    return set(states), set(timers)


def remember() -> None:
    """From now on, in this process and what it forks."""
    PipelineOptions.__init__ = _options  # type: ignore[method-assign]
    userstate.get_dofn_specs = _dofn_specs


@contextmanager
def remembering() -> Iterator[None]:
    """While it is open. Beam is the whole process's: afterwards it is as its other users know it."""
    before = PipelineOptions.__init__ is _options
    remember()
    try:
        yield
    finally:
        if not before:
            PipelineOptions.__init__ = _parse  # type: ignore[method-assign]
            userstate.get_dofn_specs = _specs
