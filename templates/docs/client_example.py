"""Makes short requests for gpt-4o go to a small model, and loses nobody's work. Needs: pip install httpx

ROUTING_ADMIN=https://routing.example ORGANIZATION=acme KEY=rk_management_… python client_example.py
"""

import os
import uuid
from contextlib import suppress

import httpx

api = httpx.Client(
    base_url=f"{os.environ['ROUTING_ADMIN']}/api/v1/orgs/{os.environ['ORGANIZATION']}/",
    headers={"Authorization": f"Bearer {os.environ['KEY']}"},
    timeout=10,
)


def everything(path):
    """The objects of all pages of a list."""
    while path:
        page = api.get(path).raise_for_status().json()
        yield from page["results"]
        path = page["next"]


def told(response):
    """What is wrong, for people: problems have a stable code, and all that is wrong comes at once."""
    problem = response.json()
    where = "; ".join(f"{error['pointer']}: {error['detail']}" for error in problem.get("errors", []))
    return f"{problem['code']}: {problem['detail']} {where}".strip()


def made(path, body):
    """The answer to a POST, sent again where none came. One key for all three: it has its effect once."""
    key = str(uuid.uuid4())
    for _ in range(2):
        with suppress(httpx.TransportError):
            return api.post(path, json=body, headers={"Idempotency-Key": key})
    return api.post(path, json=body, headers={"Idempotency-Key": key})


wanted = {
    "name": "short requests",
    "when": {"model_in": ["gpt-4o"], "input_tokens_lt": 2000},
    "then": {"target_model": "gpt-4o-mini"},
}
answer = made("routes/", wanted)
if answer.status_code == 422:
    raise SystemExit(told(answer))
route = answer.raise_for_status().json()["route"]

# Change it, unless somebody else did since we looked.
seen = api.get(f"routes/{route['id']}/").raise_for_status()
answer = api.patch(f"routes/{route['id']}/", json={"priority": 200}, headers={"If-Match": seen.headers["ETag"]})
if answer.status_code == 412:
    raise SystemExit(f"Somebody was faster: {answer.json()['difference']}")
answer.raise_for_status()

# What would become of a request?
tried = api.post("decide/", json={"context": {"model": "gpt-4o", "input_tokens": 800}}).raise_for_status().json()
print("A short request goes to", tried["decision"]["target_model"])
for each in everything("routes/"):
    print(each["priority"], each["name"])
