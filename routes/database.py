"""The SQL views that gateways read: the only relations their database role may SELECT.

They are dropped before migrations and made anew after them, never inside one: SQLite refuses to rebuild a table that a
view reads, and PostgreSQL to alter a column of it.
"""

from django.db.backends.base.base import BaseDatabaseWrapper

#: By name the query, or one for each database where they speak differently.
VIEWS: dict[str, str | dict[str, str]] = {
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
    # Of a key its digest: whoever reads this can send no request with it. Revoked ones are not here; which ones have
    # expired the reader sees by a clock of its own. A host may be of a service that is not there at the moment: what
    # brings the service back finds it.
    "gateway_directory": {
        "sqlite": """
            SELECT org.id AS org_id, org.slug AS org_slug, org.status AS status,
                   json(org.private_upstreams) AS private_upstreams,
                   (SELECT json_group_object(host.host, host.slug)
                    FROM (SELECT * FROM routes_servicehost ORDER BY host) AS host
                    WHERE host.org_id = org.id) AS hosts,
                   (SELECT json_group_array(json_object(
                               'id', key.id,
                               'digest', lower(hex(key.digest)),
                               'expires_at', replace(substr(key.expires_at || '.000000', 1, 26), ' ', 'T') || 'Z',
                               'metadata', json(key.metadata),
                               'allows_force', json(CASE WHEN key.allows_force THEN 'true' ELSE 'false' END)))
                    FROM (SELECT * FROM routes_apikey ORDER BY id) AS key
                    WHERE key.org_id = org.id AND key.kind = 'traffic' AND key.revoked_at IS NULL) AS traffic_keys
            FROM routes_organization AS org
        """,
        "postgresql": """
            SELECT org.id AS org_id, org.slug AS org_slug, org.status AS status,
                   org.private_upstreams::text AS private_upstreams,
                   (SELECT coalesce(jsonb_object_agg(host.host, host.slug), '{}')::text
                    FROM routes_servicehost AS host WHERE host.org_id = org.id) AS hosts,
                   (SELECT coalesce(jsonb_agg(jsonb_build_object(
                               'id', key.id,
                               'digest', encode(key.digest, 'hex'),
                               'expires_at', to_char(key.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                               'metadata', key.metadata,
                               'allows_force', key.allows_force) ORDER BY key.id), '[]')::text
                    FROM routes_apikey AS key
                    WHERE key.org_id = org.id AND key.kind = 'traffic' AND key.revoked_at IS NULL) AS traffic_keys
            FROM routes_organization AS org
        """,
    },
    # Null for the prices of everybody; an organisation's own are negotiated.
    "gateway_prices": """
        SELECT org_id, provider, model, since, input_usd_per_million, output_usd_per_million,
               cached_input_usd_per_million, max_input_tokens, max_output_tokens, retires_on
        FROM routes_modelprice
    """,
    # Read for each request to what is placed, and again before it is written: by the primary server alone, since what a
    # replica says may be a step old.
    "gateway_placements": """
        SELECT org_id, partition, cluster, resource, endpoint, phase, epoch, to_cluster, to_resource, to_endpoint
        FROM routes_placement
    """,
}
_TABLES = {
    "routes_organization", "routes_routesetversion", "routes_apikey", "routes_modelprice", "routes_servicehost",
    "routes_placement",
}  # fmt: skip


def drop_views(connection: BaseDatabaseWrapper) -> None:
    """Drop the views; harmless where they are not there."""
    with connection.cursor() as cursor:
        for name in VIEWS:
            cursor.execute(f"DROP VIEW IF EXISTS {name}")


def make_views(connection: BaseDatabaseWrapper) -> None:
    """Make the views anew, unless their tables are gone (`migrate routes zero`)."""
    drop_views(connection)
    tables = set(connection.introspection.table_names())
    if tables >= _TABLES:
        with connection.cursor() as cursor:
            for name, query in VIEWS.items():
                said = query if isinstance(query, str) else query[connection.vendor]
                cursor.execute(f"CREATE VIEW {name} AS {said}")
