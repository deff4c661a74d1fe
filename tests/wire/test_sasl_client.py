"""SASL mechanisms, client side: exchanges with the server side, and servers that are wrong."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit._typing import override
from mailkit.wire.sasl import MECHANISMS, SASLError, SASLPassword
from mailkit.wire.sasl_client import (
    CLIENT_MECHANISMS,
    Credentials,
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

    def exchange(self, name: str, credentials: Credentials, initial: bool) -> SASLPassword | None:
        client, server = CLIENT_MECHANISMS[name](credentials), MECHANISMS[name]()
        response = client.initial_response() if initial else None
        while (challenge := server.step(response)) is not None:
            response = client.respond(challenge)
        client.finish()
        return server.result

    def test_all(self) -> None:
        for name in MECHANISMS:
            for initial in (True, False):
                self.assertEqual(
                    self.exchange(name, ANN, initial), SASLPassword("", "ann", "sécret".encode())
                )

    def test_another_identity(self) -> None:
        found = self.exchange("PLAIN", Credentials("ann", "x", "bob"), True)
        self.assertEqual(found, SASLPassword("bob", "ann", b"x"))

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
        self.assertEqual(self.choose(*offered, "SCRAM-SHA-512"), "SCRAM-SHA-512")
        self.assertEqual(self.choose(*offered[:3], plaintext=False), "SCRAM-SHA-1")

    def test_no_password_where_it_may_not_be_sent(self) -> None:
        self.assertEqual(self.choose("PLAIN", "SECURE", plaintext=False), "SECURE")
        for offered, words in ((("PLAIN",), "not encrypted"), (("X",), "no authentication")):
            with self.assertRaisesRegex(SASLError, words):
                self.choose(*offered, plaintext=False)
