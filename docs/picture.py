"""The way of the data as an SVG: `python docs/picture.py` writes `docs/picture.svg`.

The picture has a card of its own as background and a second set of colours for dark pages, so it can be read on both.
"""

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Final

HEIGHT: Final = 360
TOP: Final = 56
SIDE: Final = 112
"""Width of the two tall boxes, Kafka and the table."""
STEP: Final = 134
GAP: Final = 20
MARGIN: Final = 16
WIDTH: Final = 2 * (MARGIN + SIDE) + 5 * STEP + 6 * GAP
STEP_HEIGHT: Final = 138
BAR_HEIGHT: Final = 46

STEPS: Final = (
    ("Source", ("blocks of 1 to 4 MB,", "split into columns", "of keys and values"), "transforms/sources"),
    ("Encoding", ("Avro bytes become", "Arrow columns, by", "the schema's id"), "schemas/encodings"),
    ("Envelope", ("operation, key, row", "and position of", "each change"), "schemas/envelopes"),
    ("Merge", ("shuffled by key; the", "newest change of", "each key stays"), "schemas/merging"),
    ("Sink", ("guard by position;", "rows and ledger in", "one transaction"), "transforms/sinks"),
)
STYLE: Final = """
  svg { --card: #ffffff; --edge: #d0d7de; --box: #f3f6fa; --line: #57606a; --text: #1f2328; --soft: #57606a;
        --ends: #ddf0ff; --bad: #fff1e5; --proof: #e6f6e8; }
  @media (prefers-color-scheme: dark) {
    svg { --card: #151b23; --edge: #3d444d; --box: #212830; --line: #9198a1; --text: #f0f6fc; --soft: #a5adb7;
          --ends: #12324d; --bad: #43290f; --proof: #15351f; } }
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--soft);
         text-anchor: middle; }
  .name { font-size: 15px; font-weight: 600; fill: var(--text); }
  .path { font: 11px ui-monospace, "DejaVu Sans Mono", monospace; }
  rect { fill: var(--box); stroke: var(--edge); }
  .card { fill: var(--card); } .ends { fill: var(--ends); } .bad { fill: var(--bad); } .proof { fill: var(--proof); }
  path { stroke: var(--line); stroke-width: 1.5; fill: none; marker-end: url(#head); }
  marker path { fill: var(--line); stroke: none; marker-end: none; }
"""


def picture() -> str:
    """The whole SVG as text."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'role="img">',
        "<title>The way of the data from Kafka to a table, and the proof beside it</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z"/></marker></defs>',
        _box(1, 1, WIDTH - 2, HEIGHT - 2, "card"),
        *_text(WIDTH / 2, 32, "millrace run: the Beam pipeline carries blocks and Arrow batches, never single records"),
        *_ends(),
        *_steps(),
        *_bars(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _left(step: int) -> float:
    """The left edge of a step's box."""
    return MARGIN + SIDE + GAP + step * (STEP + GAP)


def _ends() -> Iterator[str]:
    """Kafka and the table: tall, since the proof reads both as well."""
    height = HEIGHT - TOP - MARGIN
    for x, name, lines in (
        (MARGIN, "Kafka", ("topics of", "changes,", "partitions,", "offsets")),
        (
            WIDTH - MARGIN - SIDE,
            "Table",
            ("one row a key,", "the position", "that wrote it,", "and the ledger"),
        ),
    ):
        yield _box(x, TOP, SIDE, height, "ends")
        yield from _text(x + SIDE / 2, TOP + 64, name, "name")
        for number, line in enumerate(lines):
            yield from _text(x + SIDE / 2, TOP + 90 + 19 * number, line)


def _steps() -> Iterator[str]:
    middle = TOP + STEP_HEIGHT / 2
    for number, (name, lines, path) in enumerate(STEPS):
        x = _left(number)
        yield _box(x, TOP, STEP, STEP_HEIGHT)
        yield from _text(x + STEP / 2, TOP + 28, name, "name")
        for row, line in enumerate(lines):
            yield from _text(x + STEP / 2, TOP + 54 + 19 * row, line)
        yield from _text(x + STEP / 2, TOP + STEP_HEIGHT - 14, path, "path")
        yield _arrow(x - GAP + 1, middle, x - 2, middle)
    yield _arrow(_left(len(STEPS)) - GAP + 1, middle, _left(len(STEPS)) - 2, middle)


def _bars() -> Iterator[str]:
    """Dead letters below the steps that read bytes; the proof below all of them."""
    bad, proof = TOP + STEP_HEIGHT + 26, HEIGHT - MARGIN - BAR_HEIGHT - 12
    width = 3 * STEP + 2 * GAP
    yield _box(_left(0), bad, width, BAR_HEIGHT, "bad")
    yield from _text(_left(0) + width / 2, bad + 19, "Dead letters", "name")
    yield from _text(_left(0) + width / 2, bad + 37, "what cannot be read, with its bytes and the reason")
    for number in range(3):
        x = _left(number) + STEP / 2
        yield _arrow(x, TOP + STEP_HEIGHT + 1, x, bad - 2)
    width = 5 * STEP + 4 * GAP
    yield _box(_left(0), proof, width, BAR_HEIGHT, "proof")
    yield from _text(_left(0) + width / 2, proof + 19, "millrace verify", "name")
    yield from _text(
        _left(0) + width / 2, proof + 37, "other code reads every message again and compares the table row by row"
    )
    middle = proof + BAR_HEIGHT / 2
    yield _arrow(_left(0) - GAP + 1, middle, _left(0) - 2, middle)
    yield _arrow(_left(5) - 1, middle, _left(5) - GAP + 2, middle)


def _box(x: float, y: float, width: float, height: float, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"{named}/>'


def _text(x: float, y: float, text: str, kind: str = "") -> Iterator[str]:
    named = f' class="{kind}"' if kind else ""
    yield f'<text x="{x:g}" y="{y:g}"{named}>{escape(text)}</text>'


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<path d="M{x:g} {y:g} L{to_x:g} {to_y:g}"/>'


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(picture())
