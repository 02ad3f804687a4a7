"""Growths and swaps that a crash interrupted: whoever opens the table next ends them."""

from . import catalog, evolve, swap
from .catalog import Known
from .client import Session


def settled(session: Session, name: str) -> Known:
    """What is known of the table when nothing of it is unfinished any more; under its lock."""
    known = catalog.known(session, name)
    if known.swapping is not None:
        swap.finish(session, name)
    if known.growing is not None:
        evolve.finish(session, name)
    return catalog.known(session, name) if known.unfinished else known


def known(session: Session, name: str) -> Known:
    """The same, for one who reads and has no lock."""
    if not catalog.own(session):
        return Known(name)
    found = catalog.known(session, name)
    if found.unfinished:
        with catalog.locked(session, name):
            found = settled(session, name)
    return found
