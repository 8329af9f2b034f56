"""A small OpenID provider that speaks HTTP and signs real tokens; a test may make it lie."""

import base64
import hmac
import json
import secrets
import threading
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

CLIENT_ID, CLIENT_SECRET = "routing-admin", "secret-of-the-client"


def _plain(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


class Provider:
    """`claims` of whoever is signed in there; `lies` are put over what a token says, None takes a claim away."""

    def __init__(self) -> None:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                provider.answer(self, url.path, {name: values[0] for name, values in parse_qs(url.query).items()})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                provider.answer(self, urlsplit(self.path).path, {n: v[0] for n, v in parse_qs(body).items()})

            def log_message(self, *args: Any) -> None:
                pass

        self.key = ECKey.generate_key("P-256", {"kid": "first"})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.reset()

    def reset(self) -> None:
        self.claims: dict[str, Any] = {
            "sub": "sub-1", "email": "ada@example.org", "email_verified": True, "preferred_username": "ada"
        }  # fmt: skip
        self.lies: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {}
        self.signing_key = self.key
        self.forgery = ""
        self.calls_itself = self.issuer
        self.is_away = False
        #: By path, what is answered instead, as it is.
        self.instead: dict[str, str] = {}
        self.codes: dict[str, dict[str, str]] = {}

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, path: str, sent: dict[str, str]) -> None:
        if self.is_away:
            request.send_error(503)
        elif path in self.instead:
            self._send(request, self.instead[path])
        elif path == "/.well-known/openid-configuration":
            self._json(
                request,
                {
                    "issuer": self.calls_itself,
                    "authorization_endpoint": self.issuer + "/authorize",
                    "token_endpoint": self.issuer + "/token",
                    "jwks_uri": self.issuer + "/keys",
                    "userinfo_endpoint": self.issuer + "/userinfo",
                    # What a careless provider offers: a token that anybody, or any client, can sign.
                    "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
                },
            )
        elif path == "/keys":
            self._json(request, {"keys": [self.key.as_dict(private=False)]})
        elif path == "/authorize":
            code = secrets.token_urlsafe(12)
            self.codes[code] = sent
            request.send_response(302)
            back = urlencode({"code": code, "state": sent["state"]})
            request.send_header("Location", f"{sent['redirect_uri']}?{back}")
            request.end_headers()
        elif path == "/token":
            self._token(request, sent)
        elif path == "/userinfo":
            self._json(request, self.userinfo)
        else:
            request.send_error(404)

    def _token(self, request: BaseHTTPRequestHandler, sent: dict[str, str]) -> None:
        asked = self.codes.pop(sent.get("code", ""), None)
        client = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        is_ours = request.headers.get("Authorization") == client
        challenge = _plain(sha256(sent.get("code_verifier", "").encode()).digest())
        if (
            asked is None or not is_ours or asked["code_challenge"] != challenge
            or asked["code_challenge_method"] != "S256" or asked["redirect_uri"] != sent["redirect_uri"]
        ):  # fmt: skip
            self._json(request, {"error": "invalid_grant"}, 400)
            return
        now = int(time.time())
        says = {
            "iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"],
            **self.claims, **self.lies,
        }  # fmt: skip
        says = {name: value for name, value in says.items() if value is not None}
        token = {"access_token": secrets.token_urlsafe(), "token_type": "Bearer", "id_token": self._signed(says)}
        self._json(request, {name: value for name, value in token.items() if value})

    def _signed(self, says: dict[str, Any]) -> str:
        if not self.forgery:
            return jwt.encode({"alg": "ES256", "kid": "first"}, says, self.signing_key)
        if self.forgery == "no token":
            return ""
        algorithm = "none" if self.forgery == "none" else "HS256"
        head = {"alg": algorithm, "kid": "first"}
        text = ".".join(_plain(json.dumps(part).encode()) for part in (head, says))
        secret = {
            "none": b"",
            "client secret": CLIENT_SECRET.encode(),
            "public key": self.key.as_pem(private=False),
        }[self.forgery]
        return f"{text}." + ("" if not secret else _plain(hmac.digest(secret, text.encode(), "sha256")))

    def _json(self, request: BaseHTTPRequestHandler, body: dict[str, Any], status: int = 200) -> None:
        self._send(request, json.dumps(body), status)

    def _send(self, request: BaseHTTPRequestHandler, body: str, status: int = 200) -> None:
        data = body.encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)
