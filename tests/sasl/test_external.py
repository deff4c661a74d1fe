"""EXTERNAL over IMAP, POP3 and submission (RFC 4422 appendix A)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit import login
from mailkit.auth.certificates import CertificateNames
from mailkit.auth.portal import make_portal
from mailkit.imap.protocol import IMAPFactory
from mailkit.sasl.external import ExternalServer
from mailkit.store.memory import MemoryStore
from mailkit.wire.sasl import SASLContext, SASLError
from tests.certificates import Identity, make_client, make_identity
from tests.sasl.dialogues import DIALOGUES, Dialogue
from tests.sasl.test_plus import Line

EMAILS = CertificateNames()
ANN, BOB = "ann@example.org", "bob@example.org"


class ExternalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        for name in (ANN, BOB):
            adding = self.store.add_account(name=name, password_hash="{PLAIN}secret")
            self.successResultOf(Deferred.fromCoroutine(adding))  # type: ignore[arg-type]
        self.certificate: bytes | None = None
        self.patch(login, "peer_certificate", lambda transport: self.certificate)

    def dialogues(
        self, client: Identity | None, names: CertificateNames | None = EMAILS
    ) -> Iterator[Dialogue]:
        self.certificate = client and client.der
        portal = make_portal(
            self.store,
            deliveries=lambda account, _: _Delivery(account),
            certificates=names,  # type: ignore[arg-type,return-value]
        )
        for kind in DIALOGUES:
            yield kind(portal)

    def test_whose_the_certificate_is(self) -> None:
        for dialogue in self.dialogues(make_client(ANN)):
            self.assertIn("EXTERNAL", dialogue.connection.mechanisms())
            self.assertEqual(dialogue.begin("EXTERNAL", b"").kind, "in")
            self.assertTrue(dialogue.logged_in)

    def test_without_an_initial_response(self) -> None:
        for dialogue in self.dialogues(make_client(ANN)):
            self.assertEqual(dialogue.begin("EXTERNAL").kind, "challenge")
            self.assertEqual(dialogue.respond(b"").kind, "in")

    def test_one_of_several_accounts(self) -> None:
        for dialogue in self.dialogues(make_client(ANN, BOB)):
            self.assertEqual(dialogue.begin("EXTERNAL", BOB.encode()).kind, "in")
            self.assertTrue(dialogue.logged_in)

    def test_somebody_elses_account(self) -> None:
        for name in (BOB, "nobody@example.org"):
            for dialogue in self.dialogues(make_client(ANN)):
                dialogue.begin("EXTERNAL", name.encode())
                self.assertEqual(dialogue.later().kind, "out")
                self.assertFalse(dialogue.logged_in)

    def test_a_certificate_of_nobody(self) -> None:
        for dialogue in self.dialogues(make_client("eve@example.net")):
            dialogue.begin("EXTERNAL", b"")
            self.assertEqual(dialogue.later().kind, "out")

    def test_it_is_not_offered_without_a_certificate(self) -> None:
        for client, names in ((None, EMAILS), (make_client(ANN), None)):
            for dialogue in self.dialogues(client, names):
                self.assertNotIn("EXTERNAL", dialogue.connection.mechanisms())
                self.assertEqual(dialogue.begin("EXTERNAL", b"").kind, "out")

    def test_names_that_are_none(self) -> None:
        context = SASLContext(peer_certificate=lambda: b"x")
        for response in (b"\xff", b"a\0b"):
            self.assertRaises(SASLError, ExternalServer(context).step, response)
        self.assertRaises(SASLError, ExternalServer(SASLContext()).step, b"")


class GreetingTests(SynchronousTestCase):
    """Under implicit TLS the greeting goes out before the client has shown its certificate."""

    def greeting(self, asks: bool) -> bytes:
        class Certified:
            @staticmethod
            def options() -> Any:
                options = make_identity(["mail.example.org"]).options()
                if asks:
                    options.getContext().set_verify(SSL.VERIFY_PEER, lambda *_: True)
                return options

        factory = IMAPFactory(make_portal(MemoryStore()), clock=cast(Any, Clock()))
        return bytes(Line(factory, identity=Certified).client.received)

    def test_it_promises_no_capabilities_that_a_certificate_may_change(self) -> None:
        self.assertEqual(self.greeting(True), b"* OK mailkit is ready\r\n")
        self.assertIn(b"* OK [CAPABILITY IMAP4rev1 ", self.greeting(False))


class _Delivery:
    def __init__(self, account: str | None) -> None:
        self.account = account
