"""What people do to an organisation's routing. To add an act is one line in `ACTS`: who tears at them tears at it too."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plans.runs import services as plans
from plans.runs.models import PlanRun
from routes import engine
from routes.history.services import restore_version
from routes.orgs.models import Organization
from routes.paths.services import create_service
from routes.redaction.services import redact_entry
from routes.rules.models import Route
from routes.rules.services import create_route, update_route
from routes.transfer.services import import_routes
from tests.api.conftest import Caller
from tests.build import BY, a_plan, a_route, an_org, projected, traffic, usual_prices

SERVICE = {"slug": "users", "paths": [{"pattern": "/*", "target_url": "https://users.example"}]}
NEW = {"name": "new", "when": {"model_in": ["gpt-4o"]}, "then": {"target_model": "m"}}


@dataclass(frozen=True)
class World:
    """An organisation in which all of these acts are possible."""

    org: Organization
    #: Two routes, a third that a plan brought, and that plan.
    edited: Route
    deleted: Route
    applied: PlanRun
    #: Changes a route, removes one and adds one, on what is live.
    projected: PlanRun
    caller: Caller

    def plan(self, plan: PlanRun) -> PlanRun:
        return plans.get_plan(self.org, plan.pk)


def a_world() -> World:
    org = an_org()
    usual_prices()
    traffic(org, 10)
    edited, deleted = a_route(org, "edited"), a_route(org, "deleted")
    first = projected(a_plan(org, iterations=100))
    plans.apply(first, by=BY)
    first.refresh_from_db()
    brought = Route.objects.of(org).get(name="short to mini")
    proposed = [{**edited.as_document(), "priority": 7}, brought.as_document(), NEW]
    second = projected(a_plan(org, name="again", routes=proposed, mode="replace", iterations=100))
    caller = Caller(org, "approver")
    assert caller("get", "plans/").status_code == 200  # which notes when the key was used
    return World(org, edited, deleted, first, second, caller)


class Refused(Exception):
    """The API answered that it was not done."""


def changed(row: Route, **keys: Any) -> engine.Route:
    return engine.Route.from_dict({**row.as_document(), **keys})


def _asked(world: World, path: str) -> Any:
    """Of the API, with a key for which the answer is kept."""
    answer = world.caller("post", path, headers={"Idempotency-Key": "one"})
    if answer.status_code != 200:
        raise Refused(answer.status_code)
    return answer.json()


#: Each is one transaction.
ACTS: dict[str, Callable[[World], Any]] = {
    "edit": lambda world: update_route(world.org, world.edited.uid, changed(world.edited, priority=5), by=BY),
    "create": lambda world: create_route(world.org, engine.NewRoute.from_dict(NEW), by=BY),
    "serve": lambda world: create_service(world.org, engine.Service.from_dict(SERVICE), by=BY),
    "apply": lambda world: plans.apply(world.plan(world.projected), by=BY),
    "revert": lambda world: plans.revert(world.plan(world.applied), by=BY),
    "restore": lambda world: restore_version(world.org, 1, by=BY),
    "import": lambda world: import_routes(
        world.org, {"routes": [NEW], "default": {"target_model": "m"}, "services": [SERVICE]}, mode="merge", by=BY
    ),
    "redact": lambda world: redact_entry(world.org, 0, reason="A name.", by=BY),
    "apply, asked of the API": lambda world: _asked(world, f"plans/{world.projected.pk}/apply/"),
}
