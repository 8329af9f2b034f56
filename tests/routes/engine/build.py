"""Short ways to say what a test is about, and generators of everything the engine reads."""

import time
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from routes.engine import Action, Conditions, Document, RequestContext, Route
from routes.engine.ids import uuid7

ORG = "00000000-0000-7000-8000-00000000000a"
OTHER_ORG = "00000000-0000-7000-8000-00000000000b"


def route_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


def route(name: str = "r", target: str = "small", *, id: str | None = None, priority: int = 100, **when: Any) -> Route:
    return Route(id=id or uuid7(), name=name, priority=priority, when=Conditions(**when), then=Action(target))


def raw_route(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A canonical route as JSON, with keys replaced."""
    raw = {
        "id": route_id(number),
        "name": f"route {number}",
        "priority": 100,
        "enabled": True,
        "when": {"model_in": [], "input_tokens_lt": None, "input_tokens_gt": None, "tag_equals": None},
        "then": {"target_model": "small"},
    }
    return raw | changes


def document(*routes: dict[str, Any], org_id: str = ORG, version: int = 1) -> Document:
    return Document.build({"default": None, "routes": list(routes), "services": []}, org_id, "acme", version)


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether this comes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.005)
    return holds()


# --- Generators ---------------------------------------------------------------------------------------------------

MODELS = ["gpt-4o", "GPT-4o", "claude-x", " gpt-4o ", "modèle", "😀"]
KEYWORDS = ["salary", "Legal", "CAFÉ", "ß", "ΟΔΟΣ", " x "]

usd = st.integers(0, 10**15).map(lambda nano: nano // 10**9 if nano % 10**9 == 0 else nano / 10**9)
tokens = st.one_of(st.integers(0, 12), st.integers(0, 2**53 - 1))
texts = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=20).filter(str.strip)


def _lists(members: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.one_of(st.sampled_from(members), texts), unique=True, max_size=4)


_CONDITIONS: dict[str, st.SearchStrategy[Any]] = {
    "model_in": _lists(MODELS),
    "input_tokens_lt": tokens,
    "input_tokens_gt": tokens,
    "tag_equals": st.sampled_from(["prod", "a"]) | texts,
    "has_images": st.booleans(),
    "has_audio": st.booleans(),
    "has_documents": st.booleans(),
    "prompt_contains_any_of": _lists(KEYWORDS).filter(bool),
    "estimated_cost_gt": usd,
    "estimated_cost_lt": usd,
    "upstream_latency_ms_p95_gt": tokens,
}
_DEFAULTS: dict[str, Any] = {"model_in": [], "input_tokens_lt": None, "input_tokens_gt": None, "tag_equals": None}


def _conditions_of(keys: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({key: _CONDITIONS[key] for key in keys}).map(lambda given: _DEFAULTS | given)


#: Canonical conditions as JSON: few at a time, so that they hold often enough to tell something; now and then all.
raw_conditions = st.one_of(
    st.lists(st.sampled_from(sorted(_CONDITIONS)), max_size=2, unique=True).flatmap(_conditions_of),
    _conditions_of(sorted(_CONDITIONS)),
)
#: Canonical actions as JSON.
raw_actions = st.fixed_dictionaries(
    {"target_model": st.just("target")},
    optional={
        "fallbacks": _lists(MODELS).filter(lambda members: bool(members) and "target" not in members),
        "disable_cache": st.just(True),
        "max_cost_usd": usd.filter(bool),
    },
)
raw_routes = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "name": texts,
        "priority": st.integers(0, 3) | st.integers(0, 2**31 - 1),
        "enabled": st.booleans(),
        "when": raw_conditions,
        "then": raw_actions,
    }
)
contexts = st.builds(
    RequestContext,
    st.none() | st.sampled_from(MODELS) | st.text(max_size=5),
    input_tokens=st.none() | st.integers(-1, 12) | tokens,
    tag=st.none() | st.sampled_from(["prod", "a"]) | st.text(max_size=5),
    has_images=st.none() | st.booleans(),
    has_audio=st.none() | st.booleans(),
    has_documents=st.none() | st.booleans(),
    prompt=st.none() | st.lists(st.sampled_from([*KEYWORDS, "\ud800", "\n"])).map("".join) | st.text(max_size=30),
    estimated_cost_usd=st.none() | usd | st.floats(-1e9, 1e9) | st.decimals(-1, 10**6, places=12),
    upstream_latency_ms_p95=st.none() | st.integers(-1, 12) | tokens | st.floats(0, 1e9),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
