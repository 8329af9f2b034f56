"""Nothing that is secret stays anywhere: one walk through every door with a canary in every secret field, and then a search
through the whole database, the log's lines, exports, and every page that was answered.

Known and left: the seed of an authenticator app, which we need to compute its codes, is in the table of its device; the
request of an example, with its prompt, in that of the example. Nowhere else.
"""

import base64
import json
import re
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.apps import apps
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.urls import reverse
from django_otp.plugins.otp_totp.models import TOTPDevice

from audit.evidence.bundles import bundle_of
from audit.signing.keys import key_file
from plans.runs.worker import run_next
from routes.examples.models import ExampleRequest
from routes.orgs.models import Organization
from tests.api.conftest import Caller
from tests.api.promised import document
from tests.api.test_vectors import an_entry
from tests.audit.signing.build import signed
from tests.build import a_person, a_placement, a_plan, a_route, an_example, an_org, usual_prices
from tests.pages import own_pages
from tests.signin.people import code_at, wrong_code
from tests.signin.provider import Provider
from tests.signin.test_openid import visit
from tests.signin.test_second_factor import secret_in

pytestmark = pytest.mark.django_db
#: In the fields of forms that take something secret.
RIGHT, NEW, WRONG, OTHER = (f"canary-password-{name}-zq8" for name in ("right", "new", "wrong", "other"))
PROMPT = "canary-prompt: I have a rash, what is it? zq8"
HEADER = "canary-header-of-a-request-zq8"


class Watched(Client):
    """A client of which every answer is kept, but for what is shown this once on purpose."""

    answers: list[tuple[str, int, bytes]]

    def request(self, **request: Any) -> Any:
        answer = super().request(**request)
        content = b"".join(answer) if answer.streaming else answer.content
        if answer.streaming:
            answer.streaming_content = [content]
        told = f"{request.get('REQUEST_METHOD')} {request.get('PATH_INFO')}"
        self.answers.append((told, answer.status_code, content))
        return answer

    def shown_once(self) -> bytes:
        """The last answer, which holds a secret for whoever is meant to have it; not kept."""
        return self.answers.pop()[2]


class Walk:
    """Goes through the doors. `secrets`: what must be nowhere, by what it is."""

    def __init__(self, openid: Provider) -> None:
        self.answers: list[tuple[str, int, bytes]] = []
        self.secrets: dict[str, str] = {
            "wrong password": WRONG,
            "right password": RIGHT,
            "new password": NEW,
            "other": OTHER,
        }
        self.openid = openid
        usual_prices()
        self.org = an_org()
        self.staff = a_person("staff", self.org, "admin", is_superuser=True)
        type(self.staff).objects.filter(pk=self.staff.pk).update(password=make_password(RIGHT))

    def client(self, **more: Any) -> Watched:
        client = Watched(raise_request_exception=False, **more)
        client.answers = self.answers
        return client

    def cookies(self, client: Client) -> None:
        for name in ("sessionid", "csrftoken"):
            if name in client.cookies:
                self.secrets[f"cookie {name} {len(self.secrets)}"] = client.cookies[name].value

    def all(self) -> None:
        browser = self.sign_in()
        self.people(browser)
        self.second_factor()
        self.provider()
        keys = self.keys(browser)
        self.wrong_places(keys)
        self.every_operation(browser, keys["management"])
        self.every_page(browser)
        self.prompts(keys["management"], browser)
        self.what_fails(browser, keys["management"])
        self.cookies(browser)

    # --- Signing in ---------------------------------------------------------------------------------------------------

    def sign_in(self) -> Watched:
        browser = self.client()
        login = {"username": "staff", "password": WRONG}
        assert browser.post("/admin/login/", login).status_code == 200
        browser.post("/admin/login/", {"username": WRONG, "password": OTHER})  # typed in the wrong field
        self.cookies(browser)
        assert browser.post("/admin/login/", {**login, "password": RIGHT}).status_code == 302
        self.cookies(browser)
        return browser

    def people(self, browser: Watched) -> None:
        made = {"username": "ada", "email": "ada@mail.example", "usable_password": "true"}
        url = reverse("admin:auth_user_add")
        assert browser.post(url, {**made, "password1": OTHER, "password2": WRONG}).status_code == 200
        assert browser.post(url, {**made, "password1": RIGHT, "password2": RIGHT}).status_code == 302
        ada = type(self.staff).objects.get(username="ada")
        url = f"/admin/auth/user/{ada.pk}/password/"
        assert browser.post(url, {"usable_password": "true", "password1": NEW, "password2": OTHER}).status_code == 200
        assert browser.post(url, {"usable_password": "true", "password1": NEW, "password2": NEW}).status_code == 302

    def second_factor(self) -> None:
        hers, url = self.client(), "/admin/security/second-factor/"
        assert hers.post("/admin/login/", {"username": "ada", "password": NEW}).status_code == 302
        change = "/admin/password_change/"
        hers.post(change, {"password": WRONG, "new_password1": RIGHT, "new_password2": RIGHT})
        hers.post(change, {"password": NEW, "new_password1": RIGHT, "new_password2": OTHER})
        assert hers.post(change, {"password": NEW, "new_password1": RIGHT, "new_password2": RIGHT}).status_code == 302
        seed = secret_in(hers.get(url))
        hers.shown_once()
        self.secrets["seed of the second factor"] = base64.b32encode(bytes.fromhex(seed)).decode()
        self.secrets["seed of the second factor in hex"] = seed
        for sent in (
            {"password": WRONG, "code": code_at(seed, time.time())},
            {"password": RIGHT, "code": wrong_code(seed)},
        ):
            assert hers.post(url, sent).status_code == 422
            hers.shown_once()  # the seed again, for another try
        assert hers.post(url, {"password": RIGHT, "code": code_at(seed, time.time())}).status_code == 200
        codes = re.findall(rb"\b(?:[a-z2-9]{4}-){3}[a-z2-9]{4}\b", hers.shown_once())
        assert len(codes) > 5
        self.secrets |= {f"recovery code {number}": code.decode() for number, code in enumerate(codes)}
        self.cookies(hers)
        again = self.client()
        assert again.post("/admin/login/", {"username": "ada", "password": RIGHT})["Location"].startswith(
            "/admin/login/code/"
        )
        again.post("/admin/login/code/", {"code": "canary-code"})
        assert again.post("/admin/login/code/", {"code": codes[0].decode()}).status_code == 302
        self.cookies(again)

    def provider(self) -> None:
        """With the tokens that were given to us, and codes that nobody gave."""
        told: list[str] = []
        real = self.openid._json

        def noted(request: Any, body: dict[str, Any], status: int = 200) -> None:
            told.extend(str(body[name]) for name in ("access_token", "id_token") if name in body)
            real(request, body, status)

        browser = self.client()
        with patch.object(self.openid, "_json", noted):
            for lies in ({}, {"aud": "other"}):
                self.openid.lies = lies
                back = visit(browser)
                self.secrets |= dict(re.findall(r"[?&](code)=([^&]+)", back))
                self.cookies(browser)
                browser.get(back)
        assert len(told) == 4
        self.secrets |= {f"token {number}": token for number, token in enumerate(told)}
        browser.get("/admin/login/provider/callback/?code=canary-openid-code-zq8&state=canary-openid-state-zq8")
        self.secrets |= {"invented code": "canary-openid-code-zq8", "invented state": "canary-openid-state-zq8"}

    # --- Keys ---------------------------------------------------------------------------------------------------------

    def keys(self, browser: Watched) -> dict[str, str]:
        found: dict[str, str] = {}
        for kind, role in (("management", "admin"), ("gateway", ""), ("traffic", "")):
            sent = {"name": kind, "kind": kind, "role": role}
            answer = browser.post("/api/v1/orgs/acme/api-keys/", sent, "application/json", headers=self.token(browser))
            browser.shown_once()
            found[kind] = answer.json()["key"]
        page = {"key-name": "by page", "key-kind": "gateway"}
        assert browser.post("/admin/o/acme/access/keys/", page).status_code == 200
        shown = re.search(rb"rk_gateway_\w+", browser.shown_once())
        assert shown is not None
        found["by page"] = shown[0].decode()
        assert browser.post("/admin/gateway-keys/new/", page).status_code == 200
        shown = re.search(rb"rk_gateway_\w+", browser.shown_once())
        assert shown is not None
        found["of all"] = shown[0].decode()
        self.secrets |= {f"key {name}": text.rpartition("_")[2] for name, text in found.items()}
        return found

    def token(self, browser: Watched) -> dict[str, str]:
        browser.cookies["csrftoken"] = "c" * 32
        return {"X-CSRFToken": "c" * 32}

    def wrong_places(self, keys: dict[str, str]) -> None:
        """Where people put keys by mistake, and what is nearly one."""
        for text in keys.values():
            revoked = text[:-1] + ("x" if text[-1] != "x" else "y")
            for given in (text, revoked, f"{text}canary", text[:30]):
                for scheme in ("Bearer", "Basic", "Token"):
                    self.client().get("/api/v1/orgs/acme/", headers={"Authorization": f"{scheme} {given}"})
            anybody, known = self.client(), self.client(headers={"Authorization": f"Bearer {keys['management']}"})
            for client in (anybody, known):
                client.get(f"/api/v1/orgs/acme/routes/?api_key={text}")
                client.get(f"/api/v1/orgs/{text}/")
                client.get(f"/api/v1/orgs/acme/routes/{text}/")
                client.get(f"/{text}/")
                client.get(f"/admin/o/{text}/")
                client.get("/api/v1/orgs/", headers={"X-Api-Key": text, "X-Request-Id": text, "Accept": text})
                client.get(f"/api/v1/orgs/?cursor={text}")
                client.get("/metrics", headers={"Authorization": f"Bearer {text}"})
                client.get("/admin/login/", {"next": f"/{text}"})
                for body in ({"slug": text}, {"name": {"x": text}}, {text: 1}, text, [text]):
                    client.post("/api/v1/orgs/", body, "application/json", headers={"Idempotency-Key": text[:255]})
                client.put(f"/api/v1/orgs/acme/gateways/{text}/", {"engine": [text]}, "application/json")
        self.client().post("/admin/login/", {"username": keys["management"], "password": keys["management"]})

    # --- Every operation, every page ----------------------------------------------------------------------------------

    def every_operation(self, browser: Watched, key: str) -> None:
        """Each with members that it does not know, and that somebody takes for a place for secrets."""
        sent = {"password": WRONG, "api_key": key, "token": OTHER, "prompt": PROMPT, "authorization": f"Bearer {key}"}
        client = self.client(headers={"Authorization": f"Bearer {key}", "If-Match": "*"})
        route = str(a_route(self.org).uid)
        asked = 0
        for path, methods in document()["paths"].items():
            url = path.replace("{org}", "acme").replace("{instance}", "edge-1").replace("{id}", route)
            url = url.replace("{seq}", str(an_entry(self.org)))
            for method, operation in methods.items():
                bodies: list[Any] = [sent]
                for content in operation.get("requestBody", {}).get("content", {}).values():
                    if isinstance(content.get("example"), dict):
                        bodies.append({**content["example"], **sent})
                for who in (client, browser):
                    for body in bodies:
                        who.generic(
                            method.upper(), url, json.dumps(body), "application/json", headers=self.token(browser)
                        )
                        asked += 1
                    who.generic(method.upper(), f"{url}?password={WRONG}", headers=self.token(browser))
        assert asked > 200

    def every_page(self, browser: Watched) -> None:
        fields = ("password", "old_password", "new_password1", "new_password2", "code", "token", "api_key")
        for url in self.urls():
            if url.endswith(("/new/", "/keys/")) and "key" in url:
                continue  # a form of these names makes no key
            browser.get(url, {"password": WRONG})
            browser.post(url, dict.fromkeys(fields, WRONG))
            browser.post(url, {f"{url.split('/')[-2]}-{name}": OTHER for name in fields})

    def urls(self) -> list[str]:
        """Of every page of the organisation one address, of something that is there."""
        route = a_route(self.org, "of pages").uid
        partition = a_placement(self.org).partition
        ids = {
            "examples/": an_example(self.org, "of pages", expected={"route": None}).uid, "plans/": a_plan(self.org).pk,
            "access/members/": self.org.memberships.first().pk, "access/keys/": "nokey", "history/": 1,
        }  # fmt: skip
        found = []
        for page in own_pages():
            if page.is_of_org:
                about = next((uid for place, uid in ids.items() if page.place.startswith(place)), route)
                named: dict[str, Any] = {"id": about, "route": route, "seq": 0, "partition": partition}
                values = {argument: named[argument] for argument in page.arguments}
                found.append(reverse(f"admin:{page.name}", kwargs={"org": self.org.slug, **values}))
        return found

    def prompts(self, key: str, browser: Watched) -> None:
        self.secrets |= {"prompt": PROMPT, "header of a request": HEADER}
        client = self.client(headers={"Authorization": f"Bearer {key}"})
        context = {"model": "m", "prompt": PROMPT, "headers": {"authorization": HEADER}, "metadata": {"team": "x"}}
        for sent in (
            context,
            {**context, "prompt": [PROMPT]},
            {**context, "headers": HEADER},
            {**context, "other": PROMPT},
        ):
            for body in ({"context": sent}, {"context": sent, "prompt": PROMPT}, {"chat": sent}):
                client.post("/api/v1/orgs/acme/decide/", body, "application/json")
        chat = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}
        for body in ({"chat": chat}, {"request": chat}, {"body": chat}, chat):
            client.post("/api/v1/orgs/acme/decide/", body, "application/json")
        example = {"name": "golden", "request": {"context": context}, "expected": {"route": None}}
        made = client.post("/api/v1/orgs/acme/examples/", example, "application/json")
        assert made.status_code == 201, made.content
        self.answers.pop()  # who writes an example reads it
        client.post("/api/v1/orgs/acme/examples/", {**example, "name": PROMPT * 20}, "application/json")
        assert ExampleRequest.objects.count() > 1
        row = {"request_id": "r1", "ts": "2026-05-01T12:00:00Z", "model": "m", "prompt": PROMPT, "messages": PROMPT}
        for lines in (row, {**row, "ts": PROMPT}, {"prompt": PROMPT}, PROMPT):
            client.post(
                "/api/v1/orgs/acme/request-logs/",
                json.dumps(lines).encode() + b"\n",
                content_type="application/x-ndjson",
            )
        file = BytesIO(f"request_id,ts,model,prompt\nr2,2026-05-01T12:00:00Z,m,{PROMPT}\n".encode())
        file.name = "logs.csv"
        browser.post("/admin/o/acme/logs/import/", {"file": file, "step": "import", "on_error": "skip"})
        browser.post("/admin/o/acme/try/", {"model": "m", "prompt": PROMPT, "headers": HEADER})
        self.answers.pop()  # whoever typed it sees it again

    def what_fails(self, browser: Watched, key: str) -> None:
        """Faults of ours in the middle of what holds a secret."""
        client = self.client(headers={"Authorization": f"Bearer {key}"})
        with patch("routing_admin.signin.forms.SignInForm.clean", side_effect=RuntimeError("a fault")):
            assert self.client().post("/admin/login/", {"username": "staff", "password": RIGHT}).status_code == 500
        with patch("routes.orgs.keys.record", side_effect=RuntimeError(f"a fault that tells of {key}")):
            sent = {"name": "k", "kind": "gateway"}
            answer = browser.post("/api/v1/orgs/acme/api-keys/", sent, "application/json", headers=self.token(browser))
            assert answer.status_code == 500
        with patch("routes.requests.decide", side_effect=RuntimeError("a fault"), create=True):
            client.post("/api/v1/orgs/acme/decide/", {"context": {"prompt": PROMPT}}, "application/json")


# --- Where it is searched ---------------------------------------------------------------------------------------------


def dump() -> Iterator[tuple[str, bytes]]:
    """(table, value) of everything in the database; what is packed also unpacked."""
    for model in apps.get_models(include_auto_created=True):
        if not model._meta.managed:
            continue
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT * FROM "{model._meta.db_table}"')
            for row in cursor.fetchall():
                for value in row:
                    data = bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                    yield model._meta.db_table, data
                    with suppress(zlib.error):
                        yield model._meta.db_table, zlib.decompress(data)
    for session in Session.objects.all():
        yield "django_session", json.dumps(session.get_decoded()).encode()


def exports(org: Organization, client: Client) -> Iterator[tuple[str, bytes]]:
    for log in (None, org.pk):
        with zipfile.ZipFile(BytesIO(b"".join(bundle_of(log)))) as bundle:
            yield from ((f"audit export, {name}", bundle.read(name)) for name in bundle.namelist())
    for path in (
        "routes/export/",
        "routes/export/?as=yaml",
        "versions/",
        "examples/",
        "request-logs/",
        "audit/",
        "snapshot/",
    ):
        answer = client.get(f"/api/v1/orgs/{org.slug}/{path}")
        yield path, answer.content
    yield "metrics", client.get("/metrics").content
    yield "schema", client.get("/api/schema/").content


@pytest.fixture
def walked(
    openid: Provider, locks: None, settings: Any, tmp_path: Path, written: Callable[[], list[dict[str, Any]]]
) -> Any:
    settings.AUDIT_SIGNER_DIR = str(tmp_path / "signer")
    settings.METRICS_TOKEN = "canary-metrics-token-" + "zq8" * 10
    walk = Walk(openid)
    walk.all()
    walk.secrets |= {
        "token of metrics": settings.METRICS_TOKEN,
        "client of the provider": settings.OIDC_CLIENT_SECRET,
        "secret key": settings.SECRET_KEY,
        **{f"pepper {number}": pepper.decode() for number, pepper in settings.API_KEY_PEPPERS.items()},
    }
    while run_next():
        pass
    signed()
    walk.secrets["key of the signer"] = key_file().read_text().split("+", 4)[4].strip()
    return walk, written()


def test_no_secret_is_anywhere_after_a_walk_through_every_door(walked: tuple[Walk, list[dict[str, Any]]]) -> None:
    walk, lines = walked
    assert len(walk.secrets) > 40
    assert all(len(text) > 5 for text in walk.secrets.values()), walk.secrets
    viewer = Caller(walk.org, "admin").client
    places: list[tuple[str, bytes]] = [*dump(), *exports(walk.org, viewer)]
    places += [(f"line of {line['logger']}", json.dumps(line, ensure_ascii=False).encode()) for line in lines]
    places += [(f"{told} {status}", content) for told, status, content in walk.answers]
    allowed = {
        (TOTPDevice._meta.db_table, "seed of the second factor in hex"),
        (ExampleRequest._meta.db_table, "prompt"),
        (ExampleRequest._meta.db_table, "header of a request"),
        ("examples/", "prompt"),
        ("examples/", "header of a request"),
    }
    # Whoever signs in sees the name that was typed, and goes where they wanted to.
    of_their_own = {"GET /admin/login/ 200", "POST /admin/login/ 200"}
    found = {
        (place, name, content[max(0, content.find(text.encode()) - 60) :][:160])
        for place, content in places
        for name, text in walk.secrets.items()
        if text.encode() in content and place not in of_their_own and (place, name) not in allowed
    }
    assert not found, "\n".join(map(str, sorted(found)))
    assert len(lines) > 500
    assert of_their_own <= {place for place, _ in places}
    assert {status for _, status, _ in walk.answers} >= {200, 302, 400, 401, 403, 404, 405, 422, 500}
