"""The client with Postfix and with Exim, which pass on to a server of ours: octets come unchanged."""

from __future__ import annotations

import re
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path as FilePath
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mailkit.delivery.callback import delivery_portal
from mailkit.delivery.lmtp import ServerDelivery
from mailkit.model import Ability, OriginalRecipient, Path, Recipient
from mailkit.smtp.client import (
    ClientSettings,
    SendResult,
    Session,
    TLSFailed,
    TLSPolicy,
    connect,
    make_envelope,
    sendmail,
)
from mailkit.smtp.protocol import SMTPFactory
from tests.interop.exim import MISSING as NO_EXIM
from tests.interop.exim import Exim
from tests.interop.postfix import MISSING as NO_POSTFIX
from tests.interop.postfix import Postfix
from tests.interop.support import ClientCase
from tests.mime import corpus
from tests.smtp.fakes import Server
from tests.support import HOST, PATIENCE

SENDER, RECIPIENT = "ann@example.net", "bob@example.test"
SETTINGS = ClientSettings(helo="client.example", tls=TLSPolicy.none())
HEADER = (
    b"From: <ann@example.net>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n"
    b"Message-ID: <1@example.net>\r\n"
)
MESSAGE = HEADER + b"Subject: hi\r\n\r\n.one\r\n..two\r\n\xe4\xff\r\n"

_FIELD = re.compile(rb"[!-9;-~]+:[^\n]*\n(?:[ \t]+[^ \t\r\n][^\n]*\n)*")


async def pause(seconds: float) -> None:
    done: Deferred[None] = Deferred()
    cast(Any, reactor).callLater(seconds, done.callback, None)
    await done


async def _send_in_a_row(session: Session, names: list[str]) -> list[SendResult]:
    """Send messages, each right behind the one before where the server lets it follow."""
    sending: list[Deferred[SendResult]] = []
    behind = 0

    def begin() -> None:
        nonlocal behind
        behind += len(sending) > 0
        name = names[len(sending)]
        place = len(sending)
        sending.append(Deferred())
        envelope = make_envelope(SENDER, f"{name}@example.test")
        content = f"X-To: {name}\r\n".encode() + MESSAGE
        more = begin if place + 1 < len(names) else None
        Deferred.fromCoroutine(session.send(envelope, content, more)).chainDeferred(sending[place])

    results = []
    while len(results) < len(names):
        if len(results) == len(sending):
            begin()
            behind -= len(sending) > 1
        results.append(await sending[len(results)])
    # Behind those that were refused nobody follows: nothing of them was sent.
    assert behind == len(names) - 1 - sum(not each.accepted for each in results), behind
    return results


def without_trace(message: bytes) -> bytes:
    """A message without the Received fields at its start."""
    return re.sub(rb"\A(?:Received:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+", b"", message)


def as_sent(octets: bytes) -> bytes:
    """With the line ends of the network."""
    content = re.sub(rb"\r\n|\r|\n", b"\r\n", octets)
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def has_header(octets: bytes) -> bool:
    """Whether the header is one: both relays mend those that are not."""
    end = 0
    while field := _FIELD.match(octets, end):
        end = field.end()
    return end > 0 and octets[end:].lstrip(b"\r")[:1] in (b"", b"\n")


class RelayTests:
    """A relay that takes all for ``example.test`` but ``nobody@`` and ``later@``."""

    async def setUp(self) -> None:
        await super().setUp()  # type: ignore[misc]
        case = cast(Any, self)
        self.sink = Server(max_size=60_000_000, abilities=[Ability.DSN])
        self.sink.factory.clock = cast(Any, reactor)
        self.sink_port = case.listen(self.sink.factory)
        self.relay = self.make_relay()
        case.addCleanup(self.relay.stop)
        self.relay.start()
        self.address = f"localhost:{self.relay.port}"

    def make_relay(self) -> Any:
        raise NotImplementedError

    async def arrived(self, count: int) -> list[bytes]:
        """The messages that have arrived, once there are so many."""
        received = self.sink.delivery.received
        for _ in range(int(PATIENCE * 10)):
            if len(received) >= count:
                break
            await pause(0.1)
        assert len(received) == count, (len(received), count, self.relay.log[-3000:])
        return [without_trace(message) for _, message in received]

    async def connect(self, settings: ClientSettings = SETTINGS) -> Session:
        session = await connect(self.address, settings)
        cast(Any, self).addCleanup(session.abort)
        return session

    async def send(self, settings: ClientSettings = SETTINGS, message: Any = MESSAGE) -> SendResult:
        return await sendmail(self.address, SENDER, RECIPIENT, message, settings)

    async def test_extensions(self) -> None:
        session = await self.connect()
        found = session.facts.extensions
        for name in ("pipelining", "eight_bit_mime", "chunking", "smtputf8", "dsn", "starttls"):
            assert getattr(found, name), (name, found)
        await session.quit()

    async def test_corpus(self) -> None:
        case = cast(Any, self)
        if corpus.MISSING:
            raise case.skipTest(corpus.MISSING)
        messages = [(name, o) for name, o in corpus.messages() if has_header(o)]
        case.assertGreater(len(messages), 150)
        sent = {}
        by_bdat = await self.connect()
        by_data = await self.connect(replace(SETTINGS, chunking=False))
        for number, (name, octets) in enumerate(messages):
            session = (by_bdat, by_data)[number % 2]
            mark = b"X-Number: %d\r\n" % number
            result = await session.send(make_envelope(SENDER, RECIPIENT), mark + octets)
            case.assertTrue(result.accepted, (name, result.outcomes))
            sent[mark] = (name, octets)
        for message in await self.arrived(len(sent)):
            mark = message[: message.index(b"\n") + 1]
            name, octets = sent.pop(mark)
            case.assertEqual(message[len(mark) :], as_sent(octets), name)

    async def test_large_messages(self) -> None:
        message = MESSAGE + (b"." + b"x" * 98 + b"\r\n") * 50_000
        for chunking in (True, False):
            settings = replace(SETTINGS, chunking=chunking, tls=TLSPolicy.required())
            result = await self.send(settings, message)
            assert result.accepted and result.size == len(message)
        assert await self.arrived(2) == [message, message]

    async def test_each_recipient_by_itself(self) -> None:
        case = cast(Any, self)
        recipients = [f"{name}@example.test" for name in ("bob", "nobody", "cat", "later")]
        session = await self.connect()
        result = await session.send(make_envelope(SENDER, recipients), MESSAGE)
        case.assertEqual(
            [(o.code // 100, o.command) for o in result.outcomes],
            [(2, "end of data"), (5, "RCPT"), (2, "end of data"), (4, "RCPT")],
        )
        # Nobody at all: the connection can still be used.
        result = await session.send(make_envelope(SENDER, recipients[1::2]), MESSAGE)
        case.assertEqual([o.code // 100 for o in result.outcomes], [5, 4])
        case.assertTrue(await session.check())
        case.assertTrue(
            (await session.send(make_envelope(SENDER, recipients[0]), MESSAGE)).accepted
        )
        await session.quit()
        await self.arrived_recipients(3)

    async def arrived_recipients(self, count: int) -> None:
        """Wait until so many copies, whichever way the relay has put them together, are there."""
        received = self.sink.delivery.received
        for _ in range(int(PATIENCE * 10)):
            if sum(len(envelope.recipients) for envelope, _ in received) >= count:
                return
            await pause(0.1)
        raise AssertionError(self.relay.log[-3000:])

    async def test_many_recipients(self) -> None:
        recipients = [f"user{number}@example.test" for number in range(250)]
        session = await self.connect()
        result = await session.send(make_envelope(SENDER, recipients), MESSAGE)
        assert len(result.accepted) == 250, result.failed[:1]
        assert result.facts.transactions == 3
        await session.quit()

    async def test_tls(self) -> None:
        case = cast(Any, self)
        certificate = x509.load_pem_x509_certificate(FilePath(case.certificate).read_bytes())
        digest = certificate.fingerprint(hashes.SHA256())
        count = 0
        for policy, encrypted, verified in (
            (TLSPolicy.none(), False, False),
            (TLSPolicy.opportunistic(), True, False),
            (TLSPolicy.required(), True, False),
            (TLSPolicy.verified(ca_file=case.certificate), True, True),
            (TLSPolicy.pinned(digest), True, True),
        ):
            result = await self.send(replace(SETTINGS, tls=policy))
            tls = result.facts.tls
            case.assertEqual(
                (tls is not None, tls is not None and tls.verified), (encrypted, verified)
            )
            count += 1
        for policy in (
            TLSPolicy.verified(),
            TLSPolicy.verified("other.example", ca_file=case.certificate),
            TLSPolicy.pinned("00" * 32),
        ):
            with case.assertRaises(TLSFailed):
                await self.send(replace(SETTINGS, tls=policy))
        await self.arrived(count)

    async def test_messages_behind_each_other(self) -> None:
        """RFC 2920 section 3.1: the next envelope goes with the end of the content before it."""
        case = cast(Any, self)
        count = 0
        for chunking in (True, False):
            for policy in (TLSPolicy.none(), TLSPolicy.required()):
                session = await self.connect(replace(SETTINGS, chunking=chunking, tls=policy))
                found = await _send_in_a_row(
                    session, ["bob", "cat", "nobody", "dan", "later", "eve"]
                )
                case.assertEqual(
                    [each.outcomes[0].code // 100 for each in found], [2, 2, 5, 2, 4, 2]
                )
                case.assertTrue(await session.check())
                await session.quit()
                count += 4
        await self.arrived_recipients(count)
        received = self.sink.delivery.received
        case.assertEqual(
            sorted(str(envelope.recipients[0].path) for envelope, _ in received),
            sorted(f"{name}@example.test" for name in ("bob", "cat", "dan", "eve") * 4),
        )
        for envelope, message in received:
            mark = f"X-To: {envelope.recipients[0].path.local_part}\r\n".encode()
            case.assertEqual(without_trace(message), mark + MESSAGE)

    async def test_binary(self) -> None:
        """From a server of ours that has BINARYMIME to a relay that has not."""
        case = cast(Any, self)
        delivery = ServerDelivery(self.address, SETTINGS)
        case.addCleanup(lambda: Deferred.fromCoroutine(delivery.close()))
        front = case.listen(SMTPFactory(delivery_portal(delivery), hostname="front.example"))
        body = bytes(range(256)) * 400 + b"\n.\n\r.\r\r\n.\r\n"
        session = await connect(f"localhost:{front}", SETTINGS)
        case.addCleanup(session.abort)
        envelope = make_envelope(SENDER, RECIPIENT)
        envelope.body = "BINARYMIME"
        header = HEADER + b"MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
        content = header + b"Content-Transfer-Encoding: binary\r\n\r\n" + body
        result = await session.send(envelope, content)
        case.assertTrue(result.accepted and not result.converted, result.outcomes)
        (message,) = await self.arrived(1)
        case.assertEqual(message_from_bytes(message).get_payload(decode=True), body)

    async def test_utf8(self) -> None:
        case = cast(Any, self)
        message = HEADER + "To: <jürgen@example.test>\r\nSubject: Grüße\r\n\r\nä\r\n".encode()
        session = await self.connect()
        envelope = make_envelope("jürgen@example.net", "jürgen@example.test")
        result = await session.send(envelope, message)
        case.assertTrue(result.accepted, result.outcomes)
        case.assertEqual(await self.arrived(1), [message])
        (got, _) = self.sink.delivery.received[0]
        case.assertEqual(str(got.reverse_path), "jürgen@example.net")

    async def test_dsn(self) -> None:
        case = cast(Any, self)
        session = await self.connect()
        recipient = Recipient(
            Path("bob", "example.test"),
            notify=frozenset(("FAILURE", "DELAY")),
            orcpt=OriginalRecipient("rfc822", "b+b@example.com"),
        )
        envelope = make_envelope(SENDER, recipient)
        envelope.ret, envelope.envid = "HDRS", "a+b=c d"
        result = await session.send(envelope, MESSAGE)
        case.assertTrue(result.accepted and result.dsn)
        await self.arrived(1)
        got, _ = self.sink.delivery.received[0]
        case.assertEqual((got.ret, got.envid), ("HDRS", "a+b=c d"))
        case.assertEqual(got.recipients[0].orcpt, recipient.orcpt)
        case.assertEqual(got.recipients[0].notify, recipient.notify)

    async def test_too_large(self) -> None:
        case = cast(Any, self)
        session = await self.connect()
        size = cast(int, session.facts.extensions.size)
        result = await session.send(
            make_envelope(SENDER, RECIPIENT), HEADER + b"\r\n" + b"x" * 99 * (size // 99 + 1)
        )
        case.assertEqual([o.enhanced for o in result.outcomes], ["5.3.4"])
        case.assertTrue(await session.check())


@pytest.mark.interop
class PostfixTests(RelayTests, ClientCase):
    skip = NO_POSTFIX or None

    def make_relay(self) -> Any:
        return Postfix(
            {
                "relayhost": f"[{HOST}]:{self.sink_port}",
                "message_size_limit": "6000000",
                # Who goes on speaking where that is not allowed is thrown out.
                "smtpd_forbid_unauth_pipelining": "yes",
                "smtpd_data_restrictions": "reject_unauth_pipelining",
                "smtpd_tls_security_level": "may",
                "smtpd_tls_cert_file": self.certificate,
                "smtpd_tls_key_file": self.key,
                "smtpd_recipient_restrictions": "check_recipient_access inline:"
                "{ nobody@example.test=REJECT, later@example.test=DEFER }",
            }
        )


@pytest.mark.interop
class EximTests(RelayTests, ClientCase):
    skip = NO_EXIM or None

    def make_relay(self) -> Any:
        return Exim(self.sink_port, self.certificate, self.key)
