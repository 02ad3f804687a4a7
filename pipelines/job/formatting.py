"""Text for terminals: aligned columns, durations."""

import shutil
from collections.abc import Iterable, Sequence
from typing import TextIO


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts as lines with columns: the first to the left, the others, numbers, to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            text.rjust(width) if i else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def wrapped(line: str, width: int) -> list[str]:
    """A line of text in pieces of at most `width`, cut at spaces alone: a path or name stays whole, and can be copied.

    What follows the first piece is indented. A command to type (`next: ...`) stays in one line.
    """
    if len(line) <= width or line.startswith(("next", "$")):
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    pieces, rest = [], line
    while len(rest) > width:
        start = len(rest) - len(rest.lstrip())
        at = rest.rfind(" ", start + 1, width + 1)
        at = at if at > start else rest.find(" ", width)
        if at < 0:
            break
        pieces.append(rest[:at].rstrip())
        rest = indent + rest[at:].lstrip()
    return [*pieces, rest]


def for_terminal(lines: Iterable[str], out: TextIO) -> list[str]:
    """The lines as they are, or wrapped at the width of the terminal that `out` is."""
    if not out.isatty():
        return list(lines)
    width = max(40, shutil.get_terminal_size().columns)
    return [piece for line in lines for piece in wrapped(line, width)]


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
