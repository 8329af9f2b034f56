"""A breaker, by the public cases and by what they leave open."""

import json
from typing import Any

import pytest

from routes.gateway.llm.breaker import CircuitBreaker
from tests.paths import shared

CASES = json.loads(shared("cases/placements.json").read_text())["circuit_breaker"]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_breaker(threshold: int = 2, open_seconds: float = 10.0) -> tuple[CircuitBreaker, Clock]:
    clock = Clock()
    return CircuitBreaker(threshold, open_seconds, clock=clock), clock


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_public_case_holds(case: dict[str, Any]) -> None:
    clock = Clock()
    arguments = {"threshold": case.get("threshold", 5), "open_seconds": case.get("open_ns", 1000)}
    if case.get("expect") == "rejected":
        with pytest.raises(ValueError):
            CircuitBreaker(**arguments, clock=clock)
        return
    breaker = CircuitBreaker(**arguments, clock=clock)
    era: int | None = breaker.enter()
    for name, *values in case["steps"]:
        if name == "fail":
            for _ in range(values[0]):
                assert era is not None
                breaker.failed(era)
        elif name == "ok":
            assert era is not None
            breaker.succeeded(era)
            era = breaker.enter()
        elif name == "advance":
            clock.now += values[0]
        elif name == "is_open":
            assert breaker.is_open is values[0]
        else:
            assert name == "allow"
            entered = breaker.enter()
            assert (entered is not None) is values[0]
            era = era if entered is None else entered


def test_a_success_that_began_before_it_opened_does_not_close_it() -> None:
    breaker, clock = a_breaker(threshold=1)
    early, late = breaker.enter(), breaker.enter()
    assert early is not None
    assert late is not None
    breaker.failed(late)
    breaker.succeeded(early)
    assert breaker.is_open
    clock.now = 10.0
    probe = breaker.enter()
    breaker.succeeded(early)
    assert breaker.is_open
    assert probe is not None
    breaker.succeeded(probe)
    assert not breaker.is_open


def test_a_failure_that_began_before_it_opened_does_not_keep_it_open() -> None:
    breaker, clock = a_breaker(threshold=1)
    early, late = breaker.enter(), breaker.enter()
    assert early is not None
    assert late is not None
    breaker.failed(late)
    clock.now = 9.0
    breaker.failed(early)
    clock.now = 10.0
    assert breaker.enter() is not None


def test_a_probe_whose_client_went_away_lets_another_one_pass() -> None:
    breaker, clock = a_breaker(threshold=1)
    era = breaker.enter()
    assert era is not None
    breaker.failed(era)
    clock.now = 10.0
    probe = breaker.enter()
    assert probe is not None
    assert breaker.enter() is None
    breaker.abandoned(probe)
    assert breaker.enter() is not None


def test_it_says_how_long_until_a_probe_may_pass() -> None:
    breaker, clock = a_breaker(threshold=1)
    assert breaker.retry_after_seconds() == 0
    era = breaker.enter()
    assert era is not None
    breaker.failed(era)
    clock.now = 4.0
    assert breaker.retry_after_seconds() == 6.0
    clock.now = 40.0
    assert breaker.retry_after_seconds() == 0
