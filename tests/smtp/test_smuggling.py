"""SMTP smuggling: ends of data that another server might see, and this one must not.

The sequences are those of SEC Consult's report of December 2023 and of its test tool, those that
Postfix's documentation names, and what follows from them with NUL. Each is sent in every way that the
octets can be cut into two packets, and one by one, by DATA and by BDAT, in both modes.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from mailkit.model import Ability
from mailkit.smtp.protocol import BareLineEnds
from mailkit.wire.dotstuff import DotDecoder, DotEncoder, has_bare_line_end
from tests.smtp.fakes import Server

#: Ends that are none, and in which a CR or LF stands alone.
BARE = (
    b"\n.\n",
    b"\n.\r\n",
    b"\n.\r",
    b"\r.\r",
    b"\r.\r\n",
    b"\r.\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n.\r\r\n",
    b"\n\r.\r\n",
    b"\n\n.\r\n",
    b"\n.\n\r\n",
    b"\r\n\n.\n",
    b"\0\n.\r\n",
    b"\r\0\n.\r\n",
    b"\r\n.\0\n",
    b"\n.\0\r\n",
)
#: The same without such a CR or LF: a NUL, or a space, is no part of an end either.
OTHERS = (
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\0.\0\r\n",
    b"\r\n .\r\n",
    b"\r\n. \r\n",
    b"\r\n.\t\r\n",
    b"\r\n\x85.\x85\r\n",
    b"\r\n\xe2\x80\xa8.\xe2\x80\xa8\r\n",
)
MODES: tuple[BareLineEnds, ...] = ("refuse", "normalise")
SECOND = (
    b"MAIL FROM:<admin@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
    b"From: admin@example.org\r\n\r\nsmuggled\r\n"
)


def packets(octets: bytes, around: int) -> Iterator[list[bytes]]:
    """Whole, cut in two at each place near the sequence, and octet by octet."""
    yield [octets]
    for cut in range(max(1, around - 4), min(len(octets), around + 16)):
        yield [octets[:cut], octets[cut:]]
    yield [octets[i : i + 1] for i in range(len(octets))]


class SmugglingTests(SynchronousTestCase):
    def content(self, end: bytes) -> bytes:
        return b"Subject: x\r\n\r\nfirst" + end + SECOND

    def dialogue(self, server: Server, pieces: list[bytes]) -> list[bytes]:
        """Replies to all pieces."""
        server.transport.clear()
        for piece in pieces:
            server.protocol.dataReceived(piece)
        return server.answer().splitlines()

    def check(self, server: Server, replies: list[bytes], mode: str, bare: bool) -> None:
        """One message, taken or refused, and the command behind it."""
        self.assertEqual(len(replies), 2, replies)
        self.assertEqual(replies[1], b"250 2.0.0 OK")
        if bare and mode == "refuse":
            self.assertEqual(replies[0][:10], b"550 5.5.2 ", replies)
            self.assertEqual(server.delivery.received, [])
            return
        self.assertEqual(replies[0][:9], b"250 2.0.0", replies)
        (content,) = server.delivery.contents
        self.assertTrue(content.endswith(b"smuggled\r\n"), content)
        self.assertFalse(has_bare_line_end(content))
        self.assert_sent_as_one(content)

    def assert_sent_as_one(self, content: bytes) -> None:
        """Whoever gets the message from us sees one end as well."""
        encoder = DotEncoder()
        sent = encoder.feed(content) + encoder.finish()
        decoder = DotDecoder()
        received, rest = decoder.feed(sent)
        self.assertEqual((received, rest, decoder.finished), (content, b"", True))
        for end in (b"\n.\n", b"\r.\r", b"\n.\r\n"):
            self.assertNotIn(end, sent.removesuffix(b"\r\n.\r\n"))

    def test_data(self) -> None:
        for end in (*BARE, *OTHERS):
            content = self.content(end)
            octets = content + b".\r\nNOOP\r\n"
            for mode in MODES:
                for pieces in packets(octets, content.index(end)):
                    server = Server(bare_line_ends=mode).begin()
                    replies = self.dialogue(server, pieces)
                    self.check(server, replies, mode, end in BARE)

    def test_bdat(self) -> None:
        for end in (*BARE, *OTHERS):
            content = self.content(end)
            octets = b"BDAT %d LAST\r\n%bNOOP\r\n" % (len(content), content)
            for mode in MODES:
                for pieces in packets(octets, octets.index(end)):
                    server = Server(bare_line_ends=mode).greet()
                    server.say("MAIL FROM:<a@b>", "RCPT TO:<bob@example.org>")
                    self.check(server, self.dialogue(server, pieces), mode, end in BARE)

    def test_bdat_cut_into_chunks(self) -> None:
        for end in (*BARE, *OTHERS):
            content = self.content(end)
            place = content.index(end)
            for mode in MODES:
                for cut in range(place, place + len(end) + 1):
                    server = Server(bare_line_ends=mode).greet()
                    server.say("MAIL FROM:<a@b>", "RCPT TO:<bob@example.org>")
                    first, second = content[:cut], content[cut:]
                    octets = b"BDAT %d\r\n%bBDAT %d LAST\r\n%bNOOP\r\n" % (
                        *(len(first), first),
                        *(len(second), second),
                    )
                    replies = self.dialogue(server, [octets])
                    self.check(server, replies[1:], mode, end in BARE)

    def test_a_dot_that_ends_a_chunk_ends_no_message(self) -> None:
        server = Server().greet()
        server.say("MAIL FROM:<a@b>", "RCPT TO:<bob@example.org>")
        replies = self.dialogue(server, [b"BDAT 8\r\nfirst\r\n.BDAT 2 LAST\r\n\r\nNOOP\r\n"])
        self.assertEqual([reply[:9] for reply in replies], [b"250 2.0.0"] * 3)
        self.assertEqual(server.delivery.contents, [b"first\r\n.\r\n"])

    def test_binary_messages_keep_their_octets(self) -> None:
        for end in (*BARE, *OTHERS, b"\r\n.\r\n"):
            content = self.content(end)
            server = Server(abilities=[Ability.BINARYMIME]).greet()
            server.say("MAIL FROM:<a@b> BODY=BINARYMIME", "RCPT TO:<bob@example.org>")
            octets = b"BDAT %d LAST\r\n%bNOOP\r\n" % (len(content), content)
            replies = self.dialogue(server, [octets])
            self.assertEqual([reply[:9] for reply in replies], [b"250 2.0.0"] * 2)
            self.assertEqual(server.delivery.contents, [content])

    def test_the_right_end_is_one_whatever_stands_before_it(self) -> None:
        # What follows is a second transaction, as every server must see it.
        for before, code in ((b"", b"250"), (b"\r", b"550"), (b"\n", b"550"), (b"\0", b"250")):
            server = Server().begin()
            replies = self.dialogue(server, [b"first" + before + b"\r\n.\r\nRSET\r\n"])
            self.assertEqual([reply[:3] for reply in replies], [code, b"250"], before)


class InjectionTests(SynchronousTestCase):
    """Commands that an attacker puts before TLS (RFC 3207 section 5)."""

    def test_commands_behind_starttls_are_dropped(self) -> None:
        injected = b"EHLO evil\r\nMAIL FROM:<eve@b>\r\n"
        octets = b"STARTTLS\r\n" + injected
        for cut in range(1, len(octets)):
            server = Server(tls_context=object()).greet()
            server.transport.clear()
            server.protocol.dataReceived(octets[:cut])
            if cut < len(b"STARTTLS\r\n"):
                server.protocol.dataReceived(octets[cut:])
            self.assertEqual(server.answer().count(b"\r\n"), 1, cut)
            self.assertEqual(server.answer()[:4], b"220 ")
            self.assertEqual(server.protocol.session.helo, "")
            self.assertEqual(len(server.protocol.buffer), 0)
