"""What to keep in mind with a result: `{code, message, values}` each."""

from collections import Counter
from fractions import Fraction
from typing import Any, Final

from plans.replay.figures import usd
from plans.replay.sums.counts import Counts

#: One part in so many is far: 5%.
_FAR: Final = 20


def caveat(code: str, message: str, **values: Any) -> dict[str, Any]:
    return {"code": code, "message": message, "values": values}


def caveats_of(counts: Counts) -> list[dict[str, Any]]:
    """What the counts alone give reason to say."""
    return [*_of_models(counts), *_of_rows(counts), *_of_names(counts)]


def _of_models(counts: Counts) -> list[dict[str, Any]]:
    found = []
    if counts.unknown_prices:
        text = f"No price is known for {_listed(counts.unknown_prices)}: {_keep(counts.no_price)} what they cost."
        found.append(caveat("unknown_price", text, models=_sorted(counts.unknown_prices)))
    if counts.over_ceiling:
        text = (
            f"{_requests(counts.too_dear)} would cost more than the route allows on {_listed(counts.over_ceiling)}; what"
            " was paid stands."
        )
        found.append(caveat("over_cost_ceiling", text, models=_sorted(counts.over_ceiling)))
    if counts.no_history:
        text = (
            f"Nothing in the window says how fast {_listed(counts.no_history)} would be:"
            f" {_keep(counts.own_latency)} their own latency."
        )
        found.append(caveat("no_latency_history", text, models=_sorted(counts.no_history)))
    if odd := _oddly_billed(counts):
        text = (
            f"What was paid is not the price of {', '.join(_billed(model, told) for model, told in odd.items())}: look at"
            " the unit of the logged costs, and whether prices of your own are missing."
        )
        found.append(caveat("paid_differs_from_price", text, models=odd))
    if counts.guessed:
        text = (
            f"The provider that would serve {_listed(counts.guessed)} is not named, or lists no price, and the others ask"
            " for different ones: that of the first by name is taken. Name a provider with a price in the route."
        )
        found.append(caveat("provider_guessed", text, models=_sorted(counts.guessed)))
    if counts.retiring:
        found.append(_retiring(counts.retiring))
    if counts.copied:
        text = (
            f"Copies of {_requests(counts.copied.total())} would go to {_listed(counts.copied)}, which get none today: what"
            " they cost is not counted."
        )
        found.append(caveat("shadow_copies", text, models=_sorted(counts.copied)))
    return found


def _oddly_billed(counts: Counts) -> dict[str, dict[str, Any]]:
    """By model that served, where many bills are off: `factor`, what was paid for one dollar by the price (None where that
    is nothing), and the `share_off` of the requests."""
    found: dict[str, dict[str, Any]] = {}
    for model, rows in sorted(counts.compared.items()):
        if counts.off[model] * _FAR > rows:
            listed = counts.listed[model]
            factor = float(f"{float(Fraction(counts.billed[model], listed)):.6g}") if listed else None
            found[model] = {"factor": factor, "share_off": float(f"{counts.off[model] / rows:.6g}")}
    return found


def _billed(model: str, told: dict[str, Any]) -> str:
    factor = told["factor"]
    if factor is None:
        return f"{model} (listed as free)"
    if abs(factor - 1) * _FAR < 1:
        return f"{model} ({told['share_off']:.0%} of the bills are off)"
    return f"{model} ({factor:.3g} times that)"


def _retiring(retiring: Counter[str]) -> dict[str, Any]:
    """Of a model that several providers retire, the first day."""
    models: dict[str, dict[str, Any]] = {}
    for name in sorted(retiring):  # "model day", so that the first day of each model comes first
        model, day = name.rsplit(" ", 1)
        models.setdefault(model, {"retires_on": day, "requests": 0})["requests"] += retiring[name]
    listed = ", ".join(f"{model} on {told['retires_on']}" for model, told in sorted(models.items()))
    text = f"The proposed routes send requests to models that retire: {listed}."
    return caveat("retiring_model", text, models=dict(sorted(models.items())))


def _of_rows(counts: Counts) -> list[dict[str, Any]]:
    found = []
    if (today := counts.current + counts.current_hits) != counts.paid and abs(today - counts.paid) * _FAR > counts.paid:
        more = "something, though nothing was paid for them"
        if counts.paid:
            more = (
                f"{abs(Fraction(today, counts.paid) - 1):.0%} {'more' if today > counts.paid else 'less'} than was paid"
            )
        text = (
            f"Under today's routes the requests would have cost {more}: they were routed otherwise then, or fell back."
        )
        found.append(caveat("current_differs_from_paid", text, paid_usd=usd(counts.paid), current_usd=usd(today)))
    if counts.refused_now or counts.refused_then:
        text = (
            f"The proposed routes refuse {_requests(counts.refused_then)}, today's {counts.refused_now:,}: nobody gets an"
            " answer to them."
        )
        found.append(caveat("refused", text, current=counts.refused_now, proposed=counts.refused_then))
    for code, count, message in (
        ("no_tokens", counts.no_tokens, "of unknown size, as of pictures or audio: what was paid stands."),
        (
            "served_as_asked",
            counts.as_asked,
            "served by another model than they asked for, and the log names no route: taken for what that name stands for.",
        ),
        (
            "who_decided",
            counts.unclear,
            "served by another model than they asked for and than today's routes would send them to: whether a route or"
            " that name did it, nobody logged, so what was paid stands.",
        ),
        ("no_baseline", counts.no_baseline, "without a cost without routing: what was paid stands in."),
        ("unpriced", counts.excluded["unpriced"], "of unknown cost left out."),
        (
            "served_from_cache",
            counts.cached_rerouted,
            "that the gateway's cache answered would go elsewhere without it: taken to be answered by it all the same.",
        ),
        (
            "cache_disabled",
            counts.cache_disabled,
            "that the gateway's cache answered would be kept from it: priced as if they had been served.",
        ),
        (
            "alike_by_size",
            counts.no_digest,
            "without a digest: for the exact cache those of one model, tag and number of input tokens are alike.",
        ),
        ("latency_of_hits", counts.cache_hits, "that the supposed caches answer keep their latency."),
        ("no_latency", counts.no_latency, "without a latency: not in the latency figures."),
    ):
        if count:
            found.append(caveat(code, f"{_requests(count)} {message}", rows=count))
    if counts.facts_from_bill:
        text = (
            f"{_requests(counts.facts_from_bill)} decided on the bill, in part or whole: the gateway's own figures are not"
            " logged."
        )
        found.append(caveat("facts_from_bill", text, rows=counts.facts_from_bill, facts=_sorted(counts.from_bill)))
    if counts.open_rows:
        text = (
            f"{_requests(counts.open_rows)} might have taken another route: conditions look at facts that the log lacks."
            " See what that could change."
        )
        found.append(caveat("unknown_facts", text, rows=counts.open_rows))
    return found


def _of_names(counts: Counts) -> list[dict[str, Any]]:
    if not counts.synthetic:
        return []
    text = f"Not measured but made up: {_listed(counts.synthetic)}."
    return [caveat("synthetic_columns", text, columns=_sorted(counts.synthetic))]


def _listed(names: Counter[str]) -> str:
    return ", ".join(sorted(names))


def _sorted(names: Counter[str]) -> dict[str, int]:
    return dict(sorted(names.items()))


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count:,} requests"


def _keep(count: int) -> str:
    return f"{_requests(count)} keep{'s' if count == 1 else ''}"
