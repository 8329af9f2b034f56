"""The admin's pages about placements: where partitions are, placing one, and each step of a move before it is taken."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_http_methods

from routes import engine
from routes.engine import Target
from routes.engine.placements import DEFAULT, DRAIN_SECONDS
from routes.errors import RoutesError
from routes.orgs.lookup import Lookup, names_of
from routes.orgs.upstreams import private_upstreams_of
from routes.pages import seen
from routes.placements import services
from routes.placements.models import Placement
from routes.placements.services import InvalidPlacement
from routes.texts import one_line

PAGE: Final = 50


class TargetForm(forms.Form):
    cluster = forms.CharField(max_length=200, validators=[one_line], help_text="What people call it, such as eu-1.")
    resource = forms.CharField(
        max_length=200, validators=[one_line], help_text="What of the cluster it is: an index, a database, a service."
    )
    endpoint = forms.CharField(
        max_length=500, label="Base URL", help_text="Under which gateways reach it, such as https://eu.example."
    )

    def target(self) -> Target | None:
        """None for what is no target; the field says why."""
        if not self.is_valid():
            return None
        given = self.cleaned_data
        try:
            return Target(given["cluster"], given["resource"], given["endpoint"])
        except ValueError as error:
            self.add_error("endpoint" if "endpoint" in str(error) else None, str(error))
        return None

    def add_issues(self, error: InvalidPlacement) -> None:
        for issue in error.issues:
            self.add_error(issue["path"] if issue["path"] in self.fields else None, issue["message"])


class PlaceForm(TargetForm):
    partition = forms.CharField(
        max_length=200,
        validators=[one_line],
        help_text="Its name, as requests say it; * is the place of all that have none of their own.",
    )
    field_order = ("partition", "cluster", "resource", "endpoint")


class MoveForm(TargetForm):
    drain_seconds = forms.FloatField(
        label="Wait before completion (seconds)",
        initial=int(DRAIN_SECONDS),
        help_text=f"At least {DRAIN_SECONDS:.0f}, and at least as long as the cluster may take for a write.",
    )


def placements(request: HttpRequest) -> HttpResponse:
    """Each placement with its phase, its last step, and what can be done next."""
    words = request.GET.get("q", "").replace("\0", "").strip()[:200]
    rows = Placement.objects.of(request.org)
    found = rows.filter(partition__icontains=words) if words else rows
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    default = Placement.objects.named(request.org, DEFAULT)
    steps = {row.pk: [(name, STEPS[name]) for name in _possible(row, default)] for row in page.object_list}
    context = {
        "title": "Placements",
        "rows": [{"row": row, "steps": steps[row.pk], "left": services.remaining(row)} for row in page.object_list],
        "page": page,
        "words": words,
        "default": default,
        "follower": _follower(request, words),
    }
    return render(request, "placements/list.html", context)


def _possible(row: Placement, default: Placement | None) -> list[str]:
    """The steps that have a page and can be taken next."""
    steps = [name for name in row.state().steps if name in STEPS]
    return steps if services.why_kept(row, default) else [*steps, "remove"]


def _why_not(row: Placement, step: str) -> str:
    """Why a step cannot be taken now; empty where it can."""
    if step == "remove":
        return str(services.why_kept(row, _default_of(row)) or "")
    return "" if step in row.state().steps else f"It is {row.phase}, so that cannot be done with it now."


def _default_of(row: Placement) -> Placement | None:
    return Placement.objects.named(row.org_id, DEFAULT)


def _follower(request: HttpRequest, partition: str) -> Placement | None:
    """The default's placement under the name of a partition that has it; None for one that has its own, or none."""
    row = Placement.objects.holding(request.org, partition)
    if row is None or row.partition == partition:
        return None
    row.pk, row.partition = None, partition
    return row


@require_http_methods(["GET", "POST"])
def placement_new(request: HttpRequest) -> HttpResponse:
    """Says where a partition is that holds nothing yet."""
    form = PlaceForm(request.POST or None)
    if request.method == "POST" and (target := form.target()):
        partition = form.cleaned_data["partition"]
        try:
            # Who names one that is there would move it without waiting for anything.
            lookup = Lookup(names_of([target.endpoint or ""]))
            services.set_placement(request.org, partition, target, by=request.actor, expected_epoch=0)
        except InvalidPlacement as error:
            form.add_issues(error)
        except services.StalePlacement:
            form.add_error("partition", f"“{partition}” is placed already. Move it from the list.")
        except (engine.errors.RoutingError, RoutesError) as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"“{partition}” is at {target}.")
            _warn(request, lookup, target)
            return redirect("admin:placements", request.org.slug)
    context = {"title": "Place a partition", "form": form}
    return render(request, "placements/new.html", context, status=422 if form.errors else 200)


class Step(NamedTuple):
    """`label` stands on the list, `button` says what is done; `words` what that means, of a row."""

    label: str
    button: str
    words: Callable[[Placement], list[str]]
    take: Callable[..., Any]
    kind: str = "primary"


def _begin_words(row: Placement) -> list[str]:
    place = row.state().target
    whose = []
    if row.is_default:
        whose = ["All partitions without a placement of their own move together."]
    elif not row.pk:
        whose = [
            f"{row.partition} is where {DEFAULT} is. From now on it has a placement of its own, and does not move with it."
        ]
    return [
        *whose,
        f"Nothing is switched over yet: reads and writes go on at {place}. Copy its data meanwhile.",
        "Each step makes a new epoch: writes that are under way at that moment are refused once with 409, and succeed"
        " when they are sent again.",
    ]


def _cutover_words(row: Placement) -> list[str]:
    state = row.state()
    return [
        f"No write is admitted until the move is complete or aborted: gateways answer 409, and writers try again. Reads go"
        f" on at {state.target}.",
        f"After {row.drain_seconds:g} seconds, in which what was admitted before arrives, it can be completed. Copy the"
        f" rest of the data to {state.to} in this time.",
    ]


def _complete_words(row: Placement) -> list[str]:
    return [
        f"Reads and writes of {row.partition} go to {row.state().to} from now on.",
        f"Writes that were decided before are refused. {row.state().target} is asked nothing of it any more.",
    ]


def _abort_words(row: Placement) -> list[str]:
    return [
        f"Reads and writes of {row.partition} go to {row.state().target}, as before the move, at a new epoch.",
        f"No gateway wrote anything of it to {row.state().to}.",
    ]


def _remove_words(row: Placement) -> list[str]:
    if row.is_default:
        return ["Requests of partitions without a placement of their own are refused with 404 from now on."]
    if _default_of(row):
        return [f"{row.partition} stays where it is. It has the placement of {DEFAULT} from now on, and moves with it."]
    return [
        f"Requests of {row.partition} are refused with 404 from now on, because there is no placement of {DEFAULT}.",
        f"What {row.state().target} holds of it stays there.",
    ]


STEPS: Final[dict[str, Step]] = {
    "begin": Step("Move …", "Begin the move", _begin_words, services.begin_move),
    "cutover": Step("Cut over …", "Cut over: admit no writes", _cutover_words, services.cut_over),
    "complete": Step("Complete …", "Complete the move", _complete_words, services.complete_move),
    "abort": Step("Abort …", "Abort the move", _abort_words, services.abort_move, "danger"),
    "remove": Step("Remove …", "Remove the placement", _remove_words, services.remove_placement, "danger"),
}
_TITLES: Final = {
    "begin": "Move",
    "cutover": "Cut over",
    "complete": "Complete the move of",
    "abort": "Abort the move of",
    "remove": "Remove the placement of",
}
_DONE: Final = {
    "begin": "The move has begun; cut over when the data is there.",
    "cutover": "No write is admitted any more.",
    "complete": "The move is complete.",
    "abort": "The move was aborted.",
    "remove": "The placement was removed.",
}


@require_http_methods(["GET", "POST"])
def placement_step(request: HttpRequest, partition: str, step: str) -> HttpResponse:
    """What the step will do; sent, the step itself, from the epoch that the page showed."""
    row = _placement(request, partition, step)
    form = MoveForm(request.POST or None, initial={"resource": row.resource}) if step == "begin" else None
    problem = ""
    if request.method == "POST":
        try:
            if _take(request, row, step, form):
                messages.success(request, _DONE[step])
                return redirect("admin:placements", request.org.slug)
        except InvalidPlacement as error:
            assert form is not None  # nothing else can be wrong in itself
            form.add_issues(error)
        except (engine.errors.RoutingError, RoutesError) as error:
            problem = str(error)
            row = _placement(request, partition, step)
    state, shown, why_not = row.state(), STEPS[step], _why_not(row, step)
    context = {
        "title": f"{_TITLES[step]} {partition}",
        "row": row,
        "state": state,
        "shown": shown,
        "form": form,
        "problem": problem,
        "epoch": state.epoch if row.pk else 0,
        "why_not": why_not,
        "words": [] if why_not else shown.words(row),
        "left": services.remaining(row) if step == "complete" else 0,
    }
    is_refused = problem or (form is not None and form.errors)
    return render(request, "placements/step.html", context, status=422 if is_refused else 200)


def _placement(request: HttpRequest, partition: str, step: str) -> Placement:
    """What the step is about. A move can begin where the default's placement is: the partition gets its own by it."""
    row = Placement.objects.named(request.org, partition)
    if row is None and step == "begin":
        row = _follower(request, partition)
    if row is None:
        raise Http404("There is no such placement in this organisation.")
    return row


def _take(request: HttpRequest, row: Placement, step: str, form: MoveForm | None) -> bool:
    """Whether the step was taken; where it was not, the form says why."""
    asked: dict[str, Any] = {"by": request.actor, "expected_epoch": seen(request, "epoch")}
    if form is None:
        STEPS[step].take(request.org, row.partition, **asked)
        return True
    target = form.target()
    if target is None:
        return False
    lookup = Lookup(names_of([target.endpoint or ""]))
    services.begin_move(request.org, row.partition, target, drain_seconds=form.cleaned_data["drain_seconds"], **asked)
    _warn(request, lookup, target)
    return True


def _warn(request: HttpRequest, lookup: Lookup, target: Target) -> None:
    if told := lookup.told(target.endpoint or "", private_upstreams_of(request.org)):
        messages.warning(request, told[1])


placements.required_role = "viewer"
placement_new.required_role = "admin"
placement_step.required_role = "admin"
PAGES = [
    path("placements/", placements, name="placements"),
    path("placements/new/", placement_new, name="placement_new"),
    *(
        path(f"placements/<str:partition>/{step}/", placement_step, {"step": step}, name=f"placement_{step}")
        for step in STEPS
    ),
]
