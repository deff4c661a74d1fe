"""What anybody who sends mail can put into a server's responses ends no connection."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.errors import ProtocolError
from mailkit.imap.client.reader import RESPONSE_LIMITS, Response
from mailkit.imap.client.responses import parse_response
from mailkit.imap.client.values import Threads
from mailkit.mime.addresses import MAX_ADDRESSES
from mailkit.mime.envelope import envelope_octets
from mailkit.mime.parts import MAX_PARTS, parse_message
from mailkit.mime.structure import bodystructure_octets


def read(octets: bytes) -> Any:
    return parse_response(Response(octets, {}))


class LargestTests(SynchronousTestCase):
    """Of what our own server tells of one message."""

    def test_structure(self) -> None:
        part = (
            b"--x\r\nContent-Type: application/pdf; name=a.pdf\r\n"
            b"Content-Disposition: attachment; filename=a.pdf\r\n\r\n\r\n"
        )
        mail = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + part * (MAX_PARTS - 1)
        octets = bodystructure_octets(mail, parse_message(mail))
        message = read(b"* 1 FETCH (UID 1 BODYSTRUCTURE %b)" % octets)
        self.assertEqual(len(message.structure.parts), MAX_PARTS - 1)
        self.assertEqual(message.structure.parts[-1].filename, "a.pdf")

    def test_envelope(self) -> None:
        fields = (b"From", b"Sender", b"Reply-To", b"To", b"Cc", b"Bcc")
        listed = b",\r\n ".join([b"a@b.c"] * MAX_ADDRESSES)
        mail = b"".join(b"%b: %b\r\n" % (name, listed) for name in fields) + b"\r\n"
        message = read(b"* 1 FETCH (UID 1 ENVELOPE %b)" % envelope_octets(mail))
        self.assertEqual(len(message.envelope.bcc), MAX_ADDRESSES)

    def test_backslashes(self) -> None:
        for count in (900, 900_000):
            subject = b"\\" * count
            octets = envelope_octets(b"Subject: %b\r\n\r\n" % subject)
            message = read(b"* 1 FETCH (UID 1 ENVELOPE %b)" % octets)
            self.assertEqual(message.envelope.subject, subject)


class ThreadTests(SynchronousTestCase):
    """RFC 5256 section 4 bounds no depth: it is that of a discussion."""

    def test_depth(self) -> None:
        octets = b"* THREAD " + b"".join(b"(%d " % each for each in range(1, 5001)) + b")" * 5000
        (thread,) = read(octets).threads
        seen = []
        while thread:
            seen.append(thread[0])
            thread = thread[1] if len(thread) > 1 else None
        self.assertEqual(seen, list(range(1, 5001)))

    def test_numbers(self) -> None:
        limits = RESPONSE_LIMITS._replace(numbers=20, tokens=5)
        good = Response(b"* THREAD" + b" (7)" * 20, {})
        self.assertEqual(parse_response(good, limits), Threads([[7]] * 20))
        for octets in (b"(7)" * 21, b"(" + b"7 " * 21 + b")", b"(" * 21, b"()" * 21):
            with self.assertRaises(ProtocolError) as caught:
                parse_response(Response(b"* THREAD " + octets, {}), limits)
            self.assertIn("too many numbers", str(caught.exception))
