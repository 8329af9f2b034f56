"""Reading price tables from files: bytes in, prices and refusals out. Pure: no database, no settings.

Two forms are read: the public LiteLLM table (`model_prices_and_context_window.json`: an object of model names, USD per
token) and a list of our own (USD per million tokens, by the names of the columns), as JSON or as CSV. A bad entry
is refused by its name and the others are read; only what is no price table at all is refused whole.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from hashlib import sha256
from typing import Any

from routes.catalog.listed import (
    FACTS,
    FIGURES,
    Key,
    ListedPrice,
    PriceList,
    Refused,
    RefusedPrice,
    UnreadablePrices,
    as_text,
    facts_of,
    figures_of,
    printable,
    text,
)  # fmt: skip
from routes.catalog.tabular import csv_rows

#: The published table has 2 MB.
MAX_BYTES = 8 * 1024 * 1024
MAX_ENTRIES = 20_000

#: Keys of the LiteLLM table, in USD per token. There are no columns for what it says of cache writes, priority, regions
#: and long prompts; its `max_tokens` is left alone, because it means the output in some entries and the input in others.
_LITELLM_FIGURES = {
    "input_usd_per_million": "input_cost_per_token",
    "output_usd_per_million": "output_cost_per_token",
    "cached_input_usd_per_million": "cache_read_input_token_cost",
    "batch_input_usd_per_million": "input_cost_per_token_batches",
    "batch_output_usd_per_million": "output_cost_per_token_batches",
    "flex_input_usd_per_million": "input_cost_per_token_flex",
    "flex_output_usd_per_million": "output_cost_per_token_flex",
}
_LITELLM_FACTS = {
    "max_input_tokens": "max_input_tokens",
    "max_output_tokens": "max_output_tokens",
    "supports_images": "supports_vision",
    "supports_audio": "supports_audio_input",
    "supports_tools": "supports_function_calling",
    "supports_reasoning": "supports_reasoning",
    "retires_on": "deprecation_date",
}
#: Entries of the LiteLLM table that describe the table.
_NO_MODELS = ("sample_spec", "fallback_generalizations")
#: Requests that are billed by the tokens of their text. Of the other modes images, seconds or pages are billed as well.
_TOKEN_MODES = (None, "chat", "completion", "responses", "embedding")
#: Names under which LiteLLM reaches a provider by another of its interfaces.
_SAME_PROVIDER = {
    "bedrock_converse": "bedrock",
    "cohere_chat": "cohere",
    "text-completion-openai": "openai",
    "azure_text": "azure",
}
_without_models = partial(re.compile(r"-[a-z_-]*models\Z").sub, "")
#: How files begin that are to be unpacked first.
_PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip"}
_WANTED = (
    "the LiteLLM table as it is published (model_prices_and_context_window.json), or a JSON list of objects with"
    " provider, model, input_usd_per_million and output_usd_per_million, or CSV with these columns"
)
_OWN = ("provider", "model", *FIGURES, *FACTS, "deprecated_on")


class _NotByTokens(Exception):
    """The entry is billed by something else."""


#: A price, its rank among entries for the same model, and what of the entry was not taken, and why.
_Read = tuple[ListedPrice, int, str]
#: What an entry is called, and how to read it.
_Entry = tuple[str, Callable[[], _Read]]


def read_prices(raw: bytes) -> PriceList:
    """The prices of a file, in its order.

    Of a LiteLLM table the keys named above are read, `sample_spec` is skipped, and `aliases` are further names of an
    entry; of one whose `deprecation_date` is no day the price is taken, and the day stands among what is refused.
    `provider_and_model` says under which names the prices are kept. Where several entries are the same model,
    the one counts whose name carries the provider, as in LiteLLM itself, then the first. A list of our own is a JSON
    list of objects (or an object with that list as `prices`): `provider`, `model`, `input_usd_per_million` and
    `output_usd_per_million`, and what else of `FIGURES` and `FACTS` is known; `deprecated_on` is `retires_on`.

    Numbers are read as the decimals that are written there, never as floats. Raises `UnreadablePrices` and nothing
    else, whatever the bytes.
    """
    value = _parsed(raw)
    if isinstance(value, dict) and isinstance(value.get("prices"), list):
        value = value["prices"]
    if isinstance(value, list):
        form, entries = "price list", _own_entries(value)
    elif isinstance(value, dict) and any(isinstance(e, dict) and "litellm_provider" in e for e in value.values()):
        form, entries = "LiteLLM price table", _litellm_entries(value)
    else:
        raise UnreadablePrices(f"This is no price table. Give {_WANTED}.")
    if len(value) > MAX_ENTRIES:
        raise UnreadablePrices(f"The file has {len(value):,} entries; at most {MAX_ENTRIES:,} are read. Split it.")

    found: dict[Key, tuple[ListedPrice, int]] = {}
    refused: list[RefusedPrice] = []
    not_by_tokens = repeated = 0
    for name, read in entries:
        try:
            price, rank, not_taken = read()
        except _NotByTokens:
            not_by_tokens += 1
            continue
        except Refused as error:
            refused.append(RefusedPrice(printable(name), str(error), error.key))
            continue
        if not_taken:
            refused.append(RefusedPrice(printable(name), f"{not_taken}. The price was taken without it", price.key))
        other, other_rank = found.get(price.key, (None, rank))
        if other is None:
            found[price.key] = price, rank
            continue
        loser, winner = (other, price) if rank > other_rank else (price, other)
        found[price.key] = winner, max(rank, other_rank)
        if loser.figures == winner.figures:
            repeated += 1
        else:
            reason = f"{printable(winner.name)} is the same model at another price, and counts"
            refused.append(RefusedPrice(printable(loser.name), reason, loser.key))
    if not found and not refused and not not_by_tokens:
        raise UnreadablePrices("There are no prices in this file.")
    return PriceList(
        format=form,
        digest=f"sha256:{sha256(raw).hexdigest()}",
        prices=tuple(price for price, _ in found.values()),
        refused=tuple(refused),
        not_by_tokens=not_by_tokens,
        repeated=repeated,
    )


def provider_and_model(name: str, litellm_provider: str) -> Key:
    """Under which provider and model an entry of the LiteLLM table is kept.

    The provider is `litellm_provider`, where several names of one provider are one: `bedrock_converse` is `bedrock`,
    `cohere_chat` is `cohere`, `text-completion-openai` is `openai`, `azure_text` is `azure`, and a suffix that ends in
    `models` is dropped (`vertex_ai-language-models`). The model is the name without that provider in front, which is
    taken away once: `azure/eu/gpt-4o` is `eu/gpt-4o` of azure, `groq/openai/gpt-oss-20b` is `openai/gpt-oss-20b` of groq.
    """
    provider = _SAME_PROVIDER.get(litellm_provider) or _without_models(litellm_provider)
    for prefix in (litellm_provider, provider):
        if name.startswith(f"{prefix}/"):
            return provider, name[len(prefix) + 1 :]
    return provider, name


# --- Entries --------------------------------------------------------------------------------------------------------


def _litellm_entries(table: dict[str, Any]) -> Iterator[_Entry]:
    """Every entry under its name, and after all of them those of its aliases that have none of their own."""
    twice = _twice(table)
    aliases: dict[str, str] = {}
    for name, entry in table.items():
        if name in _NO_MODELS:
            continue
        yield name, partial(_litellm_price, name, entry, name in twice)
        listed = entry.get("aliases") if isinstance(entry, dict) else None
        for alias in listed if isinstance(listed, list) else ():
            if isinstance(alias, str) and alias not in table and len(aliases) < MAX_ENTRIES:
                aliases.setdefault(alias, name)
    for alias, name in aliases.items():
        yield alias, partial(_litellm_price, alias, table[name], name in twice)


def _litellm_price(name: str, entry: object, is_twice: bool) -> _Read:
    if is_twice:
        raise Refused("this name is in the file twice")
    if not isinstance(entry, dict):
        raise Refused(f"an entry is an object, not {as_text(entry)}")
    if twice := _twice(entry):
        raise Refused(f"{as_text(min(twice))} is there twice")
    own_provider = text("litellm_provider", entry.get("litellm_provider"), 100)
    provider, model = provider_and_model(name, own_provider)
    key = text("the provider", provider, 100), text("the name of the model", model, 200)
    mode = entry.get("mode")
    if mode not in _TOKEN_MODES:
        raise _NotByTokens
    costs = {ours: entry.get(theirs) for ours, theirs in _LITELLM_FIGURES.items()}
    input_cost, output_cost = costs[FIGURES[0]], costs[FIGURES[1]]
    if input_cost is None and output_cost is None:
        raise _NotByTokens
    if mode == "embedding" and output_cost is None:
        costs[FIGURES[1]] = output_cost = Decimal(0)  # nothing is put out that could be billed
    if not input_cost and not output_cost and _costs_otherwise(entry):
        raise _NotByTokens
    try:
        for ours in FIGURES[:2]:
            if costs[ours] is None:
                raise Refused(f"{_LITELLM_FIGURES[ours]} is missing")
        figures, rounded = figures_of(costs, shift=6, names=_LITELLM_FIGURES)
        said = {ours: entry.get(theirs) for ours, theirs in _LITELLM_FACTS.items()}
        not_taken = ""
        try:
            facts_of({"retires_on": said["retires_on"]}, _LITELLM_FACTS)
        except Refused as error:
            # People write this day by hand, in many ways; no cost depends on it.
            said["retires_on"], not_taken = None, str(error)
        facts = facts_of(said, _LITELLM_FACTS)
    except Refused as error:
        raise Refused(str(error), key) from None
    # None says nothing here: an entry leaves out what is false as well as what is not known.
    facts = {fact: value for fact, value in facts.items() if value is not None}
    price = ListedPrice(name=name, provider=provider, model=model, figures=figures, facts=facts, rounded=rounded)
    return price, int(model != name), not_taken


def _costs_otherwise(entry: dict[str, Any]) -> bool:
    """Whether something else than tokens has a price, so that an entry whose tokens cost nothing is not free."""
    return bool(entry.get("tiered_pricing")) or any(
        "cost_per" in key and isinstance(value, Decimal) and value != 0 for key, value in entry.items()
    )


def _own_entries(rows: list[Any]) -> Iterator[_Entry]:
    seen: set[Key] = set()
    for number, row in enumerate(rows, 1):
        named = isinstance(row, dict) and isinstance(row.get("provider"), str) and isinstance(row.get("model"), str)
        yield f"{row['provider']}/{row['model']}" if named else f"no. {number}", partial(_own_price, row, seen)


def _own_price(row: object, seen: set[Key]) -> _Read:
    if not isinstance(row, dict):
        raise Refused(f"a price is an object, not {as_text(row)}")
    if twice := _twice(row):
        raise Refused(f"{as_text(min(twice))} is there twice")
    key = text("provider", row.get("provider"), 100), text("model", row.get("model"), 200)
    try:
        if unknown := sorted(set(row) - set(_OWN)):
            raise Refused(f"{as_text(unknown[0])} is no column of a price. There are {', '.join(_OWN)}")
        if key in seen:
            raise Refused("this model is in the file twice; the first counts")
        seen.add(key)
        for column in FIGURES[:2]:
            if row.get(column) is None:
                raise Refused(f"{column} is missing")
        figures, rounded = figures_of({column: row.get(column) for column in FIGURES})
        said = {"retires_on" if column == "deprecated_on" else column: value for column, value in row.items()}
        facts = facts_of({fact: said[fact] for fact in FACTS if fact in said})
    except Refused as error:
        raise Refused(str(error), key) from None
    price = ListedPrice(
        name="/".join(key), provider=key[0], model=key[1], figures=figures, facts=facts, rounded=rounded
    )
    return price, 0, ""


# --- JSON -----------------------------------------------------------------------------------------------------------


class _Repeating(dict[str, Any]):
    """An object in which names are there more than once, which JSON leaves open: whoever looks at it refuses it."""

    twice: frozenset[str]


def _twice(value: dict[str, Any]) -> frozenset[str]:
    return value.twice if isinstance(value, _Repeating) else frozenset()


def _parsed(raw: bytes) -> Any:
    if len(raw) > MAX_BYTES:
        raise UnreadablePrices(f"The file has more than {MAX_BYTES:,} bytes, which no price table has.")
    for magic, packer in _PACKED.items():
        if raw.startswith(magic):
            raise UnreadablePrices(f"The file is packed with {packer}. Unpack it first.")
    try:
        written = raw.decode("utf-8-sig")
        if written.lstrip()[:1] not in ("{", "[") and (rows := csv_rows(written)) is not None:
            return rows
        return json.loads(
            written,
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_number,
            parse_int=_number,
        )
    except RecursionError:
        raise UnreadablePrices("The file is nested deeper than any price table.") from None
    except UnicodeDecodeError as error:
        raise UnreadablePrices(f"The file is not text in UTF-8: byte {error.start:,} is none of it.") from None
    except ValueError as error:
        raise UnreadablePrices(_not_json(error)) from None


def _not_json(error: ValueError) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return f"The file is not JSON: {error}"
    if error.doc.lstrip()[:1] not in ("{", "["):
        return f"The file is not JSON: it begins with neither {{ nor [. Give {_WANTED}."
    if error.msg == "Extra data":
        return (
            f"More follows after the first JSON value, at line {error.lineno:,}, as in JSON lines. Write one list:"
            " jq -s . FILE"
        )
    return f"The file is not JSON: {error}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    repeating = _Repeating(members)
    repeating.twice = frozenset(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    return repeating


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _number(written: str) -> Decimal:
    """The number as it is written; one that nobody computes with is infinite, and refused where it is looked at."""
    try:
        return Decimal(written) if len(written) <= 100 else Decimal("Infinity")
    except ArithmeticError:
        return Decimal("Infinity")
