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


class OddServerTests(SynchronousTestCase):
    """What senders write, as servers pass it on that do little with it."""

    def filename(self, parameters: bytes, disposition: bytes) -> str | None:
        message = read(
            b'* 1 FETCH (BODYSTRUCTURE ("application" "pdf" %b NIL NIL "base64" 9 NIL'
            b' ("attachment" %b) NIL NIL))' % (parameters, disposition)
        )
        found: str | None = message.structure.filename
        return found

    def test_filename_in_pieces(self) -> None:
        """RFC 2231 section 3, which servers are to undo."""
        for disposition, name in (
            (b'("filename*0*" "utf-8\'\'Gr%C3%B6" "filename*1*" "%C3%9Fe.pdf")', "Größe.pdf"),
            (b'("FILENAME*1" "bc.pdf" "FILENAME*0" "a")', "abc.pdf"),
            (b'("filename*1" "bc.pdf")', "n.pdf"),
            (b'("filename" "")', "n.pdf"),
            (b'("filename" "a.pdf")', "a.pdf"),
        ):
            self.assertEqual(self.filename(b'("name" "n.pdf")', disposition), name)
        self.assertIsNone(self.filename(b'("name" "")', b'("filename" "")'))
        self.assertEqual(self.filename(b'("name*0" "a" "name*1" ".pdf")', b"NIL"), "a.pdf")

    def test_folded_subject(self) -> None:
        for subject, expected in (
            (b"ab\r\n cde", "ab cde"),
            (b"=?utf-8?q?Gr=C3=B6?=\r\n =?utf-8?q?en?=", "Gröen"),
        ):
            message = read(
                b"* 1 FETCH (ENVELOPE (NIL {%d}\r\n%b NIL NIL NIL NIL NIL NIL NIL NIL))"
                % (len(subject), subject)
            )
            self.assertEqual(message.subject, expected)

    def test_literal8(self) -> None:
        """RFC 3516 section 4.4: in items, too, that are not known here."""
        message = read(b"* 1 FETCH (X ~{3}\r\n(\0) Y (a ~{2}\r\n)) b~) UID 7)")
        self.assertEqual(message.uid, 7)
        self.assertEqual(message.others, {"X": b"~{3}\r\n(\0)", "Y": b"(a ~{2}\r\n)) b~)"})
