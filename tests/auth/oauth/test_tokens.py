"""Tokens with signatures: whose, for whom, until when, and by which key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from typing import Any
from unittest import mock

import jwt
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.oauth.checker import MAX_TOKEN, is_same_user
from mailkit.auth.oauth.documents import KEPT, MAX_KEPT, MIN_KEPT
from mailkit.auth.oauth.keys import (
    MAX_KEYS,
    MAX_STALE,
    MIN_INTERVAL,
    RETRY_INTERVAL,
    IssuerKeys,
    configuration_urls,
    is_https,
)
from mailkit.auth.oauth.library import load_jwt
from mailkit.auth.oauth.tokens import SignedTokens
from mailkit.coroutines import run
from mailkit.errors import AuthorizationFailed, TemporaryFailure, TokenRefused

from .support import (
    ANN,
    CONFIGURATION,
    ISSUER,
    KEYS,
    NOW,
    FakeClient,
    claims_of,
    key,
    make_checker,
    new_token,
    public_jwk,
)


class TokenTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.client = FakeClient()
        self.client.publish(public_jwk("rsa", "RS256", alg="RS256", use="sig"))
        self.checker = make_checker(self.client, self.clock)

    def ask(self, token: str, username: str = "") -> Deferred[Any]:
        return run(self.checker.check(username, token))

    def let_in(self, token: str, username: str = "") -> None:
        self.assertEqual(self.successResultOf(self.ask(token, username)), ANN)

    def refused(self, token: str, reason: str = "", status: str = "invalid_token") -> None:
        failure: Any = self.failureResultOf(self.ask(token), TokenRefused)
        self.assertEqual(failure.value.status, status)
        self.assertIn(reason, str(failure.value.__cause__))
        # Who comes in vain learns no more than the code.
        self.assertEqual(str(failure.value), "User name or password is not right")

    @property
    def fetched(self) -> list[str]:
        return [url for _, url, _, _ in self.client.asked]


class ClaimTests(TokenTestCase):
    def test_a_good_one(self) -> None:
        for _ in range(3):
            self.let_in(new_token())
        # The issuer's description and its keys, once.
        self.assertEqual(self.fetched, [CONFIGURATION, KEYS])

    def test_time(self) -> None:
        for changes, reason in (
            ({"exp": NOW - 60}, "expired"),
            ({"exp": None}, "never expires"),
            ({"nbf": NOW + 61}, "not valid yet"),
            ({"iat": NOW + 61}, "issued in the future"),
            ({"exp": str(NOW + 100)}, "no time"),
            ({"exp": True}, "no time"),
            ({"exp": 1e300}, "no time"),
            ({"nbf": [NOW]}, "no time"),
            ({"iat": str(NOW)}, "no time"),
        ):
            self.refused(self.signed(**changes), reason)
        # Clocks differ.
        for changes in ({"exp": NOW - 59}, {"nbf": NOW + 60}, {"iat": NOW + 60}, {"iat": None}):
            self.let_in(new_token(**changes))

    def signed(self, **changes: Any) -> str:
        """A token with claims that PyJWT would not sign."""
        claims = json.dumps(claims_of(**changes)).encode()
        return jwt.PyJWS().encode(claims, key("rsa"), "RS256", {"kid": "rsa", "typ": "JWT"})

    def test_time_is_that_of_our_clock(self) -> None:
        token = new_token(exp=NOW + 600)
        self.clock.advance(659)
        self.let_in(token)
        self.clock.advance(1)
        self.refused(token, "expired")

    def test_issuer_and_audience(self) -> None:
        for changes, reason in (
            ({"iss": ISSUER + "/"}, "another issuer"),
            ({"iss": None}, "another issuer"),
            ({"aud": "web"}, "another audience"),
            ({"aud": None}, "another audience"),
            ({"aud": ["web", 7]}, "another audience"),
        ):
            self.refused(self.signed(**changes), reason)
        self.let_in(new_token(aud=["web", "mail"]))

    def test_a_stranger_costs_no_request(self) -> None:
        self.refused(new_token(iss="https://evil.example"), "another issuer")
        self.assertEqual(self.fetched, [])

    def test_the_name(self) -> None:
        for value in (None, "", 7, ["ann"], "a\nb", "a\0b", "x" * 400):
            self.refused(self.signed(email=value), "claim email")
        self.refused(new_token(email_verified=False), "not verified")
        self.let_in(new_token(email_verified=True))
        self.checker = make_checker(self.client, self.clock, claim="sub")
        self.assertEqual(self.successResultOf(self.ask(new_token(sub="ann"))), "ann")

    def test_scope(self) -> None:
        self.checker = make_checker(self.client, self.clock, scope="mail")
        for changes in ({}, {"scope": "mailx web"}, {"scope": 7}, {"scp": ["web"]}):
            self.refused(new_token(**changes), "without the scope", "insufficient_scope")
        for changes in ({"scope": "web mail"}, {"scp": "mail"}, {"scp": ["web", "mail"]}):
            self.let_in(new_token(**changes))

    def test_refusals_tell_clients_where_to_go(self) -> None:
        self.checker = make_checker(self.client, self.clock, scope="mail")
        failure: Any = self.failureResultOf(self.ask(new_token()), TokenRefused)
        self.assertEqual(failure.value.scope, "mail")
        self.assertEqual(failure.value.configuration_url, CONFIGURATION)

    def test_a_token_that_is_bound_to_a_key(self) -> None:
        self.refused(new_token(cnf={"jkt": "x"}), "not a bearer token")

    def test_whose_it_is(self) -> None:
        for name in (ANN, "Ann@Example.ORG", "ann", ""):
            self.let_in(new_token(), name)
        for name in ("bob@example.org", "bob", "ann@example.com", "@example.org"):
            self.failureResultOf(self.ask(new_token(), name), AuthorizationFailed)
        self.assertTrue(is_same_user("ann@bücher.example", "ANN@xn--bcher-kva.example"))

    def test_users_of_other_domains(self) -> None:
        self.checker._domains = ("example.org", "example.net")
        self.let_in(new_token())
        self.let_in(new_token(email="ann"))
        self.let_in(new_token(email="ann"), ANN)
        for name in ("eve@example.com", "eve@", "eve@example.org@example.com"):
            self.refused(new_token(email=name), "another domain")

    def test_nothing_secret_is_logged(self) -> None:
        lines: list[str] = []
        observer = lambda event: lines.append(repr(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        tokens = [new_token(), new_token(aud="web"), new_token("rsa other")]
        self.let_in(tokens[0])
        self.refused(tokens[1])
        self.refused(tokens[2])
        self.assertIn("for another audience", "".join(lines))
        for token in tokens:
            self.assertNotIn(token.rpartition(".")[2], "".join(lines))


class SignatureTests(TokenTestCase):
    def test_algorithms(self) -> None:
        names = {
            "RS256": "rsa",
            "ES256": "p256",
            "ES384": "p384",
            "ES512": "p521",
            "EdDSA": "ed25519",
        }
        self.client.publish(*(public_jwk(name, algorithm) for algorithm, name in names.items()))
        for algorithm, name in names.items():
            self.let_in(new_token(name, algorithm))

    def test_what_is_not_taken(self) -> None:
        for algorithm in ("RS384", "RS512", "PS256"):
            self.refused(new_token(algorithm=algorithm), "in a way that is not taken")
        for name in ("none", "HS256", "RS257", ""):
            with self.assertRaises(ValueError):
                SignedTokens(IssuerKeys(self.client, lambda: 0.0), ISSUER, [name])  # type: ignore[arg-type]

    def unsigned(self, header: dict[str, Any], signature: bytes = b"") -> str:
        def part(octets: bytes) -> str:
            return base64.urlsafe_b64encode(octets).decode().rstrip("=")

        signed = f"{part(json.dumps(header).encode())}.{part(json.dumps(claims_of()).encode())}"
        if signature:
            return f"{signed}.{part(hmac.digest(signature, signed.encode(), hashlib.sha256))}"
        return f"{signed}."

    def test_none(self) -> None:
        for name in ("none", "None", "NONE", "nOnE"):
            self.refused(self.unsigned({"alg": name, "kid": "rsa"}))

    def test_a_public_key_as_the_secret_of_an_hmac(self) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public = key("rsa").public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for secret in (pem, pem.strip(), json.dumps(public_jwk("rsa", "RS256")).encode()):
            token = self.unsigned({"alg": "HS256", "typ": "JWT", "kid": "rsa"}, secret)
            self.refused(token, "in a way that is not taken")

    def test_a_key_is_used_for_its_algorithm_alone(self) -> None:
        self.client.publish(public_jwk("rsa", "RS256", alg="RS512"))
        self.refused(new_token(), "not signed by a key of its issuer")

    def test_wrong_keys(self) -> None:
        self.refused(new_token("rsa other", headers={"kid": "rsa"}), "not signed")
        self.refused(new_token("p256", "ES256", headers={"kid": "rsa"}), "not signed")
        self.refused(new_token("rsa other"), "not signed")
        token = new_token()
        self.refused(token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB"), "not signed")

    def test_without_the_name_of_a_key(self) -> None:
        self.client.publish(public_jwk("rsa other", "RS256"), public_jwk("rsa", "RS256"))
        self.let_in(new_token(headers={"kid": None}))
        self.refused(new_token("rsa third", headers={"kid": None}), "not signed")

    def test_keys_that_a_token_brings_along(self) -> None:
        own = public_jwk("rsa other", "RS256")
        for headers in (
            {"jwk": own},
            {"jku": "https://evil.example/keys"},
            {"x5u": "https://evil.example"},
        ):
            self.refused(new_token("rsa other", headers={"kid": "rsa", **headers}), "not signed")
        self.assertNotIn("https://evil.example/keys", self.fetched)

    def test_headers(self) -> None:
        for kind in ("at+jwt", "application/at+JWT", "jwt", None):
            self.let_in(new_token(headers={"typ": kind}))
        for headers, reason in (
            ({"typ": "logout+jwt"}, "something else"),
            ({"typ": "dpop+jwt"}, "something else"),
            ({"crit": ["exp"], "exp": NOW + 100}, ""),
        ):
            self.refused(new_token(headers=headers), reason)

    def test_what_is_no_token(self) -> None:
        for token in ("", "x", "a.b.c", "....", "W10.W10.W10", "a" * 5000, "=.=.="):
            self.refused(token, "no token with a signature")
        self.refused("a" * (MAX_TOKEN + 1), "too long")
        self.refused("tökén", "not in ASCII")
        self.refused(self.unsigned({"alg": ["RS256"], "kid": "rsa"}))
        deep = base64.urlsafe_b64encode(b"[" * 2000).decode().rstrip("=")
        self.refused(f"{deep}.{deep}.{deep}", "no token")
        self.assertEqual(self.fetched, [])

    def test_a_missing_library_is_named(self) -> None:
        with (
            mock.patch.dict(sys.modules, {"jwt": None}),
            self.assertRaisesRegex(ImportError, r"twisted-mailkit\[oauth\]"),
        ):
            load_jwt()


class KeySetTests(TokenTestCase):
    def test_keys_that_cannot_verify(self) -> None:
        good = public_jwk("rsa", "RS256")
        for bad in (
            {**good, "use": "enc"},
            {**good, "key_ops": ["sign"]},
            {**good, "key_ops": "verify"},
            {**good, "kid": 7},
            {**good, "n": 7},
            {**good, "n": "!"},
            {**good, "kty": "oct", "k": "c2VjcmV0"},
            {**good, "kty": ["RSA"]},
            {**good, "alg": "RSA-OAEP"},
            {**public_jwk("p256", "ES256"), "crv": "secp256k1"},
            public_jwk("rsa1024", "RS256"),
        ):
            self.setUp()
            self.client.publish(bad)
            self.refused(new_token(), "not signed")
            # Whatever the others are.
            self.client.publish(bad, *["x", 7, None], good)  # type: ignore[arg-type]
            self.clock.advance(MIN_INTERVAL)
            self.let_in(new_token())

    def test_a_private_key_that_was_published(self) -> None:
        private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key("rsa")))
        self.client.publish({**private, "kid": "rsa", "key_ops": ["sign", "verify"]})
        self.let_in(new_token())

    def test_no_more_than_a_number(self) -> None:
        other = public_jwk("p256", "ES256")
        self.client.publish(*[other] * MAX_KEYS, public_jwk("rsa", "RS256"))
        self.refused(new_token(), "not signed")

    def test_how_long_they_are_kept(self) -> None:
        for caching, seconds in (
            ((), KEPT),
            ((b"public, max-age=7200",), 7200),
            ((b"max-age=1",), MIN_KEPT),
            ((b"max-age=9999999999",), MAX_KEPT),
            ((b"no-store", b"max-age=7200"), MIN_KEPT),
            ((b"max-age=x",), KEPT),
            ((b"s-max-age=5",), KEPT),
        ):
            self.setUp()
            self.client.caching = caching
            self.let_in(new_token())
            self.clock.advance(seconds - 1)
            self.let_in(new_token(exp=NOW * 2))
            self.assertEqual(len(self.fetched), 2, caching)
            self.clock.advance(1)
            self.let_in(new_token(exp=NOW * 2))
            self.assertEqual(len(self.fetched), 4, caching)

    def test_a_new_key(self) -> None:
        self.let_in(new_token())
        self.client.publish(public_jwk("rsa", "RS256"), public_jwk("rsa other", "RS256"))
        self.clock.advance(MIN_INTERVAL)
        self.let_in(new_token("rsa other"))
        self.assertEqual(len(self.fetched), 4)

    def test_unknown_keys_cannot_make_us_ask_all_the_time(self) -> None:
        self.let_in(new_token())
        for number in range(20):
            self.refused(new_token(headers={"kid": f"new-{number}"}), "not signed")
        self.assertEqual(len(self.fetched), 2)
        self.clock.advance(MIN_INTERVAL)
        for number in range(20):
            self.refused(new_token(headers={"kid": f"new-{number}"}), "not signed")
        self.assertEqual(len(self.fetched), 4)

    def test_logins_at_once_ask_once(self) -> None:
        self.client.gate = gate = Deferred()
        waiting = [self.ask(new_token()) for _ in range(5)]
        self.client.gate = None
        gate.callback(None)
        for each in waiting:
            self.assertEqual(self.successResultOf(each), ANN)
        self.assertEqual(self.fetched, [CONFIGURATION, KEYS])

    def test_one_who_gives_up_disturbs_nobody(self) -> None:
        self.client.gate = gate = Deferred()
        first, second = self.ask(new_token()), self.ask(new_token())
        first.addErrback(lambda _: None)
        first.cancel()
        gate.callback(None)
        self.assertEqual(self.successResultOf(second), ANN)


class TroubleTests(TokenTestCase):
    """An issuer that is down is no reason to call tokens wrong."""

    def unavailable(self, token: str) -> None:
        failure: Any = self.failureResultOf(self.ask(token), TemporaryFailure)
        self.assertEqual(
            failure.value.text, "Tokens cannot be verified just now, please try again later"
        )

    def test_from_the_beginning(self) -> None:
        self.client.fail()
        for _ in range(20):
            self.unavailable(new_token())
        self.assertEqual(len(self.fetched), 1)
        self.client.publish(public_jwk("rsa", "RS256"))
        self.clock.advance(RETRY_INTERVAL - 1)
        self.unavailable(new_token())
        self.clock.advance(1)
        self.let_in(new_token())

    def test_known_keys_go_on_for_a_time(self) -> None:
        self.let_in(new_token())
        self.client.fail()
        token = new_token(exp=NOW * 2)
        self.clock.advance(KEPT + MAX_STALE - 1)
        self.let_in(token)
        self.clock.advance(1)
        self.unavailable(token)

    def test_a_slow_issuer_delays_nobody_who_has_a_known_key(self) -> None:
        self.let_in(new_token())
        self.client.gate = Deferred()
        self.clock.advance(KEPT)
        self.let_in(new_token(exp=NOW * 2))

    def test_a_key_that_nobody_can_look_for(self) -> None:
        self.let_in(new_token())
        self.client.fail()
        self.clock.advance(MIN_INTERVAL)
        self.unavailable(new_token("rsa other"))
        # Also while it is too early to try again.
        self.unavailable(new_token("rsa other"))

    def test_answers_that_are_none(self) -> None:
        keys = public_jwk("rsa", "RS256")
        for url, answer in (
            (CONFIGURATION, 500),
            (CONFIGURATION, 404),
            (CONFIGURATION, 301),
            (CONFIGURATION, b"<html>"),
            (CONFIGURATION, b"[" * 50_000),
            (CONFIGURATION, []),
            (CONFIGURATION, {"issuer": ISSUER + "x", "jwks_uri": KEYS}),
            (CONFIGURATION, {"issuer": ISSUER}),
            (CONFIGURATION, {"issuer": ISSUER, "jwks_uri": "http://id.example.org/keys"}),
            (CONFIGURATION, {"issuer": ISSUER, "jwks_uri": 7}),
            (KEYS, 404),
            (KEYS, b"x" * 70_000),
            (KEYS, {"keys": {}}),
            (KEYS, {}),
        ):
            self.setUp()
            self.client.publish(keys)
            self.client.answers[url] = answer
            self.unavailable(new_token())

    def test_the_other_place_of_the_description(self) -> None:
        urls = configuration_urls(ISSUER)
        self.assertEqual(
            urls[1], "https://id.example.org/.well-known/oauth-authorization-server/mail"
        )
        self.client.answers[urls[1]] = self.client.answers.pop(CONFIGURATION)
        self.let_in(new_token())

    def test_urls(self) -> None:
        for url in ("https://id.example.org", "https://[::1]:8443/a?b=c"):
            self.assertTrue(is_https(url), url)
        for url in (
            *("", "id.example.org", "http://id.example.org", "https://", "https://a b/"),
            *("https://u@h/", "https://h/#f", "https://h:x/", "https://h\n/", "https://é/"),
        ):
            self.assertFalse(is_https(url), url)
