"""Names of topics, or tables, in a job file: those that a pattern matches, and the nearest to a wrong one."""

import difflib
import re
from collections.abc import Collection

from ...schemas.errors import JobError


def matching_topics(known: Collection[str], pattern: str | None, key: str = "topic_pattern") -> set[str]:
    """Those whose whole name the pattern matches; `key` is where the job file has it. Raises JobError."""
    if pattern is None:
        return set()
    try:
        return {name for name in known if re.fullmatch(pattern, name)}
    except re.error as error:
        raise JobError(f"source.{key}: {pattern!r} is no regular expression: {error}") from None


def near_topic(name: str, known: Collection[str], otherwise: str) -> str:
    """The end of a sentence that says that there is no such topic: the nearest name, else what to do."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else otherwise
