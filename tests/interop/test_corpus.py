"""Broken messages through a real server: in by SMTP or APPEND, out by IMAP and POP3, unchanged."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from typing import BinaryIO, cast

import pytest

from tests.imap.response_grammar import check_response
from tests.interop.support import ANN, WholeServerTestCase
from tests.mime import corpus
from tests.support import HOST, PATIENCE

#: Final delivery writes Return-Path and Delivered-To, and the server a Received field of three lines.
TRACE = re.compile(
    rb"Return-Path: <me@example\.org>\r\nDelivered-To: [^\r\n]+\r\n"
    rb"Received: from [^\r\n]+\r\n(?:[ \t][^\r\n]+\r\n)+"
)
LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")


class Connection:
    """Commands, and the answers to them as they come."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection((HOST, port), PATIENCE)
        self.socket = tls.wrap_socket(plain, server_hostname="localhost") if tls else plain
        self.file = cast(BinaryIO, self.socket.makefile("rb"))
        self.greeting = self.file.readline()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)


class IMAPConnection(Connection):
    """Each response is held against the ABNF."""

    def command(self, text: bytes) -> list[bytes]:
        """The untagged responses; the tagged one must be OK."""
        self.send(b"t " + text + b"\r\n")
        responses = []
        while True:
            response = self.response()
            check_response(response)
            if response.startswith(b"t "):
                assert response.startswith(b"t OK "), (text, response)
                return responses
            responses.append(response)

    def response(self) -> bytes:
        octets = self.file.readline()
        while literal := LITERAL.search(octets):
            octets += self.file.read(int(literal[1])) + self.file.readline()
        return octets[:-2]


class POP3Connection(Connection):
    def command(self, text: bytes) -> bytes:
        self.send(text + b"\r\n")
        line = self.file.readline()
        assert line.startswith(b"+OK"), (text, line)
        return line

    def content(self, text: bytes) -> bytes:
        """A multi-line answer without its dots."""
        self.command(text)
        lines = []
        while (line := self.file.readline()) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)


def item(response: bytes, name: bytes) -> bytes:
    """The literal, or the quoted string without specials in it, that follows a name."""
    found = re.search(re.escape(name) + rb' (?:\{(\d+)\}\r\n|"([^"]*)")', response)
    assert found is not None, (name, response[:200])
    if found[1] is None:
        return found[2]
    return response[found.end() : found.end() + int(found[1])]


@pytest.mark.slow
class CorpusTests(WholeServerTestCase):
    skip = corpus.MISSING

    def setUp(self) -> None:
        super().setUp()
        self.server = self.start()
        self.messages = list(corpus.messages())
        self.assertGreater(len(self.messages), 200)

    def imap(self, *commands: bytes) -> IMAPConnection:  # type: ignore[override]
        client = IMAPConnection(self.ports["imaps"], self.trusted)
        self.addCleanup(client.close)
        client.command(b'LOGIN "%b" "%b secret"' % (ANN.encode(), ANN.encode()))
        for command in commands:
            client.command(command)
        return client

    def read_by_imap(self) -> list[bytes]:
        """The messages of INBOX, whose every item is well-formed and fits the others."""
        client = self.imap(b"SELECT INBOX")
        found = []
        items = b"ENVELOPE BODY BODYSTRUCTURE RFC822.SIZE INTERNALDATE"
        sections = b"BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[] BODY.PEEK[1] BODY.PEEK[1.MIME]"
        for number in range(1, len(self.messages) + 1):
            (response,) = client.command(b"FETCH %d (%b %b)" % (number, items, sections))
            octets = item(response, b"BODY[]")
            self.assertEqual(
                item(response, b"BODY[HEADER]") + item(response, b"BODY[TEXT]"), octets
            )
            self.assertIn(b"RFC822.SIZE %d " % len(octets), response)
            found.append(octets)
        # Nothing in them upsets a search, which looks into all of them.
        (searched,) = client.command(b"SEARCH TEXT Subject NOT BODY nowhere-in-any-of-them")
        self.assertGreater(len(searched.split()), 150)
        client.command(b"LOGOUT")
        client.close()
        return found

    def read_by_pop3(self) -> list[bytes]:
        client = POP3Connection(self.ports["pop3s"], self.trusted)
        self.addCleanup(client.close)
        client.command(b"USER " + ANN.encode())
        client.command(b"PASS %b secret" % ANN.encode())
        found = []
        for number in range(1, len(self.messages) + 1):
            octets = client.content(b"RETR %d" % number)
            size = client.command(b"LIST %d" % number).split()[2]
            # A line end is added to a message that has none at its end.
            self.assertIn(len(octets) - int(size), (0, 2))
            self.assertTrue(octets.startswith(client.content(b"TOP %d 0" % number)[:-2]))
            found.append(octets)
        client.command(b"QUIT")
        client.close()
        return found

    def check_delivered(self, received: list[bytes], sent: list[bytes]) -> None:
        self.assertEqual(len(received), len(sent))
        for (name, _), octets, content in zip(self.messages, received, sent, strict=True):
            trace = TRACE.match(octets)
            assert trace is not None, (name, octets[:300])
            self.assertEqual(octets[trace.end() :], content, name)

    def test_by_smtp(self) -> None:
        sent = []
        with smtplib.SMTP(HOST, self.ports["smtp"], timeout=PATIENCE) as client:
            for name, octets in self.messages:
                # The corpus has the line ends of a repository, SMTP those of the network.
                content = re.sub(rb"\r?\n", b"\r\n", octets)
                content += b"" if content.endswith(b"\r\n") else b"\r\n"
                client.ehlo_or_helo_if_needed()
                client.mail("me@example.org", ["BODY=8BITMIME"])
                client.rcpt(ANN)
                code, text = client.data(content)
                self.assertEqual(code, 250, (name, text))
                sent.append(content)
        self.check_delivered(self.read_by_imap(), sent)
        self.check_delivered(self.read_by_pop3(), sent)
        self.stop(self.server)

    def test_by_smtp_as_they_are(self) -> None:
        # RFC 5321 section 2.3.8: those with a bare LF, and no others, are refused.
        with smtplib.SMTP(HOST, self.ports["smtp"], timeout=PATIENCE) as client:
            client.ehlo()
            for name, octets in self.messages:
                client.mail("me@example.org", ["BODY=8BITMIME"])
                client.rcpt(ANN)
                client.putcmd("data")
                self.assertEqual(client.getreply()[0], 354)
                client.send(re.sub(rb"(?m)^\.", b"..", octets) + b"\r\n.\r\n")
                code, text = client.getreply()
                bare = octets.count(b"\n") != octets.count(b"\r\n")
                self.assertEqual(
                    (code, text[:6]), (550, b"5.5.2 ") if bare else (250, b"2.0.0 "), name
                )
        self.stop(self.server)

    def test_by_append(self) -> None:
        client = self.imap()
        for _, octets in self.messages:
            client.command(b"APPEND INBOX {%d+}\r\n%b" % (len(octets), octets))
        client.close()
        originals = [octets for _, octets in self.messages]
        self.assertEqual(self.read_by_imap(), originals)
        # POP3 cannot say that the last line lacks its end.
        ended = [o if o.endswith(b"\r\n") else o + b"\r\n" for o in originals]
        for (name, _), octets, expected in zip(
            self.messages, self.read_by_pop3(), ended, strict=True
        ):
            self.assertEqual(octets, expected, name)
        self.stop(self.server)
