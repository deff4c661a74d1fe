"""UNAUTHENTICATE (RFC 8437): where the next login fails, nobody goes on with the connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.security import TLSPolicy
from mailkit.imap.client import (
    AuthFailed,
    ClientSettings,
    Credentials,
    LoginRefused,
    ProtocolError,
    Refused,
)
from mailkit.imap.client.opening import MAX_CHALLENGES
from tests.imap.client.test_pipelining import Manual

SETTINGS = ClientSettings(tls=TLSPolicy.none(), allow_plaintext_passwords=True)
BOB = Credentials("bob", "pw")


class AnotherUserTests(SynchronousTestCase):
    def open(self, mechanism: bytes = b"AUTH=SCRAM-SHA-256 SASL-IR") -> None:
        names = b"IMAP4rev1 UNAUTHENTICATE " + mechanism
        self.wire = Manual(b"* OK [CAPABILITY %b] hello\r\n" % names, SETTINGS)
        self.session = self.wire.session
        self.results: list[Any] = []
        self.login = Deferred.fromCoroutine(self.session.unauthenticate(BOB))
        self.login.addBoth(self.results.append)
        self.agreed = b"m1 OK x\r\n* CAPABILITY %b\r\nm2 OK x\r\n" % names

    def fails(self, kind: type[Exception]) -> None:
        self.results[0].trap(kind)
        self.assertTrue(self.session.closed)
        self.assertIsNone(self.session.facts.account)

    def test_a_server_that_proves_nothing(self) -> None:
        self.open()
        self.wire.say(self.agreed)
        append = self.wire.start(self.session.append("INBOX", b"secret"))
        self.wire.say(b"m3 OK [CAPABILITY IMAP4rev1] welcome\r\n")
        self.fails(AuthFailed)
        self.assertNotIn(b"APPEND", b"".join(self.wire.take()))
        append[0].trap(AuthFailed)

    def test_refused(self) -> None:
        self.open()
        self.wire.say(self.agreed + b"m3 NO [AUTHENTICATIONFAILED] no\r\n")
        self.fails(LoginRefused)

    def test_too_many_questions(self) -> None:
        self.open(b"AUTH=PLAIN")
        self.wire.say(self.agreed)
        for _ in range(MAX_CHALLENGES + 1):
            self.wire.say(b"+ \r\n")
        self.fails(ProtocolError)

    def test_given_up_while_logging_in(self) -> None:
        self.open()
        self.wire.say(self.agreed)
        self.login.cancel()
        self.wire.flush()
        self.fails(CancelledError)

    def test_given_up_before(self) -> None:
        self.open()
        self.wire.flush()
        self.login.cancel()
        self.wire.flush()
        self.assertFalse(self.session.closed)
        self.wire.say(b"m1 OK x\r\n")
        self.fails(CancelledError)

    def test_the_server_does_not_agree(self) -> None:
        self.open()
        self.wire.say(b"m1 NO x\r\n")
        self.results[0].trap(Refused)
        self.assertFalse(self.session.closed)

    def test_what_was_of_the_user_before(self) -> None:
        self.open(b"AUTH=PLAIN SASL-IR")
        self.session._connection.facts.referrals = ("imap://x/",)
        self.wire.say(b"m1 OK x\r\n")
        self.assertEqual(self.session.facts.referrals, ())
