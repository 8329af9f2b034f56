"""What lint says about an organisation's live routes: which can never match, which are shadowed, and so on."""

import json
from datetime import UTC, date, datetime
from threading import Lock
from typing import Any

from routes import engine
from routes.catalog.services import prices_for
from routes.document import document_of
from routes.engine.canonical import canonical_bytes
from routes.orgs.models import Organization
from routes.rules.models import Route
from routes.versions.models import RouteSetVersion

Finding = dict[str, Any]
Catalog = dict[str, dict[str, date | None]]

#: Findings by the digest of the routes, the catalogue and the day, the oldest first.
_known: dict[tuple[str | None, bytes, date], list[Finding]] = {}
_MAX_KNOWN = 64
_lock = Lock()

_LABELS = {
    "never_matches": "never matches",
    "shadowed": "never reached",
    "tie": "tie",
    "no_effect": "no effect",
    "retired_target": "retired model",
    "unknown_target": "unknown model",
}


def findings_of(org: Organization) -> list[Finding]:
    """The findings about the live routes and the default, as JSON objects, in the order in which the routes are asked."""
    # A thousand routes take half a second, and every page that shows routes asks.
    digest, catalog, today = _digest_of(org), catalog_of(org), datetime.now(UTC).date()
    models = canonical_bytes(_plain(catalog))
    with _lock:
        found = _known.get((digest, models, today))
    if found is None:
        document = document_of(org)
        live = engine.Engine.from_document(document)
        linted = engine.lint(live.routes, default=live.default, catalog=catalog, today=today)
        found = [finding.to_dict() for finding in linted]
        with _lock:
            _known[document.digest, models, today] = found
            while len(_known) > _MAX_KNOWN:
                del _known[next(iter(_known))]
    return found


def findings_at_hand(org: Organization) -> list[Finding] | None:
    """The same where this process has looked for them before; None where it has not."""
    key = (_digest_of(org), canonical_bytes(_plain(catalog_of(org))), datetime.now(UTC).date())
    with _lock:
        return _known.get(key)


def loaded(document: dict[str, Any]) -> tuple[engine.Route | None, str]:
    """The route of a row, and why no engine loads it; empty where one does."""
    try:
        return engine.Route.from_dict(document), ""
    except engine.errors.InvalidRoute as error:
        return None, "; ".join(issue["message"] for issue in error.issues)


def _digest_of(org: Organization) -> str | None:
    return RouteSetVersion.objects.filter(org=org).order_by("-version").values_list("digest", flat=True).first()


def _plain(catalog: Catalog | None) -> dict[str, str] | None:
    return None if catalog is None else {model: str(known["retires_on"]) for model, known in catalog.items()}


def findings_about(org: Organization, row: Route) -> list[Finding]:
    """Those that name this route."""
    return [finding for finding in findings_of(org) if str(row.uid) in finding["route_ids"]]


def in_words(finding: Finding) -> dict[str, str]:
    """`label`, `severity`, `message` and `example` (a request that shows it, "" for none) for people."""
    witness = finding["witness"] or {}
    facts = (f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in witness.items())
    return {
        "label": _LABELS.get(finding["code"], finding["code"]) + ("?" if finding["undecided"] else ""),
        "severity": finding["severity"],
        "message": finding["message"],
        "example": ", ".join(facts),
    }


def catalog_of(org: Organization) -> Catalog | None:
    """The models that have a price here, each with the day on which the last provider retires it, None for none that is
    known. None where there are no prices at all: then nothing can be said of models."""
    models: Catalog = {}
    for price in prices_for(org):
        day = price.retires_on
        if price.model in models:
            known = models[price.model]["retires_on"]
            day = None if known is None or day is None else max(known, day)
        models[price.model] = {"retires_on": day}
    return models or None
