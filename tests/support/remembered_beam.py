"""Beam asks the same of each class at every use: what remembers the answers makes small pipelines cheaper.

A pipeline of a few messages takes half of its processor time to parse the same options some 200 times, and to look
through the methods of the same DoFns some 80 times. Tests run thousands of them. The answers depend on a class and
the options' words alone; for any class that is not Millrace's own, Beam answers as ever.
"""

import copy
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import userstate

_parse: Callable[..., None] = PipelineOptions.__init__
_specs = userstate.get_dofn_specs
_parsed: dict[tuple[type, tuple[str, ...]], tuple[Namespace, dict[str, Any]]] = {}
_found: dict[type, tuple[frozenset[Any], frozenset[Any]]] = {}


def _options(self: PipelineOptions, flags: Any = None, **overrides: Any) -> None:
    """`PipelineOptions.__init__`, with a copy of what the same words gave before."""
    if flags is None or isinstance(flags, str) or overrides:
        _parse(self, flags, **overrides)
        return
    key = type(self), tuple(flags)
    if key not in _parsed:
        _parse(self, flags)
        _parsed[key] = copy.deepcopy((self._visible_options, self._all_options))
        return
    self._flags = flags
    self._visible_options, self._all_options = copy.deepcopy(_parsed[key])


def _dofn_specs(dofn: Any) -> tuple[set[Any], set[Any]]:
    kind = type(dofn)
    if not kind.__module__.startswith("millrace."):
        return _specs(dofn)
    if kind not in _found:
        states, timers = _specs(dofn)
        _found[kind] = frozenset(states), frozenset(timers)
    states, timers = _found[kind]
    return set(states), set(timers)


def remember() -> None:
    """From now on, in this process and what it forks."""
    PipelineOptions.__init__ = _options
    userstate.get_dofn_specs = _dofn_specs
