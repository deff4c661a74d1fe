"""SMTP smuggling by way of our client: whatever a message holds, DATA has one end for every reader.

Readers differ in what they take for a line end (CRLF, CR, LF), and in whether they drop NUL. The
receiving side, and the sequences, are in :mod:`tests.smtp.test_smuggling`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from mailkit._typing import override
from mailkit.smtp.client import content, convert, make_envelope
from mailkit.smtp.client.settings import BareLineEnds, ClientSettings
from tests.smtp.client.fakes import Server, make_session, run
from tests.smtp.test_smuggling import BARE, OTHERS

#: Ends that some reader might see.
_END = re.compile(rb"(?:\r\n|\r|\n)\0*\.\0*(?:\r\n|\r|\n)")
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)|\0")
_SECOND = b"MAIL FROM:<admin@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n\r\nx\r\n"
_MODES: tuple[BareLineEnds, ...] = ("normalise", "keep")
_SERVERS = (
    (),
    ("8BITMIME", "PIPELINING"),
    ("8BITMIME", "CHUNKING"),
    ("8BITMIME", "CHUNKING", "BINARYMIME"),
)


class _Recorder(Server):
    """A server that keeps all octets."""

    received = b""

    @override
    def take(self, data: bytes) -> None:
        self.received += data
        super().take(data)


def messages(end: bytes) -> Iterator[bytes]:
    """With a sequence in the header, in the body, behind an 8-bit line, in a part of its own."""
    sender = b"From: eve@example.net\r\n"
    for header in (
        b"",
        b"Content-Transfer-Encoding: binary\r\n",
        b"Content-Type: image/png\r\n",
        b"Content-Type: message/rfc822\r\n",
    ):
        yield sender + header + b"\r\nfirst" + end + _SECOND
        yield sender + header + b"X-Name: a" + end + _SECOND
        yield sender + header + b"\r\n\xc3\xbc" + end + _SECOND
    mixed = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\na"
    yield sender + mixed + end + _SECOND + b"\r\n--b--\r\n"


class SmugglingTests(SynchronousTestCase):
    def send(self, keywords: tuple[str, ...], mode: BareLineEnds, message: bytes) -> _Recorder:
        server = _Recorder(*keywords)
        settings = ClientSettings(helo="client.example", bare_line_ends=mode)
        session, _ = make_session(server, settings)
        run(session.open())
        server.received = b""
        run(session.send(make_envelope("eve@example.net", ["bob@example.org"]), message))
        return server

    def check(self, server: _Recorder, message: bytes) -> None:
        commands = server.received.partition(b"\r\n")[0]
        if b"BODY=BINARYMIME" in commands or not server.messages:
            return
        if not server.chunks:
            data = server.received.partition(b"DATA\r\n")[2]
            self.assertTrue(data.endswith(b"\r\n.\r\n"), message)
            inner = b"\r\n" + data[: -len(b".\r\n")]
            self.assertIsNone(_END.search(inner), message)
        self.assertIsNone(_BARE.search(server.messages[0]), message)

    def test_every_sequence(self) -> None:
        sent = 0
        for end in (*BARE, *OTHERS, b"\r\n.\r\n", b"\r\r\n.\r\r\n"):
            for message in messages(end):
                for keywords in _SERVERS:
                    for mode in _MODES:
                        server = self.send(keywords, mode, message)
                        self.check(server, message)
                        sent += len(server.messages)
        self.assertGreater(sent, 1000)

    def test_cut_between_pieces(self) -> None:
        for module in (content, convert):
            self.patch(module, "PIECE", 1)
        for end in (*BARE, *OTHERS, b"\r\n.\r\n"):
            for message in messages(end):
                self.check(self.send(("8BITMIME",), "normalise", message), message)

    def test_the_header_is_not_sent_with_what_no_header_has(self) -> None:
        # Nothing can encode it.
        for keywords in _SERVERS[:-1]:
            message = b"From: eve@example.net\r\n\0.\r\nX: y\r\n\r\nHello\r\n"
            self.assertEqual(self.send(keywords, "normalise", message).messages, [])
