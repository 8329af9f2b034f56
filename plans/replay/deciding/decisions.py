"""What comes of the route that takes a row: one of the engine's decisions for each row of a block."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns.block import Block, context_of
from plans.replay.deciding.facts import Fact
from plans.replay.deciding.matches import Matcher, Matches
from routes.engine import Action, Conditions, Engine, RequestContext, Route, RouteDecision


class EngineDisagrees(AssertionError):
    """The pass over the columns and the engine decide a request differently: a fault of this program, and better no
    figure than a wrong one."""


class Outcomes:
    """What comes of each route of an engine, and of none: decisions, numbered in the order in which they are met."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.routes: tuple[Route, ...] = tuple(route for route in engine.routes if route.enabled)
        #: The decisions that the numbers stand for.
        self.decisions: list[RouteDecision] = []
        self._numbers: dict[RouteDecision, int] = {}
        # An engine of this route alone, which takes whatever comes, draws what the whole engine would draw.
        self._alone = [self._engine_of([_unconditional(route)]) for route in self.routes] + [self._engine_of([])]
        nobody = RequestContext()
        actions = [None if route.paused else route.then for route in self.routes] + [engine.default]
        self._always = np.array(
            [
                -1 if action is not None and draws(action) else self.number(alone.decide(nobody))
                for action, alone in zip(actions, self._alone, strict=True)
            ]
        )
        self._drawn: dict[tuple[int, str], int] = {}

    def _engine_of(self, routes: list[Route]) -> Engine:
        return Engine(routes, org_id=self.engine.org_id, version=self.engine.version, default=self.engine.default)

    def number(self, decision: RouteDecision) -> int:
        """The number that stands for this decision, a new one where it was not met yet."""
        number = self._numbers.get(decision)
        if number is None:
            number = self._numbers[decision] = len(self.decisions)
            self.decisions.append(decision)
        return number

    def of_rows(self, block: Block, won: NDArray[np.int64]) -> NDArray[np.int64]:
        """By row the number of the decision that comes of this route."""
        numbers = self._always.take(won)
        for row in np.flatnonzero(numbers < 0).tolist():
            numbers[row] = self.of(block, row, int(won[row]))
        return numbers

    def draws(self, place: int) -> bool:
        """Whether the decision depends on the request's key."""
        return int(self._always[place]) < 0

    def of(self, block: Block, row: int, place: int) -> int:
        """The number of the decision that comes of a route for one row."""
        always = int(self._always[place])
        if always >= 0:
            return always
        sticky_key = block.text("fact_sticky_key", row)
        if sticky_key is None:
            context = RequestContext(request_id=block.text("request_id", row))
            return self.number(self._alone[place].decide(context))
        number = self._drawn.get((place, sticky_key))
        if number is None:
            if len(self._drawn) >= 1_000_000:
                self._drawn.clear()
            decision = self._alone[place].decide(RequestContext(sticky_key=sticky_key))
            number = self._drawn[place, sticky_key] = self.number(decision)
        return number


def draws(action: Action) -> bool:
    """Whether shares or splits make what comes of it depend on the request's key."""
    return action.traffic_pct is not None or len(action.split) > 0


def _unconditional(route: Route) -> Route:
    return replace(route, when=Conditions(), active_from=None, active_until=None)


@dataclass(frozen=True, slots=True)
class Decided:
    """What two engines decide on the rows of a block."""

    #: By engine and row the route that takes it, see `Matches.won`, and the number of the decision.
    current: Matches
    proposed: Matches
    now: NDArray[np.int64]
    then: NDArray[np.int64]


class Decider:
    """Decides rows by today's and by the proposed routes."""

    def __init__(self, current: Engine, proposed: Engine) -> None:
        self.current = Outcomes(current)
        self.proposed = Outcomes(proposed)
        self._matcher = Matcher([self.current.routes, self.proposed.routes])

    @property
    def facts(self) -> Mapping[str, Fact]:
        """What the routes look at, by name."""
        return self._matcher.facts

    def __call__(self, block: Block) -> Decided:
        current, proposed = self._matcher(block)
        return Decided(
            current, proposed, self.current.of_rows(block, current.won), self.proposed.of_rows(block, proposed.won)
        )

    def ask_the_engines(self, block: Block, decided: Decided, rows: Iterable[int]) -> None:
        """Compare some rows with what the gateway's own code says. Raises `EngineDisagrees`."""
        for row in rows:
            context = context_of(block, row)
            for outcomes, numbers in ((self.current, decided.now), (self.proposed, decided.then)):
                said, found = outcomes.engine.decide(context), outcomes.decisions[int(numbers[row])]
                if said != found:
                    raise EngineDisagrees(f"Request {context.request_id}: the engine says {said}, the replay {found}.")
