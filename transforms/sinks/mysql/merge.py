"""Staged rows into a MySQL table: the guard, then INSERT ... ON DUPLICATE KEY UPDATE and DELETE, all rows at once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from ....schemas.model.change import DELETE, POSITION, UPSERT
from .catalog import DELETED_AT, Kept
from .client import Session
from .columns import BEYOND, physical, quote
from .staging import Part

AT: Final = quote(POSITION)

RowCounts = Counter[tuple[int, int, bool]]
"""Rows by (source, op, whether the guard accepts them)."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What refuses a change: the last TRUNCATE's position, and, where `refuses`, what stands in the table already.

    `deletes`: there are accepted deletes. `meets`: there are changes of keys that have a tombstone.
    """

    floor: bytes | None
    refuses: bool
    deletes: bool
    meets: bool

    @property
    def above(self) -> str:
        return _above(self.floor)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The staged rows by kind, and how many of their keys have a tombstone."""

    by_kind: RowCounts
    tombstones: int


def constant(position: bytes) -> str:
    """A position as SQL."""
    return f"x'{position.hex()}'"


def _above(floor: bytes | None) -> str:
    return "true" if floor is None else f"d.position > {constant(floor)}"


def truncate(session: Session, kept: Kept, position: bytes) -> None:
    """Remove the rows and tombstones up to this position."""
    for relation in (kept.relation, kept.tombstones):
        session.run(f"DELETE FROM {session.name(relation)} WHERE {AT} <= {constant(position)}")


def _numbers(part: Part) -> dict[str, int]:
    return {name: number for number, name in enumerate(part.table.columns.names)}


def _keys(kept: Kept, part: Part) -> list[tuple[str, str]]:
    """For each key column its name in the part and in the table."""
    numbers = _numbers(part)
    return [(f"c{numbers[name]}", quote(physical(name))) for name in kept.table.key]


def _same(kept: Kept, part: Part, other: str) -> str:
    """The condition that `d`, the part, and `other` have one key."""
    return " AND ".join(f"d.{mine} = {other}.{theirs}" for mine, theirs in _keys(kept, part))


def judge(session: Session, kept: Kept, parts: Sequence[Part], floor: bytes | None) -> Judgement:
    """How many rows there are by (source, op, whether they are accepted)."""
    counts: RowCounts = Counter()
    tombstones = 0
    for part in parts:
        rows = session.run(
            f"SELECT source, op, accepted, COUNT(*), COUNT(buried) FROM (SELECT d.source, d.op, {_above(floor)} AND "
            f"COALESCE(d.position > t.{AT}, true) AND COALESCE(d.position > g.{AT}, true) AS accepted, "
            f"g.{AT} AS buried "
            f"FROM {part.relation} d LEFT JOIN {session.name(kept.relation)} t ON {_same(kept, part, 't')} "
            f"LEFT JOIN {session.name(kept.tombstones)} g ON {_same(kept, part, 'g')}) j "
            "GROUP BY source, op, accepted"
        )
        for source, op, accepted, count, buried in rows:
            counts[source, op, bool(accepted)] += count
            tombstones += buried
    return Judgement(counts, tombstones)


def write(session: Session, kept: Kept, part: Part, guard: Guard) -> None:
    """Bring the accepted rows into the table, and the positions of deletes into its tombstones."""
    session.run(_upserts(session, kept, part, guard))
    if guard.deletes:
        for statement in _deletes(session, kept, part, guard):
            session.run(statement)
    if guard.meets:
        tombstones = session.name(kept.tombstones)
        session.run(
            f"DELETE g FROM {part.relation} d STRAIGHT_JOIN {tombstones} g ON {_same(kept, part, 'g')} "
            f"WHERE d.op = {UPSERT} AND {guard.above} AND g.{AT} < d.position"
        )


def _deletes(session: Session, kept: Kept, part: Part, guard: Guard) -> tuple[str, str]:
    """Remove the rows, and keep the positions. A delete that was refused leaves its row, or a tombstone as new."""
    table, tombstones = session.name(kept.relation), session.name(kept.tombstones)
    mine = ", ".join(f"d.{name}" for name, _ in _keys(kept, part))
    theirs = ", ".join(name for _, name in _keys(kept, part))
    deleted, later = quote(DELETED_AT), f"d.position > {quote(kept.tombstones)}.{AT}"
    return (
        f"DELETE t FROM {part.relation} d STRAIGHT_JOIN {table} t ON {_same(kept, part, 't')} "
        f"WHERE d.op = {DELETE} AND {guard.above} AND t.{AT} < d.position",
        f"INSERT INTO {tombstones} ({theirs}, {AT}, {deleted}) SELECT {mine}, d.position, UTC_TIMESTAMP(6) "
        f"FROM {part.relation} d LEFT JOIN {table} t ON {_same(kept, part, 't')} "
        f"WHERE d.op = {DELETE} AND {guard.above} AND t.{AT} IS NULL ON DUPLICATE KEY UPDATE "
        f"{deleted} = IF({later}, UTC_TIMESTAMP(6), {quote(kept.tombstones)}.{deleted}), "
        f"{AT} = IF({later}, d.position, {quote(kept.tombstones)}.{AT})",
    )


def _upserts(session: Session, kept: Kept, part: Part, guard: Guard) -> str:
    relation, numbers = quote(kept.relation), _numbers(part)
    newer = f"d.position > {relation}.{AT}"
    inserted: dict[str, str] = {}
    updated: dict[str, str] = {}
    for number, field in enumerate(kept.table.columns):
        mine = numbers.get(field.name)
        pairs = [(quote(physical(field.name)), "NULL" if mine is None else f"d.c{mine}")]
        if number in kept.beyond:
            pairs.append((quote(f"{BEYOND}{number}"), f"d.b{mine}" if f"b{mine}" in part.columns else "NULL"))
        inserted.update(pairs)
        if field.name in kept.table.key:
            continue
        for name, value in pairs:
            keeps = [f"d.u{mine}"] if f"u{mine}" in part.columns else []
            keeps += [f"NOT {newer}"] if guard.refuses else []
            updated[name] = f"IF({' OR '.join(keeps)}, {relation}.{name}, {value})" if keeps else value
    # Assignments are made from left to right: the position, which the others are compared with, comes last.
    inserted[AT] = "d.position"
    updated[AT] = f"IF({newer}, d.position, {relation}.{AT})" if guard.refuses else "d.position"
    deleted = ""
    if guard.refuses:
        deleted = f" LEFT JOIN {session.name(kept.tombstones)} g ON {_same(kept, part, 'g')}"
    alive = f" AND COALESCE(d.position > g.{AT}, true)" if guard.refuses else ""
    sets = ", ".join(f"{name} = {value}" for name, value in updated.items())
    return (
        f"INSERT INTO {session.name(kept.relation)} ({', '.join(inserted)}) SELECT {', '.join(inserted.values())} "
        f"FROM {part.relation} d{deleted} WHERE d.op = {UPSERT} AND {guard.above}{alive} "
        f"ON DUPLICATE KEY UPDATE {sets}"
    )


def prune(session: Session, kept: Kept, retention: timedelta) -> None:
    """Forget deletes that were applied longer ago than `retention`, by the server's clock."""
    session.run(
        f"DELETE FROM {session.name(kept.tombstones)} WHERE {quote(DELETED_AT)} < "
        f"UTC_TIMESTAMP(6) - INTERVAL {int(retention.total_seconds() * 1_000_000)} MICROSECOND"
    )
