"""What leaves is signed: which messages, by which domain, in which form."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from typing import Any, BinaryIO
from unittest import mock

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mailkit._typing import override
from mailkit.model import ConnectionInfo, Envelope, Path
from mailkit.queue.transport import Result, Still, Transport
from mailkit.signing.dkim import MAX_SIGNATURES, DKIMSigner
from mailkit.signing.keys import KeyDirectory, KeyRing, SigningKey
from mailkit.signing.memory import SIGNATURE_TIME, Signature, SignatureMemory
from mailkit.signing.transport import SigningTransport
from mailkit.spool import Spool
from mailkit.testing.queue import queue_envelope
from tests.queue.support import QueueTestCase, ScriptedTransport, parse, reply
from tests.signing.support import NOW, both_keys, file, key, verify

TEXT = b"From: Ann <%b>\r\nTo: eve@example.net\r\nSubject: Lunch\r\n\r\nAt noon?\r\n"
EIGHT_BIT = (
    b"From: ann@example.org\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
)


async def at_once(work: Callable[[], Any]) -> Any:
    """Call it here and now."""
    return work()


class Recorder(Transport):
    """Remembers what it is to send."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.messages: list[bytes] = []

    @override
    async def send(
        self, domain: str, envelope: Envelope, content: BinaryIO, still: Still | None = None
    ) -> Result:
        self.envelopes.append(envelope)
        self.messages.append(content.read())
        return Result([])


class SigningTests(TestCase):
    def setUp(self) -> None:
        self.sent = Recorder()
        self.ring = KeyRing(named=[*both_keys(), key("example.com")])

    def transport(self, **settings: Any) -> SigningTransport:
        return SigningTransport(self.sent, self.ring, DKIMSigner(lambda: NOW), at_once, **settings)

    async def test_without_keys_no_thread_is_asked(self) -> None:
        def refuse(work: Callable[[], Any]) -> Any:
            raise AssertionError("there is nothing to do")

        path = self.mktemp()
        os.mkdir(path)
        ring = KeyRing(KeyDirectory(path))
        unsigned = SigningTransport(self.sent, ring, DKIMSigner(lambda: NOW), refuse)
        content = file(TEXT % b"ann@example.org")
        ours = queue_envelope("eve@example.net", account="ann@example.org")
        await unsigned.send("example.net", ours, content)
        self.assertEqual(self.sent.messages, [TEXT % b"ann@example.org"])
        # A key that comes later signs what is sent from then on.
        KeyDirectory(path).add([key("example.org")], NOW)
        signing = SigningTransport(self.sent, ring, DKIMSigner(lambda: NOW), at_once)
        await signing.send("example.net", ours, file(TEXT % b"ann@example.org"))
        self.assertTrue(self.sent.messages[1].startswith(b"DKIM-Signature:"))

    async def send(
        self, message: bytes, envelope: Envelope | None = None, **settings: Any
    ) -> bytes:
        envelope = envelope or queue_envelope("eve@example.net", account="ann@example.org")
        await self.transport(**settings).send("example.net", envelope, file(message))
        return self.sent.messages[-1]

    def signers(self, message: bytes) -> list[str]:
        return [
            str(value).partition("d=")[2].partition(";")[0]
            for value in parse(message).get_all("DKIM-Signature", [])
        ]

    async def test_the_domain_of_the_author_signs(self) -> None:
        message = TEXT % b"ann@example.org"
        signed = await self.send(message)
        self.assertTrue(signed.endswith(message))
        self.assertEqual(verify(signed, both_keys()), [True, True])

    async def test_of_a_subdomain_the_domain_above_it(self) -> None:
        signed = await self.send(TEXT % b"ann@mail.example.com")
        self.assertEqual(self.signers(signed), ["example.com"])

    async def test_else_that_of_the_reverse_path(self) -> None:
        signed = await self.send(TEXT % b"ann@elsewhere.example")
        self.assertEqual(self.signers(signed), ["example.org"] * 2)

    async def test_no_more_signatures_than_the_limit(self) -> None:
        for author in b"ann@example.org", b"ann@elsewhere.example":
            many = [key("example.org", f"r{number}") for number in range(MAX_SIGNATURES + 2)]
            self.ring = KeyRing(named=many)
            signed = await self.send(TEXT % author)
            self.assertEqual(self.signers(signed), ["example.org"] * MAX_SIGNATURES)

    async def test_else_none(self) -> None:
        envelope = queue_envelope("eve@example.net", account="ann@example.org")
        envelope.reverse_path = Path("ann", "elsewhere.example")
        message = TEXT % b"ann@elsewhere.example"
        self.assertEqual(await self.send(message, envelope), message)

    async def test_what_strangers_send_is_not_signed(self) -> None:
        # By an alias that leads elsewhere: From may be a lie.
        message = TEXT % b"ann@example.org"
        envelope = queue_envelope("eve@example.net", account=None)
        self.assertEqual(await self.send(message, envelope), message)
        null = Envelope(ConnectionInfo("smtp"), "x", Path("", ""), account=None)
        self.assertEqual(await self.send(message, null), message)

    async def test_what_trusted_clients_send_is_signed(self) -> None:
        # Reports of other servers of the site, too, though nobody is named as their sender.
        message = TEXT % b"ann@example.org"
        envelope = Envelope(ConnectionInfo("smtp"), "x", Path("", ""), trusted=True)
        self.assertEqual(self.signers(await self.send(message, envelope)), ["example.org"] * 2)

    async def test_eight_bit_parts_are_encoded_first(self) -> None:
        signed = await self.send(EIGHT_BIT)
        self.assertTrue(signed.isascii())
        self.assertEqual(verify(signed, both_keys()), [True, True])
        self.assertEqual(parse(signed).get_content().rstrip(), "Grüße")

    async def test_unless_that_is_not_wanted(self) -> None:
        signed = await self.send(EIGHT_BIT, seven_bit=False)
        self.assertTrue(signed.endswith(EIGHT_BIT))
        self.assertEqual(verify(signed, both_keys()), [True, True])

    async def test_what_must_not_be_encoded_is_signed_as_it_is(self) -> None:
        message = (
            b"From: ann@example.org\r\nMIME-Version: 1.0\r\n"
            b"Content-Type: multipart/signed; boundary=b\r\n\r\n"
            b"--b\r\n\r\n\xff\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n"
        )
        signed = await self.send(message)
        self.assertTrue(signed.endswith(message))
        self.assertEqual(verify(signed, both_keys()), [True, True])

    async def test_long_lines_are_encoded_first(self) -> None:
        # RFC 5321 section 4.5.3.1.6: other servers cut them, which breaks the signature.
        head = b"From: ann@example.org\r\nMIME-Version: 1.0\r\nContent-Type: %b\r\n\r\n"
        for kind, encoding in (
            (b"text/html", b"quoted-printable"),
            (b"application/json", b"base64"),
        ):
            signed = await self.send(head % kind + b"x\r\n" * 30_000 + b"y" * 999 + b"\r\n")
            self.assertLessEqual(max(map(len, signed.split(b"\r\n"))), 78)
            self.assertIn(b"Content-Transfer-Encoding: " + encoding, signed)
            self.assertEqual(verify(signed, both_keys()), [True, True])
            body = parse(signed).get_payload(decode=True)
            self.assertTrue(
                isinstance(body, bytes) and body.endswith(b"x\r\n" + b"y" * 999 + b"\r\n")
            )
        for lines in (b"y" * 998 + b"\r\n", b"y" * 998, b"x\r\n" * 30_000 + b"y" * 998 + b"\r\n"):
            message = head % b"text/plain" + lines
            self.assertTrue((await self.send(message)).endswith(message))
        message = head % b"text/plain" + b"y" * 70_000
        self.assertTrue((await self.send(message, seven_bit=False)).endswith(message))
        signed = await self.send(message)
        self.assertLessEqual(max(map(len, signed.split(b"\r\n"))), 78)
        # What somebody else has signed stays as it is.
        parts = b'multipart/signed; boundary="b"'
        message = head % parts + b"--b\r\n\r\n" + b"y" * 2000 + b"\r\n--b--\r\n"
        self.assertTrue((await self.send(message)).endswith(message))

    async def test_binary_parts_beside_a_header_in_utf_8(self) -> None:
        # The header needs 8 bits whatever becomes of the rest; binary octets don't go everywhere.
        envelope = queue_envelope("eve@example.net", account="ann@example.org")
        envelope.body = "BINARYMIME"
        message = "Subject: Gr\u00fc\u00dfe\r\n".encode() + EIGHT_BIT + b"\rx\0\r\n"
        signed = await self.send(message, envelope)
        self.assertIn(b"Content-Transfer-Encoding: base64", signed)
        self.assertEqual(verify(signed, both_keys()), [True, True])

    async def test_line_ends_are_corrected_first(self) -> None:
        signed = await self.send((TEXT % b"ann@example.org").replace(b"\r\n", b"\n"))
        self.assertTrue(signed.endswith(TEXT % b"ann@example.org"))
        self.assertEqual(verify(signed, both_keys()), [True, True])

    async def test_large_messages_are_signed_in_pieces(self) -> None:
        message = TEXT % b"ann@example.org" + b"Lunch  is good. \r\n" * 60_000 + b"\r\n" * 10
        signed = await self.send(message)
        self.assertTrue(signed.endswith(message))
        self.assertEqual(verify(signed, both_keys()), [True, True])
        large = EIGHT_BIT * 6000
        self.assertEqual(verify(await self.send(large), both_keys()), [True, True])

    async def test_the_content_stays_open(self) -> None:
        # It may be sent again, to another recipient.
        content = file(TEXT % b"ann@example.org")
        envelope = queue_envelope("eve@example.net", account="ann@example.org")
        transport = self.transport()
        for _ in range(2):
            await transport.send("example.net", envelope, content)
            gc.collect()
        self.assertEqual(self.sent.messages[0], self.sent.messages[1])

    async def test_it_leaves_as_the_other_does(self) -> None:
        for leaves in True, False:
            self.sent.leaves = leaves
            self.sent.max_parallel = 7
            transport = self.transport()
            self.assertEqual((transport.leaves, transport.max_parallel), (leaves, 7))

    async def test_what_cannot_be_signed_is_sent_all_the_same(self) -> None:
        message = b"To: eve@example.net\r\n\r\nx\r\n"
        self.assertEqual(await self.send(message), message)

    async def test_without_keys_nothing_is_read(self) -> None:
        self.ring = KeyRing()
        self.assertEqual(await self.send(b"\xff" * 10), b"\xff" * 10)

    async def test_new_keys_sign_at_once(self) -> None:
        directory = KeyDirectory(self.mktemp())
        self.ring = KeyRing(directory)
        message = TEXT % b"ann@example.org"
        self.assertEqual(await self.send(message), message)
        directory.add([key()], NOW)
        self.assertEqual(verify(await self.send(message), [key()]), [True])
        directory.retire("example.org", "r")
        self.assertEqual(await self.send(message), message)

    async def test_a_message_is_signed_once(self) -> None:
        envelope = queue_envelope("eve@example.net", account="ann@example.org")
        seconds = iter(range(NOW, NOW + 1000))
        signer = DKIMSigner(lambda: next(seconds))
        clock = Clock()
        memory = SignatureMemory(clock.seconds)
        first, second = (
            SigningTransport(self.sent, self.ring, signer, at_once, memory=memory) for _ in range(2)
        )

        async def sign(transport: SigningTransport, message: bytes) -> bytes:
            await transport.send("example.net", envelope, file(message))
            return self.sent.messages[-1]

        for message in (TEXT % b"ann@example.org", EIGHT_BIT):
            signed = await sign(first, message)
            self.assertEqual(verify(signed, both_keys()), [True, True])
            self.assertEqual(await sign(second, message), signed)
        # Something else; another form; other keys; and too long ago.
        other = TEXT % b"bob@example.org"
        self.assertEqual(verify(await sign(first, other), both_keys()), [True, True])
        envelope.body = "BINARYMIME"
        self.assertNotEqual(await sign(first, EIGHT_BIT), signed)
        envelope.body = None
        self.assertEqual(await sign(first, EIGHT_BIT), signed)
        clock.advance(SIGNATURE_TIME)
        self.assertNotEqual(await sign(first, EIGHT_BIT), signed)
        self.ring = KeyRing(named=both_keys()[:1])
        changed = SigningTransport(self.sent, self.ring, signer, at_once, memory=memory)
        self.assertEqual(verify(await sign(changed, EIGHT_BIT), both_keys()[:1]), [True])

    async def test_threads_sign_a_message_once(self) -> None:
        memory = SignatureMemory(Clock().seconds)
        made: list[int] = []
        go = threading.Event()

        def make() -> Signature:
            go.wait(60)
            made.append(1)
            return Signature(b"x", settled=False)

        threads = [
            threading.Thread(target=lambda: memory.find_or_make("key", make)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        go.set()
        for thread in threads:
            thread.join()
        self.assertEqual(made, [1])

    async def test_what_was_given_up_leaves_no_file(self) -> None:
        works: list[Callable[[], Any]] = []

        def later(work: Callable[[], Any]) -> Deferred[Any]:
            works.append(work)
            return Deferred()

        transport = SigningTransport(self.sent, self.ring, DKIMSigner(lambda: NOW), later)
        envelope = queue_envelope("eve@example.net", account="ann@example.org")
        sending = Deferred.fromCoroutine(
            transport.send("example.net", envelope, file(EIGHT_BIT * 6000))
        )
        sending.cancel()
        self.failureResultOf(sending, CancelledError)
        made: list[Spool] = []

        def make() -> Spool:
            made.append(Spool())
            return made[-1]

        with mock.patch("mailkit.smtp.client.convert.Spool", make):
            works[0]()
        self.assertEqual([spool.path for spool in made], [None])
        self.assertEqual(self.sent.messages, [])


class ReportTests(QueueTestCase):
    async def test_reports_of_ours_are_signed(self) -> None:
        keys: list[SigningKey] = both_keys()
        inner = self.transport
        signing = SigningTransport(
            inner, KeyRing(named=keys), DKIMSigner(self.clock.seconds), at_once
        )
        self.transport: Any = signing
        inner.answer = lambda recipient: (
            reply(550, "nobody") if recipient.path.domain == "example.net" else reply()
        )
        await self.submit("eve@example.net")
        self.pass_time(60)
        self.assertIsInstance(inner, ScriptedTransport)
        reports = [content for _, envelope, content in inner.sent if envelope.reverse_path.is_null]
        self.assertEqual(len(reports), 1)
        self.assertEqual(verify(reports[0], keys), [True, True])
