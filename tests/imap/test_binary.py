"""BINARY: parts without their transfer encoding, and messages that come as a literal8 (RFC 3516)."""

from __future__ import annotations

import base64
import email
import email.policy
import os
import quopri
import re
import tracemalloc
from email.message import Message
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap import content
from tests.imap.support import Client, Server, ServerTestCase, now, split_responses
from tests.mime import corpus

BINARY = bytes(range(256)) * 3
TEXT = "Grüße =\r\nfrom here".encode()
MESSAGE = b"\r\n".join(
    [
        b"Subject: parts",
        b'Content-Type: multipart/mixed; boundary="b"',
        b"",
        b"--b",
        b"Content-Transfer-Encoding: Base64",
        b"Content-Type: application/octet-stream",
        b"",
        base64.encodebytes(BINARY).replace(b"\n", b"\r\n") + b"--b",
        b"Content-Transfer-Encoding: quoted-printable",
        b"",
        quopri.encodestring(TEXT.replace(b"\r", b"")).replace(b"\n", b"\r\n"),
        b"--b",
        b"",
        b"as it is",
        b"--b",
        b"Content-Transfer-Encoding: x-uuencode",
        b"",
        b"begin 644 x",
        b"#86)C",
        b"`",
        b"end",
        b"--b",
        b"Content-Type: message/rfc822",
        b"",
        b"Content-Transfer-Encoding: base64",
        b"",
        b"SGVsbG8=",
        b"--b",
        b"Content-Transfer-Encoding: x-gzip64",
        b"",
        b"H4sI",
        b"--b--",
        b"",
    ]
)


def values(line: bytes) -> dict[bytes, Any]:
    """The BINARY items of a FETCH response: octets, numbers or None by name; ``~`` comes first."""
    found: dict[bytes, Any] = {}
    position = line.index(b"(") + 1
    pattern = re.compile(rb" ?(BINARY[^ ]*) (?:(NIL)|(\d+)|(~?)\{(\d+)\}\r\n)")
    while match := pattern.match(line, position):
        name, nil, number, tilde, size = match.groups()
        position = match.end()
        found[name] = None if nil else int(number or 0)
        if size is not None:
            found[name] = tilde + line[position : position + int(size)]
            position += int(size)
    assert line[position:] == b")", line[position:]
    return found


class FetchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.add(MESSAGE)
        self.client = self.server.login("EXAMINE INBOX")

    def fetch(self, items: str, client: Client | None = None) -> dict[bytes, Any]:
        lines = (client or self.client).command(f"FETCH 1 {items}")
        self.assertEqual(lines[-1], b"OK FETCH completed", lines)
        return values(lines[0])

    def value(self, item: str) -> Any:
        (found,) = self.fetch(item).values()
        return found

    def test_each_encoding(self) -> None:
        for item, expected in (
            ("BINARY[1]", b"~" + BINARY),
            ("BINARY[2]", TEXT),
            ("BINARY[3]", b"as it is"),
            ("BINARY[4]", b"abc"),
            ("BINARY[5.1]", b"Hello"),
            ("BINARY[7]", None),
            ("BINARY[3.1]", None),
        ):
            self.assertEqual(self.fetch(item), {item.encode(): expected})

    def test_what_has_no_encoding_of_its_own(self) -> None:
        # RFC 2045 section 6.4: multiparts and messages are what they are.
        self.assertEqual(self.value("BINARY[]"), MESSAGE)
        inner = b"Content-Transfer-Encoding: base64\r\n\r\nSGVsbG8="
        self.assertEqual(self.value("BINARY[5]"), inner)

    def test_sizes(self) -> None:
        self.assertEqual(
            self.fetch("(BINARY.SIZE[1] BINARY.SIZE[2] BINARY.SIZE[] BINARY.SIZE[9])"),
            {
                b"BINARY.SIZE[1]": len(BINARY),
                b"BINARY.SIZE[2]": len(TEXT),
                b"BINARY.SIZE[]": len(MESSAGE),
                b"BINARY.SIZE[9]": 0,
            },
        )

    def test_partial_counts_decoded_octets(self) -> None:
        for first, count, expected in (
            (0, 5, BINARY[:5]),
            (250, 10, BINARY[250:260]),
            (760, 100, BINARY[760:]),
            (768, 1, b""),
            (4294967295, 4294967295, b""),
        ):
            self.assertEqual(
                self.fetch(f"BINARY.PEEK[1]<{first}.{count}>"),
                {b"BINARY[1]<%d>" % first: b"~" + expected},
            )
        self.assertEqual(self.value("BINARY[2]<1.4>"), TEXT[1:5])

    def test_unknown_encoding(self) -> None:
        for item in ("BINARY[6]", "BINARY.SIZE[6]", "BINARY.PEEK[6]<0.1>", "(FLAGS BINARY[6])"):
            self.assertEqual(
                self.client.command(f"FETCH 1 {item}"),
                [b"NO [UNKNOWN-CTE] The transfer encoding x-gzip64 is not known here"],
            )

    def test_other_messages_are_sent_all_the_same(self) -> None:
        self.server.add(MESSAGE.replace(b"x-gzip64", b"base64"))
        self.client.command("NOOP")
        lines = self.client.command("FETCH 1:2 BINARY.SIZE[6]")
        self.assertEqual(lines[0], b"* 2 FETCH (BINARY.SIZE[6] 3)")
        self.assertTrue(lines[1].startswith(b"NO [UNKNOWN-CTE] "), lines)

    def test_seen(self) -> None:
        client = self.server.login("SELECT INBOX")
        for item, seen in (
            ("BINARY.SIZE[1]", False),
            ("BINARY.PEEK[1]", False),
            ("BINARY[1]", True),
        ):
            client.command(f"FETCH 1 {item}")
            told = client.command("FETCH 1 FLAGS")[0]
            self.assertEqual(b"\\Seen" in told, seen, item)

    def test_labelled_as_uuencoded_and_not_so(self) -> None:
        self.server.add(b"Content-Transfer-Encoding: uuencode\r\n\r\nbegin it")
        self.client.command("NOOP")
        lines = self.client.command("FETCH 2 (BINARY[1] BINARY.SIZE[1])")
        self.assertEqual(values(lines[0]), {b"BINARY[1]": b"begin it", b"BINARY.SIZE[1]": 8})

    def test_faults(self) -> None:
        for item in (
            "BINARY", "BINARY.PEEK", "BINARY.SIZE", "BINARY[TEXT]", "BINARY[1.MIME]", "BINARY[1.]",
            "BINARY[HEADER]", "BINARY[0]", "BINARY[1]<0.0>", "BINARY[1]<0>", "BINARY.SIZE[1]<0.1>",
            "BINARY.PEEK.SIZE[1]", "BINARY[1", "BINARY.SIZE.PEEK[1]", "BINARY[4294967296]",
        ):  # fmt: skip
            (line,) = self.client.command(f"FETCH 1 {item}")
            self.assertTrue(line.startswith(b"BAD "), (item, line))

    def test_switched_off(self) -> None:
        server = Server(without=["BINARY"])
        server.add(MESSAGE)
        client = server.login("SELECT INBOX")
        self.assertNotIn(b"BINARY", client.command("CAPABILITY")[0].split())
        for item in ("BINARY[1]", "BINARY.PEEK[1]", "BINARY.SIZE[1]"):
            self.assertTrue(client.command(f"FETCH 1 {item}")[0].startswith(b"BAD "), item)
        (line,) = client.command(b"APPEND INBOX ~{3+}\r\nabc")
        self.assertTrue(line.startswith(b"BAD "), line)


class LargeTests(SynchronousTestCase):
    """Parts that are decoded piece by piece."""

    def setUp(self) -> None:
        self.octets = os.urandom(2000) * 200
        encoded = base64.encodebytes(self.octets).replace(b"\n", b"\r\n")
        self.server = Server()
        self.server.add(
            b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n'
            b"Content-Transfer-Encoding: base64\r\n\r\n" + encoded + b"--b--\r\n"
        )
        self.client = self.server.login("EXAMINE INBOX")

    def fetch(self, item: str) -> bytes:
        data = self.client.send(f"a FETCH 1 {item}\r\n".encode())
        while not re.search(rb"a (OK|NO|BAD) .*\r\n\Z", data):
            more = self.client.read()
            self.assertTrue(more, data[-100:])
            data += more
        line, last = split_responses(data)
        self.assertEqual(last, b"a OK FETCH completed")
        (found,) = values(line).values()
        assert isinstance(found, bytes)
        return found.removeprefix(b"~")

    def test_whole(self) -> None:
        self.assertEqual(self.fetch("BINARY[2]"), self.octets)
        self.assertEqual(self.fetch("BINARY[1]"), b"text")

    def test_in_pieces_each_octet_is_decoded_once_more_only(self) -> None:
        read: list[int] = []
        original = content.MessageContent.read

        def note(self: content.MessageContent, start: int, end: int) -> bytes:
            read.append(end - start)
            return original(self, start, end)

        self.patch(content.MessageContent, "read", note)
        size = 30_000
        pieces = [
            self.fetch(f"BINARY.PEEK[2]<{start}.{size}>")
            for start in range(0, len(self.octets), size)
        ]
        self.assertEqual(b"".join(pieces), self.octets)
        # Once to measure, once to send; and pieces do not end where those of the file do.
        self.assertLess(sum(read), 5 * len(self.octets))

    def test_backwards_and_across(self) -> None:
        for start in (300_000, 100_000, 399_990, 0, 65_536):
            self.assertEqual(
                self.fetch(f"BINARY.PEEK[2]<{start}.70000>"), self.octets[start : start + 70_000]
            )

    def test_memory_stays_flat(self) -> None:
        # Read once, so that what is kept of it is not counted.
        self.fetch("BINARY[2]<0.1>")
        peak = []
        send = self.client.transport.write

        def write(data: bytes) -> None:
            peak.append(len(data))
            send(data)

        self.client.transport.write = write  # type: ignore[method-assign]
        tracemalloc.start()
        try:
            self.fetch("BINARY[2]")
        finally:
            tracemalloc.stop()
        self.assertLess(max(peak), 130_000)


class AppendTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(max_message_size=100_000)
        self.client = self.server.login("SELECT INBOX")

    def append(self, message: bytes, plus: bytes = b"+") -> bytes:
        *_, line = self.client.command(
            b"APPEND INBOX ~{%d%b}\r\n%b" % (len(message), plus, message)
        )
        return line

    def fetched(self, item: str = "BODY.PEEK[]") -> bytes:
        line = self.client.command(f"FETCH * {item}")[0]
        return line[line.index(b"}\r\n") + 3 : -1]

    def test_what_needs_no_literal8_stays_as_it_is(self) -> None:
        message = b"Content-Transfer-Encoding: binary\r\n\r\nlong\rlines\n" + b"x" * 2000
        self.assertTrue(self.append(message).startswith(b"OK [APPENDUID "))
        self.assertEqual(self.fetched(), message)

    def test_synchronizing(self) -> None:
        more = self.client.send(b"a APPEND INBOX (\\Seen) ~{3}\r\n")
        self.assertEqual(more, b"+ Ready for the message\r\n")
        self.assertIn(b"a OK [APPENDUID ", self.client.send(b"abc\r\n"))

    def test_binary_parts_become_base64(self) -> None:
        # RFC 3516 section 6
        message = (
            b'Content-Type: multipart/mixed; boundary="b"\r\n'
            b"Content-Transfer-Encoding: binary\r\n\r\n"
            b"--b\r\nContent-Transfer-Encoding: BINARY\r\nX-A: 1\r\n\r\nno such octet\r\n"
            b"--b\r\nX-A: 2\r\ncontent-transfer-encoding:\r\n binary\r\nX-B: 3\r\n\r\n"
            + BINARY
            + b"\r\n--b--\r\n"
        )
        self.assertTrue(self.append(message).startswith(b"OK [APPENDUID "))
        expected = message.replace(
            b"content-transfer-encoding:\r\n binary\r\n", b"Content-Transfer-Encoding: base64\r\n"
        ).replace(BINARY, base64.encodebytes(BINARY).replace(b"\n", b"\r\n")[:-2])
        self.assertEqual(self.fetched(), expected)
        self.assertEqual(self.fetched("BINARY.PEEK[2]"), BINARY)
        self.assertIn(b'"base64"', self.client.command("FETCH * BODYSTRUCTURE")[0])

    def test_a_message_of_one_part(self) -> None:
        message = b"Content-Transfer-Encoding: binary\r\n\r\n" + BINARY * 80
        self.assertTrue(self.append(message).startswith(b"OK [APPENDUID "))
        self.assertTrue(self.fetched().startswith(b"Content-Transfer-Encoding: base64\r\n\r\n"))
        self.assertEqual(self.fetched("BINARY.PEEK[1]"), BINARY * 80)

    def test_nul_where_it_cannot_be(self) -> None:
        for message in (
            b"Subject: \0\r\n\r\ntext",
            b"\r\n\0",
            b"Content-Transfer-Encoding: 8bit\r\n\r\n\0",
            b'Content-Type: multipart/x; boundary="b"\r\nContent-Transfer-Encoding: binary\r\n'
            b"\r\n\0\r\n--b\r\n\r\ntext\r\n--b--\r\n",
        ):
            self.assertEqual(
                self.append(message),
                b"NO [UNKNOWN-CTE] There are NUL octets outside of binary parts",
            )
        self.assertEqual(now(self.server.mailbox().get_info()).messages, 0)

    def test_too_large_in_base64(self) -> None:
        message = b"Content-Transfer-Encoding: binary\r\n\r\n" + b"\0" * 90_000
        self.assertEqual(
            self.append(message),
            b"NO [TOOBIG] In base64 the message has more than 100000 octets",
        )

    def test_among_others(self) -> None:
        message = b"Content-Transfer-Encoding: binary\r\n\r\n\0"
        data = b"a APPEND INBOX {3+}\r\nabc ~{%d+}\r\n%b {1+}\r\nx\r\n" % (len(message), message)
        self.assertRegex(self.client.send(data), rb"a OK \[APPENDUID \d+ 1:3\]")
        answer = self.client.send(b"a APPEND INBOX ~{3+}\r\nabc {1+}\r\n\0\r\n")
        self.assertEqual(answer, b"a NO The message contains NUL octets\r\n")

    def test_every_split(self) -> None:
        message = b"Content-Transfer-Encoding: binary\r\n\r\n\0~{3+}\r\n"
        data = b"a APPEND INBOX ~{%d+}\r\n%b\r\nb NOOP\r\n" % (len(message), message)
        for position in range(len(data)):
            answer = self.client.send(data[:position]) + self.client.send(data[position:])
            self.assertRegex(answer, rb"a OK \[APPENDUID \d+ %d\] .*\r\nb OK" % (position + 1))

    def test_elsewhere_it_is_no_argument(self) -> None:
        for command in (b"LIST ~{0+}\r\n *", b"SELECT ~{5+}\r\nINBOX", b"APPEND ~{3+}\r\nabc"):
            (line,) = self.client.command(command)
            self.assertTrue(line.startswith(b"BAD "), (command, line))


class StoredTests(ServerTestCase):
    def test_there_and_back(self) -> None:
        client = self.make_server().login("SELECT INBOX")
        client.command(b"NOOP")
        message = b"Content-Transfer-Encoding: binary\r\n\r\n" + BINARY * 600
        answer = client.send(b"a APPEND INBOX ~{%d+}\r\n%b\r\n" % (len(message), message))
        self.assertIn(b"a OK [APPENDUID ", answer)
        lines = client.command(b"FETCH 1 (BINARY.PEEK[1] BINARY.SIZE[1])")
        self.assertEqual(
            values(lines[0]),
            {b"BINARY[1]": b"~" + BINARY * 600, b"BINARY.SIZE[1]": len(BINARY) * 600},
        )


class StoredSQLiteTests(StoredTests):
    sqlite = True


class CorpusTests(SynchronousTestCase):
    skip = corpus.MISSING

    def test_parts_equal_those_of_the_email_package(self) -> None:
        server = Server()
        compared = 0
        for name, data in corpus.messages():
            message = email.message_from_bytes(data, policy=email.policy.compat32)
            if message.defects or not data or len(data) > 200_000 or b"\0" in data:
                continue
            server.add(data)
            client = server.login("EXAMINE INBOX")
            for number, part in _leaves(message):
                encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
                if encoding not in ("base64", "quoted-printable"):
                    continue
                line, *_ = client.command(f"FETCH * BODY.PEEK[{number}]")
                raw = line.partition(b"\r\n")[2].removesuffix(b")")
                expected = part.get_payload(decode=True)
                if part.defects or _plain(raw) != _plain(
                    part.get_payload().encode("utf-8", "surrogateescape")
                ):
                    # Both do not agree on what the part is.
                    continue
                if _plain(bytes(expected)) == _plain(raw):
                    # The email package has not decoded it.
                    continue
                line, *_ = client.command(f"FETCH * BINARY.PEEK[{number}]")
                (found,) = values(line).values()
                compared += 1
                self.assertEqual(
                    _plain(found.removeprefix(b"~")), _plain(bytes(expected)), (name, number)
                )
        self.assertGreater(compared, 50)


def _plain(octets: bytes) -> bytes:
    """The email package reads lines in its own way, and keeps blanks at their ends."""
    lines = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"\n".join(line.rstrip(b" \t") for line in lines).rstrip(b"\n")


def _leaves(message: Message[str, str], prefix: str = "") -> list[tuple[str, Any]]:
    """Parts of multiparts with their numbers; what is inside of messages is left out."""
    if not message.is_multipart():
        return [(prefix or "1", message)]
    if message.get_content_maintype() != "multipart":
        return []
    found = []
    for number, part in enumerate(message.get_payload(), 1):
        found += _leaves(part, f"{prefix}.{number}" if prefix else str(number))  # type: ignore
    return found
