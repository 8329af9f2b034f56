"""`GET /v1/models`: which models a key may ask for by name."""

from __future__ import annotations

from typing import Any

from routes.engine.errors import ProviderUnresolved
from routes.gateway.answers import json_answer
from routes.gateway.llm.chat import Chat, authenticated
from routes.gateway.messages import Request, Response


async def list_models(chat: Chat, request: Request) -> Response:
    """The models that the operator names without a star, and those of the price list that a provider of the same name
    serves to this organisation. Raises what `authenticated` raises."""
    at = chat.now()
    key = authenticated(chat.directory(), request, at)
    prices = await chat.prices(key.org.org_id)
    providers = chat.attempts.providers
    named = [pattern for pattern in providers.models if "*" not in pattern]
    found: dict[str, str] = {}
    for model in dict.fromkeys([*named, *(price.model for price in prices.prices)]):
        try:
            provider = providers.of(
                model, org_id=key.org.org_id, org_slug=key.org.org_slug, requested=model, prices=prices, at=at
            )
        except ProviderUnresolved:
            continue
        price = prices.price(provider.name, model, at)
        if model in named or (price is not None and price.provider == provider.name):
            found[model] = provider.name
    data: list[dict[str, Any]] = [
        {"id": model, "object": "model", "created": 0, "owned_by": found[model]} for model in sorted(found)
    ]
    said = {"object": "list", "data": data}
    return json_answer(200, said, [(b"x-request-id", request.request_id.encode())])
