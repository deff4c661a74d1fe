"""Recipients that another server must know."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailkit.checks.recipients import RecipientVerification, SMTPVerifier
from mailkit.errors import MailError, NoSuchRecipient, TemporaryFailure
from mailkit.interfaces import IRecipientVerifier
from mailkit.model import Path
from mailkit.smtp.client import ClientSettings, TLSPolicy
from tests.checks.support import CheckCase, make_envelope, make_recipient, make_session
from tests.smtp.fakes import Server
from tests.support import free_ports, until

reactor: Any = _reactor


@implementer(IRecipientVerifier)
class FakeVerifier:
    """Knows everybody but those that a test names."""

    def __init__(self) -> None:
        self.errors: dict[str, MailError] = {}
        self.asked: list[str] = []
        self.waiting: list[Deferred[None]] = []
        self.slow = False

    async def verify(self, path: Path) -> None:
        self.asked.append(str(path))
        if self.slow:
            gate: Deferred[None] = Deferred()
            self.waiting.append(gate)
            await gate
        if path.local_part in self.errors:
            raise self.errors[path.local_part]


class VerificationTests(CheckCase):
    def setUp(self) -> None:
        super().setUp()
        self.verifier = FakeVerifier()
        self.make()

    def make(self, **settings: Any) -> None:
        self.check = RecipientVerification(self.verifier, clock=self.reactor, **settings)

    def start(self, address: str = "bob@example.org") -> Deferred[Any]:
        session = make_session("127.0.0.1")
        recipient = make_recipient(address)
        return self.begin(self.check.rcpt, session, make_envelope(session), recipient)

    def said(self, address: str = "bob@example.org") -> Any:
        return self.successResultOf(self.start(address))

    def test_somebody_who_exists_is_remembered(self) -> None:
        for address in ("bob@example.org", "bob@Example.ORG"):
            self.assertIsNone(self.said(address))
        self.assertEqual(self.verifier.asked, ["bob@example.org"])
        self.clock.advance(86_400)
        self.said()
        self.assertEqual(len(self.verifier.asked), 2)

    def test_nobody_is_remembered_for_a_shorter_time(self) -> None:
        self.verifier.errors["eve"] = NoSuchRecipient("No Eve\r\nhere")
        for _ in range(2):
            self.assert_refused(self.said("eve@example.org"), 550, "5.1.1", "No Eve here")
        self.assertEqual(len(self.verifier.asked), 1)
        self.verifier.errors.clear()
        self.clock.advance(3600)
        self.assertIsNone(self.said("eve@example.org"))

    def test_no_answer(self) -> None:
        self.verifier.errors["bob"] = TemporaryFailure("no connection")
        answer = self.said()
        self.assert_refused(answer, 450, "4.4.1", "cannot be verified just now: no connection")
        self.verifier.errors.clear()
        self.clock.advance(59)
        self.assert_refused(self.said(), 450, "4.4.1")
        self.clock.advance(1)
        self.assertIsNone(self.said())

    def test_actions(self) -> None:
        self.make(unknown="defer", undetermined="none")
        self.verifier.errors = {"bob": TemporaryFailure(), "eve": NoSuchRecipient()}
        self.assertIsNone(self.said())
        self.assert_refused(self.said("eve@example.org"), 450, "4.1.1")

    def test_an_answer_that_takes_too_long(self) -> None:
        self.verifier.slow = True
        waiting = self.start()
        self.clock.advance(19.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.1)
        self.assert_refused(self.successResultOf(waiting), 450, "4.4.1", "no answer in time")

    def test_equal_questions_are_one_and_others_are_limited(self) -> None:
        self.make(max_questions=1)
        self.verifier.slow = True
        waiting = [self.start(), self.start()]
        self.assert_refused(self.said("ann@example.org"), 450, "4.4.1", "too many questions")
        self.assertEqual(len(self.verifier.asked), 1)
        self.verifier.waiting[0].callback(None)
        for each in waiting:
            self.assertIsNone(self.successResultOf(each))

    def test_domains(self) -> None:
        self.make(domains=["Example.org"])
        self.verifier.errors["eve"] = NoSuchRecipient()
        self.assert_refused(self.said("eve@example.org"), 550, "5.1.1")
        self.assertIsNone(self.said("eve@example.com"))
        self.assertIsNone(self.said("Postmaster@"))

    def test_somebody_must_be_asked(self) -> None:
        self.assertRaises(ValueError, RecipientVerification)
        for server in ("", "host:port", "unix:"):
            self.assertRaises(ValueError, RecipientVerification, server=server)
        self.assertRaises(ValueError, RecipientVerification, server="h", sender="no address")


class SMTPVerifierTests(TestCase):
    """A server of ours on loopback, asked by the client."""

    def setUp(self) -> None:
        self.server = Server()
        self.server.factory.clock = reactor
        self.settings = ClientSettings(tls=TLSPolicy.none())
        port = reactor.listenTCP(0, self.server.factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.address = f"127.0.0.1:{port.getHost().port}"
        self.verifier = SMTPVerifier(self.address, settings=self.settings)

    async def gone(self) -> None:
        """Wait until all connections are."""
        await until(lambda: len(self.server.factory.connections) <= 1)

    async def test_answers(self) -> None:
        verifyObject(IRecipientVerifier, self.verifier)
        await self.verifier.verify(path=Path("bob", "example.org"))
        self.server.delivery.unknown["eve"] = NoSuchRecipient("No Eve here")
        with self.assertRaises(NoSuchRecipient) as caught:
            await self.verifier.verify(path=Path("eve", "example.org"))
        self.assertEqual(caught.exception.text, "No Eve here")
        self.server.delivery.unknown["eve"] = TemporaryFailure("Eve is away")
        with self.assertRaises(TemporaryFailure):
            await self.verifier.verify(path=Path("eve", "example.org"))
        self.assertEqual(self.server.delivery.received, [])
        await self.gone()

    async def test_a_refused_sender_says_nothing_of_the_recipient(self) -> None:
        self.server.delivery.trouble["check_sender"] = NoSuchRecipient("not you")
        with self.assertRaises(TemporaryFailure) as caught:
            await self.verifier.verify(path=Path("bob", "example.org"))
        self.assertEqual(caught.exception.text, "not you")
        await self.gone()

    async def test_a_recipient_that_the_server_cannot_be_told(self) -> None:
        with self.assertRaises(NoSuchRecipient):
            await self.verifier.verify(path=Path("a\nb", "example.org"))
        await self.gone()

    async def test_nobody_listens(self) -> None:
        address = f"127.0.0.1:{free_ports(1)[0]}"
        with self.assertRaises(TemporaryFailure) as caught:
            await SMTPVerifier(address, settings=self.settings).verify(path=Path("a", "b.example"))
        # Whoever brings mail is told, and need not know where our servers are.
        self.assertEqual(caught.exception.text, "The mail server cannot be reached")
