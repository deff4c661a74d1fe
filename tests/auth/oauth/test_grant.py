"""Passwords that an issuer of tokens verifies."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.located import ExistingUser, NotAsked
from mailkit.auth.oauth import grant
from mailkit.auth.oauth.grant import PasswordGrant
from mailkit.auth.oauth.keys import IssuerKeys
from mailkit.auth.oauth.rules import TokenRules
from mailkit.auth.oauth.tokens import SignedTokens
from mailkit.coroutines import run
from mailkit.errors import TemporaryFailure
from mailkit.https import Response
from mailkit.interfaces import IPasswordVerifier
from tests.auth.oauth.support import (
    ANN,
    CONFIGURATION,
    ISSUER,
    KEYS,
    NOW,
    FakeClient,
    new_token,
    public_jwk,
)

TOKENS = "https://id.example.org/token"


class Issuer(FakeClient):
    """Gives tokens, or refuses with a status and an error."""

    refusal: tuple[int, bytes] | None = None

    async def request(self, method: str, url: str, headers: Any, body: Any = None) -> Response:
        response = await super().request(method, url, headers, body)
        if url == TOKENS and self.refusal is not None:
            return Response(self.refusal[0], (), self.refusal[1], False)
        return response


class PasswordGrantTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.issuer = Issuer()
        self.issuer.publish(public_jwk("rsa", "RS256"))
        self.issuer.answers[CONFIGURATION]["token_endpoint"] = TOKENS
        self.give(email=ANN)

    def give(self, **claims: Any) -> None:
        token = new_token(aud="mailkit", **claims)
        self.issuer.answers[TOKENS] = {"access_token": "x", "id_token": token}

    def make(self, **settings: Any) -> PasswordGrant:
        clock: Any = Clock()
        clock.advance(NOW)
        client: Any = self.issuer
        keys = IssuerKeys(client, clock.seconds, issuer=ISSUER)
        return PasswordGrant(
            client,
            SignedTokens(keys, ISSUER),
            TokenRules("email", ISSUER, frozenset({"mailkit"})),
            client_id="mailkit",
            seconds=clock.seconds,
            **settings,
        )

    def ask(self, base: PasswordGrant, password: bytes = b"s3cr3t &=") -> Deferred[Any]:
        return run(base.verify_password(login="ann", password=password))

    def posted(self) -> tuple[dict[str, list[str]], Any]:
        _, _, headers, body = next(each for each in self.issuer.asked if each[1] == TOKENS)
        assert body is not None
        return parse_qs(body.decode("ascii")), headers

    def test_the_issuer_says_who_it_is(self) -> None:
        base = self.make(secret="hush")
        verifyObject(IPasswordVerifier, base)
        self.assertEqual(self.successResultOf(self.ask(base)), ANN)
        fields, headers = self.posted()
        self.assertEqual(
            fields,
            {
                "grant_type": ["password"],
                "scope": ["openid email"],
                "username": ["ann"],
                "password": ["s3cr3t &="],
            },
        )
        pair = base64.b64encode(b"mailkit:hush").decode()
        self.assertEqual(headers["Authorization"], f"Basic {pair}")

    def test_the_endpoint_is_found_out_once(self) -> None:
        base = self.make()
        self.successResultOf(self.ask(base))
        self.successResultOf(self.ask(base))
        self.assertEqual([each[1] for each in self.issuer.asked].count(TOKENS), 2)
        # Once for the endpoint, once for the keys.
        self.assertEqual([each[1] for each in self.issuer.asked].count(CONFIGURATION), 2)

    def test_a_client_without_a_secret_names_itself(self) -> None:
        self.successResultOf(self.ask(self.make()))
        fields, headers = self.posted()
        self.assertEqual(fields["client_id"], ["mailkit"])
        self.assertNotIn("Authorization", headers)

    def test_a_wrong_password(self) -> None:
        for status in (400, 401):
            self.issuer.refusal = status, b'{"error": "invalid_grant"}'
            self.assertIsNone(self.successResultOf(self.ask(self.make())))
        self.issuer.refusal = None
        self.failureResultOf(self.ask(self.make(), b"\xff"), NotAsked)

    def test_trouble_is_no_wrong_password_and_is_logged_without_it(self) -> None:
        for refusal in (
            *((400, b'{"error": "unauthorized_client"}'), (401, b'{"error": "invalid_client"}')),
            *((400, b"<html>"), (401, b"[]"), (400, b'{"error": 1}'), (500, b""), (429, b"")),
            *((200, b"no JSON"), (200, b'{"access_token": "x"}'), (302, b"")),
        ):
            self.issuer.refusal = refusal
            with capturedLogs() as logs:
                failure = self.failureResultOf(self.ask(self.make()), TemporaryFailure)
            self.assertEqual(failure.value.text, TemporaryFailure.default_text)
            text = " ".join(map(formatEvent, logs))
            self.assertIn("cannot be asked", text)
            self.assertNotIn("s3cr3t", text)

    def test_an_issuer_that_is_down(self) -> None:
        for url in (TOKENS, KEYS, CONFIGURATION):
            answers, self.issuer.answers = self.issuer.answers, {**self.issuer.answers, url: None}
            with capturedLogs() as logs:
                failure = self.failureResultOf(self.ask(self.make()), TemporaryFailure)
            self.assertIn("cannot be", " ".join(map(formatEvent, logs)))
            # What clients are told.
            self.assertEqual(failure.value.text, TemporaryFailure.default_text)
            self.issuer.answers = answers

    def test_id_tokens_that_name_nobody(self) -> None:
        for claims in (
            {"email_verified": False},
            {"email": None},
            {"iss": "https://id.example.net"},
            {"exp": NOW - 1000},
        ):
            self.give(**claims)
            self.assertIsNone(self.successResultOf(self.ask(self.make())), claims)
        self.issuer.answers[TOKENS] = {"id_token": new_token(aud="another")}
        self.assertIsNone(self.successResultOf(self.ask(self.make())))
        self.issuer.answers[TOKENS] = {"id_token": new_token("rsa other", aud="mailkit")}
        self.assertIsNone(self.successResultOf(self.ask(self.make())))

    def test_without_domains_nobody_gets_an_account(self) -> None:
        checker = UserBaseChecker(self.make())
        credentials = UsernamePassword(b"ann", b"s3cr3t")
        found = self.successResultOf(checker.requestAvatarId(credentials))
        self.assertIsInstance(found, ExistingUser)
        self.assertEqual(found, ANN)
        checker = UserBaseChecker(self.make(domains=("example.org",)))
        found = self.successResultOf(checker.requestAvatarId(credentials))
        self.assertNotIsInstance(found, ExistingUser)

    def test_users_of_other_domains(self) -> None:
        self.give(email="bob")
        found = self.successResultOf(self.ask(self.make(domains=("example.org",))))
        self.assertEqual(found, "bob@example.org")
        self.give(email=ANN)
        self.assertIsNone(self.successResultOf(self.ask(self.make(domains=("example.net",)))))
        self.assertEqual(self.successResultOf(self.ask(self.make(domains=("example.org",)))), ANN)


class SettingTests(SynchronousTestCase):
    def test_what_is_wrong(self) -> None:
        empty = Path(self.mktemp())
        empty.write_text("")
        for settings, part in (
            ({}, "client-id"),
            ({"issuer": "http://id.example.org"}, "is no URL"),
            ({"client_id": "x", "ca_file": "nofile"}, "nofile"),
            ({"client_id": "x", "client_secret_file": str(empty)}, "no secret"),
        ):
            error = self.assertRaises(ValueError, grant.make, **{"issuer": ISSUER, **settings})
            self.assertIn(part, str(error))
        self.assertTrue(IPasswordVerifier.providedBy(grant.make(ISSUER, client_id="mailkit")))
