"""The demo organisation: three people, a key, a few routes, a service, where it is placed, and synthetic traffic shaped
like a measured trace."""

import secrets

from django.contrib.auth import get_user_model
from django.db import transaction

from audit.actors import system
from plans.logs import demo
from routes import engine
from routes.catalog.services import install_shipped_prices
from routes.engine.placements import DEFAULT
from routes.orgs.keys import create_key
from routes.orgs.members import add_member
from routes.orgs.models import Organization, Role
from routes.orgs.services import create_organization
from routes.paths.services import create_service
from routes.placements.services import set_placement
from routes.rules.services import create_route
from routing_admin.signin.people import record_person

SLUG = "demo"
FILE_NAME = "first-run.txt"
#: Says that all of the demo traffic is there.
TRAFFIC_MARK = "demo-traffic-complete"
BY = system("demo")

ROUTES = (
    {
        "name": "summaries to a small model",
        "priority": 200,
        "when": {"model_in": ["gpt-4o"], "tag_equals": "summarize", "input_tokens_lt": 2000},
        "then": {"target_model": "gpt-4o-mini", "fallbacks": ["gpt-4.1-mini"]},
    },
    {
        "name": "pictures stay with the large model",
        "priority": 150,
        "when": {"has_images": True},
        "then": {"target_model": "gpt-4o", "fallbacks": ["gpt-4.1"]},
    },
)
#: Of hosts that are there to be shown: by a gateway it is served at /s/demo/site/.
SERVICE = {
    "slug": "site",
    "timeouts": {"first_byte_seconds": 10},
    "paths": [
        {"pattern": "/", "target_url": "https://www.example.com/", "methods": ["GET"]},
        {"pattern": "/domains/**", "target_url": "https://www.iana.org/domains", "methods": ["GET"]},
        {"pattern": "/orders/**", "target_url": "https://placement.invalid/"},
    ],
}
#: Where the orders are, until somebody moves them.
PLACE = engine.Target("eu", "orders", "https://www.example.com")


def is_installed() -> bool:
    return Organization.objects.filter(slug=SLUG).exists()


def add_traffic() -> None:
    """Import the synthetic requests, unless they are there: an interrupted first run goes on in the next one."""
    org = Organization.objects.get(slug=SLUG)
    demo.install(org, end=org.created_at, by=BY)


def install(address: str) -> str:
    """Make the organisation, its people and its key; answers the text that the first run prints and keeps."""
    people = {
        "edda": (Role.EDITOR, "edits routes and makes plans"),
        "arno": (Role.APPROVER, "approves and applies them"),
        "ada": (Role.ADMIN, "gives keys and roles, and moves what is placed"),
    }
    passwords = {name: secrets.token_urlsafe(9) for name in people}
    with transaction.atomic():
        install_shipped_prices(by=BY)
        org = create_organization(
            slug=SLUG, name="Demo", environment="demo", approval=Organization.Approval.PLANS, by=BY
        )
        for name, (role, _) in people.items():
            user = get_user_model().objects.create_user(name, password=passwords[name], is_staff=True)
            record_person(user, "person.created", by=BY)
            add_member(org, user, role=role, by=BY)
        for route in ROUTES:
            create_route(org, engine.NewRoute.from_dict(route), by=BY)
        create_service(org, engine.Service.from_dict(SERVICE), by=BY)
        set_placement(org, DEFAULT, PLACE, by=BY)
        key = create_key(org, name="demo", role=Role.EDITOR, by=get_user_model().objects.get(username="edda"))
    logins = "\n".join(f"  {name:<4}  password {passwords[name]}  ({what})" for name, (_, what) in people.items())
    return f"""Routing Admin is at {address}/

Three people:
{logins}

One API key (acts for edda):
  {key.text}

Four things to try:
  1. As edda: Plans, New plan, change a route of the copy, start the replay. The answer comes in a few seconds.
  2. As arno (another browser window): approve the plan, apply it, look at Audit, revert it.
  3. curl -H "Authorization: Bearer {key.text}" \\
       {address}/api/v1/orgs/{SLUG}/decide/ -H "Content-Type: application/json" \\
       -d '{{"context": {{"model": "gpt-4o", "input_tokens": 812, "tag": "summarize"}}}}'
  4. As ada: Placements, move * to another cluster: begin, cut over, and half a minute later complete.

The traffic of this organisation is synthetic: generated from the measured quantiles of a public trace.
"""
