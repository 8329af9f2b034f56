"""Queries of the ORM that are compiled once and asked often: compiling one takes several times as long as asking it."""

from collections.abc import Callable, Iterable
from threading import local
from typing import Any, Final

from django.db import connection
from django.db.models import QuerySet


class Prepared:
    """A query with values left open.

    `make` builds the queryset, with some value for each that is left open and no other one. It is asked with others, as
    the driver takes them, in the order in which they stand in the SQL.
    """

    def __init__(self, make: Callable[[], QuerySet[Any, Any]]) -> None:
        self._make: Final = make
        #: By kind of database, and of one thread, as is the connection to which what converts belongs.
        self._compiled = local()

    def read(self, *values: Any) -> list[tuple[Any, ...]]:
        """The rows as the driver has them. One query."""
        sql, params, _, _ = self._for_this_connection()
        assert len(params) == len(values), f"{sql} leaves {len(params)} values open."
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def converted(self, rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
        """Rows that were read, with the values that the fields of the columns have in Python."""
        _, _, compiler, converters = self._for_this_connection()
        return [list(row) for row in compiler.apply_converters(rows, converters)]

    def _for_this_connection(self) -> tuple[str, tuple[Any, ...], Any, Any]:
        kept: tuple[str, tuple[Any, ...], Any, Any] | None = vars(self._compiled).get(connection.vendor)
        if kept is None:
            compiler = self._make().query.get_compiler(connection=connection)
            sql, params = compiler.as_sql()
            converters = compiler.get_converters([column for column, _, _ in compiler.select])
            kept = vars(self._compiled)[connection.vendor] = sql, params, compiler, converters
        return kept
