"""The price table as a page."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from routes.catalog.services import prices_for


def prices(request: HttpRequest) -> HttpResponse:
    return render(request, "routes/prices.html", {"title": "Prices", "prices": prices_for(request.org)})


prices.required_role = "viewer"
PAGES = [path("prices/", prices, name="prices")]
