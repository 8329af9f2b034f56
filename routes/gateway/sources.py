"""Where a gateway learns which organisations there are and what models cost: the database's views, or the API."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from datetime import UTC, date, datetime
from typing import Any, Protocol

from routes.engine import HttpStore, Placement, PostgresStore, Price, PriceTable, SQLiteStore, Target, postgres
from routes.engine.errors import DocumentRejected, PlacementUnavailable, StoreUnavailable
from routes.engine.ids import canonical_uuid
from routes.engine.money import nano_usd
from routes.engine.placements import DEFAULT, of_partition
from routes.engine.store import Store

_TIMEOUT_SECONDS = 5.0
_MAX_BYTES = 256 * 2**20
_DIRECTORY = "SELECT org_id, org_slug, status, private_upstreams, hosts, traffic_keys FROM gateway_directory"
_PRICES = (
    "SELECT org_id, provider, model, since, input_usd_per_million, output_usd_per_million, cached_input_usd_per_million,"
    " max_input_tokens, max_output_tokens, retires_on FROM gateway_prices WHERE org_id IS NULL OR org_id = "
)
_PLACEMENTS = (
    "SELECT partition, cluster, resource, endpoint, phase, epoch, to_cluster, to_resource, to_endpoint"
    " FROM gateway_placements WHERE org_id = ? AND partition IN (?, ?)"
)
#: PostgreSQL's own form of a URL, as libpq reads it.
_POSTGRES = ("postgres://", "postgresql://")


class Source(Protocol):
    """Read by threads, one call at a time. Whatever it raises means that it does not answer now."""

    @property
    def store(self) -> Store: ...

    def directory(self) -> dict[str, Any] | None:
        """The directory's document; None where it is what it was at the last call."""
        ...

    def prices(self, org_id: str) -> dict[str, Any] | None:
        """The price document that holds for this organisation; None where it is what it was at the last call."""
        ...

    def placement(self, org_id: str, partition: str) -> Placement | None:
        """Where a partition is at this moment; None where it is nowhere. Called by several threads at a time, for each
        request anew, and never answered from anything kept."""
        ...

    def report(self, org_id: str, instance: str, said: dict[str, Any]) -> None:
        """Tell the control plane what this gateway runs, where it can be told."""
        ...

    def close(self) -> None:
        """Its own connections, and the store's."""
        ...


def source_of(database_url: str | None, api_url: str | None, key: str | None) -> Source:
    """The source that the configuration names. Raises `ValueError` for what can be none."""
    if database_url is not None:
        return DatabaseSource(database_url)
    assert api_url is not None
    assert key is not None
    return ApiSource(api_url, key)


class DatabaseSource:
    """Reads the `gateway_*` views, and nothing else. `sqlite:///file`, a file's path, or `postgresql://…`."""

    def __init__(self, url: str) -> None:
        self._is_postgres = url.startswith(_POSTGRES)
        self._url = url if self._is_postgres else url.removeprefix("sqlite:///")
        self.store = PostgresStore(url) if self._is_postgres else SQLiteStore(self._url)
        self._lock = threading.Lock()
        self._connection: Any = None
        self._before: dict[str, Any] = {}
        self._readers = _Readers(url)

    def directory(self) -> dict[str, Any] | None:
        rows = [
            {
                "org_id": canonical_uuid(org_id),
                "org_slug": slug,
                "status": status,
                "private_upstreams": _json(upstreams),
                "hosts": _json(hosts),
                "traffic_keys": _json(keys),
            }
            for org_id, slug, status, upstreams, hosts, keys in self._rows(_DIRECTORY)
        ]
        rows.sort(key=lambda row: str(row["org_id"]))
        return self._unless_same("directory", {"schema": 1, "organizations": rows})

    def prices(self, org_id: str) -> dict[str, Any] | None:
        own = canonical_uuid(org_id)
        mark = "%s" if self._is_postgres else "?"
        rows = self._rows(_PRICES + mark, own if self._is_postgres else own.replace("-", ""))
        as_of = datetime(1970, 1, 1, tzinfo=UTC)  # the same prices are the same document, whenever they are read
        document = PriceTable(map(_price, rows), org_id=own, as_of=as_of).to_document()
        return self._unless_same(f"prices of {own}", document)

    def placement(self, org_id: str, partition: str) -> Placement | None:
        own = canonical_uuid(org_id)
        if self._is_postgres:
            rows = self._readers.rows(_PLACEMENTS.replace("?", "%s"), own, partition, DEFAULT)
        else:
            with closing(self._connected()) as connection:
                rows = connection.execute(_PLACEMENTS, (own.replace("-", ""), partition, DEFAULT)).fetchall()
        found = {placement.partition: placement for placement in map(_placement, rows)}
        return of_partition(partition, found.get(partition), found.get(DEFAULT))

    def report(self, org_id: str, instance: str, said: dict[str, Any]) -> None:
        """The role of a gateway writes nothing."""

    def close(self) -> None:
        with self._lock:
            self._drop()
        self._readers.close()
        self.store.close()

    def _unless_same(self, what: str, document: dict[str, Any]) -> dict[str, Any] | None:
        with self._lock:
            if self._before.get(what) == document:
                return None
            self._before[what] = document
        return document

    def _rows(self, query: str, *parameters: Any) -> list[Any]:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._connected()
                rows: list[Any] = self._connection.execute(query, parameters).fetchall()
            except Exception as error:
                self._drop()
                raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
            if not self._is_postgres:
                self._drop()  # a connection goes on reading the file that it opened, also when another has its name
            return rows

    def _drop(self) -> None:
        used, self._connection = self._connection, None
        if used is not None:
            used.close()

    def _connected(self) -> Any:
        if self._is_postgres:
            return postgres.connected(self._url)
        import os
        import sqlite3

        path = os.path.abspath(self._url).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        return sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, timeout=2, isolation_level=None, check_same_thread=False
        )


class _Readers:
    """Connections to PostgreSQL, one for each thread that reads. To the primary server: on a replica a step that was taken
    may not be there yet."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._own = threading.local()
        self._lock = threading.Lock()
        self._all: set[Any] = set()

    def rows(self, query: str, *parameters: Any) -> list[Any]:
        """Raises the driver's errors. A connection that died while it was idle costs no failed read."""
        from psycopg import OperationalError

        used = getattr(self._own, "connection", None)
        if used is not None:
            try:
                return list(used.execute(query, parameters))
            except OperationalError:
                self._drop(used)
        self._own.connection = used = postgres.connected(self._url, to_primary=True)
        with self._lock:
            self._all.add(used)
        try:
            return list(used.execute(query, parameters))
        except BaseException:
            self._drop(used)
            raise

    def close(self) -> None:
        with self._lock:
            left, self._all = self._all, set()
        for connection in left:
            connection.close()

    def _drop(self, connection: Any) -> None:
        self._own.connection = None
        with self._lock:
            self._all.discard(connection)
        connection.close()


def _placement(row: Any) -> Placement:
    partition, cluster, resource, endpoint, phase, epoch, to_cluster, to_resource, to_endpoint = row
    to = Target(to_cluster, to_resource, to_endpoint) if to_cluster else None
    return Placement(partition, Target(cluster, resource, endpoint), epoch, phase, to)


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str | bytes) else value


def _price(row: Any) -> Price:
    org_id, provider, model, since, input_usd, output_usd, cached_usd, max_input, max_output, retires_on = row
    if isinstance(since, str):
        since = datetime.fromisoformat(since)
    if isinstance(retires_on, str):
        retires_on = date.fromisoformat(retires_on)
    return Price(
        provider=provider,
        model=model,
        input_nano_per_million=nano_usd(input_usd),
        output_nano_per_million=nano_usd(output_usd),
        cached_input_nano_per_million=None if cached_usd is None else nano_usd(cached_usd),
        since=None if since is None else since.replace(tzinfo=since.tzinfo or UTC),
        negotiated=org_id is not None,
        max_input_tokens=max_input,
        max_output_tokens=max_output,
        retires_on=retires_on,
    )


class ApiSource:
    """Asks the application's API with a gateway's key, with the extra `http` (httpx). What has not changed is a 304."""

    def __init__(self, api_url: str, key: str) -> None:
        import httpx

        self.store = HttpStore(api_url, key)
        self._client = httpx.Client(
            base_url=f"{api_url.rstrip('/')}/api/v1/",
            headers={"Authorization": f"Bearer {key}", "Accept-Encoding": "identity"},
            timeout=_TIMEOUT_SECONDS,
            follow_redirects=False,
            trust_env=False,
        )
        self._etags: dict[str, str] = {}

    def directory(self) -> dict[str, Any] | None:
        return self._get("gateway/directory/")

    def prices(self, org_id: str) -> dict[str, Any] | None:
        return self._get(f"orgs/{org_id}/prices/snapshot/")

    def placement(self, org_id: str, partition: str) -> Placement | None:
        answer = self._client.get(f"orgs/{org_id}/placements/{partition}/")
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise PlacementUnavailable(f"The control plane was asked where this partition is: {answer.status_code}.")
        said = answer.json()
        to = None if said["to"] is None else Target(**said["to"])
        return Placement(said["partition"], Target(**said["target"]), said["epoch"], said["phase"], to)

    def report(self, org_id: str, instance: str, said: dict[str, Any]) -> None:
        answer = self._client.put(f"orgs/{org_id}/gateways/{instance}/", json=said)
        if answer.status_code >= 300:
            raise StoreUnavailable(f"gateways/ answered {answer.status_code}.")

    def close(self) -> None:
        self._client.close()
        self.store.close()

    def _get(self, path: str) -> dict[str, Any] | None:
        etag = self._etags.get(path)
        answer = self._client.get(path, headers={} if etag is None else {"If-None-Match": etag})
        if answer.status_code == 304:
            return None
        if answer.status_code != 200:
            raise StoreUnavailable(f"{path} answered {answer.status_code}.")
        if len(answer.content) > _MAX_BYTES:
            raise DocumentRejected(f"{path} has more than {_MAX_BYTES:,} bytes.")
        read: dict[str, Any] = answer.json()
        if "ETag" in answer.headers:
            self._etags[path] = answer.headers["ETag"]
        return read
