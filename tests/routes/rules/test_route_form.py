"""The form of a route: what it shows and sends again is the same route, and every mistake stands at its field."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.http import QueryDict
from django.template.loader import render_to_string
from hypothesis import HealthCheck, given, settings

from routes.engine import Action, NewRoute
from routes.engine.action import KEYS as ACTION_KEYS
from routes.engine.conditions import KEYS as CONDITION_KEYS
from routes.rules.forms import DefaultForm, RouteForm
from routes.rules.forms.rows import GROUPS
from routes.rules.forms.words import in_words
from tests.routes.rules.generate import CANONICAL_ACTIONS, NEW_ROUTES

_LINE_BREAK = re.compile("\r\n|\r|\n")


class Controls(HTMLParser):
    """What a browser without scripts sends when the form is submitted as it is."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.sent = QueryDict(mutable=True)
        self._inert = 0
        self._open: dict[str, Any] | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        if tag == "template":
            self._inert += 1
        if self._inert or "disabled" in of:
            return
        name = of.get("name")
        if tag == "input" and name and (of.get("type") not in ("checkbox", "radio") or "checked" in of):
            value = of.get("value", "on" if of.get("type") == "checkbox" else "") or ""
            self.sent.appendlist(name, value if of.get("type") == "hidden" else _LINE_BREAK.sub("", value))
        elif tag in ("textarea", "select"):
            self._open = {"tag": tag, "name": name, "text": "", "value": None}
        elif tag == "option" and self._open and (self._open["value"] is None or "selected" in of):
            self._open["value"] = of.get("value")

    def handle_data(self, data: str) -> None:
        if self._open and self._open["tag"] == "textarea":
            self._open["text"] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "template":
            self._inert -= 1
        if self._open and tag == self._open["tag"]:
            text = _LINE_BREAK.sub("\r\n", self._open["text"].removeprefix("\n"))
            self.sent.appendlist(self._open["name"], text if tag == "textarea" else self._open["value"])
            self._open = None


def sent(form: RouteForm) -> QueryDict:
    """The route's fields as the page sends them."""
    page = "".join(
        [
            *(str(field) for part in (form.identity, form.then, form.about) for field in part),
            *(render_to_string("routes/conditions.html", {"part": form.when}) for _ in "1"),
            *(
                render_to_string("routes/group.html", {"part": part, "kind": kind, "number": number})
                for part, kind, number in [
                    *((part, "any_of", part.number) for part in form.any_of),
                    *([(form.not_, "not", "on")] if form.not_ else []),
                ]
            ),
        ]
    )
    return Controls(page).sent


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(NEW_ROUTES)
def test_a_route_that_is_opened_and_saved_is_the_same_route(route: dict[str, Any]) -> None:
    form = RouteForm(sent(RouteForm(route=route, revision=3)))
    assert form.is_valid(), [(part.prefix, part.errors) for part in form.parts()]
    assert NewRoute.from_dict(form.document()).to_dict() == route
    assert form.identity.cleaned_data["revision"] == 3


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CANONICAL_ACTIONS)
def test_a_default_that_is_opened_and_saved_is_the_same_default(action: dict[str, Any]) -> None:
    shown = DefaultForm(default=action)
    form = DefaultForm(Controls("".join(map(str, shown.then))).sent)
    assert form.is_valid(), form.then.errors
    document = form.document()
    assert document is not None
    assert Action.from_dict(document).to_dict() == action


# --- Mistakes -------------------------------------------------------------------------------------------------------

NEW = {"name": "a", "priority": "100", "enabled": "on", "kind": "send", "target_model": "m"}


def filled(**fields: Any) -> RouteForm:
    data = QueryDict(mutable=True)
    for name, value in {**NEW, **fields}.items():
        data.setlist(name, value if isinstance(value, list) else [value])
    return RouteForm(data)


def mistakes(form: RouteForm | DefaultForm) -> dict[str, list[str]]:
    """Messages by the field's name in the page; "" for those of no field."""
    assert not form.is_valid()
    found = {
        part.add_prefix(name): [str(error) for error in errors]
        for part in form.parts()
        for name, errors in part.errors.items()
    }
    return found | ({"": form.non_field_errors()} if form.non_field_errors() else {})


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"name": " "}, "name", "Fill this in."),
        ({"priority": "1.5"}, "priority", "whole number"),
        ({"active_from": "2026-05-02T00:00", "active_until": "2026-05-01T00:00"}, "active_until", "later than “Active"),
        ({"active_from": "9999-12-31T23:59"}, "active_from", "between the years"),
        ({"active_from": "0001-01-01T00:00+05:00"}, "active_from", "Write a day and a time"),
        ({"active_until": "9999-12-31T23:59-05:00"}, "active_until", "Write a day and a time"),
        ({"link": "javascript:alert(1)"}, "link", "https://"),
        ({"labels": "stage"}, "labels", "Write it like this: stage = trial"),
        ({"extensions": '{"y-a": 1}'}, "extensions", "no key 'y-a'"),
        ({"extensions": "[1]"}, "extensions", "Write an object"),
        ({"extensions": '{"owner": "x"}'}, "extensions", "field of its own"),
        ({"extensions": '{"x-a": 1, "x-a": 2}'}, "extensions", "same key twice"),
        ({"model_in": "a\nb\na"}, "model_in", "“a”: It is there twice."),
        ({"prompt_matches_any_of": "("}, "prompt_matches_any_of", "“(”: This is no RE2 pattern: missing ), in “(”."),
        ({"headers": "X-Team = a"}, "headers", "lower case"),
        ({"metadata": "team = a, a"}, "metadata", "“team = a”: It is there twice."),
        ({"metadata": "team = a\nteam = b"}, "metadata", "there twice"),
        ({"metadata": "5 = a, a"}, "metadata", "“5 = a”: "),
        ({"metadata": "² = a, a"}, "metadata", "“² = a”: "),
        ({"metadata": '"\\ud800" x = a'}, "metadata", "A lone surrogate"),
        ({"numbers": "x >= 3"}, "numbers", "strict"),
        ({"numbers": "x > 1e999"}, "numbers", "“x”: The number is too large."),
        ({"window_days": ["mon"]}, "window_tz", "Name the time zone"),
        ({"window_from": "8", "window_to": "09:00", "window_tz": "UTC"}, "window_from", "08:30"),
        ({"window_from": "08:00", "window_to": "09:00", "window_tz": "Mars/Base"}, "window_tz", "no time zone"),
        ({"target_model": ""}, "target_model", "Name the model"),
        ({"fallbacks": "x\nm"}, "fallbacks", "“m”: The requests are sent to it already"),
        ({"max_cost_usd": "0"}, "max_cost_usd", "above 0"),
        ({"traffic_pct": "101"}, "traffic_pct", "From 0 to 100"),
        ({"kind": "split", "target_model": "", "split": "a = 1"}, "split", "2 to 10"),
        ({"kind": "split", "target_model": "", "split": "a = 1\nb"}, "split", "Write it like this: gpt-4o = 90"),
        ({"kind": "split", "target_model": "", "split": "a = 1\nb = 0"}, "split", "“b”: A weight is a whole number from 1"),
        ({"kind": "split", "target_model": ""}, "split", "at least two"),
        ({"kind": "modify", "target_model": "", "traffic_pct": "5"}, "kind", "nothing changes"),
        ({"kind": "modify", "disable_cache": "on"}, "target_model", "does not belong"),
        ({"kind": "refuse", "target_model": "", "refuse_status": "403"}, "refuse_code", "Write a word for programs"),
        (
            {"kind": "refuse", "target_model": "", "refuse_status": "200", "refuse_code": "a", "refuse_message": "b"},
            "refuse_status",
            "400 to 499",
        ),
        ({"kind": "other"}, "kind", "Choose one of the list."),
        ({"any_of": "3", "any_of-3-input_tokens_gt": "x"}, "any_of-3-input_tokens_gt", "whole number"),
        ({"any_of": ["3", "7"], "any_of-7-headers": "X = a"}, "any_of-7-headers", "lower case"),
        ({"not": "on", "not-tag_equals": " "}, "not-tag_equals", "Fill this in."),
        ({"any_of": "0", "any_of-0-nested": '{"tag_equals": "a"}'}, "any_of-0-nested", 'an object with "any_of"'),
        ({"any_of": "0", "any_of-0-nested": '{"not": {"x": 1}}'}, "any_of-0-nested", "not.x: There is no key"),
    ],
    ids=str,
)  # fmt: skip
def test_a_mistake_stands_at_its_field_and_nowhere_else(fields: dict[str, Any], field: str, message: str) -> None:
    found = mistakes(filled(**fields))
    assert any(message in text for text in found.pop(field)), found
    allowed = {"window_from", "window_to", "refuse_message"}  # of a window or refusal of which more is missing
    assert set(found) <= allowed, found


#: What people did not write themselves, and a page has other words for.
OF_THE_ENGINE = re.compile(
    r"\b(?:"
    + "|".join(key for key in (*CONDITION_KEYS, *ACTION_KEYS) if "_" in key)
    + r")\b|active_|no\. [0-9]| is missing\."
)


def test_no_mistake_is_told_in_the_words_of_the_engine() -> None:
    form = filled(
        name=" ", active_from="2026-05-02T00:00", active_until="2026-05-01T00:00", model_in="a\na", metadata="= a\nb =",
        numbers="x > 1e999", headers="X = a", window_days=["mon"], kind="refuse", target_model="", fallbacks="a\na",
        max_cost_usd="0", refuse_status="",
    )  # fmt: skip
    split = filled(kind="split", target_model="", split="a = 1\na = 0", traffic_pct="101")
    told = [text for form in (form, split) for texts in mistakes(form).values() for text in texts]
    assert len(told) >= 14
    assert [text for text in told if OF_THE_ENGINE.search(text.replace("A value is missing.", ""))] == []


@pytest.mark.parametrize(
    ("name", "within", "value", "said"),
    [
        ("metadata", ["user", "tier", 1], {"user.tier": ["gold", "gold"]}, "“user.tier = gold”"),
        ("metadata", ["user", 0], {"user": ["a"], "user.tier": ["b"]}, "“user = a”"),
        ("numbers", ["a", 0, "gt"], {"a[0]": {"gt": 1}}, "“a[0]”"),
        ("headers", ["x", 0], {"x[0]": ["b"], "x": ["c"]}, "“x[0]”"),
        ("labels", ["gone"], {"a": "b"}, "“gone”"),
        ("labels", ["gone"], None, "“gone”"),
    ],
)
def test_a_mistake_in_a_line_is_told_with_that_line_whatever_the_name_looks_like(
    name: str, within: list[Any], value: Any, said: str
) -> None:
    issue = {"code": "else", "message": "It is wrong.", "path": ""}
    assert in_words(name, issue, within, value) == f"{said}: It is wrong."


def test_mistakes_are_told_in_the_order_of_the_page() -> None:
    form = filled(
        name="", priority="x", active_from="x", link="x", tag_equals=" ", input_tokens_gt="x", model_in="a\na",
        any_of="0", **{"any_of-0-headers": "x", "any_of-0-model_in": "b\nb"}, target_model="", traffic_pct="x",
    )  # fmt: skip
    assert not form.is_valid()
    assert [one["field"].removeprefix("id_") for one in form.mistakes()] == [
        "name", "priority", "active_from", "link", "model_in", "input_tokens_gt", "tag_equals", "any_of-0-model_in",
        "any_of-0-headers", "target_model", "traffic_pct",
    ]  # fmt: skip


def test_a_mistake_in_the_action_hides_no_other_one() -> None:
    found = mistakes(filled(kind="refuse", target_model="", refuse_status="x", refuse_code=""))
    assert set(found) == {"refuse_status", "refuse_code", "refuse_message"}
    found = mistakes(filled(kind="send", target_model="", provider="p", fallbacks="a\na"))
    assert set(found) == {"target_model", "fallbacks"}, "and no provider without a model"


def test_all_mistakes_are_told_at_once() -> None:
    found = mistakes(
        filled(
            name="",
            model_in="a\na",
            tag_equals=" ",
            any_of="0",
            **{"any_of-0-window_tz": "Mars", "any_of-0-numbers": "x"},
            fallbacks="m\nm",
            traffic_pct="1000",
            owner=" ",
        )
    )
    assert set(found) == {
        "name", "model_in", "tag_equals", "any_of-0-numbers", "any_of-0-window_tz", "any_of-0-window_from",
        "any_of-0-window_to", "fallbacks", "traffic_pct", "owner",
    }  # fmt: skip


def test_too_many_conditions_are_told_above_the_form() -> None:
    groups = [str(number) for number in range(40)]
    many = {f"any_of-{number}-{field}": "5" for number in groups for field in ("input_tokens_gt", "input_tokens_lt")}
    assert "At most 64 conditions" in mistakes(filled(any_of=groups, **many))[""][0]


def test_too_many_alternatives_are_refused_and_none_is_left_out_in_silence() -> None:
    groups = [str(number) for number in range(65)]
    assert mistakes(filled(any_of=groups)) == {"": ["when.any_of: At most 64 alternatives; this list has 65."]}


def test_groups_are_added_by_number_and_removed_by_their_checkbox() -> None:
    form = filled(
        **{"any_of": ["0", "5", "5", "x"], "any_of-0-tag_equals": "a", "any_of-5-tag_equals": "b"},
        **{"any_of-0-remove": "on", "not": "on", "not-remove": "on"},
    )
    assert form.is_valid()
    assert form.document()["when"] == {"any_of": [{"tag_equals": "b"}]}


def test_a_condition_that_stands_there_empty_is_a_mistake_and_not_left_out_in_silence() -> None:
    rows = {"row": ["tag_equals", "has_tools", "time_window", "input_tokens", "unheard of"], "has_tools": "false"}
    found = mistakes(filled(**rows, any_of="0", **{"any_of-0-row": "model_in", "input_tokens_lt": "0"}))
    message = ["Fill this in, or remove the condition."]
    assert found == {"tag_equals": message, "window_from": message, "any_of-0-model_in": message}


def test_rows_are_those_that_say_something_and_the_others_can_be_added() -> None:
    when = {"tag_equals": "t", "has_tools": False, "input_tokens_gt": 0}
    shown = RouteForm(route={"name": "a", "then": {"target_model": "m"}, "when": when}).when
    assert [row.kind.name for row in shown.rows()] == ["input_tokens", "has_tools", "tag_equals"]
    others = "".join(html for _, html in shown.others())
    names = [kind.name for _, kinds in GROUPS for kind in kinds]
    assert [f'data-condition="{name}"' in others for name in names] == [
        name not in ("input_tokens", "has_tools", "tag_equals") for name in names
    ]
    group = RouteForm().blank_group()
    assert 'name="any_of-__n__-model_in" ' in str(group.others()[0][1])
    assert 'name="model_in" ' in str(RouteForm().when.others()[0][1])
    assert "any-group" not in str(group.others())


def test_the_way_to_a_mistake_is_the_id_of_its_control() -> None:
    form = filled(name="", any_of="0", extensions="[", **{"any_of-0-window_days": "x", "any_of-0-nested": "["})
    found = mistakes(form)
    page = str([str(field) for part in form.parts() for field in part])
    for one in form.mistakes():
        assert f'id="{one["field"]}"' in page, one
    assert len(form.mistakes()) == sum(map(len, found.values()))


def test_an_empty_group_is_a_group_that_always_holds() -> None:
    form = filled(any_of="0")
    assert form.is_valid()
    assert form.document()["when"] == {"any_of": [{}]}


def test_of_a_route_that_no_engine_reads_the_form_shows_what_can_be_read() -> None:
    broken = {
        "id": "x", "name": "a", "priority": 7, "enabled": False, "paused": True,
        "when": {"unheard_of": 1, "tag_equals": "t", "model_in": "m", "has_audio": True},
        "then": {"target_model": "m", "provider": 5, "fallbacks": ["n"], "split": []},
        "meta": 3,
    }  # fmt: skip
    form = RouteForm(sent(RouteForm(route=broken)))
    assert form.is_valid()
    document = form.document()
    assert (document["name"], document["priority"], document["enabled"]) == ("a", 7, False)
    assert document["when"] == {"tag_equals": "t", "has_audio": True}
    assert document["then"] == {"target_model": "m", "fallbacks": ["n"]}


@pytest.mark.parametrize("field", ["when", "then", "meta"])
def test_of_a_row_with_nonsense_the_form_still_opens(field: str) -> None:
    for nonsense in (None, 5, [], "x", {"a": {"b": []}}):
        route = {"name": "a", "priority": 1, "enabled": True, "when": {}, "then": {}, field: nonsense}
        assert "a" in sent(RouteForm(route=route)).values()


def test_a_default_that_passes_unchanged_is_none_and_drops_nothing_silently() -> None:
    data = QueryDict(mutable=True)
    data.update({"kind": ""})
    form = DefaultForm(data)
    assert form.is_valid()
    assert form.document() is None
    data.update({"target_model": "m"})
    assert "does not belong" in mistakes(DefaultForm(data))["target_model"][0]
