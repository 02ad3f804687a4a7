"""What the types of the catalog are called in blocks: domains by what they are of, arrays by their elements.

A type that users made, or that an extension brought, is `text`: its values come as the server writes them. The
exceptions are in `EXTENSIONS`, for the extension has no fixed schema.
"""

from collections.abc import Sequence
from typing import Final

from .blocks import Column
from .client import Session

EXTENSIONS: Final = ("hstore", "geometry", "geography")
QUERY: Final = """
WITH RECURSIVE start (asked, oid, modifier, list) AS (
  SELECT oid, oid, NULL::int, false FROM pg_type WHERE oid = ANY(%(oids)s)
), steps AS (
  SELECT * FROM start
  UNION ALL
  SELECT s.asked, CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END,
    CASE WHEN t.typtype = 'd' AND t.typtypmod >= 0 THEN t.typtypmod ELSE s.modifier END, s.list OR t.typtype <> 'd'
  FROM steps s JOIN pg_type t ON t.oid = s.oid
  WHERE t.typtype = 'd' OR (t.typtype = 'b' AND t.typelem <> 0 AND t.typlen = -1 AND t.typarray = 0 AND NOT s.list)
)
SELECT s.asked, s.list, s.modifier, t.typdelim::text,
  CASE WHEN t.typtype = 'b' AND (n.nspname = 'pg_catalog' OR t.typname = ANY(%(known)s)) THEN t.typname ELSE 'text' END
FROM steps s JOIN pg_type t ON t.oid = s.oid JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE NOT (t.typtype = 'd' OR (t.typtype = 'b' AND t.typelem <> 0 AND t.typlen = -1 AND t.typarray = 0 AND NOT s.list))
"""
CENTS: Final = "SELECT scale(1::money::numeric)"
"""How many digits of money are behind the point depends on the server's lc_monetary."""


def typed_columns(session: Session, columns: Sequence[tuple[str, int, int]]) -> tuple[Column, ...]:
    """Columns of (name, the type's number, its modifier). A type that is gone from the catalog is text."""
    numbers = [number for _, number, _ in columns]
    found = {
        number: ((f"{name}[{delimiter}]" if listed else name), modifier)
        for number, listed, modifier, delimiter, name in session.rows(
            QUERY, {"oids": numbers, "known": list(EXTENSIONS)}
        )
    }
    if any(name.startswith("money") for name, _ in found.values()):
        ((cents,),) = session.rows(CENTS)
        found = {
            number: (name, cents if name.startswith("money") else modifier)
            for number, (name, modifier) in found.items()
        }
    made = []
    for name, number, modifier in columns:
        kind, of_domain = found.get(number, ("text", None))
        made.append(Column(name, kind, modifier if of_domain is None else of_domain))
    return tuple(made)
