"""Why messages are dead: errors that differ in their numbers alone are one reason."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from ..schemas.model.dead_letter import DeadLetter

NUMBER: Final = re.compile(r"\d+")


def reason(step: str, error: str) -> str:
    """What is alike in errors that differ in their numbers alone."""
    return f"{step}: {NUMBER.sub('#', error)}"


def most_frequent(letters: Sequence[DeadLetter]) -> str:
    """The reason that most of the letters bear, numbers left out; an empty text where there are none."""
    alike: dict[str, list[DeadLetter]] = defaultdict(list)
    for letter in letters:
        alike[reason(letter.step, letter.error)].append(letter)
    most = max(alike.values(), key=len, default=[])
    return f"{most[0].step}: {most[0].error}" if most else ""
