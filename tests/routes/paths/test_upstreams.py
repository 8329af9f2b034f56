"""Where targets lead: names are looked up for a warning, within two seconds, and never refuse anything."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from routes.engine.egress import PrivateUpstream
from routes.orgs import lookup as lookups
from routes.orgs.lookup import Lookup, addresses_of, host_and_port
from routes.paths.upstreams import findings, names_in, targets_refused

KNOWN = {
    "public.example": ["93.184.216.34"],
    "inside.example": ["10.1.2.3"],
    "both.example": ["93.184.216.34", "127.0.0.1"],
    "nowhere.example": [],
}


def service(*targets: str) -> dict[str, Any]:
    return {"slug": "s", "paths": [{"pattern": f"/{n}", "target_url": target} for n, target in enumerate(targets)]}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "addresses_of", KNOWN.__getitem__)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    go_on = threading.Event()

    def wait(name: str) -> list[str]:
        if name.startswith("slow"):
            go_on.wait(60)
        return ["93.184.216.34"]

    monkeypatch.setattr(lookups, "addresses_of", wait)
    yield go_on
    go_on.set()


def codes(*targets: str, allowed: Any = ()) -> dict[str, str]:
    made = service(*targets)
    found = findings(Lookup(names_in(made["paths"])), made, allowed)
    assert {each["severity"] for each in found} <= {"warning"}
    return {each["path"]: each["code"] for each in found}


@pytest.mark.usefixtures("names")
def test_a_name_that_would_not_be_asked_or_leads_nowhere_is_a_warning() -> None:
    targets = [f"https://{name}/x" for name in KNOWN]
    assert codes(*targets) == {
        "paths[1].target_url": "upstream_forbidden",
        "paths[2].target_url": "upstream_forbidden",
        "paths[3].target_url": "upstream_unknown",
    }


@pytest.mark.usefixtures("names")
def test_a_private_upstream_is_judged_with_its_port() -> None:
    allowed = (PrivateUpstream("10.1.0.0/16", 8080),)
    assert codes("http://inside.example:8080", allowed=allowed) == {}
    assert codes("http://inside.example", allowed=allowed) == {"paths[0].target_url": "upstream_forbidden"}


def test_a_name_without_an_answer_in_time_is_not_known_and_does_not_hold_up_the_others(
    hanging: threading.Event,
) -> None:
    made = service("https://slow.example", "https://quick.example")
    lookup = Lookup(names_in(made["paths"]), seconds=0.05)
    assert [each["code"] for each in findings(lookup, made, ())] == ["upstream_not_looked_up"]
    hanging.set()


def test_lookups_that_hang_do_not_pile_up(hanging: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_free", threading.BoundedSemaphore(3))
    before = threading.active_count()
    for _ in range(5):
        Lookup([f"slow{number}.example" for number in range(10)], seconds=0.01)
    assert threading.active_count() <= before + 3
    hanging.set()


def test_an_answer_that_comes_too_late_changes_nothing(hanging: threading.Event) -> None:
    lookup = Lookup(["slow.example"], seconds=0.01)
    assert lookup.addresses == {}
    hanging.set()
    for thread in threading.enumerate():
        if thread.name.endswith("(_look)"):
            thread.join()
    assert lookup.addresses == {}


def test_addresses_are_no_names_and_what_is_no_target_is_left_out() -> None:
    targets = [
        "https://a.example/x",
        "http://127.1",
        "http://[::1]:8",
        "https://A.example:99",
        "x",
        "http://[",
        "http://a:x",
    ]
    paths: list[Any] = [*service(*targets)["paths"], None, {}, {"target_url": 5}]
    assert names_in(paths) == ["a.example"]
    assert names_in(None) == names_in({}) == []


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("http://a.example", ("a.example", 80)),
        ("https://a.example/x?y", ("a.example", 443)),
        ("https://A.example:8443", ("a.example", 8443)),
        ("http://[::1]:9/", ("::1", 9)),
        ("http://", None),
        ("http://a:99999", None),
    ],
)
def test_the_place_of_a_target_is_its_host_and_port(target: str, place: Any) -> None:
    assert host_and_port(target) == place


def test_addresses_that_were_there_before_are_not_refused_again() -> None:
    made = service("http://127.0.0.1", "http://10.0.0.1")
    assert [issue["path"] for issue in targets_refused(made, ())] == ["paths[0].target_url", "paths[1].target_url"]
    before = service("http://10.0.0.1")
    assert [issue["path"] for issue in targets_refused(made, (), before=before)] == ["paths[0].target_url"]


@pytest.mark.parametrize("name", ["", "a" * 300, "no such name.invalid", "xn--", "\udcff"])
def test_what_the_resolver_refuses_is_a_name_that_leads_nowhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError if name.isascii() and name else UnicodeError

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    assert addresses_of_system(name) == []


#: As it was imported, before the fixture of all tests put another one in its place.
addresses_of_system = addresses_of
