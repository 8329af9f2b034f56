"""Who serves a model, and who may not be made to."""

from datetime import UTC, datetime
from typing import Any

import pytest

from routes.engine import Price, PriceTable
from routes.engine.errors import ProviderUnresolved
from routes.gateway.llm.providers import Provider, Providers

AT = datetime(2026, 11, 23, tzinfo=UTC)
ACME, BETA = "018f0000-0000-7000-8000-000000000001", "018f0000-0000-7000-8000-000000000002"


def a_provider(name: str, **facts: Any) -> Provider:
    return Provider(name=name, base_url=f"https://{name}.example/v1/", **facts)


PROVIDERS = Providers(
    [
        a_provider("openai", key="sk-secret"),
        a_provider("azure", key="k", key_header="Api-Key", key_prefix="", organizations=frozenset({"acme"})),
        a_provider("local"),
    ],
    {"gpt-4o-eu": "azure", "gpt-*": "openai", "*-local": "local", "o*mini": "openai"},
)
PRICES = PriceTable(
    [
        Price(provider="openai", model="dall-e", input_nano_per_million=1, output_nano_per_million=1),
        Price(provider="elsewhere", model="sonar", input_nano_per_million=1, output_nano_per_million=1),
    ]
)


def of(model: str, *, org_id: str = ACME, org_slug: str = "acme", requested: str = "gpt-4o", **named: Any) -> str:
    return PROVIDERS.of(
        model, org_id=org_id, org_slug=org_slug, requested=requested, prices=PRICES, at=AT, **named
    ).name


@pytest.mark.parametrize(
    ("model", "name"),
    [("gpt-4o", "openai"), ("gpt-4o-eu", "azure"), ("gpt-", "openai"), ("my-local", "local"), ("o3-mini", "openai")],
)
def test_the_first_pattern_that_fits_names_the_provider(model: str, name: str) -> None:
    assert of(model) == name


@pytest.mark.parametrize("model", ["GPT-4o", "xgpt-4o", "gpt", "llama", "", "my-local-2"])
def test_a_model_that_fits_no_pattern_has_no_provider(model: str) -> None:
    with pytest.raises(ProviderUnresolved):
        of(model)


def test_a_star_stands_for_any_text_and_everything_else_for_itself() -> None:
    providers = Providers([a_provider("one")], {"a.b*[c]": "one"})
    facts: dict[str, Any] = {"org_id": ACME, "org_slug": "acme", "requested": "x", "at": AT}
    assert providers.of("a.b\nx/[c]", **facts).name == "one"
    with pytest.raises(ProviderUnresolved):
        providers.of("aXb[c]", **facts)
    with pytest.raises(ProviderUnresolved):
        providers.of("a.bc", **facts)


def test_a_provider_is_as_good_as_none_for_organisations_that_may_not_use_it() -> None:
    assert of("gpt-4o-eu", org_id=BETA, org_slug="beta") == "openai"  # the next pattern that fits
    with pytest.raises(ProviderUnresolved):
        of("x", org_id=BETA, org_slug="beta", named="azure")


def test_organisations_are_named_by_slug_or_id() -> None:
    provider = a_provider("p", organizations=frozenset({BETA}))
    assert provider.serves(BETA, "beta")
    assert not provider.serves(ACME, "acme")


def test_the_provider_that_a_route_names_counts_and_is_never_replaced() -> None:
    assert of("gpt-4o", named="local") == "local"
    with pytest.raises(ProviderUnresolved, match="nobody"):
        of("gpt-4o", named="nobody")


def test_a_target_that_no_pattern_fits_is_asked_of_the_requested_models_provider_if_that_lists_it() -> None:
    assert of("dall-e") == "openai"
    for model, requested in [("sonar", "gpt-4o"), ("dall-e", "my-local"), ("dall-e", "unknown")]:
        with pytest.raises(ProviderUnresolved):
            of(model, requested=requested)


def test_models_of_providers_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="two"):
        Providers([a_provider("one")], {"a": "one", "b": "two"})
    with pytest.raises(ValueError, match="Two providers"):
        Providers([a_provider("one"), a_provider("one")], {})


def test_a_key_goes_into_its_header_and_into_no_text() -> None:
    openai, azure, local = PROVIDERS.by_name.values()
    assert openai.key_headers() == [(b"authorization", b"Bearer sk-secret")]
    assert azure.key_headers() == [(b"api-key", b"k")]
    assert local.key_headers() == []
    assert "secret" not in repr(openai)
    assert openai.url == "https://openai.example/v1/chat/completions"
