"""Delivery by LMTP, to our own server and to one that says what it is told."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from email import message_from_bytes
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailkit.delivery import lmtp
from mailkit.delivery.callback import CallableDelivery, delivery_portal
from mailkit.delivery.lmtp import ServerDelivery
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.errors import MailError, RefusedElsewhere, RelayDenied, TemporaryFailure
from mailkit.interfaces import IClosableDelivery, IMessageDelivery
from mailkit.model import Ability, Envelope, OriginalRecipient, Path, Recipient
from mailkit.smtp.client import ClientSettings, TLSPolicy, connect, pool
from mailkit.smtp.lmtp import LMTPFactory
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore
from mailkit.testing import DeliveryContract, read_message
from tests.delivery.fakes import make_envelope

reactor: Any = global_reactor
ANN, BOB, EVE = "ann@example.org", "bob@example.org", "eve@example.org"
CONTENT = b"Received: x\r\n\r\n.hi\r\n"


def socket_path(test: object) -> str:
    """Short enough for a socket, which the paths of trial are not."""
    return os.path.join(tempfile.gettempdir(), f"mailkit-{os.getpid()}-{id(test):x}.sock")


class ScriptedServer(LineOnlyReceiver):
    """Speaks LMTP without extensions."""

    factory: ScriptedFactory

    def connectionMade(self) -> None:
        self.factory.connections += 1
        self.factory.open.append(self)
        self.recipients: list[str] = []
        self.content: list[bytes] | None = None
        self.say(self.factory.greeting)

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.open.remove(self)

    def say(self, *lines: str) -> None:
        for line in lines:
            self.sendLine(line.encode())

    def lineReceived(self, line: bytes) -> None:
        factory = self.factory
        if self.content is not None:
            if line != b".":
                self.content.append(line)
                return
            factory.messages.append((self.recipients, self.content))
            self.say(*[factory.answers.get(each, "250 2.0.0 OK") for each in self.recipients])
            self.content, self.recipients = None, []
            return
        text = line.decode()
        factory.commands.append(text)
        verb = text[:4].upper()
        if verb == "LHLO":
            self.say(*factory.hello)
        elif verb == "RCPT":
            reply = factory.judge(text.partition("<")[2].partition(">")[0], len(self.recipients))
            if reply.startswith("250"):
                self.recipients.append(text.partition("<")[2].partition(">")[0])
            self.say(reply)
        elif verb == "DATA":
            self.content = []
            self.say("354 go on")
        elif verb == "QUIT":
            self.say("221 bye")
            self.transport.loseConnection()
        else:
            self.say("250 OK")


class ScriptedFactory(Factory):
    protocol = ScriptedServer
    noisy = False

    def __init__(self) -> None:
        self.greeting = "220 ready"
        self.hello = ["250 hi"]
        self.refused: dict[str, str] = {}
        self.answers: dict[str, str] = {}
        self.rcpt_max = 1000
        self.connections = 0
        self.open: list[ScriptedServer] = []
        self.commands: list[str] = []
        self.messages: list[tuple[list[str], list[bytes]]] = []

    def judge(self, address: str, count: int) -> str:
        if count >= self.rcpt_max:
            return "452 4.5.3 Too many"
        return self.refused.get(address, "250 2.1.5 OK")


class ServerTestCase(TestCase):
    def setUp(self) -> None:
        self.server = ScriptedFactory()
        self.path = socket_path(self)
        port = reactor.listenUNIX(self.path, self.server)
        self.addCleanup(port.stopListening)
        self.delivery = self.make(f"unix:{self.path}")

    def make(self, server: str) -> ServerDelivery:
        delivery = ServerDelivery(server)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.close(delivery)))
        return delivery

    async def close(self, delivery: ServerDelivery) -> None:
        await delivery.close()
        while self.server.open:
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.001, turn.callback, None)
            await turn

    async def deliver(
        self, *addresses: str, delivery: ServerDelivery | None = None, **settings: Any
    ) -> list[MailError | None]:
        """Errors by recipient."""
        envelope = make_envelope(*addresses, **settings)
        outcomes = await (delivery or self.delivery).deliver(
            envelope=envelope, message=Spool.from_bytes(CONTENT)
        )
        self.assertEqual([outcome.recipient for outcome in outcomes], envelope.recipients)
        return [outcome.error for outcome in outcomes]


class ServerDeliveryTests(ServerTestCase):
    def test_interfaces(self) -> None:
        for interface in (IMessageDelivery, IClosableDelivery):
            verifyObject(interface, self.delivery)

    async def test_a_message(self) -> None:
        self.assertEqual(await self.deliver(ANN, BOB), [None, None])
        self.assertEqual(self.server.messages, [([ANN, BOB], [b"Received: x", b"", b"..hi"])])
        self.assertIn("MAIL FROM:<ann@example.net>", self.server.commands)

    async def test_each_recipient_by_itself(self) -> None:
        self.server.refused[BOB] = "550 5.1.1 No Bob here"
        self.server.answers[EVE] = "452 4.2.2 Eve is full"
        ann, bob, eve = await self.deliver(ANN, BOB, EVE)
        self.assertIsNone(ann)
        assert isinstance(bob, RefusedElsewhere) and isinstance(eve, RefusedElsewhere)
        self.assertEqual((bob.code, bob.enhanced, bob.text), (550, "5.1.1", "No Bob here"))
        self.assertFalse(bob.temporary)
        self.assertEqual((eve.code, eve.enhanced, eve.text), (452, "4.2.2", "Eve is full"))
        self.assertTrue(eve.temporary)

    async def test_parameters_of_dsn_are_passed_on(self) -> None:
        self.server.hello = ["250-hi", "250 DSN"]
        envelope = make_envelope()
        envelope.envid, envelope.ret = "e1", "HDRS"
        envelope.recipients = [
            Recipient(
                Path("ann", "example.org"),
                notify=frozenset({"FAILURE"}),
                orcpt=OriginalRecipient("rfc822", "info@example.org"),
            )
        ]
        await self.delivery.deliver(envelope=envelope, message=Spool.from_bytes(CONTENT))
        commands = " ".join(self.server.commands)
        for text in ("RET=HDRS", "ENVID=e1", "NOTIFY=FAILURE", "ORCPT=rfc822;info@example.org"):
            self.assertIn(text, commands)

    async def test_connections_are_used_again(self) -> None:
        for _ in range(3):
            self.assertEqual(await self.deliver(ANN), [None])
        self.assertEqual(self.server.connections, 1)

    async def test_a_connection_that_the_server_has_closed(self) -> None:
        await self.deliver(ANN)
        self.server.open[0].transport.abortConnection()
        self.assertEqual(await self.deliver(ANN), [None])
        self.assertEqual((self.server.connections, len(self.server.messages)), (2, 2))

    async def test_connections_that_nobody_needs_are_closed(self) -> None:
        self.patch(pool, "IDLE_TIME", 0.05)
        await self.deliver(ANN)
        while self.server.open:
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.01, turn.callback, None)
            await turn
        self.assertEqual(self.server.commands[-1], "QUIT")
        self.assertEqual(await self.deliver(ANN), [None])

    async def test_several_at_once(self) -> None:
        self.patch(lmtp, "MAX_CONNECTIONS", 3)
        delivery = self.make(f"unix:{self.path}")
        waiting = [Deferred.fromCoroutine(self.deliver(ANN, delivery=delivery)) for _ in range(10)]
        self.assertEqual(await gatherResults(waiting), [[None]] * 10)
        self.assertEqual(self.server.connections, 3)

    async def test_few_recipients_at_a_time(self) -> None:
        self.server.rcpt_max = 2
        addresses = [f"u{number}@example.org" for number in range(5)]
        self.assertEqual(await self.deliver(*addresses), [None] * 5)
        sent = [address for recipients, _ in self.server.messages for address in recipients]
        self.assertEqual(sent, addresses)

    async def test_a_server_that_takes_one_message_a_connection(self) -> None:
        self.server.hello = ["250-hi", "250 LIMITS MAILMAX=1 RCPTMAX=2"]
        addresses = [f"u{number}@example.org" for number in range(5)]
        self.assertEqual(await self.deliver(*addresses), [None] * 5)
        self.assertEqual((self.server.connections, len(self.server.messages)), (3, 3))

    async def test_a_server_that_takes_one_domain_a_connection(self) -> None:
        self.server.hello = ["250-hi", "250 LIMITS RCPTDOMAINMAX=1"]
        addresses = [f"u{number}@d{number % 2}.example" for number in range(4)]
        self.assertEqual(await self.deliver(*addresses), [None] * 4)
        self.assertEqual(await self.deliver("u@d3.example"), [None])
        self.assertEqual((self.server.connections, len(self.server.messages)), (3, 3))

    async def test_a_server_that_is_not_there(self) -> None:
        for server in ("unix:/nonexistent/socket", "127.0.0.1:1"):
            (error,) = await self.deliver(ANN, delivery=self.make(server))
            self.assertIs(type(error), TemporaryFailure)

    async def test_a_server_that_does_not_want_us(self) -> None:
        # The mail is not to blame.
        self.server.greeting = "554 5.3.2 Not now"
        (error,) = await self.deliver(ANN)
        self.assertIs(type(error), TemporaryFailure)

    async def test_a_connection_that_breaks(self) -> None:
        def judge(address: str, count: int) -> str:
            self.server.open[0].transport.abortConnection()
            return "250 OK"

        self.server.judge = judge  # type: ignore[method-assign]
        (error,) = await self.deliver(ANN)
        assert error is not None
        self.assertTrue(error.temporary)

    async def test_closed_while_at_work(self) -> None:
        waiting = Deferred.fromCoroutine(self.deliver(ANN))
        await self.delivery.close()
        self.assertEqual(await waiting, [None])

    async def test_over_smtp(self) -> None:
        delivery = ServerDelivery(f"unix:{self.path}", ClientSettings())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.close(delivery)))
        await self.deliver(ANN, delivery=delivery)
        self.assertTrue(self.server.commands[0].startswith("EHLO"))


def listen(case: TestCase, delivery: IMessageDelivery) -> str:
    """A server of ours on a socket, for as long as a test takes; where it is."""
    factory = LMTPFactory(delivery_portal(delivery), hostname="mx.example.org")
    path = socket_path(factory)
    port = reactor.listenUNIX(path, factory)

    async def close() -> None:
        while factory.connections:
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.001, turn.callback, None)
            await turn
        await port.stopListening()

    case.addCleanup(lambda: Deferred.fromCoroutine(close()))
    return f"unix:{path}"


class BinaryTests(TestCase):
    """Content that is not made of lines goes through a server of ours (RFC 3030)."""

    BODY = bytes(range(256)) + b"\n.\n\r.\r\r\n.\r\n"
    HEADER = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n"
    CONTENT = HEADER + b"Content-Type: application/octet-stream\r\n\r\n" + BODY

    async def passed_on(self, *abilities: Ability) -> tuple[str, bytes]:
        """What comes out of a server with these abilities, behind one that passes on."""
        found: list[tuple[str, bytes]] = []

        async def keep(envelope: Envelope, message: Spool) -> None:
            with message.open() as file:
                found.append((envelope.body or "", file.read()))

        last = listen(self, CallableDelivery(keep, ["example.org"], abilities=abilities))
        passing = ServerDelivery(last)
        self.addCleanup(lambda: Deferred.fromCoroutine(passing.close()))
        first = listen(self, passing)
        session = await connect(first, ClientSettings(lmtp=True, tls=TLSPolicy.none()))
        self.assertTrue(session.facts.extensions.binary_mime)
        envelope = make_envelope(ANN)
        envelope.body = "BINARYMIME"
        result = await session.send(envelope, self.CONTENT)
        await session.quit()
        self.assertEqual(len(result.accepted), 1, result.outcomes)
        ((body, octets),) = found
        return body, octets

    async def test_as_it_is(self) -> None:
        body, octets = await self.passed_on(Ability.BINARYMIME)
        self.assertEqual(body, "BINARYMIME")
        self.assertTrue(octets.endswith(self.CONTENT), octets)
        self.assertEqual(octets.count(b"Received: "), 2)

    async def test_encoded_for_a_server_without_it(self) -> None:
        body, octets = await self.passed_on()
        self.assertNotEqual(body, "BINARYMIME")
        self.assertNotIn(b"\0", octets)
        self.assertEqual(message_from_bytes(octets).get_payload(decode=True), self.BODY)


@implementer(IMessageDelivery)
class OneDomain(ServerDelivery):
    """As a route has it: who does not exist is refused before."""

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        if str(recipient.path).lower() not in (ANN, BOB):
            raise RelayDenied


class LMTPContractTests(DeliveryContract, TestCase):
    """To our own server."""

    async def make_delivery(self, accounts: Sequence[str]) -> IMessageDelivery:
        self.store = MemoryStore()
        for account in accounts:
            await self.store.add_account(name=account)
        delivery = OneDomain(listen(self, LocalMessageDelivery(self.store, self.store)))
        self.addCleanup(lambda: Deferred.fromCoroutine(delivery.close()))
        return delivery

    async def delivered(self, account: str) -> Sequence[bytes]:
        inbox = await (await self.store.open_account(name=account)).open_mailbox(name="INBOX")
        return [await read_message(inbox, uid) for uid in await inbox.list_uids()]
