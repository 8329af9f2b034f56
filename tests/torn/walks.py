"""Random walks of edits, plans that are applied and plans that are reverted, beside a plain model of what is live."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from audit.verification import verify_org
from plans.runs import services as plans
from plans.runs.errors import RevertConflict, StalePlan
from plans.runs.models import PlanRun
from routes import engine
from routes.document import content_with, document_of
from routes.engine.document import digest_of
from routes.orgs.models import Organization, new_id
from routes.rules.services import create_route, delete_route, set_default, update_route
from routes.versions.models import RouteSetVersion
from tests.build import BY
from tests.torn.writers import QUESTION

Document = dict[str, Any]
PRIORITIES = st.integers(1, 3)
MODELS = st.sampled_from(["m1", "m2", "m3"])
NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
INDEX = st.integers(0, 9)
WHEN = st.sampled_from(
    [engine.Conditions.from_dict(raw).to_dict() for raw in ({"tag_equals": "x"}, {"model_in": ["gpt-4o"]}, {})]
)
#: What an edit changes of a route; mostly a single thing.
EDITED = st.one_of(
    st.sampled_from([True, False]).map(lambda paused: {"paused": paused}),
    st.sampled_from([False, True]).map(lambda enabled: {"enabled": enabled}),
    WHEN.map(lambda when: {"when": when}),
    st.fixed_dictionaries(
        {"name": NAMES, "priority": PRIORITIES, "then": MODELS.map(lambda llm: {"target_model": llm})}
    ),
)


class Model:
    """What is live, as a list in the order in which it is asked: equal priorities stay in theirs."""

    def __init__(self) -> None:
        self.routes: list[Document] = []
        #: Of each route where it stands among those of equal priority.
        self.place: dict[str, int] = {}
        self.default: Document | None = None

    def content(self) -> Document:
        return content_with(list(self.routes), default=self.default, services=())

    def sort(self) -> None:
        self.routes.sort(key=lambda route: (-route["priority"], self.place[route["id"]]))

    def number(self) -> None:
        self.place = {route["id"]: place for place, route in enumerate(self.routes)}


class Applied:
    """What a plan changed: what was there before it, and what it left."""

    def __init__(self, plan: PlanRun, before: Document, after: Document, base: str) -> None:
        self.plan, self.digest = plan, base
        was = {route["id"]: route for route in before["routes"]}
        now = {route["id"]: route for route in after["routes"]}
        self.changes = {id: (was.get(id), now.get(id)) for id in {**was, **now} if was.get(id) != now.get(id)}
        self.default = (before["default"], after["default"]) if before["default"] != after["default"] else None
        self.order = list(was)
        self.alone = [id for id in now if id not in self.changes]
        self.has_moved = self.alone != [id for id in was if id not in self.changes]


def machine(result: Callable[[], str], counted: Callable[[str], None]) -> type[RuleBasedStateMachine]:
    """`result` is what a worker found for every plan; `counted` hears of each thing that was done."""

    class Walk(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.org = Organization.objects.create(slug=f"walk-{new_id()}", name="Walk")
            self.model = Model()
            self.version = 0
            self.waiting: list[tuple[PlanRun, Document, str]] = []
            self.applied: list[Applied] = []

        def route(self, index: int) -> Document | None:
            return self.model.routes[index % len(self.model.routes)] if self.model.routes else None

        def is_free(self, name: str) -> bool:
            return all(route["name"] != name for route in self.model.routes)

        def made(self, change: Any, before: Document, what: str) -> None:
            """The version is one more, where anything changed."""
            assert change.changed == (before != self.model.content())
            self.version += change.changed
            assert change.version == self.version
            counted(what)

        @initialize(name=NAMES)
        def begin(self, name: str) -> None:
            self.create(name, 2, "m1")

        # --- Edits ----------------------------------------------------------------------------------------------------

        @rule(name=NAMES, priority=PRIORITIES, llm=MODELS)
        def create(self, name: str, priority: int, llm: str) -> None:
            if not self.is_free(name):
                return
            before = self.model.content()
            new = engine.NewRoute.from_dict({"name": name, "priority": priority, "then": {"target_model": llm}})
            row, change = create_route(self.org, new, by=BY)
            self.model.place[str(row.uid)] = max(self.model.place.values(), default=-1) + 1
            self.model.routes.append(engine.Route.from_dict(row.as_document()).to_dict())
            self.model.sort()
            self.made(change, before, "create")

        @rule(index=INDEX, keys=EDITED)
        def edit(self, index: int, keys: Document) -> None:
            route = self.route(index)
            if route is None:
                return
            if not self.is_free(keys.get("name", "")):
                keys = {**keys, "name": route["name"]}
            before = self.model.content()
            changed = engine.Route.from_dict({**route, **keys})
            _, change = update_route(self.org, route["id"], changed, by=BY)
            self.model.routes[self.model.routes.index(route)] = changed.to_dict()
            self.model.sort()
            self.made(change, before, "edit")

        @rule(index=INDEX)
        def delete(self, index: int) -> None:
            if (route := self.route(index)) is not None:
                before = self.model.content()
                change = delete_route(self.org, route["id"], by=BY)
                self.model.routes.remove(route)
                del self.model.place[route["id"]]
                self.made(change, before, "delete")

        @precondition(lambda self: self.waiting or self.applied)
        @rule(llm=st.none() | MODELS)
        def choose_default(self, llm: str | None) -> None:
            before = self.model.content()
            action = None if llm is None else engine.Action.from_dict({"target_model": llm})
            change = set_default(self.org, action, by=BY)
            self.model.default = None if llm is None else {"target_model": llm}
            self.made(change, before, "default")

        # --- Plans ----------------------------------------------------------------------------------------------------

        @rule(
            mode=st.sampled_from(["merge", "replace"]),
            indices=st.lists(INDEX, max_size=3, unique=True),
            news=st.lists(NAMES, max_size=2, unique=True),
            priority=PRIORITIES,
            llm=MODELS,
            default=st.none() | st.tuples(st.none() | MODELS),
        )
        def propose(
            self, mode: str, indices: list[int], news: list[str], priority: int, llm: str, default: Any
        ) -> None:
            chosen = {route["id"]: route for index in indices if (route := self.route(index)) is not None}
            routes = [{**route, "priority": priority, "then": {"target_model": llm}} for route in chosen.values()]
            kept = chosen.values() if mode == "replace" else self.model.routes
            taken = {route["name"] for route in kept}
            routes += [
                {"name": name, "priority": priority, "then": {"target_model": llm}}
                for name in news
                if name not in taken
            ]
            if default is not None:
                default = (None if default[0] is None else {"target_model": default[0]},)
            plan = plans.propose(self.org, name="walk", routes=routes, mode=mode, default=default, by=BY, **QUESTION)
            PlanRun.objects.filter(pk=plan.pk).update(state="projected", result=result())
            self.waiting.append((plan, self.after(plan, default), digest_of(self.model.content())))
            counted("propose")

        def after(self, plan: PlanRun, default: Any) -> Document:
            """What is to be live once the plan is applied to what is live now."""
            proposed = {route["id"]: route for route in plan.proposed_routes}
            today = [] if plan.mode == "replace" else [proposed.get(route["id"], route) for route in self.model.routes]
            known = {route["id"] for route in today}
            live = [*today, *(route for route in proposed.values() if route["id"] not in known)]
            live.sort(key=lambda route: -route["priority"])
            return content_with(live, default=self.model.default if default is None else default[0], services=())

        @precondition(lambda self: self.waiting)
        @rule(index=INDEX)
        def apply(self, index: int) -> None:
            plan, after, base = self.waiting.pop(index % len(self.waiting))
            before = self.model.content()
            if digest_of(before) != base:
                try:
                    plans.apply(plan, by=BY)
                except StalePlan:
                    counted("stale")
                    return
                raise AssertionError("a plan on other routes was applied")
            change, _ = plans.apply(plan, by=BY)
            self.model.routes, self.model.default = list(after["routes"]), after["default"]
            self.model.number()
            self.applied.append(Applied(plan, before, after, base))
            self.made(change, before, "apply")

        @precondition(lambda self: self.applied)
        @rule(index=INDEX, reason=st.sampled_from(["", "It was wrong."]))
        def revert(self, index: int, reason: str) -> None:
            done = self.applied[-1 - index % len(self.applied)]
            before = self.model.content()
            live = {route["id"]: route for route in before["routes"]}
            touched = any(live.get(id) != now for id, (_, now) in done.changes.items())
            touched |= done.default is not None and self.model.default != done.default[1]
            # Of the routes that the plan left alone: do they stand as it left them?
            alone = [id for id in live if id not in done.changes]
            as_left = [id for id in alone if id in done.alone] == [id for id in done.alone if id in live]
            touched |= done.has_moved and not as_left
            order: list[str] = []
            if not as_left and not done.has_moved:
                order = alone
                for place, id in enumerate(done.order):
                    if done.changes.get(id, (None,))[0] is not None:
                        before_it = [other for other in done.order[:place] if other in order]
                        order.insert(order.index(before_it[-1]) + 1 if before_it else 0, id)
            back = [route for id, route in live.items() if id not in done.changes]
            back += [was for was, _ in done.changes.values() if was is not None]
            is_twice = len({route["name"] for route in back}) < len(back)
            if (touched and not reason) or is_twice:
                try:
                    plans.revert(done.plan, by=BY, force_reason=reason)
                except RevertConflict:
                    counted("conflict")
                    return
                raise AssertionError("what was changed since was overwritten")
            change, _ = plans.revert(done.plan, by=BY, force_reason=reason)
            rank = {id: place for place, id in enumerate(order or done.order)}
            back.sort(key=lambda route: (-route["priority"], rank.get(route["id"], len(rank))))
            self.model.routes = back
            if done.default is not None:
                self.model.default = done.default[0]
            if back != before["routes"] or done.default is not None:
                self.model.number()
            self.applied.remove(done)
            self.made(change, before, "forced revert" if touched else "revert")

        @precondition(lambda self: not self.waiting)
        @rule(index=INDEX, llm=MODELS, name=NAMES)
        def there_and_back(self, index: int, llm: str, name: str) -> None:
            """Revert right after apply restores the digest."""
            digest = digest_of(self.model.content())
            self.propose("merge", [index, index + 1], [name], 2, llm, (llm,))
            self.apply(0)
            self.revert(0, "")
            assert document_of(self.org).digest == digest
            counted("there and back")

        @precondition(lambda self: not self.waiting and self.model.routes)
        @rule(index=INDEX, llm=MODELS, keys=EDITED, reason=st.sampled_from(["", "It was wrong."]))
        def touched_and_back(self, index: int, llm: str, keys: Document, reason: str) -> None:
            """Of what a plan changed something is changed again, before it is reverted."""
            self.propose("merge", [index], ["e"], 3, llm, None)
            self.apply(0)
            self.edit(0, keys)
            self.revert(0, reason)

        # --- What holds after each of them ----------------------------------------------------------------------------

        @invariant()
        def what_is_live_is_what_the_model_says(self) -> None:
            document = document_of(self.org)
            assert document.content == self.model.content()
            assert (document.version, document.digest) == (self.version, digest_of(self.model.content()))

        def teardown(self) -> None:
            numbers = RouteSetVersion.objects.filter(org=self.org).order_by("version").values_list("version", flat=True)
            assert list(numbers) == list(range(1, self.version + 1))
            assert verify_org(self.org.pk).ok
            counted("walk")

    return Walk
