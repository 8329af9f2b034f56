"""`HttpStore`: reads snapshots from the application's API, with the extra `http` (httpx)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from json import dumps
from math import inf
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from routes.engine.document import MAX_CONTENT_BYTES, Document, parse_json
from routes.engine.errors import DocumentRejected, StoreUnavailable
from routes.engine.ids import canonical_uuid
from routes.engine.store import ConnectedStore

#: As much as `Document.from_bytes` parses.
_MAX_BYTES = 2 * MAX_CONTENT_BYTES
#: So many organisations' versions are asked for in one call: as many as the application answers.
_ASKED_AT_ONCE = 10_000
#: More than the versions of so many take.
_MAX_VERSIONS_BYTES = 2 * 2**20
_MAX_VERSION = 2**53 - 1
#: An application that does not tell versions, or not to this key: older ones answer 404, and 422 to a version that is null.
_NOT_OFFERED = frozenset({403, 404, 405, 422})
#: How long until it is asked again.
_NOT_OFFERED_SECONDS = 600.0
#: A whole answer may take this many times as long as one wait for bytes: a server that drips is not waited for.
_ANSWER_TIMEOUTS = 5
#: How many documents are kept between `versions` and the `fetch` that follows; beyond, they are downloaded twice.
_MAX_KEPT = 100
#: Refusals that concern every organisation alike; asking for the next one would only add to the load.
_OF_ALL = frozenset({401, 403, 408, 429})
#: So many failures, and no answer before them, and the others are not asked: the application is down, or on its way there.
_ENOUGH_FAILURES = 3


class _Answer(NamedTuple):
    status: int
    #: None also where it could not be sent back.
    etag: str | None
    media_type: str
    #: Empty unless the status is 200.
    body: bytes


class _Seen(NamedTuple):
    """What is known of one organisation's snapshot."""

    #: Of the last answer, opaque; sent along so that the same snapshot is not sent again.
    etag: str | None
    #: The version of the last good document, 0 where there was none yet.
    good_version: int
    #: Whether the application has something else by now, which cannot be loaded.
    is_bad: bool

    @property
    def version(self) -> int:
        return self.good_version + self.is_bad


class HttpStore(ConnectedStore):
    """A reading store on the application's API. `base_url` is where the application is served (`https://host` and a
    path, if it has one), `key` an API key that may read snapshots of the organisations asked for.

    `versions` is one call for 10,000 organisations. The key of a gateway is needed for it; where it is refused (403, 404,
    405, 422: another key, an older application) `versions` asks for each snapshot with the ETag it knows, and for ten
    minutes does so at once. A snapshot that has not changed costs a round trip without a body; one that has is
    downloaded then and kept for the `fetch` that follows, so a change is downloaded once. With hundreds of organisations
    let the cache poll every few seconds then.

    An answer that cannot be loaded is `DocumentRejected`, for its own organisation. An unknown organisation is the
    application's own 404 (a problem document); any other one comes from something in between. That, every other status,
    redirects, errors of the connection, and versions that are none are `StoreUnavailable`.

    Where snapshots are asked for one by one, one that cannot be loaded counts as the version after the last good one, so
    that whoever polls fetches it and learns what is wrong; so does one of which there is no answer, which does not keep
    `versions` from answering for the others. Where nobody is answered, where three fail before anybody is, and for what
    concerns all (401, 403, 408, 429) `versions` raises.

    `timeout_seconds` bounds connecting and each wait for bytes, five times as much the time until a body is read.
    Headers that keep coming, a few bytes within each wait, are bounded by their size alone.

    Redirects are not followed, and proxies, certificates and passwords of the environment not used. Certificates are
    verified, against `ca_file` where one is given; over `http://` the key travels in clear. Connections are kept, shared
    by threads, and made anew in a forked child.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        timeout_seconds: float = 2.0,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """Raises `ValueError` for what is no such URL, key or time."""
        if not base_url.isprintable() or " " in base_url:
            raise ValueError("base_url is without spaces, line ends and control characters.")
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("base_url is http:// or https:// and a host, without a password.")
        if parts.port == 0 or parts.query or parts.fragment:  # the port raises for what is none
            raise ValueError("base_url has a port from 1, where it has one, and neither a query nor a fragment.")
        if not re.fullmatch(r"[!-~]+", key, re.ASCII):
            raise ValueError("A key is ASCII text without spaces.")
        if not 0 < timeout_seconds < inf:
            raise ValueError("timeout_seconds is finite and above 0.")
        self._url = base_url.rstrip("/") + "/api/v1/"
        self._key = key
        self._timeout_seconds = timeout_seconds
        self._ca_file = None if ca_file is None else os.fspath(ca_file)
        # Every access is one operation on a dict, which threads may share and a fork copies whole: no lock is needed.
        self._seen: dict[str, _Seen] = {}
        #: What `versions` downloaded and nobody fetched yet, with its ETag.
        self._kept: dict[str, tuple[str | None, Document]] = {}
        #: Until then it is not asked for the versions of many.
        self._one_by_one_until = -inf
        super().__init__()

    def versions(self, org_ids: Iterable[str]) -> dict[str, int]:
        asked = list(dict.fromkeys(map(canonical_uuid, org_ids)))
        found: dict[str, int] = {}
        for start in range(0, len(asked), _ASKED_AT_ONCE):
            portion = asked[start : start + _ASKED_AT_ONCE]
            if monotonic() >= self._one_by_one_until:
                told = self._versions_told(portion)
                if told is not None:
                    found |= told
                    continue
                self._one_by_one_until = monotonic() + _NOT_OFFERED_SECONDS
            found |= self._versions_seen(portion)
        return found

    def _versions_told(self, org_ids: Sequence[str]) -> dict[str, int] | None:
        """What the application tells of all of them in one answer, None where it does not. Raises `StoreUnavailable`."""
        # Of none a version is said to be known: then all that there are come back, and who is left out is not there. (Of
        # what did not change, nothing would come back either.)
        body = dumps({"known": dict.fromkeys(org_ids)}).encode()
        answer = self._send("POST", "gateway/versions/", "versions", {"Content-Type": "application/json"}, body)
        if answer.status in _NOT_OFFERED:
            return None
        if answer.status != 200:
            raise StoreUnavailable(f"HTTP: the answer for versions was {answer.status}{_meaning(answer.status)}.")
        try:
            said = parse_json(answer.body, 2, _MAX_VERSIONS_BYTES)
        except DocumentRejected as error:
            raise StoreUnavailable(f"HTTP: the answer for versions cannot be read: {error}") from error
        versions = said.get("versions") if isinstance(said, dict) else None
        if not isinstance(versions, dict) or not versions.keys() <= set(org_ids):
            raise StoreUnavailable("HTTP: the answer for versions is not about the organisations that were asked for.")
        if not all(type(version) is int and 0 <= version <= _MAX_VERSION for version in versions.values()):
            raise StoreUnavailable("HTTP: the answer for versions has some that are no versions.")
        return versions

    def _versions_seen(self, org_ids: Sequence[str]) -> dict[str, int]:
        """What the snapshots themselves tell, asked for one by one. Raises `StoreUnavailable`."""
        found: dict[str, int] = {}
        failed: dict[str, StoreUnavailable] = {}
        asked = 0
        for asked, org_id in enumerate(org_ids, 1):
            answer = None
            try:
                seen = self._seen.get(org_id)
                answer = self._ask(org_id, seen.etag if seen else None)
                version = self._version(org_id, answer)
            except StoreUnavailable as error:
                if answer is not None and answer.status in _OF_ALL:
                    raise
                failed[org_id] = error
                if len(failed) == asked == _ENOUGH_FAILURES:
                    break
            else:
                if version is not None:
                    found[org_id] = version
        if failed and len(failed) == asked:
            raise next(iter(failed.values()))
        for org_id in failed:
            # Its fetch says why; those that are answered are not held up by those that are not.
            seen = self._seen.get(org_id)
            found[org_id] = 1 if seen is None else seen.good_version + 1
        return found

    def fetch(self, org_id: str) -> Document | None:
        key = canonical_uuid(org_id)
        etag, kept = self._kept.pop(key, (None, None))
        answer = self._ask(key, etag)  # what was kept may be old by now
        if kept is not None and answer.status == 304:
            return kept
        return self._take(key, answer)

    def _version(self, org_id: str, answer: _Answer) -> int | None:
        """The version of which an answer tells; a new document is kept for `fetch`. Raises `StoreUnavailable`."""
        seen = self._seen.get(org_id)
        if seen is not None and answer.status == 304:
            return seen.version
        try:
            document = self._take(org_id, answer)
        except DocumentRejected:
            return self._seen[org_id].version
        if document is None:
            return None
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[org_id] = answer.etag, document
        return document.version

    def _take(self, org_id: str, answer: _Answer) -> Document | None:
        """What an answer says, noted. Raises `DocumentRejected` and `StoreUnavailable`."""
        if answer.status == 404 and answer.media_type == "application/problem+json":
            self._seen.pop(org_id, None)
            return None
        if answer.status != 200:
            raise StoreUnavailable(f"HTTP: the answer for {org_id} was {answer.status}{_meaning(answer.status)}.")
        before = self._seen.get(org_id)
        try:
            document = Document.from_bytes(answer.body)
            if document.org_id != org_id:
                raise DocumentRejected(f"Asked for {org_id}, the answer was the document of {document.org_id}.")
        except DocumentRejected:
            self._seen[org_id] = _Seen(answer.etag, 0 if before is None else before.good_version, is_bad=True)
            raise
        self._seen[org_id] = _Seen(answer.etag, document.version, is_bad=False)
        return document

    def _ask(self, org_id: str, etag: str | None) -> _Answer:
        """Ask for a snapshot, unless it is still the one of this ETag. Raises `StoreUnavailable`."""
        return self._send("GET", f"orgs/{org_id}/snapshot/", org_id, {} if etag is None else {"If-None-Match": etag})

    def _send(
        self, method: str, path: str, what: str, headers: dict[str, str], content: bytes | None = None
    ) -> _Answer:
        """`what` is asked for, in words. Raises `StoreUnavailable` where no whole answer comes."""
        try:
            import httpx
        except ImportError as error:
            raise ImportError("HttpStore needs httpx: install routing-engine[http].") from error
        until = monotonic() + _ANSWER_TIMEOUTS * self._timeout_seconds
        most = _MAX_BYTES if content is None else _MAX_VERSIONS_BYTES
        try:
            with self._connected().stream(method, self._url + path, headers=headers, content=content) as response:
                body = _body(response, until, most) if response.status_code == 200 else b""
                media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                etag = response.headers.get("ETag", "")
                return _Answer(response.status_code, etag if etag and etag.isascii() else None, media_type, body)
        # RuntimeError: another thread closed the client meanwhile.
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError, RuntimeError) as error:
            reason = str(error) or type(error).__name__
            raise StoreUnavailable(f"HTTP: no answer for {what}: {reason}") from error

    def _connected(self) -> Any:
        self._leave_to_parent()
        with self._lock:
            if self._connection is None:
                import ssl

                import httpx

                self._connection = httpx.Client(
                    headers={
                        "Authorization": f"Bearer {self._key}",
                        "Accept": "application/json",
                        "Accept-Encoding": "identity",  # a few kilobytes of gzip can stand for gigabytes
                        "User-Agent": "routing-engine",
                    },
                    verify=True if self._ca_file is None else ssl.create_default_context(cafile=self._ca_file),
                    timeout=self._timeout_seconds,
                    follow_redirects=False,
                    trust_env=False,
                )
            return self._connection


def _body(response: Any, until: float, most: int) -> bytes:
    """The bytes of an answer; of too many not all. Raises `OSError`, and what the client raises."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise OSError("The answer is compressed, which was not asked for.")
    body = bytearray()
    for part in response.iter_raw():
        body += part
        if len(body) > most:
            break
        if monotonic() > until:
            raise TimeoutError("The answer takes too long.")
    return bytes(body)


def _meaning(status: int) -> str:
    if status in (401, 403):
        return ": the key is not accepted"
    if status == 404:
        return ", and not from the application: is base_url right?"
    return ": redirects are not followed" if 300 <= status < 400 else ""
