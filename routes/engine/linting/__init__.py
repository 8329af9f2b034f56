"""`lint`: what about an organisation's routes is probably not as it was meant.

findings    `Finding`, and the sentences
boxes       routes as boxes: a set of values for each fact; requests as witnesses
facts       these sets
globs       model patterns, compared exactly
moments     times and hours of the week
prompts     keywords and RE2 patterns
examples    texts in which a pattern may be found
index       which boxes may overlap
cover       whether boxes cover a region of requests
overlap     each route against those before it
effects     what an action changes, and where it sends to
steps       the budget
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime

from routes.engine.action import Action
from routes.engine.linting import findings
from routes.engine.linting.boxes import context_of
from routes.engine.linting.effects import Catalog, CatalogModel, changes_nothing, models_of, retires_on
from routes.engine.linting.findings import Finding
from routes.engine.linting.overlap import each_with_overlaps
from routes.engine.linting.prompts import forget_patterns
from routes.engine.values import Route

__all__ = ["Catalog", "CatalogModel", "Finding", "context_of", "lint"]


def lint(
    routes: Iterable[Route],
    *,
    default: Action | None = None,
    catalog: Catalog | None = None,
    today: date | None = None,
    about: Collection[str] | None = None,
) -> list[Finding]:
    """What is found, in the order in which the routes are asked, of each in the order of `Finding`'s codes; then of
    `default`, what happens to requests that no route takes, of which only the models are looked at.

    Routes are asked by falling priority, those of equal priority in the order given. Disabled ones are left out; paused
    ones, and those with a share of traffic, take their requests like any other. A request is whatever a
    `RequestContext` can be, so any fact may be unknown, and integers may be negative.

    `catalog` maps the names of the models that are known to objects, or dicts, with `retires_on`, a date or None (any
    other value is no date); None: targets are not looked at. `today` is the day on which a model counts as retired from
    its `retires_on` on; None: the present one, in UTC. `about` are ids: only these routes are looked at, against all that
    are asked before them, which of a thousand routes is ten times as fast; None: all.

    Deterministic: equal arguments, on one day, have equal findings. For each route 20,000 steps are counted, for all
    together a million; what is not decided with them is said to be undecided.
    """
    asked = sorted((route for route in routes if route.enabled), key=lambda route: -route.priority)
    found: list[Finding] = []
    day = datetime.now(UTC).date() if today is None else today
    try:
        for route, overlaps in each_with_overlaps(asked, about):
            found += overlaps.findings
            if overlaps.boxes and not route.paused and changes_nothing(route.then, overlaps.boxes, overlaps.steps):
                found.append(findings.no_effect(route))
            if catalog is not None:
                found += _of_targets(route, route.then, catalog, day)
    finally:
        forget_patterns()
    if default is not None and catalog is not None:
        found += _of_targets(None, default, catalog, day)
    return found


def _of_targets(route: Route | None, then: Action, catalog: Catalog, today: date) -> list[Finding]:
    retired: list[Finding] = []
    unknown: list[Finding] = []
    for does, model in models_of(then):
        if model not in catalog:
            unknown.append(findings.unknown_target(route, does, model))
        elif (day := retires_on(catalog, model)) is not None and day <= today:
            retired.append(findings.retired_target(route, does, model, day.isoformat()))
    return retired + unknown
