"""`HttpStore` against servers that answer as told, and against the application itself.

These servers know no call for the versions of many, like an older application: snapshots are asked for one by one.
`test_http_store_versions` has those that do.
"""

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from routes.engine import Document, EngineCache, NewRoute, RequestContext, Store, httpstore
from routes.engine.errors import DocumentRejected, ManagementUnsupported, StoreUnavailable
from routes.engine.httpstore import HttpStore
from tests.routes.engine.build import ORG, OTHER_ORG, document, eventually, raw_route, route_id

httpx = pytest.importorskip("httpx")

KEY = "rk_gateway_abcdefghijkl_0123"


class Application(ThreadingHTTPServer):
    """Answers with the documents it is given, as the application does, unless an organisation's answer is scripted.

    Versions are told where there is something that tells them: of the ids that are asked for.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.documents: dict[str, Document] = {}
        self.scripted: dict[str, Callable[[_Handler], None]] = {}
        #: (organisation, If-None-Match, status) of every request.
        self.asked: list[tuple[str, str | None, int]] = []
        self.headers: list[dict[str, str]] = []
        self.tells: Callable[[_Handler, list[str]], None] = lambda handler, _: handler.answer(404)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def publish(self, version: int, org_id: str = ORG) -> None:
        self.documents[org_id] = document(raw_route(version), org_id=org_id, version=version)

    def downloads(self) -> list[str]:
        return [org_id for org_id, _, status in self.asked if status == 200]

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hangs up is what some tests are about


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Application

    def do_GET(self) -> None:
        before, _, org_id, last = self.path.strip("/").rsplit("/", 3)
        assert (before.removeprefix("below/"), last) == ("api/v1", "snapshot")
        self.org_id = org_id
        self.server.headers.append(dict(self.headers))
        script = self.server.scripted.get(org_id)
        if script is not None:
            script(self)
            return
        found = self.server.documents.get(org_id)
        etag = f'"{found.version}"' if found else ""
        if found is None:
            self.answer(404, b"{}", {"Content-Type": "application/problem+json; charset=utf-8"})
        elif self.headers["If-None-Match"] == etag:
            self.answer(304, b"", {"ETag": etag})
        else:
            self.answer(200, found.to_bytes(), {"ETag": etag, "Content-Type": "application/json"})

    def do_POST(self) -> None:
        assert self.path == "/api/v1/gateway/versions/" or self.path.startswith("/below/")
        self.org_id = "versions"
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert list(body) == ["known"]
        assert set(body["known"].values()) == {None}
        self.server.tells(self, list(body["known"]))

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        if self.command == "GET":
            self.server.asked.append((self.org_id, self.headers["If-None-Match"], status))
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def application() -> Iterator[Application]:
    with serving(Application()) as server:
        server.publish(3)
        server.publish(1, OTHER_ORG)
        yield server


class serving:
    """The server answers while this lasts."""

    def __init__(self, server: Application) -> None:
        self.server = server

    def __enter__(self) -> Application:
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        return self.server

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def store(application: Application) -> Iterator[HttpStore]:
    with HttpStore(application.url, KEY, timeout_seconds=5) as store:
        yield store


# --- What it reads ----------------------------------------------------------------------------------------------------


def test_versions_and_documents_come_from_the_snapshots(application: Application, store: HttpStore) -> None:
    reading: Store = store
    assert reading.versions([ORG, OTHER_ORG, route_id(99)]) == {ORG: 3, OTHER_ORG: 1}
    assert reading.versions([]) == {}
    assert reading.fetch(ORG) == application.documents[ORG]
    assert reading.fetch(OTHER_ORG.replace("-", "").upper()) == application.documents[OTHER_ORG]
    assert reading.fetch(route_id(99)) is None
    assert {headers["Authorization"] for headers in application.headers} == {f"Bearer {KEY}"}
    assert {headers["Accept-Encoding"] for headers in application.headers} == {"identity"}


def test_a_path_of_the_base_url_stays_before_that_of_the_api(application: Application) -> None:
    for base_url in (f"{application.url}/below", f"{application.url}/below/"):
        with HttpStore(base_url, KEY) as store:
            assert store.versions([ORG]) == {ORG: 3}


def test_what_is_unchanged_is_not_sent_again(application: Application, store: HttpStore) -> None:
    store.fetch(ORG)
    for _ in range(3):
        assert store.versions([ORG]) == {ORG: 3}
    assert application.asked == [(ORG, None, 200), *[(ORG, '"3"', 304)] * 3]


def test_a_change_is_downloaded_once(application: Application, store: HttpStore) -> None:
    store.fetch(ORG)
    application.publish(4)
    assert store.versions([ORG]) == {ORG: 4}
    assert store.versions([ORG]) == {ORG: 4}
    assert store.fetch(ORG) == application.documents[ORG]
    assert application.downloads() == [ORG, ORG]


def test_a_fetch_answers_with_what_is_newest_then_not_with_what_a_look_at_the_versions_saw(
    application: Application, store: HttpStore
) -> None:
    assert store.versions([ORG]) == {ORG: 3}
    application.publish(4)
    fetched = store.fetch(ORG)
    assert fetched is not None
    assert fetched.version == 4
    del application.documents[ORG]
    assert store.fetch(ORG) is None
    assert store.versions([ORG]) == {}
    assert application.asked[-1] == (ORG, None, 404)  # nothing is known of it any more


def test_documents_that_nobody_fetches_do_not_pile_up(
    application: Application, store: HttpStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routes.engine.httpstore._MAX_KEPT", 3)
    orgs = [route_id(n) for n in range(10)]
    for org_id in orgs:
        application.publish(1, org_id)
    assert store.versions(orgs) == dict.fromkeys(orgs, 1)
    assert len(store._kept) <= 3
    assert [found.org_id for org_id in orgs if (found := store.fetch(org_id))] == orgs


def test_a_cache_in_front_sees_a_new_version(application: Application, store: HttpStore) -> None:
    with EngineCache(store, poll_seconds=0.02) as cache:
        assert cache.engine_for(ORG).decide(RequestContext("m")).version == 3
        application.publish(4)
        assert eventually(lambda: cache.engine_for(ORG).version == 4)
        assert application.downloads() == [ORG, ORG]


# --- What it refuses --------------------------------------------------------------------------------------------------


def cut(handler: _Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"schema"')
    handler.close_connection = True


def garbage(handler: _Handler) -> None:
    handler.wfile.write(b"220 mail.example ESMTP\r\n")
    handler.close_connection = True


def hang_up(handler: _Handler) -> None:
    handler.close_connection = True


def hang(handler: _Handler) -> None:
    time.sleep(30)


def drip(handler: _Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(600):
        handler.wfile.write(b" ")
        time.sleep(0.05)


def compressed(handler: _Handler) -> None:
    handler.answer(200, b"\x1f\x8b", {"Content-Encoding": "gzip"})


BROKEN = [cut, garbage, hang_up, hang, drip, compressed]


@pytest.mark.parametrize("script", BROKEN, ids=lambda script: script.__name__)
def test_an_answer_that_is_none_is_store_unavailable_with_its_cause(
    application: Application, script: Callable[[_Handler], None]
) -> None:
    application.scripted[ORG] = script
    with HttpStore(application.url, KEY, timeout_seconds=0.2) as store:
        for call in (lambda: store.versions([ORG]), lambda: store.fetch(ORG)):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable) as caught:
                call()
            assert caught.value.__cause__ is not None
            assert KEY not in str(caught.value)
            assert time.monotonic() - began < 10
        store._connection.timeout = 5  # only to wait less for what never comes
        assert store.fetch(OTHER_ORG) is not None  # and what is left of the connection disturbs nobody


@pytest.mark.parametrize("status", [204, 206, 304, 307, 401, 403, 404, 410, 429, 500, 502, 503])
def test_every_other_status_is_store_unavailable(application: Application, store: HttpStore, status: int) -> None:
    application.scripted[ORG] = lambda handler: handler.answer(status, b"", {"Content-Type": "text/html"})
    for call in (lambda: store.versions([ORG]), lambda: store.fetch(ORG)):
        with pytest.raises(StoreUnavailable, match=str(status)):
            call()


def test_nobody_listening_is_store_unavailable_until_somebody_does() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with HttpStore(f"http://127.0.0.1:{taken.getsockname()[1]}", KEY) as store:
            with pytest.raises(StoreUnavailable) as caught:
                store.versions([ORG])
            assert isinstance(caught.value.__cause__, httpx.ConnectError)
            assert caught.value.retryable
            with serving(Application()) as application:
                application.publish(1)
                store._url = f"{application.url}/api/v1/"
                assert store.versions([ORG]) == {ORG: 1}


def test_a_host_that_no_name_server_could_know_is_store_unavailable() -> None:
    for host in ("a..b", "xn--0.example", "no-such-host.invalid"):
        with HttpStore(f"https://{host}", KEY) as store, pytest.raises(StoreUnavailable):
            store.versions([ORG])


def test_redirects_are_not_followed(application: Application, store: HttpStore) -> None:
    with serving(Application()) as elsewhere:
        elsewhere.publish(9)
        location = f"{elsewhere.url}/api/v1/orgs/{ORG}/snapshot/"
        application.scripted[ORG] = lambda handler: handler.answer(302, b"", {"Location": location})
        with pytest.raises(StoreUnavailable, match="redirects are not followed"):
            store.fetch(ORG)
        assert elsewhere.headers == []


def test_proxies_and_passwords_of_the_environment_are_not_used(
    application: Application, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with HttpStore(application.url, KEY) as store:
        assert store.versions([ORG]) == {ORG: 3}
    assert application.headers[-1]["Authorization"] == f"Bearer {KEY}"


def test_the_document_of_another_organisation_is_rejected(application: Application, store: HttpStore) -> None:
    application.documents[ORG] = application.documents[OTHER_ORG]
    with pytest.raises(DocumentRejected, match=OTHER_ORG):
        store.fetch(ORG)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_document_is_rejected(application: Application, store: HttpStore, body: bytes) -> None:
    application.scripted[ORG] = lambda handler: handler.answer(200, body)
    with pytest.raises(DocumentRejected):
        store.fetch(ORG)


def test_of_an_answer_larger_than_any_document_the_rest_is_not_read(application: Application, store: HttpStore) -> None:
    sent = 0

    def endless(handler: _Handler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        handler.close_connection = True
        while True:
            handler.wfile.write(b" " * (1 << 16))
            sent += 1 << 16

    application.scripted[ORG] = endless
    with pytest.raises(DocumentRejected, match="more than 16,777,216 bytes"):
        store.fetch(ORG)
    assert sent < 32 << 20


def test_a_bad_snapshot_is_seen_as_a_new_version_that_is_not_downloaded_again_and_leaves_the_others_alone(
    application: Application, store: HttpStore
) -> None:
    for org_id in (ORG, OTHER_ORG):
        store.fetch(org_id)
    application.scripted[ORG] = lambda handler: (
        handler.answer(304, b"", {"ETag": '"4"'})
        if handler.headers["If-None-Match"] == '"4"'
        else handler.answer(200, b"{}", {"ETag": '"4"'})
    )
    application.publish(2, OTHER_ORG)
    before = len(application.asked)
    for _ in range(3):
        assert store.versions([ORG, OTHER_ORG]) == {ORG: 4, OTHER_ORG: 2}
    assert [status for _, _, status in application.asked[before:]] == [200, 200, 304, 304, 304, 304]
    with pytest.raises(DocumentRejected):
        store.fetch(ORG)
    del application.scripted[ORG]
    assert store.versions([ORG, OTHER_ORG]) == {ORG: 3, OTHER_ORG: 2}


def test_one_organisation_that_only_gets_errors_holds_up_nobody(application: Application, store: HttpStore) -> None:
    with EngineCache(store, poll_seconds=0.02) as cache:
        for org_id in (ORG, OTHER_ORG):
            cache.engine_for(org_id)
        application.scripted[ORG] = lambda handler: handler.answer(500)
        application.publish(2, OTHER_ORG)
        assert eventually(lambda: cache.engine_for(OTHER_ORG).version == 2)
        assert eventually(lambda: f"for {ORG} was 500" in (cache.status()["orgs"][ORG]["last_error"] or ""))
        assert cache.engine_for(ORG).version == 3


@pytest.mark.parametrize(
    "script",
    [*BROKEN, *(lambda handler, status=status: handler.answer(status) for status in (502, 503, 504))],
    ids=[*(script.__name__ for script in BROKEN), "502", "503", "504"],
)
@pytest.mark.parametrize("first", [True, False])
def test_one_organisation_s_failure_is_its_own(
    application: Application, script: Any, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [ORG, OTHER_ORG] if first else [OTHER_ORG, ORG]
    # A second, so that an answer is not late because the machine is busy.
    with HttpStore(application.url, KEY, timeout_seconds=1) as store:
        store.fetch(ORG)
        monkeypatch.setattr(httpstore, "_ANSWER_TIMEOUTS", 1)
        application.scripted[ORG] = script
        application.publish(2, OTHER_ORG)
        assert store.versions(asked) == {ORG: 4, OTHER_ORG: 2}
        with pytest.raises(StoreUnavailable, match=ORG):
            store.fetch(ORG)


def test_an_organisation_that_is_not_known_was_answered_too(application: Application, store: HttpStore) -> None:
    application.scripted[ORG] = lambda handler: handler.answer(500)
    assert store.versions([ORG, route_id(99)]) == {ORG: 1}


@pytest.mark.parametrize("status", [401, 403, 408, 429])
def test_a_refusal_that_concerns_all_ends_the_round(application: Application, store: HttpStore, status: int) -> None:
    application.scripted[ORG] = lambda handler: handler.answer(status)
    with pytest.raises(StoreUnavailable, match=str(status)):
        store.versions([OTHER_ORG, ORG, route_id(99)])
    assert [org_id for org_id, _, _ in application.asked] == [OTHER_ORG, ORG]


def test_an_application_that_is_down_is_not_asked_for_everybody(application: Application, store: HttpStore) -> None:
    orgs = [route_id(number) for number in range(9)]
    for org_id in orgs:
        application.scripted[org_id] = lambda handler: handler.answer(503)
    with pytest.raises(StoreUnavailable, match=f"for {orgs[0]} was 503"):
        store.versions([orgs[0], *orgs])
    assert [org_id for org_id, _, _ in application.asked] == orgs[:3]
    application.asked.clear()
    assert store.versions([ORG, *orgs]) == {ORG: 3} | dict.fromkeys(orgs, 1)


def test_an_etag_that_cannot_be_sent_back_is_not_kept(application: Application, store: HttpStore) -> None:
    application.scripted[ORG] = lambda handler: handler.answer(
        200, application.documents[ORG].to_bytes(), {"ETag": '"caf\xe9"'}
    )
    for _ in range(2):
        assert store.versions([ORG]) == {ORG: 3}
    assert store.fetch(ORG) == application.documents[ORG]
    assert {etag for _, etag, _ in application.asked} == {None}


def test_a_read_on_a_client_that_another_thread_closed_is_store_unavailable(
    application: Application, store: HttpStore
) -> None:
    store.versions([ORG])
    store._connection.close()
    for call in (lambda: store.versions([ORG]), lambda: store.fetch(ORG)):
        with pytest.raises(StoreUnavailable, match="closed"):
            call()
    store.close()
    assert store.versions([ORG]) == {ORG: 3}


@pytest.mark.parametrize(
    ("base_url", "key"),
    [
        ("ftp://host", KEY),
        ("host", KEY),
        ("https://", KEY),
        ("https://user:secret@host", KEY),
        ("https://host:0", KEY),
        ("https://host:99999", KEY),
        ("https://host:a", KEY),
        ("https://host/?a=1", KEY),
        ("https://host/#a", KEY),
        ("https://host/\n", KEY),
        (" https://host", KEY),
        ("https://ho st", KEY),
        ("https://ho\x7fst", KEY),
        ("https://host/\x85", KEY),
        ("https://host", ""),
        ("https://host", "a key"),
        ("https://host", "key\r\nX-Other: 1"),
        ("https://host", "schlüssel"),
    ],
)
def test_what_is_no_such_url_or_key_is_refused(base_url: str, key: str) -> None:
    with pytest.raises(ValueError):
        HttpStore(base_url, key)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf")])
def test_what_is_no_time_to_wait_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="finite and above 0"):
        HttpStore("https://host", KEY, timeout_seconds=seconds)


def test_ids_that_are_none_never_reach_the_url(store: HttpStore, application: Application) -> None:
    for wrong in ("../../admin", "", f"{ORG}/../{OTHER_ORG}", ORG + "\n"):
        with pytest.raises(ValueError):
            store.fetch(wrong)
        with pytest.raises(ValueError):
            store.versions([wrong])
    assert application.headers == []


def test_without_httpx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    with HttpStore("https://host", KEY) as store, pytest.raises(ImportError, match=r"routing-engine\[http\]"):
        store.versions([ORG])


def test_it_refuses_management(store: HttpStore) -> None:
    with pytest.raises(ManagementUnsupported):
        store.delete_route(ORG, route_id(1))


# --- Certificates, threads, forks -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    made, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, key


def test_certificates_are_verified(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    server = Application()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))  # not used either
    with serving(server):
        server.publish(1)
        url = server.url.replace("http:", "https:")
        with HttpStore(url, KEY) as store, pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            store.versions([ORG])
        assert server.headers == []
        with HttpStore(url, KEY, ca_file=certificate[0]) as store:
            assert store.versions([ORG]) == {ORG: 1}
        for wrong in (
            HttpStore(url.replace("127.0.0.1", "localhost"), KEY, ca_file=certificate[0]),
            HttpStore(url, KEY, ca_file="/no/such/file"),
        ):
            with wrong as store, pytest.raises(StoreUnavailable, match=r"CERTIFICATE_VERIFY_FAILED|No such file"):
                store.versions([ORG])
        assert len(server.headers) == 1


def test_many_threads_share_a_store(application: Application) -> None:
    failures: list[Exception] = []
    orgs = [route_id(n) for n in range(8)]
    for number, org_id in enumerate(orgs):
        application.publish(number, org_id)

    def read(number: int) -> None:
        try:
            for _ in range(10):
                assert store.versions([orgs[number]]) == {orgs[number]: number}
                assert store.fetch(orgs[number]) == application.documents[orgs[number]]
        except Exception as error:
            failures.append(error)

    with HttpStore(application.url, KEY) as store:
        threads = [threading.Thread(target=read, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_its_own_connections(application: Application, store: HttpStore) -> None:
    store.versions([ORG])
    before = store._connection
    store._lock.acquire()  # as another thread may hold it at the moment of the fork
    child = os.fork()
    if child == 0:
        good = False
        try:
            good = store.versions([ORG]) == {ORG: 3} and store._connection is not before
        finally:
            os._exit(0 if good else 1)
    store._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.versions([ORG]) == {ORG: 3}
    assert store._connection is before


# --- The application itself -------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_it_reads_what_the_application_serves_to_a_key(live_server: Any) -> None:
    from routes.orgs.keys import create_key
    from routes.rules.services import create_route
    from tests.build import BY, a_person, a_route, an_org

    org, foreign = an_org(), an_org("foreign")
    a_route(foreign)
    key = create_key(org, name="gateway", role="viewer", by=a_person("ada", org, "viewer"))
    with HttpStore(live_server.url, key.text) as store:
        assert store.versions([str(org.pk), str(foreign.pk), ORG]) == {str(org.pk): 0}
        a_route(org, "first")
        assert store.versions([str(org.pk)]) == {str(org.pk): 1}
        found = store.fetch(str(org.pk))
        assert found is not None
        assert [raw["name"] for raw in found.content["routes"]] == ["first"]
        assert store.fetch(str(foreign.pk)) is None
        create_route(org, NewRoute.from_dict({"name": "second", "then": {"target_model": "m"}}), by=BY)
        assert store.versions([str(org.pk)]) == {str(org.pk): 2}
    for url, text, reason in (
        (live_server.url, "rk_management_abcdefghijkl_" + "0" * 64, "the key is not accepted"),
        (f"{live_server.url}/elsewhere", key.text, "is base_url right"),
    ):
        with HttpStore(url, text) as store, pytest.raises(StoreUnavailable, match=reason):
            store.fetch(str(org.pk))
