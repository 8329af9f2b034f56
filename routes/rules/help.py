"""The page that explains rules to everybody: how a request finds its route, and each condition."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from routes.engine.conditions import MAX_ATOMS, MAX_LEVELS
from routes.publish import MAX_ROUTES
from routes.rules.forms.rows import GROUPS


def help_rules(request: HttpRequest) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": "How a request finds its route",
        "groups": GROUPS,
        "most": {"routes": MAX_ROUTES, "conditions": MAX_ATOMS, "levels": MAX_LEVELS},
    }
    return render(request, "help/rules.html", context)


help_rules.required_role = "anybody"
OUTSIDE_PAGES = [path("help/rules/", help_rules, name="help_rules")]
