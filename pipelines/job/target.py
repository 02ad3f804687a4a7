"""The job file's `target`: any sink of the registry, with the options of its `SinkSpec`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from ...schemas.errors import JobError
from ...schemas.model.modes import Mode
from ...schemas.option_values import distinct, listed, one_or_more
from ...schemas.options import Options, mistakes_at, refuse_unknown
from ...transforms.sinks import SINKS
from .part_type import known_type

Modes = Annotated[
    tuple[Mode, ...], AfterValidator(distinct), BeforeValidator(listed, json_schema_input_type=one_or_more(Mode))
]


class Kept(Options):
    """What a target, or a table of it, keeps of the changes. Each of several modes is a table of its own."""

    mode: Modes = Field(description="One mode or several.")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A sink of the type `type` with its options, references to secrets unresolved.

    Each of `modes` is a table of its own for each topic.
    """

    type: str
    options: Options
    modes: tuple[Mode, ...] = (Mode.MIRROR,)


def read_target(written: Any, info: ValidationInfo) -> Any:
    """The target as written: the model of its options is that of its `type`. Raises ValueError."""
    if isinstance(written, Target):
        return written
    if not isinstance(written, Mapping):
        return Options.model_validate(written)
    kind = known_type(written, SINKS)
    spec = SINKS.find(kind)
    refuse_unknown(written, ("type", "mode", *spec.options.keys()))
    modes = spec.modes[:1]
    if "mode" in written:
        modes = Kept.model_validate({"mode": written["mode"]}, context=info.context).mode
        wrong = [(no_mode(kind, mode), ("mode", at)) for at, mode in enumerate(modes) if mode not in spec.modes]
        if wrong:
            raise mistakes_at(wrong)
    own = {name: value for name, value in written.items() if name not in ("type", "mode")}
    try:
        return Target(type=kind, options=spec.options.model_validate(own, context=info.context), modes=modes)
    except JobError as error:
        raise ValueError(str(error)) from None


def no_mode(kind: str, mode: Mode) -> str:
    """The complaint about a mode that a target of this type does not have."""
    return f"a target of type {kind} has no mode {mode}, only {', '.join(SINKS.find(kind).modes)}"
