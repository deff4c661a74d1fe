"""Replies from octets, within bounds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.errors import ProtocolError
from mailkit.smtp.client.extensions import FutureRelease, ServerLimits, parse_extensions
from mailkit.smtp.client.replies import ReplyLimits, ReplyReader
from mailkit.smtp.grammar import Reply

OCTETS = b"250-2.1.0 one\r\n250 2.1.0 two\r\n354 go\r\n550 5.1.1 <a@b>: who?\r\n220\r\n"
REPLIES = [
    Reply(250, "2.1.0", "one\ntwo"),
    Reply(354, "", "go"),
    Reply(550, "5.1.1", "<a@b>: who?"),
    Reply(220, "", ""),
]


def read(octets: bytes, piece: int = 0, limits: ReplyLimits | None = None) -> list[Reply]:
    reader = ReplyReader(limits or ReplyLimits())
    found = []
    for start in range(0, len(octets), piece or len(octets)):
        reader.feed(octets[start : start + (piece or len(octets))])
        while reply := reader.next_reply():
            found.append(reply)
    return found


class ReaderTests(SynchronousTestCase):
    """RFC 5321 section 4.2."""

    def test_every_split_gives_the_same_replies(self) -> None:
        for piece in range(1, len(OCTETS) + 1):
            self.assertEqual(read(OCTETS, piece), REPLIES)

    def test_a_bare_lf_ends_a_line(self) -> None:
        self.assertEqual(read(OCTETS.replace(b"\r", b"")), REPLIES)

    def test_the_first_octets_of_a_line(self) -> None:
        for octet in range(256):
            line = bytes([octet]) + b"50 ok\r\n"
            if chr(octet) in "2345":
                self.assertEqual(len(read(line)), 1)
            else:
                self.assertRaises(ProtocolError, read, line)

    def test_what_is_no_reply(self) -> None:
        for line in (b"", b"25", b"250x", b"+OK", b"HTTP/1.0 400", b" 250 a", b"2500", b"150 a"):
            self.assertRaises(ProtocolError, read, line + b"\r\n")

    def test_different_codes_in_one_reply(self) -> None:
        for octets in (b"250-a\r\n251 b\r\n", b"550-a\r\n250 b\r\n"):
            self.assertRaises(ProtocolError, read, octets)

    def test_a_refusal_in_the_middle_of_a_reply(self) -> None:
        # What postscreen says to a client that a block list names while it waits.
        octets = b"220-mx.example.net\r\n521 5.7.1 blocked\r\n"
        for piece in range(1, len(octets) + 1):
            self.assertEqual(read(octets, piece), [Reply(521, "5.7.1", "blocked")])
        self.assertEqual(read(b"250-a\r\n421-b\r\n421 c\r\n"), [Reply(421, "", "b\nc")])

    def test_text_is_made_fit_for_a_log(self) -> None:
        self.assertEqual(read(b"250 a\x00\x1b[2J\xc2\x85\xff\r\n")[0].text, "a??[2J?\ufffd")
        self.assertEqual(read("550 5.1.1 jürgen\r\n".encode())[0].text, "jürgen")

    def test_enhanced_codes(self) -> None:
        for text, enhanced in (
            (b"550 5.7.1 no", "5.7.1"),
            (b"550 5.7.1", "5.7.1"),
            (b"550 4.7.1 no", ""),
            (b"550 5.7.1000 no", ""),
            (b"550 5.7 no", ""),
            (b"354 3.0.0 go", ""),
        ):
            self.assertEqual(read(text + b"\r\n")[0].enhanced, enhanced, text)


class BoundTests(SynchronousTestCase):
    """A server cannot fill our memory."""

    def test_line(self) -> None:
        limits = ReplyLimits(line=20)
        for length in (15, 16, 17, 30, 100):
            octets = b"550-" + b"x" * length + b"\r\n550 5.1.1 y\r\n250 z\r\n"
            for piece in (0, 1, 7):
                cut = "x" * min(length, 16)
                expected = [Reply(550, "5.1.1", f"{cut}\ny"), Reply(250, "", "z")]
                self.assertEqual(read(octets, piece, limits), expected)

    def test_lines(self) -> None:
        limits = ReplyLimits(lines=3)
        for count in (2, 3, 100):
            octets = b"550-5.7.1 a\r\n" * count + b"550 5.7.1 b\r\n250 c\r\n"
            text = "a\na\n" + ("b" if count == 2 else "a")
            expected = [Reply(550, "5.7.1", text), Reply(250, "", "c")]
            for piece in (0, 1, 7):
                self.assertEqual(read(octets, piece, limits), expected)

    def test_octets(self) -> None:
        octets = b"250-aaaaaa\r\n" * 9 + b"250 b\r\n"
        expected = [Reply(250, "", "aaaaaa\n" * 2 + "aaaaaa")]
        self.assertEqual(read(octets, 0, ReplyLimits(octets=40)), expected)

    def test_one_without_end(self) -> None:
        limits = ReplyLimits(line=20, lines=3, received=200)
        for octets in (b"250-a\r\n", b"x"):
            for piece in (0, 1, 7):
                self.assertRaises(ProtocolError, read, b"250 " + octets * 300, piece, limits)
        # It is that of each reply.
        self.assertEqual(len(read((b"250-" + b"a" * 100 + b"\r\n250 a\r\n") * 9, 0, limits)), 9)

    def test_pending(self) -> None:
        reader = ReplyReader(ReplyLimits(pending=3))
        reader.feed(b"250 a\r\n" * 3)
        self.assertRaises(ProtocolError, reader.feed, b"250 a\r\n")
        # What came before still counts: it may say why.
        self.assertEqual(reader.next_reply(), Reply(250, "", "a"))

    def test_idle(self) -> None:
        reader = ReplyReader()
        self.assertTrue(reader.idle)
        for octets in (b"2", b"20 a\r\n", b"250-a\r\n"):
            reader.feed(octets)
            self.assertFalse(reader.idle)


class ExtensionTests(SynchronousTestCase):
    """What EHLO announces."""

    def test_values(self) -> None:
        found = parse_extensions(
            "mx.example.org says hello\nSIZE 100\nPIPELINING\n8bitmime\nSMTPUTF8\nDSN\nCHUNKING\n"
            "BINARYMIME\nSTARTTLS\nREQUIRETLS\nAUTH PLAIN login\nAUTH=CRAM-MD5\nDELIVERBY 240\n"
            "MT-PRIORITY MIXER\nFUTURERELEASE 3600 2030-01-01T00:00:00Z\n"
            "LIMITS RCPTMAX=20 MAILMAX=5 RCPTDOMAINMAX=1 OTHER=x"
        )
        self.assertEqual(found.hostname, "mx.example.org")
        self.assertEqual((found.size, found.deliver_by), (100, 240))
        self.assertEqual(found.auth, ("PLAIN", "LOGIN", "CRAM-MD5"))
        self.assertEqual(found.future_release, FutureRelease(3600, "2030-01-01T00:00:00Z"))
        self.assertEqual(found.limits, ServerLimits(20, 5, 1))
        for name in [
            "pipelining",
            "eight_bit_mime",
            "chunking",
            "binary_mime",
            "smtputf8",
            "dsn",
            "starttls",
            "require_tls",
            "mt_priority",
        ]:
            self.assertTrue(getattr(found, name), name)

    def test_nothing(self) -> None:
        found = parse_extensions("mx.example.org")
        self.assertEqual((found.size, found.deliver_by, found.future_release), (None, None, None))
        self.assertFalse(found.pipelining or found.dsn or found.auth or found.mt_priority)

    def test_values_that_make_no_sense(self) -> None:
        found = parse_extensions(
            "mx\nSIZE many\nDELIVERBY x\nFUTURERELEASE 10\nLIMITS RCPTMAX=0 MAILMAX=x =1 RCPTMAX\n"
            "???\n\n-X"
        )
        self.assertEqual((found.size, found.deliver_by, found.future_release), (0, 0, None))
        self.assertEqual(found.limits, ServerLimits())

    def test_limits(self) -> None:
        for text, limits in {
            # A limit that is unknown, or makes no sense, does not concern the others.
            "rcptmax=20 MAILMAX=0 RCPTDOMAINMAX=1000000 NEW-ONE=a,b OTHER_ONE": ServerLimits(20),
            # RFC 9422 section 3: what breaks the syntax does.
            "RCPTMAX=20 MAILMAX=5;6": ServerLimits(),
            "RCPTMAX=20 =5": ServerLimits(),
            "RCPTMAX=20 MAIL.MAX=5": ServerLimits(),
            "": ServerLimits(),
        }.items():
            self.assertEqual(parse_extensions(f"mx\nLIMITS {text}").limits, limits, text)

    def test_binarymime_needs_chunking(self) -> None:
        self.assertFalse(parse_extensions("mx\nBINARYMIME").binary_mime)
