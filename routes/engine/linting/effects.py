"""What of a route's action can be told without its requests, or from the models that it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Protocol

from routes.engine.action import Action
from routes.engine.compiled.rows import Literal
from routes.engine.linting.boxes import Box, fact_of
from routes.engine.linting.steps import OutOfSteps, Steps


class CatalogModel(Protocol):
    """What a catalogue says of a model; `retires_on` may be missing, or None: it stays."""

    @property
    def retires_on(self) -> date | None: ...


#: Name of a model → what is known of it: an object with `retires_on`, or a dict with that key. Others are ignored.
type Catalog = Mapping[str, CatalogModel | Mapping[str, object] | object]


def models_of(then: Action) -> Iterator[tuple[str, str]]:
    """(what the route does with it, the model) of every model that requests are sent to, each model once."""
    named = [("sends to", then.target_model)]
    named += [("splits to", arm.target_model) for arm in then.split]
    named += [("falls back to", model) for model in then.fallbacks]
    named.append(("copies to", then.shadow_model))
    seen: set[str] = set()
    for does, model in named:
        if model is not None and model not in seen:
            seen.add(model)
            yield does, model


def retires_on(catalog: Catalog, model: str) -> date | None:
    """The first day on which the model is gone, if the catalogue knows one."""
    entry = catalog[model]
    day = entry.get("retires_on") if isinstance(entry, Mapping) else getattr(entry, "retires_on", None)
    if isinstance(day, datetime):
        return day.date()
    return day if isinstance(day, date) else None


def changes_nothing(then: Action, boxes: list[Box], steps: Steps) -> bool:
    """Whether every request that the boxes hold goes on as it came. Control and pauses keep `disable_cache` in force,
    so that alone is an effect whatever the share."""
    if then.refuse is not None or then.disable_cache:
        return False
    if then.traffic_pct == 0:
        return True
    if then.provider is not None or then.fallbacks or then.max_cost_usd is not None or then.shadow_model is not None:
        return False
    targets: set[str | None] = {arm.target_model for arm in then.split} or {then.target_model}
    if len(targets) > 1:
        return False
    (target,) = targets
    if target is None:
        return True
    other_model = Literal("text", "model", frozenset({target}), want=False)
    try:
        return all(
            ("model", "") in box.known and fact_of(box.region, ("model", "")).met(other_model, steps) is None
            for box in boxes
        )
    except OutOfSteps:
        return False  # it is not known
