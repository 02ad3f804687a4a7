"""What a run tells of itself after each pass."""

from contextlib import suppress

from ...schemas.errors import MillraceError
from ...transforms.sources.database import TellsCopies
from .pass_ranges import OffsetProgress
from .run_state import Run


def tell_progress(state: Run, stretch: OffsetProgress) -> None:
    """How far its topics are; of tables that are copied the rows, for their offsets say nothing to people."""
    if not isinstance(state.connection, TellsCopies):
        state.progress.update(stretch.next, stretch.end, state.summary.total("dead"))
        return
    copies = None
    # A server that is away is the reader's concern.
    with suppress(MillraceError):
        copies = state.connection.copies(stretch.next)
    if copies:
        state.progress.copying(sum(one.rows for one in copies), sum(one.total for one in copies), len(copies))
        return
    behind = sum(offset < stretch.end.get(source, offset) for source, offset in stretch.next.items())
    state.progress.log(len(stretch.next) - behind, len(stretch.next), state.summary.total("dead"))
