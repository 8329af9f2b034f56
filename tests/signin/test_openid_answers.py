"""Answers of the OpenID provider that are not as the standards have them."""

import json
from typing import Any

import pytest
from django.test import Client

from tests.signin.provider import Provider
from tests.signin.test_openid import sign_in, visit
from tests.signin.test_second_factor import is_signed_in

pytestmark = pytest.mark.django_db


NONSENSE = (
    "",
    "<html>Sign in to the WiFi</html>",
    "[]",
    '["error"]',
    '"text"',
    "7",
    "null",
    "true",
    "{}",
    '{"keys": 7}',
)


@pytest.mark.parametrize("body", NONSENSE)
@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/keys", "/userinfo"])
def test_an_answer_that_makes_no_sense_is_refused_with_a_page(
    known: Any, openid: Provider, path: str, body: str
) -> None:
    openid.instead = {path: body}
    openid.lies = {"email": None}
    client = Client()
    answer = client.get("/admin/login/provider/")
    if not path.startswith("/.well-known"):
        answer = client.get(visit(client))
    assert answer.status_code in (403, 503)
    assert "Back to signing in" in answer.content.decode()
    assert not is_signed_in(client)
    openid.instead, openid.lies = {}, {}
    assert sign_in()[1].status_code == 302, "and nothing of it is kept"


@pytest.mark.parametrize(
    "token",
    [
        {"id_token": 7}, {"id_token": []}, {"id_token": {}}, {"id_token": "a.b.c"}, {"id_token": None}, {"id_token": "é"},
        {"error": 7}, {"error": ["x"]}, {"error": None}, {"error_description": 7}, {"access_token": 7}, {"expires_in": "x"},
        {"expires_in": []}, {"expires_at": {}}, {"token_type": 7},
        # What is not signed, in the place where the library puts what is.
        {"userinfo": {"sub": "sub-1", "email": "ada@example.org"}},
    ],
)  # fmt: skip
def test_a_token_whose_parts_make_no_sense_breaks_nothing(known: Any, openid: Provider, token: dict[str, Any]) -> None:
    openid.instead = {"/token": json.dumps({"access_token": "x", "token_type": "Bearer", **token})}
    client, answer = sign_in()
    assert answer.status_code in (403, 503)
    assert "Back to signing in" in answer.content.decode()
    assert not is_signed_in(client)
