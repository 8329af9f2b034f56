"""The latency of a model at the moment: what counts, for how long, and what is decided by it."""

import random

import pytest

from routes.engine.errors import UpstreamFailed, UpstreamTimeout
from routes.gateway.llm import latencies
from routes.gateway.llm.latencies import LEAST, SECONDS, WINDOW, Latencies
from tests.routes.gateway.llm.scene import Reply, Scene, a_body, a_route
from tests.routes.gateway.loops import in_a_loop


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_percentile_is_that_of_the_newest_answers_by_the_nearest_rank() -> None:
    chance, seen, held = random.Random(1), list[int](), Latencies(Clock())
    for _ in range(3 * WINDOW):
        seen.append(chance.randrange(1_000))
        held.observe("m", seen[-1])
        newest = sorted(seen[-WINDOW:])
        rank = -(-95 * len(newest) // 100)
        assert held.p95("m") == (None if len(seen) < LEAST else newest[rank - 1])
    assert held.p95("other") is None


def test_what_was_slow_a_while_ago_does_not_count() -> None:
    clock = Clock()
    held = Latencies(clock)
    for _ in range(LEAST):
        held.observe("m", 900)
    clock.now = SECONDS
    for _ in range(LEAST):
        held.observe("m", 10)
    assert held.p95("m") == 900
    clock.now += 1
    assert held.p95("m") == 10
    clock.now += SECONDS
    assert held.p95("m") is None


def test_names_that_clients_make_up_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latencies, "MOST_MODELS", 3)
    held = Latencies(Clock())
    for _ in range(LEAST):
        for model in ("a", "b"):
            held.observe(model, 5)
    for number in range(2):
        held.observe(f"made up {number}", 5)
    assert (held.p95("a"), held.p95("b")) == (None, 5)


@in_a_loop
async def test_a_model_that_became_slow_is_left_by_the_route_that_asks_and_the_row_says_why() -> None:
    slow = a_route("slow", when={"upstream_latency_ms_p95_gt": 400}, target_model="claude-haiku")
    scene = Scene(slow)
    for _ in range(LEAST):
        scene.attempts.latencies.observe("gpt-4o", 300)
    answer = await scene.ask(a_body())
    assert (answer.status, answer.header("x-served-model")) == (200, "gpt-4o")
    assert scene.rows[-1]["fact_upstream_latency_ms_p95"] == 300
    for _ in range(WINDOW):
        scene.attempts.latencies.observe("gpt-4o", 500)
    assert (await scene.ask(a_body())).header("x-served-model") == "claude-haiku"
    assert scene.rows[-1]["fact_upstream_latency_ms_p95"] == 500


class Noted(Latencies):
    def __init__(self) -> None:
        super().__init__()
        self.models: list[str] = []

    def observe(self, model: str, milliseconds: int) -> None:
        assert milliseconds >= 0
        self.models.append(model)


@pytest.mark.parametrize(
    ("reply", "observed"),
    [
        (Reply(), ["gpt-4o"]),
        (Reply(error=UpstreamTimeout("late")), ["gpt-4o", "claude-haiku"]),
        (Reply(error=UpstreamFailed("away")), ["claude-haiku"]),
        (Reply(status=503), ["claude-haiku"]),
        (Reply(status=429), ["claude-haiku"]),
        (Reply(status=400), []),
    ],
)
@in_a_loop
async def test_good_answers_and_timeouts_count_for_the_model_that_was_asked(reply: Reply, observed: list[str]) -> None:
    scene = Scene(a_route("all", target_model="gpt-4o", fallbacks=("claude-haiku",)))
    noted = scene.attempts.latencies = Noted()
    scene.client.replies["gpt-4o"] = reply
    await scene.ask(a_body("gpt-4o-mini"))
    assert noted.models == observed
