"""The operator's file: everything that it may say, and every mistake at once, in words that say what to do."""

import subprocess
import sys
from ipaddress import ip_network
from typing import Any

import pytest

from routes.engine import Timeouts
from routes.engine.tokens import count_tokens
from routes.gateway.config import Configuration, InvalidConfiguration, read_configuration
from tests.paths import ROOT

ENVIRONMENT = {
    "OPENAI_API_KEY": "sk-1",
    "GATEWAY_KEY": "rk_gateway_a_1",
    "TOKEN": "let-me-in",
    "URL": "postgresql://x/y",
    "SPACED": "a b",
}
FULL = b"""
listen = "[::1]:9000"
instance = "eu-1"
trusted_proxies = ["10.0.0.0/8", "fd00::/8"]
forces_https = true
shows_targets = true
admin_token_env = "TOKEN"
drain_seconds = 5

[source]
api_url = "https://admin.example/base"
key_env = "GATEWAY_KEY"
snapshot_dir = "/var/lib/gateway"
poll_seconds = 0.5

[logs]
to = "api"
batch_rows = 10
batch_seconds = 0.5
queue_rows = 50

[timeouts]
connect_seconds = 1
idle_seconds = 90.5

[llm]
on_no_rules = "pass"
on_unknown_price = "pass"
breaker_failures = 2
breaker_seconds = 7
token_counter = "tests.routes.gateway.test_config:one_token"

[[providers]]
name = "openai"
base_url = "https://api.openai.com/v1"
key_env = "OPENAI_API_KEY"
timeouts = { first_byte_seconds = 60 }

[[providers]]
name = "azure"
base_url = "https://azure.example/openai"
key_env = "OPENAI_API_KEY"
key_header = "Api-Key"
organizations = ["acme"]

[models]
"gpt-*-eu" = "azure"
"gpt-*" = "openai"
"""
SMALL = b'[source]\ndatabase_url = "sqlite:///x"\n'


def one_token(body: dict[str, Any]) -> int:
    return 1


def read(data: bytes, **given: Any) -> Configuration:
    return read_configuration(data, ENVIRONMENT, **given)


def problems(data: bytes, **given: Any) -> list[str]:
    with pytest.raises(InvalidConfiguration) as caught:
        read(data, **given)
    return caught.value.problems


def test_everything_can_be_said() -> None:
    read_ = read(FULL)
    assert (read_.listen, read_.instance, read_.drain_seconds) == (("::1", 9000), "eu-1", 5.0)
    assert read_.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert (read_.forces_https, read_.shows_targets, read_.admin_token) == (True, True, "let-me-in")
    assert (read_.source.api_url, read_.source.key) == ("https://admin.example/base", "rk_gateway_a_1")
    assert (read_.source.snapshot_dir, read_.source.poll_seconds) == ("/var/lib/gateway", 0.5)
    assert (read_.logs.to, read_.logs.batch_rows, read_.logs.queue_rows) == ("api", 10, 50)
    assert read_.timeouts == Timeouts(connect_seconds=1.0, idle_seconds=90.5)
    assert (read_.passes_without_rules, read_.takes_unknown_prices) == (True, True)
    assert (read_.breaker_failures, read_.breaker_seconds, read_.count) == (2, 7.0, one_token)
    openai, azure = read_.providers.by_name.values()
    assert (openai.key, openai.timeouts) == (
        "sk-1",
        Timeouts(connect_seconds=1.0, first_byte_seconds=60.0, idle_seconds=90.5),
    )
    assert azure.key_headers() == [(b"api-key", b"sk-1")]
    assert azure.organizations == frozenset({"acme"})
    assert read_.providers.models == {"gpt-*-eu": "azure", "gpt-*": "openai"}


def test_little_has_to_be_said() -> None:
    read_ = read(SMALL)
    assert (read_.listen, read_.logs.to, read_.count, read_.admin_token) == (
        ("127.0.0.1", 8080),
        "none",
        count_tokens,
        None,
    )
    assert not read_.passes_without_rules


def test_no_secret_stands_in_a_printed_configuration() -> None:
    printed = repr(read(FULL))
    assert not any(secret in printed for secret in ("sk-1", "rk_gateway_a_1", "let-me-in"))


def test_what_the_command_line_says_wins() -> None:
    assert read(FULL, listen="127.0.0.1:1").listen == ("127.0.0.1", 1)
    given = read(b"", database_url="postgresql://a/b")
    assert given.source.database_url == "postgresql://a/b"
    assert read(b'[source]\ndatabase_url_env = "URL"').source.database_url == "postgresql://x/y"


@pytest.mark.parametrize(
    ("data", "place", "said"),
    [
        (b"", "source", "database_url, or api_url with key_env"),
        (b'[source]\napi_url = "https://a.example"', "source.key_env", "names the variable"),
        (b'[source]\napi_url = "a.example"\nkey_env = "GATEWAY_KEY"', "source.api_url", "absolute http or https"),
        (
            b'[source]\ndatabase_url_env = "NOPE"',
            "source.database_url_env",
            "NOPE, which the environment does not have",
        ),
        (SMALL + b"poll_seconds = 0", "source.poll_seconds", "above 0"),
        (SMALL + b"poll_seconds = true", "source.poll_seconds", "a number"),
        (SMALL + b"pol_seconds = 1", "source.pol_seconds", "not known here. Known: api_url"),
        (b'lisen = "x"\n' + SMALL, "lisen", "not known here"),
        (b'listen = "8080"\n' + SMALL, "listen", "127.0.0.1:8080"),
        (b'listen = "a:99999"\n' + SMALL, "listen", "127.0.0.1:8080"),
        (b'instance = "a b"\n' + SMALL, "instance", "letters, digits"),
        (b'trusted_proxies = ["10.0.0.1/8"]\n' + SMALL, "trusted_proxies", "host bits"),
        (b'trusted_proxies = "10.0.0.0/8"\n' + SMALL, "trusted_proxies", "list of texts"),
        (b'admin_token_env = "NOPE"\n' + SMALL, "admin_token_env", "NOPE, which the environment does not have"),
        (b'admin_token_env = "SPACED"\n' + SMALL, "admin_token_env", "no key"),
        (SMALL + b'[logs]\nto = "kafka"', "logs.to", "is one of api, parquet, database, none"),
        (SMALL + b'[logs]\nto = "api"', "logs.to", "source.api_url"),
        (SMALL + b'[logs]\nto = "parquet"', "logs.folder", "says where"),
        (SMALL + b'[logs]\nto = "database"', "logs.database_url", "says into which"),
        (SMALL + b'[llm]\non_no_rules = "maybe"', "llm.on_no_rules", "refuse, pass"),
        (SMALL + b"[llm]\nbreaker_failures = 0", "llm.breaker_failures", "at least 1"),
        (SMALL + b'[llm]\ntoken_counter = "nowhere:x"', "llm.token_counter", "cannot be imported"),
        (SMALL + b'[llm]\ntoken_counter = "json:__name__"', "llm.token_counter", "no function"),
        (SMALL + b"[timeouts]\nconnect_seconds = 9999", "timeouts.connect_seconds", "at most 3,600"),
        (SMALL + b"[[providers]]\n", "providers[0].name", "missing"),
        (SMALL + b'[[providers]]\nname="a"', "providers[0].base_url", "missing"),
        (SMALL + b'[[providers]]\nname="a"\nbase_url="https://u:p@a.example"', "providers[0].base_url", "no password"),
        (
            SMALL + b'[[providers]]\nname="a"\nbase_url="https://a.example"\nkey="sk"',
            "providers[0].key",
            "not known here",
        ),
        (
            SMALL + b'[[providers]]\nname="a"\nbase_url="https://a.example"\nkey_header="a b"',
            "providers[0].key_header",
            "no header",
        ),
        (SMALL + b'[models]\n"gpt-*" = "openai"', "providers", "not configured: openai"),
        (SMALL + b'[models]\n"gpt-*" = 5', "models.gpt-*", "text"),
        (b"providers = 5\n" + SMALL, "providers", "list of tables"),
        (b"source = 5", "source", "is a table"),
        (b"listen = [", "The file is not TOML", ""),
        (b"\xff", "The file is not TOML", ""),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_to_do(data: bytes, place: str, said: str) -> None:
    found = problems(data)
    assert any(problem.startswith(f"{place}:") and said in problem for problem in found), found


def test_all_mistakes_are_told_at_once() -> None:
    found = problems(b'listen = "x"\nnope = 1\n[llm]\non_no_rules = "x"\n[logs]\nto = "y"\n')
    assert {problem.partition(":")[0] for problem in found} == {
        "listen",
        "nope",
        "llm.on_no_rules",
        "logs.to",
        "source",
    }


def test_what_a_gateway_says_that_it_can_load_is_not_loaded_for_it() -> None:
    """An import in the event loop would stop every request for a tenth of a second."""
    code = "import sys; from routes.gateway.app import _extras; print(_extras(), 'httpx' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "('postgres', 'http', 'keywords', 'regex') False"
