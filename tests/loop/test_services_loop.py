"""A service from the API to the wire: a real gateway serves it by host and by prefix, and follows every change of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from routes.orgs.models import Organization
from tests.api.conftest import Caller
from tests.api.test_another_process import url_of_test_database
from tests.api.test_services import put
from tests.api.test_who_may_what import signed_in
from tests.build import a_person, an_org
from tests.loop.addresses import own_address
from tests.loop.test_gateway_loop import eventually
from tests.routes.gateway.running import Gateway, free_port, running
from tests.routes.gateway.stubs import Upstream, says

pytestmark = pytest.mark.django_db(transaction=True)
HOST = "api.acme.example"


def upstream(name: str) -> Upstream:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\n\r\n"
    return Upstream(says(f"{head}{name}".encode()), own_address())


@contextmanager
def a_gateway(tmp_path: Path) -> Iterator[Gateway]:
    port = free_port()
    config = tmp_path / "gateway.toml"
    config.write_text(
        f"""
        listen = "127.0.0.1:{port}"
        [source]
        database_url = "{url_of_test_database()}"
        poll_seconds = 0.1
        """
    )
    with running(tmp_path, ["routes.gateway", "--config", str(config)], port) as gateway:
        yield gateway


class Asking:
    """Somebody who asks the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def __call__(self, path: str, host: str = "gateway", method: str = "GET") -> tuple[int, str]:
        """The status, and the body, or what the gateway says is wrong."""
        connection = self._gateway.kept()
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        text = answer.read().decode()
        is_refusal = answer.headers.get("Content-Type", "").startswith("application/json")
        return answer.status, json.loads(text)["error"] if is_refusal else text

    def becomes(self, expected: tuple[int, str], path: str, host: str = "gateway") -> None:
        """Waits until this is what is answered, which must come by itself."""
        last: list[Any] = []
        eventually(lambda: last.append(self(path, host)) or last[-1] == expected)


@pytest.fixture
def org() -> Organization:
    return an_org()


@pytest.fixture
def staff(org: Organization) -> Client:
    return signed_in(a_person("staff", is_superuser=True))


def test_a_gateway_serves_a_service_by_host_and_prefix_and_follows_its_changes(
    tmp_path: Path, org: Organization, staff: Client
) -> None:
    editor = Caller(org, "editor")
    with upstream("one") as one, upstream("two") as two, a_gateway(tmp_path) as gateway:
        ask = Asking(gateway)
        assert ask("/v/1", HOST) == (404, "no_service")
        paths = [{"pattern": "/v/*", "target_url": f"{one.url}/base?k=v", "methods": ["GET"]}]
        service = {"slug": "web", "paths": paths}
        refused = editor("post", "services/", service)
        assert refused.json()["errors"][0]["code"] == "egress_denied"
        opened = [{"network": f"{own_address()}/32", "port": each.port} for each in (one, two)]
        assert put(staff, org, "private-upstreams/", {"private_upstreams": opened}).status_code == 200
        assert editor("post", "services/", service).status_code == 201
        assert put(staff, org, "services/web/hosts/", {"hosts": [HOST]}).status_code == 200

        ask.becomes((200, "one"), "/v/1?x=y", HOST)
        ask.becomes((200, "one"), "/s/acme/web/v/2")
        assert {seen.line for seen in one.seen} == {
            "GET /base/1?k=v&x=y HTTP/1.1",
            "GET /base/2?k=v HTTP/1.1",
        }
        assert ask("/v/1", HOST, "POST") == (405, "method_not_allowed")
        assert ask("/other", HOST) == (404, "no_route")
        # What a person is told is what a gateway does.
        told = editor("post", "services/web/match/", {"path": "/v/2"}).json()
        assert told["url"] == f"{one.url}/base/2?k=v"

        # An edit changes it over.
        editor("put", "services/web/paths/", {"paths": [{"pattern": "/v/:n", "target_url": two.url}]})
        ask.becomes((200, "two"), "/v/1", HOST)
        assert ask("/s/acme/web/v/2") == (200, "two")
        # Disabled it answers 404, and enabled again as before.
        editor("patch", "services/web/", {"enabled": False})
        ask.becomes((404, "no_route"), "/v/1", HOST)
        assert ask("/s/acme/web/v/1") == (404, "no_route")
        editor("patch", "services/web/", {"enabled": True})
        ask.becomes((200, "two"), "/v/1", HOST)
        # Renamed it keeps its host, and its prefix is another one.
        editor("patch", "services/web/", {"slug": "site"})
        ask.becomes((200, "two"), "/s/acme/site/v/1")
        ask.becomes((200, "two"), "/v/1", HOST)
        assert ask("/s/acme/web/v/1")[0] == 404
        # What is not on the list any more is not asked any more, though the service leads there still.
        before = len(two.seen)
        assert put(staff, org, "private-upstreams/", {"private_upstreams": opened[:1]}).status_code == 200
        ask.becomes((502, "egress_denied"), "/v/1", HOST)
        closed = len(two.seen)
        assert ask("/v/1", HOST) == (502, "egress_denied")
        assert len(two.seen) == closed >= before
        # Deleted it is nowhere.
        assert editor("delete", "services/site/").status_code == 200
        ask.becomes((404, "no_service"), "/v/1", HOST)
