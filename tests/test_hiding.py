"""What holds a secret does not show it, as logs and tracebacks may have its ``repr``."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.ldap import Where
from mailkit.auth.totp import SplitPassword, use_nothing
from mailkit.hiding import hiding
from mailkit.identity import AppPassword, Login, LoginAttempt, SecondFactor
from mailkit.imap.client.commands import Command as IMAPCommand
from mailkit.imap.client.values import AuthorizedURLs, FetchedURLs
from mailkit.imap.connection import _Line
from mailkit.imap.fetch import Section
from mailkit.imap.reader import CommandOctets
from mailkit.imap.url import IMAPURL
from mailkit.pop3.client.commands import make_command
from mailkit.pop3.grammar import parse_command
from mailkit.queue.webhooks import Webhook
from mailkit.sasl.bearer import BearerToken
from mailkit.tap.relay import Relay
from mailkit.tap.settings import DeliverySettings
from mailkit.wire.sasl_client import Credentials
from mailkit.wire.scram import keys_of_nobody

CANARY = "correct horse battery staple"
OCTETS = CANARY.encode()


class SecretTests(SynchronousTestCase):
    def test_no_repr_shows_them(self) -> None:
        factor = SecondFactor(CANARY, recovery=frozenset({CANARY}))
        values: list[Any] = [
            LoginAttempt("ann", "192.0.2.1", OCTETS),
            Login("ann", CANARY),
            AppPassword("ann", CANARY, frozenset({"imap"}), 0),
            factor,
            SplitPassword(CANARY, use_nothing),
            Where(bind_password=OCTETS),
            AuthorizedURLs((CANARY,)),
            FetchedURLs({CANARY: OCTETS}),
            parse_command(b"PASS " + OCTETS),
            make_command("PASS", CANARY),
            IMAPCommand("LOGIN").add(CANARY),
            CommandOctets(b"a1 LOGIN ann " + OCTETS),
            _Line(b"a1", lambda connection, line: None, OCTETS),
            IMAPURL("ann", "h", "INBOX", None, 1, Section(), token=OCTETS),
            Webhook("https://example.org/", [OCTETS]),
            DeliverySettings(route_secret=OCTETS),
            BearerToken("ann", CANARY),
            Relay("mx", Credentials("ann", CANARY)),
            Credentials("ann", token=CANARY),
            keys_of_nobody("SCRAM-SHA-256", "ann", OCTETS),
        ]
        for value in values:
            self.assertNotIn(CANARY, repr(value), type(value).__name__)
            self.assertNotIn(CANARY, repr([value]), type(value).__name__)

    def test_the_rest_is_shown(self) -> None:
        attempt = LoginAttempt("ann", "192.0.2.1", OCTETS)
        self.assertEqual(repr(attempt), "LoginAttempt(login='ann', address='192.0.2.1', ...)")

    def test_a_field_that_is_not_there(self) -> None:
        self.assertRaises(AssertionError, hiding("passwort"), Login)
