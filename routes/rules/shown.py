"""Routes as the API shows them. Of rows that were shown in a list before, the JSON is at hand."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from threading import Lock
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import DateTimeField, TextField, UUIDField
from django.db.models.functions import Cast
from django.db.models.query import BaseIterable
from rest_framework.renderers import JSONRenderer

from routes import engine
from routes.document import canonical_route
from routes.orgs.models import Organization
from routes.prepared import Prepared
from routes.rules.models import Route, RouteQuerySet
from routes.times import rfc3339

KEYS: Final = tuple(engine.Route.__dataclass_fields__)
_DEFAULTS: Final = {"paused": False, "active_from": None, "active_until": None, "meta": {}}

_FIELDS: Final = Route._meta.concrete_fields

#: Of JSON, and of the rows by which it is found, over all organisations. Beyond, it begins anew.
MAX_KEPT_BYTES: Final = 32 * 2**20


def route_json(row: Route) -> dict[str, Any]:
    """The route in the document's keys, all of them, and what only the control plane knows of it."""
    document = canonical_route(row.as_document())
    return {
        **{key: document.get(key, _DEFAULTS.get(key)) for key in KEYS},
        "revision": row.revision,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }


# --- Lists ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listed:
    """A route in a list: its JSON, and the columns by which lists are ordered."""

    json: bytes
    uid: UUID
    name: str
    priority: int
    position: int
    updated_at: datetime


#: By the whole row as the driver reads it. What is kept follows from that and from nothing else, so it is never stale,
#: and needs no version.
_kept: dict[tuple[Any, ...], Listed] = {}
_kept_bytes = 0
_lock = Lock()


def listed(rows: RouteQuerySet) -> RouteQuerySet:
    """The same rows, each as `Listed`."""
    found = rows.values_list(*map(_read, _FIELDS))
    found._iterable_class = _Iterable
    return found


def _read(field: Any) -> Any:
    """The column; its text, where PostgreSQL's driver would make an object of it. To make and compare 400 of those takes
    an eighth more time for a list of 100."""
    return Cast(field.name, TextField()) if _is_text(field) else field.attname


def _is_text(field: Any) -> bool:
    return isinstance(getattr(field, "target_field", field), DateTimeField | UUIDField)


class _Iterable(BaseIterable):
    def __iter__(self) -> Iterator[Listed]:
        compiler = self.queryset.query.get_compiler(self.queryset.db)
        found = compiler.execute_sql(chunked_fetch=self.chunked_fetch, chunk_size=self.chunk_size)

        def converted(rows: list[tuple[Any, ...]]) -> Iterable[list[Any]]:
            converters = compiler.get_converters([column for column, _, _ in compiler.select])
            return compiler.apply_converters(rows, converters)

        for row in chain.from_iterable(found):
            yield _kept.get(row) or _keep(row, converted)


class AllListed:
    """All routes of an organisation, each as `Listed`, as far as a first page asks a queryset for them. Compiling the
    query would take a third of the whole answer."""

    def __init__(self, org: Organization, order: tuple[str, ...] = ()) -> None:
        self._org = org
        self._order = order

    def order_by(self, *order: str) -> "AllListed":
        return AllListed(self._org, order)

    def __getitem__(self, part: slice) -> list[Listed]:
        assert not part.start, "a later page begins at a cursor, which is a filter"
        query = _first(self._order, part.stop)
        org_id = Route._meta.get_field("org").get_db_prep_value(self._org.pk, connection)
        return [_kept.get(row) or _keep(row, query.converted) for row in query.read(org_id)]


@lru_cache(maxsize=64)
def _first(order: tuple[str, ...], most: int) -> Prepared:
    return Prepared(lambda: listed(Route.objects.of(UUID(int=0))).order_by(*order)[:most])


def _keep(row: tuple[Any, ...], converted: Callable[[list[tuple[Any, ...]]], Iterable[list[Any]]]) -> Listed:
    global _kept_bytes
    (values,) = converted([row])
    route = Route(*(_value(field, value) for field, value in zip(_FIELDS, values, strict=True)))
    columns = (route.uid, route.name, route.priority, route.position, route.updated_at)
    made = Listed(JSONRenderer().render(route_json(route)), *columns)
    with _lock:
        size = len(made.json) + sum(len(value) for value in row if isinstance(value, str))
        _kept_bytes += size
        if _kept_bytes > MAX_KEPT_BYTES:
            _kept.clear()
            _kept_bytes = size
        _kept[row] = made
    return made


def _value(field: Any, value: Any) -> Any:
    if value is None or not _is_text(field):
        return value
    value = field.to_python(value)
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
