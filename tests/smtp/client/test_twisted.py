"""The driver for Twisted, without a network: time, back-pressure, cancelling; and our own server."""

from __future__ import annotations

import io
from typing import Any, cast

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.channel import MAX_UNREAD
from mailkit.client.protocol import TwistedChannel
from mailkit.errors import NoSuchRecipient, OverQuota, TemporaryFailure
from mailkit.model import Ability, DeliverBy, OriginalRecipient, Path, Recipient, ValidSince
from mailkit.smtp.client import (
    ClientError,
    ClientSettings,
    ConnectFailed,
    Credentials,
    SendFailed,
    SendResult,
    Session,
    TimedOut,
    connect,
    make_envelope,
    sendmail,
)
from mailkit.smtp.client.content import PIECE
from mailkit.smtp.lmtp import LMTPFactory
from tests.smtp.client.fakes import MESSAGE
from tests.smtp.fakes import Server, strip_trace

SETTINGS = ClientSettings(helo="client.example")
EHLO = b"220 mx.example.org\r\n"
ENVELOPE = make_envelope("ann@example.net", "bob@example.org")


class FullTransport(StringTransport):
    """Has room for one write; then it must be resumed."""

    full = False

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.full:
            cast(Any, self.producer).pauseProducing()

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass


class Wire:
    """A session over a transport of the tests, and the time."""

    def __init__(self, settings: ClientSettings = SETTINGS) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.channel = TwistedChannel(cast(Any, self.clock))
        self.transport = FullTransport(
            peerAddress=IPv4Address("TCP", "192.0.2.1", 25), lenient=True
        )
        self.channel.makeConnection(cast(Any, self.transport))
        self.session = Session(self.channel, settings)

    def start(self, coroutine: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(coroutine)

    def say(self, data: bytes) -> bytes:
        """The server says something; what the client says to that."""
        self.transport.clear()
        self.channel.dataReceived(data)
        return self.transport.value()

    def open(self, *keywords: bytes) -> Wire:
        opening = self.start(self.session.open())
        assert self.say(b"220 mx.example.org\r\n") in (
            b"EHLO client.example\r\n",
            b"LHLO client.example\r\n",
        )
        lines = [b"mx.example.org", *keywords]
        self.say(b"".join(b"250-%b\r\n" % line for line in lines) + b"250 HELP\r\n")
        assert opening.called
        return self

    def lose(self, error: Exception | None = None) -> None:
        self.channel.connectionLost(Failure(error or ConnectionDone()))


class TimeTests(SynchronousTestCase):
    """RFC 5321 section 4.5.3.2, by the clock that was given."""

    def test_greeting(self) -> None:
        wire = Wire()
        opening = wire.start(wire.session.open())
        wire.clock.advance(299)
        self.assertFalse(opening.called)
        wire.clock.advance(1)
        self.failureResultOf(opening, TimedOut)
        self.assertTrue(wire.transport.disconnected or wire.transport.disconnecting)
        self.assertEqual(wire.clock.getDelayedCalls(), [])

    def test_no_timer_outlives_its_connection(self) -> None:
        wire = Wire().open()
        wire.lose()
        self.assertEqual(wire.clock.getDelayedCalls(), [])

    def test_each_answer_has_its_own_time(self) -> None:
        wire = Wire().open()
        wire.clock.advance(200)
        sending = wire.start(wire.session.send(ENVELOPE, MESSAGE))
        # What was set for EHLO ends nothing.
        wire.clock.advance(299)
        self.assertNoResult(sending)
        wire.clock.advance(1)
        self.assertTrue(self.successResultOf(sending).outcomes[0].temporary)

    def test_a_shorter_time_after_a_longer_one(self) -> None:
        wire = Wire().open()
        quitting = wire.start(wire.session.quit())
        wire.clock.advance(SETTINGS.timeouts.quit)
        self.successResultOf(quitting)
        self.assertTrue(wire.session.closed)

    def test_each_step(self) -> None:
        steps = [(b"250 ok\r\n", 300), (b"250 ok\r\n", 300), (b"354 go\r\n", 120)]
        for count in range(4):
            wire = Wire().open()
            sending = wire.start(wire.session.send(ENVELOPE, MESSAGE))
            for reply, _ in steps[:count]:
                wire.say(reply)
            seconds = [*(each for _, each in steps), 600][count]
            wire.clock.advance(seconds - 1)
            self.assertNoResult(sending)
            wire.clock.advance(1)
            result: SendResult = self.successResultOf(sending)
            self.assertTrue(result.outcomes[0].temporary)
            self.assertEqual(
                result.outcomes[0].command, ["MAIL", "RCPT", "DATA", "end of data"][count]
            )

    def test_a_server_that_takes_nothing(self) -> None:
        wire = Wire().open()
        sending = wire.start(wire.session.send(ENVELOPE, MESSAGE))
        wire.say(b"250 ok\r\n")
        wire.say(b"250 ok\r\n")
        wire.channel.pauseProducing()
        wire.say(b"354 go\r\n")
        wire.clock.advance(179)
        self.assertNoResult(sending)
        wire.clock.advance(1)
        self.assertTrue(self.successResultOf(sending).outcomes[0].temporary)
        self.assertTrue(wire.session.closed)


class PressureTests(SynchronousTestCase):
    """No more is read from the message than the server takes."""

    def test_the_file_waits_for_the_server(self) -> None:
        for keywords, replies in (((), 3), ((b"CHUNKING",), 2)):
            file = io.BytesIO(b"Subject: a\r\n\r\n" + b"x" * 40 * PIECE)
            wire = Wire().open(*keywords)
            sending = wire.start(wire.session.send(ENVELOPE, file))
            # It is looked through first, in turns.
            for _ in range(10):
                wire.clock.advance(0)
            for reply in [b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"][: replies - 1]:
                wire.say(reply)
            wire.transport.full = True
            wire.say(b"354 go\r\n" if replies == 3 else b"250 ok\r\n")
            for count in range(1, 6):
                self.assertEqual(file.tell(), count * PIECE)
                wire.transport.clear()
                wire.channel.resumeProducing()
                self.assertNoResult(sending)
            sending.cancel()
            self.failureResultOf(sending, CancelledError)

    def test_a_server_that_talks_too_much(self) -> None:
        wire = Wire().open()
        wire.channel.dataReceived(b"2" * (MAX_UNREAD + 1))
        result = self.successResultOf(wire.start(wire.session.send(ENVELOPE, MESSAGE)))
        self.assertEqual(result.outcomes[0].enhanced, "4.5.0")
        self.assertTrue(wire.session.closed)


class EndTests(SynchronousTestCase):
    """The connection goes, or we go."""

    def test_the_connection_breaks(self) -> None:
        wire = Wire().open()
        sending = wire.start(wire.session.send(ENVELOPE, MESSAGE))
        wire.lose(ConnectionLost("reset by peer"))
        (outcome,) = self.successResultOf(sending).outcomes
        self.assertIn("reset by peer", outcome.text)
        self.assertEqual((outcome.enhanced, outcome.command), ("4.4.2", "MAIL"))
        self.assertEqual(wire.clock.getDelayedCalls(), [])

    def test_between_messages(self) -> None:
        wire = Wire().open()
        wire.lose()
        (outcome,) = self.successResultOf(wire.start(wire.session.send(ENVELOPE, MESSAGE))).outcomes
        self.assertEqual((outcome.attempted, outcome.temporary), (False, True))
        self.assertFalse(self.successResultOf(wire.start(wire.session.check())))

    def test_last_words_count(self) -> None:
        wire = Wire().open()
        sending = wire.start(wire.session.send(ENVELOPE, MESSAGE))
        wire.say(b"250 ok\r\n")
        wire.say(b"250 ok\r\n")
        wire.channel.pauseProducing()
        wire.say(b"354 go\r\n")
        wire.channel.dataReceived(b"552 5.3.4 too large\r\n")
        wire.lose()
        (outcome,) = self.successResultOf(sending).outcomes
        self.assertEqual((outcome.code, outcome.command), (552, "end of data"))

    def test_cancelling_ends_the_connection(self) -> None:
        wire = Wire()
        opening = wire.start(wire.session.open())
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        self.assertTrue(wire.session.closed)
        wire = Wire().open()
        for replies in range(3):
            wire = Wire().open()
            sending = wire.start(wire.session.send(ENVELOPE, MESSAGE))
            for _ in range(replies):
                wire.say(b"250 ok\r\n")
            sending.cancel()
            self.failureResultOf(sending, CancelledError)
            self.assertTrue(wire.session.closed)
            self.assertEqual(wire.clock.getDelayedCalls(), [])

    def test_where_it_goes(self) -> None:
        self.assertEqual(Wire().session.facts.peer, "192.0.2.1:25")
        for address, peer, local in (
            (IPv4Address("TCP", "127.0.0.1", 25), "127.0.0.1:25", True),
            (UNIXAddress("/run/lmtp"), "unix:/run/lmtp", True),
        ):
            channel = TwistedChannel(cast(Any, Clock()))
            transport = FullTransport(peerAddress=cast(Any, address), lenient=True)
            channel.makeConnection(cast(Any, transport))
            self.assertEqual((channel.peer, channel.is_local), (peer, local))


class ConnectTests(SynchronousTestCase):
    """Getting a connection."""

    def test_refused(self) -> None:
        reactor = MemoryReactorClock()
        connecting = Deferred.fromCoroutine(connect("127.0.0.1:25", SETTINGS, reactor=reactor))
        reactor.advance(1)
        _, _, factory, _, _ = reactor.tcpClients[0]
        factory.clientConnectionFailed(None, Failure(ConnectionDone()))
        error = self.failureResultOf(connecting, ConnectFailed).value
        self.assertEqual((error.command, error.temporary), ("connect", True))
        self.assertIn("127.0.0.1:25", error.text)

    def test_time_out(self) -> None:
        reactor = MemoryReactorClock()
        connecting = Deferred.fromCoroutine(connect("127.0.0.1:25", SETTINGS, reactor=reactor))
        for _ in range(40):
            reactor.advance(1)
        self.assertIn("30 seconds", self.failureResultOf(connecting, ConnectFailed).value.text)

    def test_cancelled(self) -> None:
        for server in ("127.0.0.1:25", "unix:/run/nothing"):
            reactor = MemoryReactorClock()
            connecting = Deferred.fromCoroutine(connect(server, SETTINGS, reactor=reactor))
            connecting.cancel()
            self.failureResultOf(connecting, CancelledError)

    def test_what_is_no_server(self) -> None:
        for server in ("", "host:0", "host:70000", "a b", "host:", "unix:", "[::1"):
            d = Deferred.fromCoroutine(connect(server, reactor=MemoryReactorClock()))
            self.failureResultOf(d, ValueError)


class Endpoint:
    """Connects to a server of ours, in memory; octets go both ways at once."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.connections = 0

    def connect(self, factory: Any) -> Deferred[Any]:
        self.connections += 1
        self.server.connect()
        client = factory.buildProtocol(None)
        self.pair = _Pair(self.server, client)
        client.makeConnection(self.pair)
        self.pair.pump()
        return succeed(client)


class _Pair(FullTransport):
    """The client's end; what it writes goes to the server, whose answers come back."""

    def __init__(self, server: Server, client: Any) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.1", 25), lenient=True)
        self.server = server.protocol
        self.server_transport = server.transport
        self.client = client
        self._pumping = False

    def write(self, data: bytes) -> None:
        super().write(data)
        self.pump()

    def pump(self) -> None:
        if self._pumping:
            return
        self._pumping = True
        while self.value() or self.server_transport.value():
            sent, answer = self.value(), self.server_transport.value()
            self.clear()
            self.server_transport.clear()
            if sent:
                self.server.dataReceived(sent)
            if answer:
                self.client.dataReceived(answer)
        self._pumping = False

    def loseConnection(self) -> None:
        self.client.connectionLost(Failure(ConnectionDone()))

    def abortConnection(self) -> None:  # noqa: N802
        self.disconnecting = True


class OurServerTests(SynchronousTestCase):
    """The two ends of mailkit, in memory."""

    def send(
        self,
        server: Server,
        recipients: Any = "bob@example.org",
        message: Any = MESSAGE,
        settings: ClientSettings = SETTINGS,
    ) -> Deferred[SendResult]:
        self.endpoint = Endpoint(server)
        return Deferred.fromCoroutine(
            sendmail(
                cast(Any, self.endpoint),
                "ann@example.net",
                recipients,
                message,
                settings,
                reactor=server.clock,
            )
        )

    def test_a_message(self) -> None:
        server = Server()
        result = self.successResultOf(self.send(server))
        self.assertEqual([o.code for o in result.outcomes], [250])
        self.assertEqual(server.delivery.contents, [MESSAGE])
        envelope, _ = server.delivery.received[0]
        self.assertEqual(str(envelope.reverse_path), "ann@example.net")
        self.assertEqual(envelope.helo, "client.example")
        self.assertEqual(result.facts.extensions.hostname, "mx.example.org")

    def test_by_data_and_by_bdat(self) -> None:
        message = MESSAGE + b".\r\n..\r\n\xff\r\n" * 30_000
        for chunking in (True, False):
            server = Server()
            settings = ClientSettings(helo="client.example", chunking=chunking, chunk_size=70_000)
            result = self.successResultOf(self.send(server, message=message, settings=settings))
            self.assertTrue(result.accepted)
            self.assertEqual(server.delivery.contents, [message])

    def test_binary(self) -> None:
        message = b"Content-Transfer-Encoding: binary\r\n\r\na\0b\nc\r\xff"
        server = Server(abilities=[Ability.BINARYMIME])
        result = self.successResultOf(self.send(server, message=message))
        self.assertTrue(result.accepted and not result.converted)
        self.assertEqual(server.delivery.contents, [message])
        self.assertEqual(server.delivery.received[0][0].body, "BINARYMIME")

    def test_some_recipients_fail(self) -> None:
        server = Server()
        server.delivery.unknown["cat"] = NoSuchRecipient()
        result = self.successResultOf(self.send(server, ["bob@example.org", "cat@example.org"]))
        self.assertEqual([o.code for o in result.outcomes], [250, 550])
        self.assertEqual(result.outcomes[1].enhanced, "5.1.1")

    def test_all_recipients_fail(self) -> None:
        server = Server()
        server.delivery.unknown["bob"] = NoSuchRecipient()
        server.delivery.unknown["cat"] = TemporaryFailure("Not now")
        error = self.failureResultOf(
            self.send(server, ["bob@example.org", "cat@example.org"]), SendFailed
        ).value
        self.assertIn("<bob@example.org>: ", error.text)
        self.assertEqual((error.command, error.code, error.temporary), ("RCPT", 550, True))
        self.assertEqual(len(error.result.failed), 2)
        self.assertIsInstance(error, ClientError)

    def test_more_recipients_than_the_server_takes(self) -> None:
        server = Server(max_recipients=3)
        recipients = [f"user{number}@example.org" for number in range(8)]
        result = self.successResultOf(self.send(server, recipients))
        self.assertEqual(len(result.accepted), 8)
        self.assertEqual([len(e.recipients) for e, _ in server.delivery.received], [3, 3, 2])

    def test_lmtp(self) -> None:
        server = Server(factory_class=LMTPFactory)
        server.delivery.failing["cat"] = OverQuota()
        settings = ClientSettings(helo="client.example", lmtp=True)
        recipients = ["bob@example.org", "cat@example.org", "dan@example.org"]
        result = self.successResultOf(self.send(server, recipients, settings=settings))
        self.assertEqual([o.code for o in result.outcomes], [250, 552, 250])
        self.assertEqual(result.facts.protocol, "LMTP")

    def test_a_login(self) -> None:
        server = Server(peer="127.0.0.1", passwords={"ann": "secret"})
        settings = ClientSettings(
            helo="client.example",
            credentials=Credentials("ann", "secret"),
            allow_plaintext_passwords=True,
        )
        result = self.successResultOf(self.send(server, settings=settings))
        self.assertEqual(result.facts.account, "ann")
        self.assertEqual(len(server.users["ann"].received), 1)

    def test_utf8(self) -> None:
        server = Server()
        result = self.successResultOf(self.send(server, "jürgen@example.org"))
        self.assertTrue(result.accepted)
        self.assertTrue(server.delivery.received[0][0].smtputf8)

    def test_the_envelope_arrives(self) -> None:
        server = Server(abilities=[ability for ability in Ability if ability is not Ability.HOLD])
        endpoint: Any = Endpoint(server)
        session = self.successResultOf(
            Deferred.fromCoroutine(connect(endpoint, SETTINGS, reactor=server.clock))
        )
        envelope = make_envelope(
            "ann@example.net",
            Recipient(
                Path("bob", "example.org"),
                notify=frozenset(("SUCCESS", "DELAY")),
                orcpt=OriginalRecipient("utf-8", "b+ü=\\b@example.com"),
                rrvs=ValidSince(1_000_000_000, "C"),
            ),
        )
        envelope.ret, envelope.envid = "HDRS", "a+b c"
        envelope.deliver_by = DeliverBy(int(server.clock.seconds()) + 600, "N")
        sending = Deferred.fromCoroutine(session.send(envelope, MESSAGE))
        self.assertTrue(self.successResultOf(sending).accepted)
        got, _ = server.delivery.received[0]
        self.assertEqual((got.ret, got.envid), ("HDRS", "a+b c"))
        self.assertEqual(got.recipients[0].orcpt, envelope.recipients[0].orcpt)
        self.assertEqual(got.recipients[0].notify, envelope.recipients[0].notify)
        self.assertEqual(got.recipients[0].rrvs, envelope.recipients[0].rrvs)
        self.assertEqual(got.deliver_by, envelope.deliver_by)

    def test_a_slow_server_keeps_the_order(self) -> None:
        server = Server()
        server.delivery.slow = {"check_recipient", "deliver"}
        sending = self.send(server, ["bob@example.org", "cat@example.org"])
        for _ in range(6):
            self.assertNoResult(sending)
            server.delivery.go_on()
            self.endpoint.pair.pump()
            if sending.called:
                break
        self.assertEqual(len(self.successResultOf(sending).accepted), 2)

    def test_several_messages(self) -> None:
        server = Server()
        endpoint: Any = Endpoint(server)
        opening = Deferred.fromCoroutine(connect(endpoint, SETTINGS, reactor=server.clock))
        session = self.successResultOf(opening)
        for number in range(3):
            message = MESSAGE + b"%d\r\n" % number
            self.successResultOf(Deferred.fromCoroutine(session.send(ENVELOPE, message)))
            self.assertTrue(self.successResultOf(Deferred.fromCoroutine(session.check())))
        self.successResultOf(Deferred.fromCoroutine(session.quit()))
        self.assertEqual(len(server.delivery.received), 3)
        self.assertEqual(strip_trace(server.delivery.received[2][1]), MESSAGE + b"2\r\n")
