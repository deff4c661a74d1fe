"""SASL mechanisms, client side: exchanges with the server side, and servers that are wrong."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit._typing import override
from mailkit.sasl import MECHANISMS
from mailkit.wire.sasl import SASLContext, SASLError, Success
from mailkit.wire.sasl_client import (
    CLIENT_MECHANISMS,
    Credentials,
    NoMechanism,
    SASLClient,
    choose_mechanism,
)

ANN = Credentials("ann", "sécret")


class Secure(SASLClient):
    """Sends no password."""

    name = "SECURE"
    plaintext = False

    @override
    def respond(self, challenge: bytes) -> bytes:
        return b""


class ExchangeTests(SynchronousTestCase):
    """Client and server understand each other."""

    def exchange(self, name: str, credentials: Credentials, initial: bool) -> Success:
        client, server = CLIENT_MECHANISMS[name](credentials), MECHANISMS[name](SASLContext())
        step = server.step(client.initial_response() if initial else None)
        while isinstance(step, bytes):
            step = server.step(client.respond(step))
        client.finish()
        assert isinstance(step, Success)
        return step

    def test_password(self) -> None:
        for name in ("PLAIN", "LOGIN"):
            for initial in (True, False):
                found = self.exchange(name, ANN, initial)
                self.assertEqual(found.username, "ann")
                self.assertTrue(found.credentials.checkPassword("sécret".encode()))

    def test_another_identity(self) -> None:
        found = self.exchange("PLAIN", Credentials("ann", "x", "bob"), True)
        self.assertEqual((found.authorization_id, found.username), ("bob", "ann"))

    def test_a_server_that_asks_too_much(self) -> None:
        plain, login = (CLIENT_MECHANISMS[name](ANN) for name in ("PLAIN", "LOGIN"))
        plain.initial_response()
        self.assertRaises(SASLError, plain.respond, b"more")
        login.respond(b"Username:")
        login.respond(b"Password:")
        self.assertRaises(SASLError, login.respond, b"more")

    def test_a_nul_cannot_be_sent(self) -> None:
        plain = CLIENT_MECHANISMS["PLAIN"](Credentials("ann", "a\0b"))
        self.assertRaises(SASLError, plain.initial_response)

    def test_the_password_is_not_shown(self) -> None:
        self.assertNotIn("sécret", repr(ANN))


class CramMD5Tests(SynchronousTestCase):
    """RFC 2195."""

    def test_example(self) -> None:
        client = CLIENT_MECHANISMS["CRAM-MD5"](Credentials("tim", "tanstaaftanstaaf"))
        self.assertIsNone(client.initial_response())
        self.assertEqual(
            client.respond(b"<1896.697170952@postoffice.reston.mci.net>"),
            b"tim b913a602c7eda7a495b4e6e7334d3890",
        )
        client.finish()
        self.assertRaises(SASLError, client.respond, b"<1@a>")

    def test_what_it_cannot_do(self) -> None:
        cram = CLIENT_MECHANISMS["CRAM-MD5"]
        self.assertRaises(SASLError, cram(ANN).respond, b"")
        self.assertRaises(SASLError, cram(Credentials("ann", "x", "bob")).respond, b"<1@a>")


# RFC 7628 section 4.1.
BEARER = Credentials("user@example.com", token="vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
# Section 4.3.
TOKEN_ERROR = (
    b'{"status":"invalid_token","scope":"example_scope",'
    b'"openid-configuration":"https://example.com/.well-known/openid-config"}'
)


class TokenTests(SynchronousTestCase):
    """OAUTHBEARER (RFC 7628) and XOAUTH2."""

    def test_what_is_said(self) -> None:
        auth = b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
        for name, start in (
            ("OAUTHBEARER", b"n,a=user@example.com,\x01"),
            ("XOAUTH2", b"user=user@example.com\x01"),
        ):
            client = CLIENT_MECHANISMS[name](BEARER)
            self.assertEqual(client.initial_response(), start + auth)
            client.finish()
            # Where the server begins with an empty challenge.
            self.assertEqual(CLIENT_MECHANISMS[name](BEARER).respond(b""), start + auth)

    def test_another_identity(self) -> None:
        client = CLIENT_MECHANISMS["OAUTHBEARER"](Credentials("ann", "", "b,ob", token="x"))
        self.assertEqual(client.initial_response(), b"n,a=b=2Cob,\x01auth=Bearer x\x01\x01")

    def test_the_error_challenge(self) -> None:
        for name, acknowledgement in (("OAUTHBEARER", b"\x01"), ("XOAUTH2", b"")):
            client = CLIENT_MECHANISMS[name](BEARER)
            client.initial_response()
            self.assertEqual(client.respond(TOKEN_ERROR), acknowledgement)
            self.assertEqual(
                client.explain("failed"), "failed (invalid_token, scope example_scope)"
            )
            self.assertRaises(SASLError, client.respond, TOKEN_ERROR)
            with self.assertRaisesRegex(SASLError, "has refused"):
                client.finish()

    def test_harmful_texts_in_an_error(self) -> None:
        client = CLIENT_MECHANISMS["XOAUTH2"](BEARER)
        client.initial_response()
        client.respond(b'{"status":"4\\r\\n\\u001b00' + b"x" * 1000 + b'","scope":[]}')
        self.assertTrue(client.refusal.startswith("4???00xx"))
        self.assertEqual(len(client.refusal), 200)

    def test_what_is_no_error(self) -> None:
        for challenge in (b"", b"x", b"[]", b"{}", b'{"status":1}', b"\xff", b"[" * 6000):
            client = CLIENT_MECHANISMS["OAUTHBEARER"](BEARER)
            client.initial_response()
            self.assertRaises(SASLError, client.respond, challenge)

    def test_what_cannot_be_sent(self) -> None:
        for token in ("a b", "a\x01b", "a\r\n", "ä", "=", "a\n"):
            for name in ("OAUTHBEARER", "XOAUTH2"):
                client = CLIENT_MECHANISMS[name](Credentials("ann", token=token))
                self.assertRaises(SASLError, client.initial_response)
        for user in ("", "a\x01b"):
            client = CLIENT_MECHANISMS["XOAUTH2"](Credentials(user, token="x"))
            self.assertRaises(SASLError, client.initial_response)

    def test_the_token_is_not_shown(self) -> None:
        self.assertNotIn("vF9", repr(BEARER))


class ChoiceTests(SynchronousTestCase):
    """Which mechanism is taken."""

    mechanisms = {"SECURE": Secure, **CLIENT_MECHANISMS}

    def choose(self, *offered: str, plaintext: bool = True) -> str:
        return choose_mechanism(offered, ANN, plaintext, self.mechanisms).name

    def test_ours_counts_not_the_order_of_the_server(self) -> None:
        self.assertEqual(self.choose("LOGIN", "PLAIN"), "PLAIN")
        self.assertEqual(self.choose("LOGIN", "PLAIN", "SECURE"), "SECURE")
        self.assertEqual(self.choose("X", "LOGIN"), "LOGIN")

    def test_the_strongest(self) -> None:
        offered = ["LOGIN", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"]
        self.assertEqual(self.choose(*offered), "SCRAM-SHA-256")
        bound = choose_mechanism(offered, ANN, True, self.mechanisms, {"tls-unique": b"x"}.get)
        self.assertEqual(bound.name, "SCRAM-SHA-256-PLUS")
        self.assertEqual(self.choose(*offered, "SCRAM-SHA-512"), "SCRAM-SHA-512")
        self.assertEqual(self.choose(*offered[:3], plaintext=False), "SCRAM-SHA-1")

    def test_a_token_and_a_password(self) -> None:
        for credentials, offered, expected in (
            (BEARER, ("PLAIN", "XOAUTH2", "OAUTHBEARER"), "OAUTHBEARER"),
            (BEARER, ("PLAIN", "XOAUTH2"), "XOAUTH2"),
            (ANN, ("XOAUTH2", "CRAM-MD5", "LOGIN"), "LOGIN"),
            (ANN, ("CRAM-MD5",), "CRAM-MD5"),
            (Credentials("ann", "x", token="y"), ("PLAIN", "XOAUTH2"), "XOAUTH2"),
            (Credentials("ann", "x", token="y"), ("PLAIN",), "PLAIN"),
        ):
            self.assertEqual(choose_mechanism(offered, credentials, True).name, expected)
        for credentials, name, kind in ((BEARER, "PLAIN", "token"), (ANN, "XOAUTH2", "password")):
            with self.assertRaisesRegex(NoMechanism, f"takes a {kind}"):
                choose_mechanism([name], credentials, True)
        for name, credentials in (("OAUTHBEARER", BEARER), ("CRAM-MD5", ANN)):
            with self.assertRaisesRegex(SASLError, "not encrypted"):
                choose_mechanism([name], credentials, False)

    def test_no_password_where_it_may_not_be_sent(self) -> None:
        self.assertEqual(self.choose("PLAIN", "SECURE", plaintext=False), "SECURE")
        for offered, words in ((("PLAIN",), "not encrypted"), (("X",), "no authentication")):
            with self.assertRaisesRegex(SASLError, words):
                self.choose(*offered, plaintext=False)
