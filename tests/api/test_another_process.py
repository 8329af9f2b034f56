"""What is taken away in one process is gone at the next request to another one, which answered a moment before."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.db import connection

from routes.orgs.keys import create_key, revoke_key
from routes.orgs.members import change_role, get_member, remove_member
from tests.build import BY, a_person, a_route, an_org
from tests.paths import ROOT
from tests.test_serve import a_free_port

pytestmark = pytest.mark.django_db(transaction=True)


class Server:
    """The application in a process of its own, on the database of this test."""

    def __init__(self) -> None:
        self.port = a_free_port()

    def __enter__(self) -> "Server":
        command = ["granian", "--interface", "wsgi", "--port", str(self.port), "routing_admin.wsgi:application"]
        environment = {**os.environ, "DATABASE_URL": url_of_test_database()}
        # A file: of a pipe that nobody reads the server waits for room, once it has told enough of requests.
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=environment, stdout=self.log, stderr=subprocess.STDOUT
        )
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                assert self.status("/healthz", "") == 200
                return self
            except OSError:
                assert self.process.poll() is None, self._told()
                time.sleep(0.05)
        raise AssertionError("nothing served within a minute")

    def status(self, path: str, key: str, method: str = "GET") -> int:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code

    def _told(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=15)
        self.log.close()


def url_of_test_database() -> str:
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


@pytest.fixture
def server(transactional_db: None) -> Iterator[Server]:
    with Server() as server:
        yield server


def test_a_revoked_key_and_a_lost_role_fail_at_the_next_request(server: Server) -> None:
    org = an_org()
    a_route(org)
    itself = f"/api/v1/orgs/{org.slug}/"
    routes = f"{itself}routes/"
    ada, vera = a_person("ada", org, "admin"), a_person("vera", org, "admin")
    revoked, kept = (create_key(org, name=name, role="admin", by=ada) for name in ("revoked", "kept"))
    of_vera = create_key(org, name="hers", role="admin", by=vera)
    for _ in range(2):
        for made in (revoked, kept, of_vera):
            # An admin is told what the change lacks.
            assert (server.status(routes, made.text), server.status(itself, made.text, "PATCH")) == (200, 428)

    revoke_key(revoked.key, by=ada)
    assert server.status(routes, revoked.text) == 401

    change_role(get_member(org, vera.pk), role="viewer", by=BY)
    assert (server.status(routes, of_vera.text), server.status(itself, of_vera.text, "PATCH")) == (200, 403)
    remove_member(get_member(org, vera.pk), by=BY)
    assert server.status(routes, of_vera.text) == 404

    assert server.status(routes, kept.text) == 200
    type(ada).objects.filter(pk=ada.pk).update(is_active=False)
    assert server.status(routes, kept.text) == 401
