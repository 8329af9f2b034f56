"""The gateway's configuration: a TOML file of its operator, read strictly, every mistake at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from ipaddress import IPv4Network, IPv6Network, ip_network
from math import isfinite
from typing import Any, Literal
from urllib.parse import urlsplit

from routes.engine import Timeouts
from routes.engine.errors import InvalidRoute
from routes.engine.tokens import count_tokens
from routes.gateway.llm.context import Counter
from routes.gateway.llm.providers import Provider, Providers

Environment = Mapping[str, str]
_is_listen = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+):([0-9]{1,5})").fullmatch
_is_header = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_is_instance = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}").fullmatch


class InvalidConfiguration(Exception):
    """The configuration cannot be used; `problems` says everything that is wrong, each with the place in the file."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where rules, keys, hosts and prices come from: the database, or the application's API with a gateway's key."""

    database_url: str | None = None
    api_url: str | None = None
    key: str | None = field(default=None, repr=False)
    snapshot_dir: str | None = None
    poll_seconds: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSink:
    """Where request logs go: to the API, into a folder of Parquet files, or into a table; `none` for nowhere."""

    to: Literal["api", "parquet", "database", "none"] = "none"
    folder: str | None = None
    database_url: str | None = field(default=None, repr=False)
    batch_rows: int = 1_000
    batch_seconds: float = 2.0
    queue_rows: int = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything that one gateway is told. Secrets are read from the environment, by the names that the file gives."""

    listen: tuple[str, int] = ("127.0.0.1", 8080)
    instance: str = "gateway"
    source: Source
    logs: LogSink = field(default_factory=LogSink)
    providers: Providers = field(default_factory=lambda: Providers((), {}))
    count: Counter = count_tokens
    passes_without_rules: bool = False
    takes_unknown_prices: bool = False
    breaker_failures: int = 5
    breaker_seconds: float = 30.0
    timeouts: Timeouts = field(default_factory=Timeouts)
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    forces_https: bool = False
    shows_targets: bool = False
    #: Without one, what tells of the gateway's inside is off.
    admin_token: str | None = field(default=None, repr=False)
    drain_seconds: float = 30.0


class _Reader:
    """Takes values out of a table of TOML, and notes what is wrong with them."""

    def __init__(self, raw: Any, where: str, problems: list[str], environment: Environment) -> None:
        self._raw = raw if isinstance(raw, dict) else {}
        self._where = where
        self._problems = problems
        self._environment = environment
        self._taken: set[str] = set()
        if not isinstance(raw, dict):
            self.wrong("", "is a table.")

    def wrong(self, key: str, said: str) -> None:
        place = ".".join(part for part in (self._where, key) if part) or "The file"
        self._problems.append(f"{place}: {said}")

    def value[T](self, key: str, kind: type[T], default: T, check: Callable[[T], str | None] | None = None) -> T:
        self._taken.add(key)
        if key not in self._raw:
            return default
        given = self._raw[key]
        if kind is float and isinstance(given, int) and not isinstance(given, bool):
            given = float(given)
        if not isinstance(given, kind) or (isinstance(given, bool) and kind is not bool):
            self.wrong(key, f"is {_NAMES[kind]}, not {given!r}.")
            return default
        problem = None if check is None else check(given)
        if problem is not None:
            self.wrong(key, problem)
            return default
        return given

    def table(self, key: str) -> _Reader:
        self._taken.add(key)
        where = f"{self._where}.{key}" if self._where else key
        return _Reader(self._raw.get(key, {}), where, self._problems, self._environment)

    def tables(self, key: str) -> list[_Reader]:
        self._taken.add(key)
        rows = self._raw.get(key, [])
        if not isinstance(rows, list):
            self.wrong(key, "is a list of tables, each under a heading of its own in double brackets.")
            rows = []
        return [_Reader(row, f"{key}[{index}]", self._problems, self._environment) for index, row in enumerate(rows)]

    def texts(self, key: str) -> list[str] | None:
        self._taken.add(key)
        given = self._raw.get(key)
        if given is None:
            return None
        if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
            self.wrong(key, "is a list of texts.")
            return None
        return given

    def secret(self, key: str) -> str | None:
        """What the environment holds under the name that is given here. The secret itself is never in the file."""
        name = self.value(key, str, "")
        if not name:
            return None
        if not (secret := self._environment.get(name, "")):
            self.wrong(key, f"names {name}, which the environment does not have.")
            return None
        if not secret.isascii() or not secret.isprintable() or " " in secret:
            self.wrong(key, f"names {name}, whose value is no key: it has spaces, or other than visible ASCII.")
            return None
        return secret

    def mapping(self) -> dict[str, str]:
        for key, value in self._raw.items():
            if not isinstance(value, str):
                self.wrong(key, "is text.")
        return {key: value for key, value in self._raw.items() if isinstance(value, str)}

    def end(self) -> None:
        for key in self._raw:
            if key not in self._taken:
                self.wrong(key, f"is not known here. Known: {', '.join(sorted(self._taken))}.")


_NAMES: dict[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def read_configuration(data: bytes, environment: Environment, **given: Any) -> Configuration:
    """The configuration of a TOML file; what is `given` by name (`database_url`, `api_url`, `listen`) wins over the file.
    Raises `InvalidConfiguration`."""
    try:
        raw = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfiguration([f"The file is not TOML: {error}"]) from None
    problems: list[str] = []
    top = _Reader(raw, "", problems, environment)
    timeouts = _timeouts(top.table("timeouts"))
    llm = top.table("llm")
    built = Configuration(
        listen=_listen(given.get("listen") or top.value("listen", str, "127.0.0.1:8080"), top),
        instance=top.value("instance", str, "gateway", _instance_problem),
        source=_source(top.table("source"), given),
        logs=_logs(top.table("logs")),
        providers=_providers(top, timeouts),
        count=_counter(llm),
        passes_without_rules=llm.value("on_no_rules", str, "refuse", _one_of("refuse", "pass")) == "pass",
        takes_unknown_prices=llm.value("on_unknown_price", str, "refuse", _one_of("refuse", "pass")) == "pass",
        breaker_failures=llm.value("breaker_failures", int, 5, _at_least(1)),
        breaker_seconds=llm.value("breaker_seconds", float, 30.0, _seconds),
        timeouts=timeouts,
        trusted_proxies=_networks(top, "trusted_proxies"),
        forces_https=top.value("forces_https", bool, False),
        shows_targets=top.value("shows_targets", bool, False),
        admin_token=top.secret("admin_token_env"),
        drain_seconds=top.value("drain_seconds", float, 30.0, _seconds),
    )
    llm.end()
    if built.logs.to == "api" and built.source.api_url is None:
        top.wrong("logs.to", "is api, so source.api_url has to say where that is.")
    top._taken.add("listen")
    top.end()
    if problems:
        raise InvalidConfiguration(problems)
    return built


def _listen(text: str, top: _Reader) -> tuple[str, int]:
    found = _is_listen(text)
    if found is None or not 0 <= int(found[2]) <= 65_535:
        top.wrong("listen", f"is an address and a port, such as 127.0.0.1:8080, not {text!r}.")
        return "127.0.0.1", 8080
    return found[1].strip("[]"), int(found[2])


def _source(table: _Reader, given: Mapping[str, Any]) -> Source:
    database_url = table.value("database_url", str, "") or None
    if name := table.value("database_url_env", str, ""):
        database_url = table._environment.get(name) or None
        if database_url is None:
            table.wrong("database_url_env", f"names {name}, which the environment does not have.")
    api_url = table.value("api_url", str, "", _url_problem) or None
    key = table.secret("key_env")
    if given.get("database_url"):
        database_url, api_url = given["database_url"], given.get("api_url") or api_url
    elif given.get("api_url"):
        database_url, api_url = None, given["api_url"]
    if database_url is None and api_url is None:
        table.wrong("", "says where rules come from: database_url, or api_url with key_env.")
    if api_url is not None and key is None:
        table.wrong("key_env", "names the variable with a gateway's key, which api_url needs.")
    source = Source(
        database_url=database_url,
        api_url=api_url,
        key=key,
        snapshot_dir=table.value("snapshot_dir", str, "") or None,
        poll_seconds=table.value("poll_seconds", float, 1.0, _seconds),
    )
    table.end()
    return source


def _logs(table: _Reader) -> LogSink:
    sink = LogSink(
        to=table.value("to", str, "none", _one_of("api", "parquet", "database", "none")),  # type: ignore[arg-type]
        folder=table.value("folder", str, "") or None,
        database_url=table.value("database_url", str, "") or table.secret("database_url_env"),
        batch_rows=table.value("batch_rows", int, 1_000, _at_least(1)),
        batch_seconds=table.value("batch_seconds", float, 2.0, _seconds),
        queue_rows=table.value("queue_rows", int, 100_000, _at_least(1)),
    )
    if sink.to == "parquet" and sink.folder is None:
        table.wrong("folder", "says where the Parquet files go.")
    if sink.to == "database" and sink.database_url is None:
        table.wrong("database_url", "says into which database: sqlite:///file or postgresql://….")
    table.end()
    return sink


def _providers(top: _Reader, defaults: Timeouts) -> Providers:
    found: list[Provider] = []
    for table in top.tables("providers"):
        name = table.value("name", str, "")
        if not name:
            table.wrong("name", "is missing.")
        base_url = table.value("base_url", str, "", _url_problem)
        if not base_url:
            table.wrong(
                "base_url", "is missing, or is none: where the provider's API is, such as https://api.openai.com/v1."
            )
        header = table.value(
            "key_header", str, "authorization", lambda text: None if _is_header(text) else "is no header."
        )
        organizations = table.texts("organizations")
        timeouts = _timeouts(table.table("timeouts"), defaults)
        found.append(
            Provider(
                name=name,
                base_url=base_url,
                key=table.secret("key_env"),
                key_header=header,
                key_prefix=table.value("key_prefix", str, "Bearer " if header.lower() == "authorization" else ""),
                organizations=None if organizations is None else frozenset(organizations),
                stream_usage=table.value("stream_usage", bool, False),
                timeouts=timeouts,
            )
        )
        table.end()
    models = top.table("models").mapping()
    try:
        return Providers(found, models)
    except ValueError as error:
        top.wrong("providers", str(error))
        return Providers((), {})


def _timeouts(table: _Reader, defaults: Timeouts | None = None) -> Timeouts:
    given = {} if defaults is None else defaults.to_dict()
    for key in ("connect_seconds", "first_byte_seconds", "idle_seconds"):
        if seconds := table.value(key, float, 0.0):
            given[key] = seconds
    table.end()
    try:
        return Timeouts(**given)
    except InvalidRoute as error:
        for issue in error.issues:
            table.wrong(issue["path"], issue["message"])
        return Timeouts()


def _counter(table: _Reader) -> Counter:
    """The function `package.module:name`, which takes a body and answers its tokens."""
    text = table.value("token_counter", str, "")
    if not text:
        return count_tokens
    module, _, name = text.partition(":")
    try:
        found: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        table.wrong("token_counter", f"is package.module:function; {text!r} cannot be imported: {error}")
        return count_tokens
    if not callable(found):
        table.wrong("token_counter", f"{text!r} is no function.")
        return count_tokens
    counter: Counter = found
    return counter


def _networks(top: _Reader, key: str) -> tuple[IPv4Network | IPv6Network, ...]:
    found = []
    for text in top.texts(key) or ():
        try:
            found.append(ip_network(text))
        except ValueError as error:
            top.wrong(key, f"holds networks such as 10.0.0.0/8: {error}.")
    return tuple(found)


def _url_problem(text: str) -> str | None:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "is no URL."
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "is an absolute http or https URL."
    if parts.username is not None or parts.query or parts.fragment or not text.isascii() or not text.isprintable():
        return "has no password, no query and no fragment, and is visible ASCII."
    return None


def _instance_problem(text: str) -> str | None:
    return None if _is_instance(text) else "has 1 to 100 letters, digits and ._:- and begins with a letter or digit."


def _one_of(*known: str) -> Callable[[str], str | None]:
    return lambda text: None if text in known else f"is one of {', '.join(known)}, not {text!r}."


def _at_least(least: int) -> Callable[[int], str | None]:
    return lambda number: None if number >= least else f"is at least {least}."


def _seconds(number: float) -> str | None:
    return None if isfinite(number) and 0 < number <= 3_600 else "is above 0 and at most 3600 seconds."
