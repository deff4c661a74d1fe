"""An issuer on loopback, with a certificate, asked over HTTPS as a server would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from mailkit.auth.oauth.settings import make
from mailkit.errors import TemporaryFailure, TokenRefused

from ...certificates import authority, make_identity
from ...https import serve_https
from .support import ANN, NOW, new_token, public_jwk

reactor: Any = _reactor


class Page(Resource):
    """Answers everything, from a table."""

    isLeaf = True  # noqa: N815

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[bytes, bytes, bytes | None]] = []
        self.answers: dict[bytes, Any] = {}

    def render(self, request: Any) -> bytes:
        path = request.path
        authorization = request.getHeader(b"authorization")
        self.asked.append((path, request.content.read(), authorization))
        if path not in self.answers:
            request.setResponseCode(404)
            return b""
        request.setHeader(b"Content-Type", b"application/json")
        request.setHeader(b"Cache-Control", b"max-age=600")
        return json.dumps(self.answers[path]).encode()


class IssuerTests(TestCase):
    def setUp(self) -> None:
        self.ca_file = self.mktemp()
        Path(self.ca_file).write_bytes(authority().pem)
        self.page = Page()

    def serve(self, *names: str) -> None:
        identity = make_identity(names or ["localhost"], authority())
        number = serve_https(self, Site(self.page), identity)
        self.issuer = f"https://localhost:{number}/realm"
        self.page.answers = {
            b"/realm/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "jwks_uri": f"https://localhost:{number}/keys",
                "introspection_endpoint": f"https://localhost:{number}/introspect",
            },
            b"/keys": {"keys": [public_jwk("p256", "ES256")]},
        }

    def checker(self, **settings: Any) -> Any:
        return make(
            self.issuer, **{"ca_file": self.ca_file, "seconds": lambda: float(NOW), **settings}
        )

    def token(self, name: str = "p256", **changes: Any) -> str:
        return new_token(name, "ES256", iss=self.issuer, **changes)

    async def ask(self, checker: Any, token: str) -> Any:
        return await Deferred.fromCoroutine(checker.check("", token))

    async def test_keys(self) -> None:
        self.serve()
        checker = self.checker(audience=["mail"])
        self.assertEqual(await self.ask(checker, self.token()), ANN)
        self.assertEqual(await self.ask(checker, self.token()), ANN)
        self.assertEqual(len(self.page.asked), 2)
        with self.assertRaises(TokenRefused):
            await self.ask(checker, self.token("p256 other"))
        with self.assertRaises(TokenRefused):
            await self.ask(checker, self.token(exp=NOW - 100))

    async def test_introspection(self) -> None:
        self.serve()
        secret = Path(self.mktemp())
        secret.write_text("s3cret\n")
        checker = self.checker(
            introspection="yes", client_id="mail", client_secret_file=str(secret)
        )
        self.page.answers[b"/introspect"] = {"active": True, "username": ANN}
        self.assertEqual(await self.ask(checker, "opaque"), ANN)
        path, body, authorization = self.page.asked[-1]
        self.assertEqual(path, b"/introspect")
        self.assertIn(b"token=opaque", body)
        self.assertEqual(authorization, b"Basic bWFpbDpzM2NyZXQ=")

    async def test_a_certificate_of_somebody_else(self) -> None:
        self.serve("other.example")
        with self.assertRaises(TemporaryFailure):
            await self.ask(self.checker(audience=["mail"]), self.token())
        self.assertEqual(self.page.asked, [])

    async def test_nobody_there(self) -> None:
        self.issuer = "https://localhost:9/realm"
        with self.assertRaises(TemporaryFailure):
            await self.ask(self.checker(audience=["mail"]), self.token())

    def test_settings(self) -> None:
        self.issuer = "https://id.example.org"
        Path(empty := self.mktemp()).write_text("\n")
        for settings, text in (
            ({}, "audience is missing"),
            ({"introspection": "no"}, "audience is missing"),
            ({"introspection": "http://id.example.org"}, "introspection"),
            ({"audience": ["mail"], "keys": "ftp://x"}, "keys"),
            ({"audience": ["mail"], "algorithms": ["HS256"]}, "'HS256' is none of"),
            ({"audience": ["mail"], "algorithms": ["none"]}, "'none' is none of"),
            ({"audience": ["mail"], "ca_file": "/nowhere"}, "ca-file"),
            ({"introspection": "yes", "client_id": "mail"}, "client-id needs"),
            ({"introspection": "yes", "client_secret_file": "/nowhere"}, "cannot read /nowhere"),
            ({"introspection": "yes", "client_secret_file": empty}, "holds no secret"),
        ):
            with self.assertRaises(ValueError) as caught:
                self.checker(**settings)
            self.assertIn(text, str(caught.exception))
        self.issuer = "http://id.example.org"
        with self.assertRaises(ValueError):
            self.checker(audience=["mail"])
