"""`placements/` of an organisation: where its partitions are, and the steps by which one moves."""

from collections.abc import Callable
from typing import Any

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response

from audit.services import Receipt
from routes.api import ListView, NumberField, StrictSerializer, TextField, View, receipt_json
from routes.engine import Target
from routes.engine.placements import DEFAULT, DRAIN_SECONDS, PHASES, STEPS
from routes.errors import NotFound
from routes.orgs.lookup import Lookup, names_of
from routes.orgs.upstreams import private_upstreams_of
from routes.placements import services
from routes.placements.models import Placement
from routes.placements.services import InvalidPlacement, StalePlacement
from routes.shapes import (
    COUNT,
    FLAG,
    NUMBER,
    RECEIPT,
    TEXT,
    TIME,
    UPSTREAM_FINDINGS,
    described,
    listed,
    one_of,
    or_null,
    thing,
    written,
)
from routes.times import rfc3339

_TARGET = {"cluster": "eu", "resource": "orders", "endpoint": "https://eu.example"}
_TO = {"cluster": "us", "resource": "orders", "endpoint": "https://us.example"}
_PLACE_KEYS = ("cluster", "resource", "endpoint")
_PLACE = thing("PlacementTarget", {"cluster": TEXT, "resource": TEXT, "endpoint": described(TEXT, "Its base URL.")})
_ALL_STEPS = sorted({step for steps in STEPS.values() for step in steps})
PLACEMENT = thing(
    "Placement",
    {
        "partition": TEXT,
        "is_default": described(FLAG, f"Whether it has the placement of {DEFAULT}, and none of its own."),
        "target": described(_PLACE, "Where it is read, and written unless it is in cutover."),
        "phase": one_of(*PHASES),
        "epoch": described(COUNT, "Of its last step. A write that was decided at another one is refused."),
        "to": described(or_null(_PLACE), "Where it moves."),
        "drain_seconds": described(NUMBER, "From cutover to completion at least."),
        "seconds_left": described(NUMBER, "Until it can be completed."),
        "steps": described(listed(one_of(*_ALL_STEPS)), "What can be done next."),
        "moved_by": TEXT,
        "moved_at": TIME,
    },
)
STEPPED = written(
    "PlacementStepped",
    {
        **PLACEMENT["properties"],
        "findings": UPSTREAM_FINDINGS,
        "receipt": or_null(RECEIPT),
    },
)


class TargetInput(StrictSerializer):
    cluster = TextField(max_length=200)
    resource = TextField(max_length=200)
    endpoint = TextField(max_length=500)


class BeginInput(StrictSerializer):
    to = TargetInput()
    drain_seconds = NumberField(default=DRAIN_SECONDS)


def placement_json(row: Placement, partition: str | None = None) -> dict[str, Any]:
    """`partition` where it is another that has this placement."""
    name = row.partition if partition is None else partition
    to = {"cluster": row.to_cluster, "resource": row.to_resource, "endpoint": row.to_endpoint}
    return {
        "partition": name,
        "is_default": name != row.partition,
        "target": {"cluster": row.cluster, "resource": row.resource, "endpoint": row.endpoint},
        "phase": row.phase,
        "epoch": row.epoch,
        "to": to if row.to_cluster else None,
        "drain_seconds": row.drain_seconds,
        "seconds_left": round(services.remaining(row), 3),
        "steps": list(row.state().steps),
        "moved_by": row.moved_by_name,
        "moved_at": rfc3339(row.moved_at),
    }


def placement_etag(row: Placement, partition: str) -> str:
    """`row` is what holds for this partition: its own placement, or the default's."""
    return f'"{"e" if row.partition == partition else "d"}{row.epoch}"'


class PlacementList(ListView):
    """The partitions that were placed, each with its phase and its epoch."""

    required_role = {"GET": ("viewer", "gateway")}
    gives = {"GET": PLACEMENT}
    orderings = {"": ("partition",), "-moved_at": ("-moved_at", "-partition")}
    search_fields = ("partition", "cluster")

    def get(self, request: Request, **_: Any) -> Response:
        page = self.paginate_queryset(self.filter_queryset(Placement.objects.of(request.org)))
        return self.get_paginated_response([placement_json(row) for row in page or []])


class OnePlacement(View):
    """What names a placement by its partition."""

    def find(self, request: Request) -> None:
        found = Placement.objects.holding(request.org, self.kwargs["partition"])
        #: Its own one, and what holds for it.
        self.row = found if found is not None and found.partition == self.kwargs["partition"] else None
        self.holding = found

    def etag(self) -> str | None:
        """Also where it has the placement of the default, which is what a caller saw."""
        return None if self.holding is None else placement_etag(self.holding, self.kwargs["partition"])

    #: Looked up before the transaction, because nobody is to wait for that inside one.
    lookup: Lookup | None = None

    def _write(self, handler: Callable[..., Any], request: Request, **kwargs: Any) -> Any:
        if request.method in self.takes:
            self.lookup = Lookup(names_of([_sent_endpoint(request.data)]))
        return super()._write(handler, request, **kwargs)

    def findings(self, row: Placement) -> list[dict[str, Any]]:
        endpoint, below = (row.to_endpoint, "to.") if row.to_endpoint else (row.endpoint, "")
        told = self.lookup.told(endpoint, private_upstreams_of(row.org)) if self.lookup else None
        return (
            [{"code": told[0], "severity": "warning", "path": f"{below}endpoint", "message": told[1]}] if told else []
        )

    def expected(self) -> int:
        """The epoch of its own that a step is taken from, 0 for none. Raises `StalePlacement`."""
        if self.is_stale:
            raise StalePlacement(self.holding, self.kwargs["partition"])
        return 0 if self.row is None else self.row.epoch

    def stepped(self, row: Placement, receipt: Receipt) -> Response:
        body = {**placement_json(row), "findings": self.findings(row), "receipt": receipt_json(receipt)}
        return Response(body, headers={"ETag": placement_etag(row, row.partition)})


class PlacementDetail(OnePlacement):
    """Where one partition is."""

    required_role = {"GET": ("viewer", "gateway"), "PUT": "admin", "DELETE": "admin"}
    takes = {"PUT": TargetInput}
    gives = {"GET": PLACEMENT, "PUT": STEPPED, "DELETE": written("PlacementRemoved", {"receipt": or_null(RECEIPT)})}
    examples = {"PUT": _TARGET}

    def get(self, request: Request, partition: str, **_: Any) -> Response:
        """What holds at this moment: the partition's own placement, or the default's. Ask anew for each write."""
        if self.holding is None:
            raise NotFound("This partition was never placed, and there is no default.")
        return Response(placement_json(self.holding, partition), headers={"ETag": self.etag()})

    def put(self, request: Request, partition: str, **_: Any) -> Response:
        """Says where a partition is that holds nothing yet. One with data is moved: `begin/`, `cutover/`, `complete/`."""
        expected = self.expected()
        target = _target(self.read(request))
        return self.stepped(
            *services.set_placement(request.org, partition, target, by=request.actor, expected_epoch=expected)
        )

    def delete(self, request: Request, partition: str, **_: Any) -> Response:
        """Takes back a placement that is where the default is, or that of a partition which was never to be: it has the
        default's from now on, or is refused where there is none."""
        expected = self.expected()
        receipt = services.remove_placement(request.org, partition, by=request.actor, expected_epoch=expected)
        return Response({"receipt": receipt_json(receipt)})


class PlacementStep(OnePlacement):
    """One step of a move. An If-Match that is sent must name the placement as it is."""

    required_role = {"POST": "admin"}
    gives = {"POST": STEPPED}
    step: Callable[..., services.Step] | None = None

    def _write(self, handler: Callable[..., Any], request: Request, **kwargs: Any) -> Any:
        if self.step is _complete:
            services.begin_barrier(request.org, self.kwargs["partition"])  # before any transaction that is rolled back
        return super()._write(handler, request, **kwargs)

    def post(self, request: Request, partition: str, **_: Any) -> Response:
        assert self.step is not None  # given with the URL, on the instance: it gets no self
        expected = self.expected() if "If-Match" in request.headers else None
        given = self.read(request)
        return self.stepped(*self.step(request.org, partition, given, by=request.actor, expected_epoch=expected))


def _begin(org: Any, partition: str, given: dict[str, Any], **who: Any) -> services.Step:
    """Begins a move: data can be copied, while reads and writes go where they went."""
    try:
        return services.begin_move(org, partition, _target(given["to"]), drain_seconds=given["drain_seconds"], **who)
    except InvalidPlacement as error:
        below = [{**one, "path": f"to.{one['path']}"} if one["path"] in _PLACE_KEYS else one for one in error.issues]
        raise InvalidPlacement(below) from error


def _cutover(org: Any, partition: str, given: dict[str, Any], **who: Any) -> services.Step:
    """Admits no write any more; reads go on. Writes are refused with 409 `stale_epoch` until the move is complete."""
    return services.cut_over(org, partition, **who)


def _complete(org: Any, partition: str, given: dict[str, Any], **who: Any) -> services.Step:
    """Reads and writes go to the new place from now on. Refused with `barrier_pending` until writes from before the cutover
    have arrived."""
    return services.complete_move(org, partition, **who)


def _abort(org: Any, partition: str, given: dict[str, Any], **who: Any) -> services.Step:
    """Reads and writes go to the old place, at a new epoch."""
    return services.abort_move(org, partition, **who)


def _sent_endpoint(sent: Any) -> str:
    place = sent.get("to", sent) if isinstance(sent, dict) else None
    endpoint = place.get("endpoint") if isinstance(place, dict) else None
    return endpoint if isinstance(endpoint, str) else ""


def _target(given: dict[str, Any]) -> Target:
    """Raises `InvalidPlacement` for what is no target."""
    try:
        return Target(given["cluster"], given["resource"], given["endpoint"])
    except ValueError as error:
        path = "endpoint" if "endpoint" in str(error) else "cluster" if "cluster" in str(error) else "resource"
        raise InvalidPlacement([{"path": path, "code": "invalid", "message": str(error)}]) from error


_MOVES: dict[str, Callable[..., services.Step]] = {
    "begin": _begin,
    "cutover": _cutover,
    "complete": _complete,
    "abort": _abort,
}
urlpatterns = [
    path("placements/", PlacementList.as_view(), name="placements"),
    path("placements/<str:partition>/", PlacementDetail.as_view(), name="placement"),
    *(
        path(
            f"placements/<str:partition>/{name}/",
            PlacementStep.as_view(
                step=step,
                about=step.__doc__ or "",
                takes={"POST": BeginInput} if name == "begin" else {},
                examples={"POST": {"to": _TO}} if name == "begin" else {},
            ),
            name=f"placement_{name}",
        )
        for name, step in _MOVES.items()
    ),
]
