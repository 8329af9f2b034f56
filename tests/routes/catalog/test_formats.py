"""Reading price files: the published table and a list of one's own, and whatever else somebody may send."""

import json
import random
import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from routes.catalog.formats import MAX_BYTES, MAX_ENTRIES, provider_and_model, read_prices
from routes.catalog.listed import FACTS, FIGURES, UnreadablePrices
from tests.paths import shared
from tests.routes.catalog.build import by_model, entry, litellm, own, own_list, table


def test_an_entry_of_the_published_table_is_read_as_it_is_written() -> None:
    file = litellm(
        **{
            "gpt-4o": entry(
                cache_read_input_token_cost=1.25e-6,
                input_cost_per_token_batches=1.25e-6,
                output_cost_per_token_batches=5e-6,
                input_cost_per_token_flex=1.5e-7,
                output_cost_per_token_flex=6e-7,
                cache_creation_input_token_cost=9,
                input_cost_per_token_above_200k_tokens=9,
                max_tokens=1,
                max_input_tokens=128000,
                max_output_tokens="16384",
                supports_vision=True,
                supports_audio_input=False,
                supports_function_calling=True,
                supports_reasoning=False,
                deprecation_date="2027-10-01",
                search_context_cost_per_query={"search_context_size_low": 0.03},
                supported_endpoints=["/v1/chat/completions"],
            )
        }
    )
    assert file.format == "LiteLLM price table"
    assert file.refused == ()
    price = by_model(file)["openai/gpt-4o"]
    assert [price.figures[name] for name in FIGURES] == [
        *map(Decimal, ("2.5", "10", "1.25", "1.25", "5", "0.15", "0.6"))
    ]
    assert [price.facts[name] for name in FACTS] == [128_000, 16_384, True, False, True, False, date(2027, 10, 1)]
    assert price.name == "gpt-4o"


def test_what_an_entry_leaves_out_is_no_price_and_no_statement() -> None:
    price = litellm(m=entry()).prices[0]
    assert [price.figures[name] for name in FIGURES[2:]] == [None] * 5
    assert price.facts == {}


@pytest.mark.parametrize(
    ("written", "usd"),
    [
        ("2.5e-06", "2.5"),
        ("1.5e-7", "0.15"),
        ("0.0000006", "0.6"),
        ("0", "0"),
        ("-0.0", "0"),
        ("1.3e-10", "0.00013"),
        ("1e-15", "0.000000001"),
        ("0.00971", "9710"),
        ("0.01", "10000"),
        ("5.46875e-07", "0.546875"),
        ("1.0000000000000000e-06", "1"),
    ],
)
def test_costs_are_exact_decimals_and_no_floats(written: str, usd: str) -> None:
    file = litellm(m=entry(written, written))
    assert file.prices[0].figures["input_usd_per_million"] == Decimal(usd)
    assert file.rounded == 0


@pytest.mark.parametrize(
    ("written", "usd"),
    [
        ("1.5000020000000002e-05", "15.00002"),  # a float that somebody computed; the table has dozens
        ("2.9999900000000002e-06", "2.99999"),
        ("1.0000000005e-06", "1"),  # half: to the even one
        ("1.0000000015e-06", "1.000000002"),
    ],
)
def test_more_than_nine_decimals_are_rounded_half_to_even_and_counted(written: str, usd: str) -> None:
    file = litellm(m=entry(written, "1e-6"), n=entry())
    assert file.prices[0].figures["input_usd_per_million"] == Decimal(usd)
    assert [price.rounded for price in file.prices] == [True, False]
    assert file.rounded == 1


@pytest.mark.parametrize(
    ("cost", "why"),
    [
        ("-1e-6", "input_cost_per_token is below 0"),
        ("0.0100001", "more than 10,000 USD per million tokens is another unit"),
        ("2.5", "is another unit"),
        ("1e999999", "is another unit"),
        ("1e-999999", "it is not free"),
        ("4e-16", "it is not free"),
        ("1e99999999999999999999", "is another unit"),
        ("9" * 5_000, "is another unit"),
        ('"2.5e-6"', "is a number, not '2.5e-6'"),
        ("true", "is a number, not true"),
        ("[]", "is a number, not a list"),
        ("null", "input_cost_per_token is missing"),
    ],
)
def test_a_cost_that_cannot_be_is_refused_by_name_and_the_others_are_read(cost: str, why: str) -> None:
    file = litellm(bad=entry(cost), good=entry())
    assert [price.model for price in file.prices] == ["good"]
    (refused,) = file.refused
    assert (refused.name, refused.key) == ("bad", ("openai", "bad"))
    assert why in refused.reason


@pytest.mark.parametrize("key", ["cache_read_input_token_cost", "output_cost_per_token_flex"])
def test_every_figure_is_checked(key: str) -> None:
    assert key in litellm(m=entry(**{key: -1})).refused[0].reason


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"max_input_tokens": "many"}, "max_input_tokens is a whole number from 0, not 'many'"),
        ({"max_output_tokens": 1.5}, "max_output_tokens is a whole number from 0, not 1.5"),
        ({"max_output_tokens": -1}, "whole number"),
        ({"max_output_tokens": 2**31}, "more than any model has"),
        ({"max_output_tokens": True}, "whole number"),
        ({"supports_vision": "yes"}, "supports_vision is true or false, not 'yes'"),
        ({"litellm_provider": None}, "litellm_provider is missing"),
        ({"litellm_provider": 7}, "litellm_provider is text, not 7"),
        ({"litellm_provider": "p" * 101}, "101 characters"),
    ],
)
def test_a_fact_that_cannot_be_read_refuses_its_entry(keys: dict[str, Any], why: str) -> None:
    file = litellm(bad=entry(**keys), good=entry())
    assert [price.model for price in file.prices] == ["good"]
    assert why in file.refused[0].reason


@pytest.mark.parametrize("day", ["soon", "2026-02-30", 20260228])
def test_a_day_of_retirement_that_is_none_does_not_cost_the_price(day: object) -> None:
    file = litellm(m=entry(deprecation_date=day, max_input_tokens=8192))
    (price,) = file.prices
    assert price.facts == {"max_input_tokens": 8192}
    (note,) = file.refused
    assert (note.name, note.key) == ("m", ("openai", "m"))
    assert note.reason.startswith("deprecation_date is a day like 2027-03-31, not ")
    assert note.reason.endswith(". The price was taken without it")


@pytest.mark.parametrize("limit", [8192, "8192", 8192.0])
def test_limits_are_numbers_in_any_spelling_and_0_is_a_limit_nobody_knows(limit: object) -> None:
    assert litellm(m=entry(max_input_tokens=limit)).prices[0].facts == {"max_input_tokens": 8192}
    assert litellm(m=entry(max_input_tokens=0)).prices[0].facts == {}


@pytest.mark.parametrize(
    "written",
    [
        entry(None, None, mode="image_generation", output_cost_per_image=0.04),
        entry(mode="audio_speech"),
        entry(None, None, input_cost_per_second=0.01),
        entry(None, None, tiered_pricing=[{"range": [0, 32000], "input_cost_per_token": 1e-6}]),
        entry("0", "0", tiered_pricing=[{"range": [0, 32000], "input_cost_per_token": 1e-6}]),
        entry("0.0", "0.0", input_cost_per_request=0.005),
        entry(None, None),
    ],
)
def test_what_is_not_priced_by_tokens_is_counted_and_not_refused(written: str) -> None:
    file = litellm(picture=written, m=entry())
    assert (len(file.prices), file.not_by_tokens, file.refused) == (1, 1, ())


def test_a_model_that_is_free_and_an_embedding_are_priced_by_tokens() -> None:
    found = by_model(litellm(free=entry("0", "0.0"), embed=entry("2e-8", None, mode="embedding")))
    assert found["openai/free"].figures["input_usd_per_million"] == 0
    assert found["openai/embed"].figures["output_usd_per_million"] == 0


@pytest.mark.parametrize(
    ("name", "provider", "kept"),
    [
        ("gpt-4o", "openai", ("openai", "gpt-4o")),
        ("azure/gpt-4o", "azure", ("azure", "gpt-4o")),
        ("azure/eu/gpt-4o", "azure", ("azure", "eu/gpt-4o")),
        ("groq/openai/gpt-oss-20b", "groq", ("groq", "openai/gpt-oss-20b")),
        ("openrouter/openrouter/auto", "openrouter", ("openrouter", "openrouter/auto")),
        ("gemini/gemini-2.5-pro", "gemini", ("gemini", "gemini-2.5-pro")),
        ("gemini-2.5-pro", "vertex_ai-language-models", ("vertex_ai", "gemini-2.5-pro")),
        ("vertex_ai/claude-opus-4", "vertex_ai-anthropic_models", ("vertex_ai", "claude-opus-4")),
        ("anthropic.claude-v2:1", "bedrock_converse", ("bedrock", "anthropic.claude-v2:1")),
        ("bedrock/us-east-1/m", "bedrock", ("bedrock", "us-east-1/m")),
        ("bedrock_converse/m", "bedrock_converse", ("bedrock", "m")),
        ("cohere/command-r", "cohere_chat", ("cohere", "command-r")),
        ("babbage-002", "text-completion-openai", ("openai", "babbage-002")),
        ("openai-like/m", "openai", ("openai", "openai-like/m")),
        ("fireworks_ai/accounts/fireworks/models/yi", "fireworks_ai", ("fireworks_ai", "accounts/fireworks/models/yi")),
    ],
)
def test_provider_and_model_meet_the_table(name: str, provider: str, kept: tuple[str, str]) -> None:
    assert provider_and_model(name, provider) == kept


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_names_for_a_model_the_one_that_carries_the_provider_counts(order: int) -> None:
    entries = {
        "deepseek-chat": entry("1e-6", litellm_provider="deepseek"),
        "deepseek/deepseek-chat": entry("2e-6", litellm_provider="deepseek"),
    }
    file = litellm(**dict([*entries.items()][::order]))
    assert [price.figures["input_usd_per_million"] for price in file.prices] == [2]
    (refused,) = file.refused
    assert (refused.name, refused.key) == ("deepseek-chat", ("deepseek", "deepseek-chat"))
    assert refused.reason == "deepseek/deepseek-chat is the same model at another price, and counts"


def test_two_names_at_one_price_are_counted_as_repeated() -> None:
    file = litellm(**{"m": entry(), "openai/m": entry()})
    assert (len(file.prices), file.repeated, file.refused) == (1, 1, ())


def test_aliases_are_further_names_unless_they_have_an_entry() -> None:
    file = litellm(**{"m-1": entry("1e-6", aliases=["m", "m-latest", 7]), "m": entry("3e-6", aliases="nonsense")})
    found = {model: price.figures["input_usd_per_million"] for model, price in by_model(file).items()}
    assert found == {"openai/m-1": 1, "openai/m": 3, "openai/m-latest": 1}


def test_what_describes_the_table_is_no_entry() -> None:
    file = litellm(m=entry(), fallback_generalizations='{"rules": [{"name": "n", "pattern": "p"}]}')
    assert (len(file.prices), file.refused) == (1, ())


def test_a_key_that_is_there_twice_refuses_its_entry_alone() -> None:
    raw = b'{"a": %s, "b": {"litellm_provider": "x", "litellm_provider": "y"}, "c": %s, "c": %s}'
    file = read_prices(raw % ((entry().encode(),) * 3))
    assert [price.model for price in file.prices] == ["a"]
    assert {refused.name: refused.reason for refused in file.refused} == {
        "b": "'litellm_provider' is there twice",
        "c": "this name is in the file twice",
    }


def test_the_mark_that_some_editors_put_before_a_text_is_none_of_it() -> None:
    assert len(read_prices(b"\xef\xbb\xbf" + table(m=entry())).prices) == 1


# --- A list of one's own --------------------------------------------------------------------------------------------


def test_a_list_of_one_s_own_has_the_columns_by_name() -> None:
    file = own_list(
        own(
            cached_input_usd_per_million=1.25, max_input_tokens=128000, supports_images=True, deprecated_on="2027-01-02"
        ),
        own("other", 0, 0, retires_on=None),
    )
    assert file.format == "price list"
    first, second = file.prices
    assert first.figures["cached_input_usd_per_million"] == Decimal("1.25")
    assert first.facts == {"max_input_tokens": 128_000, "supports_images": True, "retires_on": date(2027, 1, 2)}
    assert second.facts == {"retires_on": None}, "null says that there is none"


def test_the_list_may_stand_in_an_object_with_its_source() -> None:
    file = read_prices(json.dumps({"source": "us", "as_of": "2026-11-20", "prices": [own()]}).encode())
    assert [price.key for price in file.prices] == [("openai", "gpt-4o")]


@pytest.mark.parametrize(
    ("row", "name", "why"),
    [
        (7, "no. 2", "a price is an object, not 7"),
        ({}, "no. 2", "provider is missing"),
        ({"provider": "p", "model": " m"}, "p/ m", "blanks around it"),
        ({"provider": "p", "model": "m\n"}, "p/m�", "control characters"),
        ({"provider": "p", "model": "m"}, "p/m", "input_usd_per_million is missing"),
        (own("m", input_usd_per_millon=1), "openai/m", "'input_usd_per_millon' is no column"),
        (own("m", since="2026-01-01"), "openai/m", "'since' is no column"),
        (own("good", 3), "openai/good", "in the file twice; the first counts"),
        (own("m", 10_001), "openai/m", "another unit"),
        (own("m", "1"), "openai/m", "is a number, not '1'"),
    ],
)
def test_a_row_that_cannot_be_taken_is_refused_and_the_others_are_read(row: Any, name: str, why: str) -> None:
    file = own_list(own("good"), row)
    assert [price.model for price in file.prices] == ["good"]
    assert file.refused[0].name == name
    assert why in file.refused[0].reason


def test_the_shared_list_is_read_whole() -> None:
    path = shared("data/model-prices.json")
    file = read_prices(path.read_bytes())
    rows = json.loads(path.read_bytes(), parse_float=Decimal)
    assert (len(file.prices), file.refused, file.rounded) == (len(rows), (), 0)
    assert len(rows) > 1_000
    for price, row in zip(file.prices, rows, strict=True):
        for name in FIGURES:
            assert price.figures[name] == row.get(name)
        assert price.facts.get("retires_on") == (
            date.fromisoformat(row["deprecated_on"]) if "deprecated_on" in row else None
        )


# --- The same list from a spreadsheet ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "provider,model,input,cached input,output,supports_images,max_input_tokens,retires_on\n"
        "openai,gpt-4o,2.5,1.25,10,TRUE,128000,2027-01-02\n\n,,,,,,,\n",
        "\ufeffModel;Provider;Output_USD_per_million;Input_USD_per_million;cached_input_usd_per_million;supports_images;"
        'max_input_tokens;Retires\r\n"gpt-4o";openai;10;2,5;1,25;yes;128000;2027-01-02\r\n',
        "provider\tmodel\tinput\toutput\tcached_input\tsupports_images\tmax_input_tokens\tretires\n"
        "openai\tgpt-4o\t2.50\t10\t1.25\tyes\t128000\t2027-01-02",
    ],
)
def test_a_list_of_one_s_own_may_be_csv(written: str) -> None:
    (price,) = read_prices(written.encode()).prices
    assert price.key == ("openai", "gpt-4o")
    wanted = {"input": "2.5", "output": "10", "cached_input": "1.25"}
    assert {name: price.figures[f"{name}_usd_per_million"] for name in wanted} == {
        name: Decimal(usd) for name, usd in wanted.items()
    }
    assert price.facts == {"max_input_tokens": 128_000, "supports_images": True, "retires_on": date(2027, 1, 2)}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("openai,m,1", "output_usd_per_million is missing"),
        ("openai,m,$1,2", "is a number, not '\\$1'"),
        ("openai,m,-1,2", "is a number, not '-1'"),
        ('openai,m,"1,5",2,3', "'column 5' is no column"),
        (",m,1,2", "provider is missing"),
        ("openai,m,20000,2", "another unit"),
    ],
)
def test_a_line_that_cannot_be_taken_is_refused_by_its_name(row: str, why: str) -> None:
    file = read_prices(f"provider,model,input,output\nopenai,good,1,2\n{row}\n".encode())
    assert [price.model for price in file.prices] == ["good"]
    assert re.search(why, file.refused[0].reason)


# --- Whatever else somebody sends -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON: it begins with neither { nor"),
        (b"{", "not JSON"),
        (b"\x00", "not JSON"),
        (b"\xff\xfe{}", "not text in UTF-8: byte 0"),
        (b"PK\x03\x04", "packed with zip. Unpack it first"),
        (b"\x1f\x8b\x08", "packed with gzip. Unpack it first"),
        (b"vendor,model\nopenai,gpt-4o\n", r"neither { nor \[. Give the LiteLLM table .* or CSV with these columns"),
        (b'"vendor","model"\n"openai","gpt-4o"\n', r"neither { nor \["),
        (b"provider,model,cost_usd\nopenai,gpt-4o,1\n", "it begins with neither"),
        (b"provider,model,input,output,input\n", "two columns input_usd_per_million"),
        (b"provider,model,input,output\n", "There are no prices in this file"),
        (b'provider,model,input,output\nopenai,"gpt-4o\n', "no CSV that can be read"),
        (b'{"provider": "p"}\n{"provider": "q"}\n', "at line 2, as in JSON lines. Write one list: jq -s"),
        (b'[{"provider": "p",}]', "not JSON: Illegal trailing comma"),
        (b"NaN", "NaN is no number of JSON"),
        (b'[{"provider": "p", "input_usd_per_million": Infinity}]', "no number of JSON"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"a":' * 100_000, "nested deeper"),
        (b"[" * 100_000 + b"]" * 100_000, "nested deeper"),
        (b"[]", "There are no prices in this file"),
        (b"{}", "This is no price table"),
        (b"null", "This is no price table"),
        (b'"gpt-4o"', "This is no price table"),
        (b"12", "This is no price table"),
        (b'{"gpt-4o": {"max_tokens": 1}}', "This is no price table"),
        (b'{"prices": {}}', "This is no price table"),
        (b'{"schema": 1, "org_id": null, "prices": []}', "There are no prices"),
        (b" " * (MAX_BYTES + 1), "more than 8,388,608 bytes"),
        (b"[" + b"1," * MAX_ENTRIES + b"1]", "20,001 entries"),
    ],
)
def test_what_is_no_price_table_is_one_refusal_that_says_so(raw: bytes, why: str) -> None:
    with pytest.raises(UnreadablePrices, match=why) as refused:
        read_prices(raw)
    assert refused.value.code == "unreadable_prices"


def test_no_bytes_raise_anything_else() -> None:
    chance = random.Random(4)
    good = table(**{"gpt-4o": entry(max_input_tokens="8", deprecation_date="2027-01-01", aliases=["x"]), "b": entry()})
    pieces = [
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b"e99",
        b"-",
        b"\\ud800",
        b"\\u0000",
        b"null",
        b"1e-400",
        b"\xc3",
        b"true",
    ]
    read = 0
    for _ in range(3_000):
        raw = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(raw))
            raw[at : at + chance.choice((0, 1, 5))] = chance.choice(pieces)
        try:
            file = read_prices(bytes(raw))
        except UnreadablePrices:
            continue
        read += 1
        for refused in file.refused:
            refused.name.encode()
            refused.reason.encode()
    assert read > 50, "some of them must reach the entries"


def test_names_are_kept_as_text_that_a_page_can_carry() -> None:
    file = read_prices(b'{"a": %s, "\\ud800\\u0000": %s}' % (entry().encode(), entry().encode()))
    assert [price.model for price in file.prices] == ["a"]
    assert file.refused[0].name == "��"
    assert file.source("x\x00y" * 200).startswith("LiteLLM price table, x�y")
    assert len(file.source("x" * 500)) == 200
