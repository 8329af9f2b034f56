"""The SQL views that gateways read: the only relations their database role may SELECT.

They are dropped before migrations and made anew after them, never inside one: SQLite refuses to rebuild a table that a
view reads, and PostgreSQL to alter a column of it.
"""

from django.db.backends.base.base import BaseDatabaseWrapper

VIEWS = {
    # `org_id` stays in the database's own form (uuid on PostgreSQL, 32 hex digits on SQLite), so that the lookups of
    # the stores use the primary key.
    "gateway_versions": "SELECT id AS org_id, version FROM routes_organization",
    # One row holds version, digest and content, so a reader can never pair the version of one publication with the
    # content of another.
    "gateway_documents": """
        SELECT org.id AS org_id, org.slug AS org_slug, org.status AS status, org.version AS version,
               published.published_at AS published_at, published.digest AS digest, published.content AS content
        FROM routes_organization AS org
        LEFT JOIN routes_routesetversion AS published
               ON published.org_id = org.id AND published.version = org.version
    """,
}


def drop_views(connection: BaseDatabaseWrapper) -> None:
    """Drop the views; harmless where they are not there."""
    with connection.cursor() as cursor:
        for name in VIEWS:
            cursor.execute(f"DROP VIEW IF EXISTS {name}")


def make_views(connection: BaseDatabaseWrapper) -> None:
    """Make the views anew, unless their tables are gone (`migrate routes zero`)."""
    drop_views(connection)
    tables = set(connection.introspection.table_names())
    if {"routes_organization", "routes_routesetversion"} <= tables:
        with connection.cursor() as cursor:
            for name, query in VIEWS.items():
                cursor.execute(f"CREATE VIEW {name} AS {query}")
