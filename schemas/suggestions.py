"""The nearest right word for one that was mistyped."""

import difflib
from collections.abc import Iterable


def guess(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing where no known word is near."""
    folded = {name.lower(): str(name) for name in known}
    near = difflib.get_close_matches(word.lower().replace("-", "_"), folded, 1, 0.6) or difflib.get_close_matches(
        word.lower(), folded, 1, 0.6
    )
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def nearest(word: str, known: Iterable[str], otherwise: str) -> str:
    """The guess, or else the list of all known words."""
    words = list(known)
    return guess(word, words) or f"; {otherwise} {', '.join(words)}"
