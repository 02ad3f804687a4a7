"""A target's tables in Postgres as another program sees them."""

import psycopg

from support.postgres_server import schema_of, server


def sql(target, query, parameters=None):
    """What another program does in the target's schema."""
    with psycopg.connect(server().dsn(), autocommit=True) as con:
        con.execute("SELECT set_config('search_path', %s, false)", ['"' + schema_of(target.folder) + '"'])
        done = con.execute(query.encode(), parameters)
        return done.fetchall() if done.description else []


def staged_tables(target):
    query = "SELECT relname FROM pg_class WHERE relname ~ '^_millrace_staged' AND relnamespace::regnamespace::text = %s"
    return sql(target, query, ['"' + schema_of(target.folder) + '"'])


def opened(target):
    """The target with its schema made: threads do not have to agree on that."""
    target.sink.tables()
    return target
