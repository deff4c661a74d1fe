"""Tokens that the issuer is asked about."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qs

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.oauth.checker import BearerChecker
from mailkit.auth.oauth.introspection import (
    CACHE_SECONDS,
    MAX_REQUESTS,
    IntrospectedTokens,
)
from mailkit.auth.oauth.rules import TokenRules
from mailkit.coroutines import run
from mailkit.errors import TemporaryFailure, TokenRefused

from .support import CONFIGURATION, ISSUER, NOW, FakeClient

ASK = "https://id.example.org/introspect"
TOKEN = "opaque.token+/=="


class IntrospectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.client = FakeClient()
        self.say(active=True, username="ann@example.org", exp=NOW + 600)
        self.checker = self.make_checker(url=ASK)

    def make_checker(self, rules: TokenRules | None = None, **settings: Any) -> BearerChecker:
        tokens = IntrospectedTokens(self.client, self.clock.seconds, **settings)  # type: ignore[arg-type]
        return BearerChecker(
            tokens,
            rules or TokenRules("username"),
            must_expire=False,
            seconds=self.clock.seconds,
        )

    def say(self, **claims: Any) -> None:
        self.client.answers[ASK] = claims

    def ask(self, token: str = TOKEN) -> Deferred[Any]:
        return run(self.checker.check("", token))

    def let_in(self, token: str = TOKEN) -> None:
        self.assertEqual(self.successResultOf(self.ask(token)), "ann@example.org")

    def refused(self, reason: str = "") -> None:
        failure: Any = self.failureResultOf(self.ask(), TokenRefused)
        self.assertIn(reason, str(failure.value.__cause__))

    def test_the_question(self) -> None:
        self.let_in()
        ((method, url, headers, body),) = self.client.asked
        self.assertEqual((method, url), ("POST", ASK))
        self.assertEqual(headers["Content-Type"], "application/x-www-form-urlencoded")
        self.assertNotIn("Authorization", headers)
        assert body is not None
        self.assertEqual(
            parse_qs(body.decode()), {"token": [TOKEN], "token_type_hint": ["access_token"]}
        )

    def test_who_asks(self) -> None:
        for settings, value in (
            # RFC 6749 section 2.3.1
            ({"client_id": "a:b", "secret": "c d"}, b"Basic " + base64.b64encode(b"a%3Ab:c+d")),
            ({"secret": "t0ken"}, b"Bearer t0ken"),
        ):
            self.checker = self.make_checker(url=ASK, **settings)
            self.let_in()
            self.assertEqual(self.client.asked[-1][2]["Authorization"], value.decode())

    def test_where_is_found_out(self) -> None:
        self.client.answers[CONFIGURATION] = {"issuer": ISSUER, "introspection_endpoint": ASK}
        self.checker = self.make_checker(issuer=ISSUER)
        self.let_in()
        self.assertEqual([url for _, url, _, _ in self.client.asked], [CONFIGURATION, ASK])

    def test_it_may_move(self) -> None:
        self.client.answers[CONFIGURATION] = {"issuer": ISSUER, "introspection_endpoint": ASK}
        self.checker = self.make_checker(issuer=ISSUER)
        self.let_in()
        self.client.answers[ASK + "/new"] = self.client.answers.pop(ASK)
        self.client.answers[CONFIGURATION]["introspection_endpoint"] += "/new"
        self.failureResultOf(self.ask("other"), TemporaryFailure)
        self.let_in("other")

    def test_what_is_not_taken(self) -> None:
        good = {"active": True, "username": "ann@example.org"}
        rules = TokenRules("username", ISSUER, frozenset({"mail"}), "read")
        for changes, reason in (
            ({"active": False}, "not known to its issuer"),
            ({"active": "true"}, "not known"),
            ({"active": None}, "not known"),
            ({"exp": NOW - 60}, "expired"),
            ({"iss": "https://other.example"}, "another issuer"),
            ({"aud": "web"}, "another audience"),
            ({"scope": "write"}, "without the scope"),
            ({"username": None}, "claim username"),
        ):
            self.checker = self.make_checker(rules, url=ASK)
            self.say(**{**good, "aud": ["mail"], "scope": "read", **changes})
            self.refused(reason)
        self.say(**good, aud="mail", scope="write read")
        self.checker = self.make_checker(rules, url=ASK)
        self.let_in()

    def test_answers_are_kept_for_a_time(self) -> None:
        self.let_in()
        self.say(active=False)
        self.clock.advance(CACHE_SECONDS - 1)
        self.let_in()
        self.assertEqual(len(self.client.asked), 1)
        self.clock.advance(1)
        self.refused()
        # That one is not kept: it may become good.
        self.refused()
        self.assertEqual(len(self.client.asked), 3)

    def test_no_longer_than_the_token(self) -> None:
        self.say(active=True, username="ann@example.org", exp=NOW - 30)
        self.let_in()
        self.clock.advance(30)
        self.refused("expired")

    def test_connections_at_once_ask_once(self) -> None:
        self.client.gate = gate = Deferred()
        waiting = [self.ask() for _ in range(5)]
        gate.callback(None)
        for each in waiting:
            self.successResultOf(each)
        self.assertEqual(len(self.client.asked), 1)

    def test_there_is_an_end(self) -> None:
        self.client.gate = gate = Deferred()
        waiting = [self.ask(f"token{number}") for number in range(MAX_REQUESTS)]
        self.assertEqual(len(self.client.asked), MAX_REQUESTS)
        self.failureResultOf(self.ask("one more"), TemporaryFailure)
        self.client.gate = None
        gate.callback(None)
        for each in waiting:
            self.successResultOf(each)
        self.let_in("one more")

    def test_those_who_give_up_take_no_place(self) -> None:
        self.client.gate = gate = Deferred()
        for number in range(MAX_REQUESTS):
            asking = self.ask(f"token{number}")
            asking.addErrback(lambda _: None)
            asking.cancel()
        gate.callback(None)
        self.let_in("one more")

    def test_trouble(self) -> None:
        for answer in (None, 404, 401, 500, b"x", b"[]", b"x" * 70_000):
            self.client.answers[ASK] = answer
            self.failureResultOf(self.ask(), TemporaryFailure)
        self.say(active=True, username="ann@example.org")
        self.let_in()
