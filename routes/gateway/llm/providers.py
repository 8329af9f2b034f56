"""Who serves a model: providers as the gateway's operator configures them, and as nobody else can.

Neither a route nor the API defines a provider: whoever could, could have any variable of the gateway's environment sent
to a server of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from routes.engine import PriceTable, Timeouts
from routes.engine.errors import ProviderUnresolved

#: Requests name models, and whoever sends them may name many.
_REMEMBERED = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider with an OpenAI-compatible API. `base_url` is what `/chat/completions` is appended to. `key` goes into
    the header `key_header`, after `key_prefix`; None: the provider asks for none. `organizations` are the slugs or ids
    that may use it, None: all may."""

    name: str
    base_url: str
    key: str | None = field(default=None, repr=False)
    key_header: str = "authorization"
    key_prefix: str = field(default="Bearer ", repr=False)
    organizations: frozenset[str] | None = None
    #: Whether it may be asked to tell the tokens of a stream that its client did not ask about.
    stream_usage: bool = False
    timeouts: Timeouts = field(default_factory=Timeouts)

    @property
    def url(self) -> str:
        """Where chat completions are asked for."""
        return f"{self.base_url.rstrip('/')}/chat/completions"

    def serves(self, org_id: str, org_slug: str) -> bool:
        """Whether this organisation may use it."""
        return self.organizations is None or org_id in self.organizations or org_slug in self.organizations

    def key_headers(self) -> list[tuple[bytes, bytes]]:
        if self.key is None:
            return []
        return [(self.key_header.lower().encode(), f"{self.key_prefix}{self.key}".encode())]


class Providers:
    """All providers, and which models they serve: `models` maps patterns, in which `*` stands for any text, to names of
    providers; the first that fits counts."""

    def __init__(self, providers: Iterable[Provider], models: Mapping[str, str]) -> None:
        """Raises `ValueError` for a name that is there twice, and for a model whose provider is not there."""
        self.by_name: dict[str, Provider] = {}
        for provider in providers:
            if provider.name in self.by_name:
                raise ValueError(f"Two providers are called {provider.name}.")
            self.by_name[provider.name] = provider
        if unknown := sorted(set(models.values()) - set(self.by_name)):
            raise ValueError(f"models names providers that are not configured: {', '.join(unknown)}.")
        #: As the operator wrote them.
        self.models = dict(models)
        patterns = [(_pattern(text), self.by_name[name]) for text, name in models.items()]

        @lru_cache(maxsize=_REMEMBERED)
        def first_fitting(model: str) -> tuple[Provider, ...]:
            return tuple(provider for pattern, provider in patterns if pattern.fullmatch(model))

        self._fitting = first_fitting

    def of(
        self,
        model: str,
        *,
        org_id: str,
        org_slug: str,
        requested: str,
        named: str | None = None,
        prices: PriceTable | None = None,
        at: datetime,
    ) -> Provider:
        """Who serves this model to this organisation: the provider `named` by the route; else by the map of models; else
        that of the `requested` model, where its price list has this one. A provider that is not for this organisation is
        as good as none. Raises `ProviderUnresolved`, which names the model."""
        if named is not None:
            provider = self.by_name.get(named)
            if provider is not None and provider.serves(org_id, org_slug):
                return provider
            raise ProviderUnresolved(f"The route names the provider {named}, which this gateway does not have for you.")
        provider = self._mapped(model, org_id, org_slug)
        if provider is None and prices is not None:
            asked = self._mapped(requested, org_id, org_slug)
            price = None if asked is None else prices.price(asked.name, model, at)
            if asked is not None and price is not None and price.provider == asked.name:
                provider = asked
        if provider is None:
            raise ProviderUnresolved(f"No provider of this gateway serves {model}.")
        return provider

    def _mapped(self, model: str, org_id: str, org_slug: str) -> Provider | None:
        return next((each for each in self._fitting(model) if each.serves(org_id, org_slug)), None)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in text.split("*")), re.DOTALL)
