"""`/healthz` says that the process lives, `/readyz` that it can do its work. For probes: no sign-in, no host, no TLS.

What is wrong is named by check and not explained: everybody may ask. The log of the application has the reason. What was
found holds for a second, so that however often somebody asks, the database is asked once a second by each process.
"""

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import Final

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F, OuterRef, Subquery
from django.http import HttpRequest, HttpResponse, JsonResponse

from audit.database import missing_triggers
from audit.models import AuditEntry, AuditHead
from audit.signing.tail import unsigned_tail

#: Of so many logs, those written last, the head is compared with the entries.
HEADS: Final = 100
#: So long what was found is answered, counted from when it was found.
KEPT_SECONDS: Final = 1.0
#: So long a thread waits for another that asks the database, a little longer than this waits for a connection; then it
#: asks for itself.
PATIENCE_SECONDS: Final = 6.0
#: So long an entry may wait for the signer before this says so.
UNSIGNED_SECONDS: Final = 60.0
#: The signer looks at every log at least every ten minutes.
SILENT_SECONDS: Final = 15 * 60.0
#: Two machines' clocks differ by less.
AHEAD_SECONDS: Final = 120.0
log = logging.getLogger(__name__)


class Unready(Exception):
    """A check that failed, and why."""


class Old(Unready):
    """Something that should have happened did not yet. The process does its work nevertheless."""


class _Found:
    """What the checks say, good or bad, for a second. One thread asks, those that come meanwhile wait for its answer."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._last: dict[str, str] = {}
        self._until = 0.0

    def now(self) -> dict[str, str]:
        has_lock = self._lock.acquire(timeout=PATIENCE_SECONDS)
        try:
            if time.monotonic() >= self._until:
                self._last = _all_checked()
                self._until = time.monotonic() + KEPT_SECONDS
            return self._last
        finally:
            if has_lock:
                self._lock.release()


def health(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answers probes before anything else looks at them: they name no host that is allowed, and speak no TLS."""

    found = _Found()

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info == "/healthz":
            return _answer(request, dict)
        if request.path_info == "/readyz":
            return _answer(request, found.now)
        return get_response(request)

    return middleware


def _answer(request: HttpRequest, checked: Callable[[], dict[str, str]]) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
    found = checked()
    can_work = "failed" not in found.values()
    status = "unavailable" if not can_work else "degraded" if "old" in found.values() else "ok"
    body = {"status": status, **({"checks": found} if found else {})}
    return JsonResponse(body, status=200 if can_work else 503, headers={"Cache-Control": "no-store"})


def _all_checked() -> dict[str, str]:
    found: dict[str, str] = {}
    for name, check in CHECKS.items():
        # Each would wait for a database that is away as long as the first one did.
        found[name] = "failed" if found.get("database") == "failed" else _checked(name, check)
    return found


def _checked(name: str, check: Callable[[], None]) -> str:
    try:
        check()
    except Old as error:
        log.warning("%s is old: %s", name, error)
        return "old"
    except Exception as error:  # whatever it is, the answer is that it is not well
        log.warning("not ready, %s: %s", name, error)
        return "failed"
    return "ok"


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _migrations() -> None:
    executor = MigrationExecutor(connection)
    if missing := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise Unready(f"{len(missing)} migrations are not applied; run manage.py migrate")


def _audit_log() -> None:
    """The heads of the logs written last know as many entries as there are."""
    # Not the largest of all: the index is read from its end.
    last = AuditEntry.objects.filter(log=OuterRef("log")).order_by("-seq").values("seq")[:1]
    recent = AuditHead.objects.order_by("-last_ts").values("pk")[:HEADS]
    heads = AuditHead.objects.filter(pk__in=list(recent.values_list("pk", flat=True)), size__gt=0)
    if bad := heads.annotate(last=Subquery(last)).exclude(size=F("last") + 1).first():
        raise Unready(f"the head of {bad.log} is at {bad.size}, its entries end otherwise; run manage.py verify_audit")


def _append_only() -> None:
    if missing := missing_triggers(connection):
        raise Unready(f"entries are not append-only, {', '.join(missing)} is not there; run manage.py migrate")


def _audit_signer() -> None:
    """What is committed is signed within ten seconds, where somebody signs."""
    tail = unsigned_tail()
    if tail.refused:
        raise Old(f"the signer refuses {tail.refused} audit logs; it says why, and manage.py verify_audit too")
    if tail.looked is not None and tail.looked > SILENT_SECONDS:
        raise Old(f"the signer looked at no log for {tail.looked / 60:.0f} minutes; does it run?")
    if tail.ahead > AHEAD_SECONDS:
        raise Old(f"an audit log is {tail.ahead:.0f} s ahead of this machine's clock: one of the clocks is wrong")
    if tail.seconds > UNSIGNED_SECONDS:
        raise Old(
            f"{tail.entries} audit entries are not signed, the oldest for {tail.seconds:.0f} s; does the signer run?"
        )


CHECKS: Final[dict[str, Callable[[], None]]] = {
    "database": _database,
    "migrations": _migrations,
    "audit_log": _audit_log,
    "append_only": _append_only,
    "audit_signer": _audit_signer,
}
