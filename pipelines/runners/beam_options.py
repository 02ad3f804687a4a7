"""Options of Beam as typed: which are given, and which nobody knows; Beam itself drops those without a word."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from apache_beam.options.pipeline_options import PipelineOptions

from ...schemas.errors import JobError
from ...schemas.suggestions import guess

KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "flag": {"action": "store_true"},
    "number": {"type": int},
    "share": {"type": float},
    "text": {},
    "list": {"action": "append"},
}


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """`values` by option name, without defaults; `unknown` are complaints about the rest, a sentence each."""

    values: Mapping[str, Any]
    unknown: tuple[str, ...]


def read_options(runner: str, arguments: Sequence[str], own: Mapping[str, str]) -> ReadOptions:
    """Read the arguments by Beam's own options and those of a runner, `own`: kinds (see KINDS) by name.

    Raises JobError for a value of a wrong kind.
    """
    parsers: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    (parser,) = parsers
    known = {word for action in parser._actions for word in action.option_strings}
    for name, kind in own.items():
        if f"--{name}" not in known:
            parser.add_argument(f"--{name}", **KINDS[kind])
            known.add(f"--{name}")
    for action in parser._actions:
        action.default = argparse.SUPPRESS

    def error(message: str) -> NoReturn:
        raise JobError(f"--runner {runner}: {message}")

    parser.error = error  # type: ignore[method-assign]
    found, rest = parser.parse_known_args(list(arguments))
    return ReadOptions(vars(found), tuple(_complaint(word, sorted(known)) for word in rest if word.startswith("-")))


def _complaint(word: str, known: Sequence[str]) -> str:
    name = word.partition("=")[0]
    return f"{name} is no option of Beam{guess(name, known)}"
