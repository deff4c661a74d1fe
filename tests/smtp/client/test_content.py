"""The content of messages: what it needs, where it comes from, and conversion to 7 bits."""

from __future__ import annotations

import binascii
import email
import email.policy
import io
import quopri
import tempfile
from email.message import EmailMessage, Message
from typing import BinaryIO, cast

from twisted.trial.unittest import SynchronousTestCase

from mailkit.model import ConnectionInfo
from mailkit.smtp.client import Content, RecipientOutcome, make_envelope
from mailkit.smtp.client.commands import ContentNeeds, Unsendable
from mailkit.smtp.client.content import PIECE, Survey, message_octets, normalised
from mailkit.smtp.client.settings import BareLineEnds, ClientSettings
from mailkit.spool import Spool
from tests.smtp.client.converting import convert
from tests.smtp.client.fakes import MESSAGE, Server, make_session, open_session, run

HEADER = b"From: a@example.net\r\nMIME-Version: 1.0\r\n"


def survey(
    message: bytes, mode: BareLineEnds = "normalise", piece: int = 1000
) -> tuple[ContentNeeds, bool]:
    looking = Survey(mode)
    for start in range(0, len(message), piece):
        looking.feed(message[start : start + piece])
    return looking.finish()


class SurveyTests(SynchronousTestCase):
    """What a message needs."""

    def test_every_split_gives_the_same_needs(self) -> None:
        for message in (
            MESSAGE,
            b"Subject: a\r\n\r\nx\n.\ry\r\n\rz\r",
            b"Subject: \xc3\xbc\r\n\r\n\xff\r\n",
            b"\r\nbody \xff",
            b"a: b\r\nContent-Transfer-Encoding:\r\n binary\r\n\r\nx\n",
            b"",
        ):
            expected = survey(message)
            for piece in range(1, len(message)):
                self.assertEqual(survey(message, piece=piece), expected, (message, piece))

    def test_plain(self) -> None:
        self.assertEqual(survey(MESSAGE), (ContentNeeds(len(MESSAGE)), False))

    def test_eight_bit(self) -> None:
        self.assertEqual(survey(b"a: b\r\n\r\n\xff")[0], ContentNeeds(9, eight_bit=True))
        self.assertEqual(survey(b"a: \xff\r\n\r\nb")[0], ContentNeeds(9, eight_bit=True))
        utf8 = survey(b"a: \xc3\xbc\r\n\r\nb")[0]
        self.assertEqual(utf8, ContentNeeds(10, eight_bit=True, utf8_header=True))
        # A header that never ends.
        self.assertTrue(survey(b"a: \xc3\xbc\r\n")[0].utf8_header)

    def test_bare_line_ends(self) -> None:
        message = b"a: b\r\n\r\nx\ny\rz"
        self.assertEqual(survey(message), (ContentNeeds(len(message) + 2), True))
        self.assertEqual(survey(message, "keep"), (ContentNeeds(len(message), binary=True), False))
        self.assertRaises(Unsendable, survey, message, "refuse")
        self.assertEqual(survey(MESSAGE, "refuse")[1], False)

    def test_what_calls_itself_binary_is_not_corrected(self) -> None:
        message = b"Content-Transfer-Encoding: BINARY\r\n\r\nx\ny"
        self.assertEqual(survey(b"A: b\r\n" + message)[1], False)
        self.assertTrue(survey(b"A: b\r\n" + message)[0].binary)

    def test_nul(self) -> None:
        self.assertTrue(survey(b"a: b\r\n\r\n\0")[0].binary)

    def test_the_announced_size_is_that_of_the_corrected_octets(self) -> None:
        for message in (b"a\nb\r\r\nc\r", b"\n", b"\r", b"a\r\n\r\n"):
            for piece in (1, 2, 3, 100):
                pieces = [message[at : at + piece] for at in range(0, len(message), piece)]
                corrected = b"".join(normalised(iter(pieces)))
                self.assertEqual(survey(message)[0].size, len(corrected))
                self.assertNotIn(b"\n", corrected.replace(b"\r\n", b""))


class SourceTests(SynchronousTestCase):
    """Where a message may come from."""

    def check(self, content: Content, expected: bytes) -> None:
        # More than once: it is looked through, then sent.
        for _ in range(2):
            self.assertEqual(b"".join(content.pieces()), expected)

    def test_octets(self) -> None:
        self.check(Content(MESSAGE), MESSAGE)

    def test_a_spool_stays_open(self) -> None:
        spool = Spool(memory_limit=10)
        self.addCleanup(spool.close)
        spool.write(MESSAGE)
        spool.prepend(b"Received: x\r\n")
        self.check(Content(spool), b"Received: x\r\n" + MESSAGE)

    def test_a_file_from_where_it_stands(self) -> None:
        with tempfile.TemporaryFile() as file:
            file.write(b"mbox line\n" + MESSAGE)
            file.seek(10)
            self.check(Content(cast(BinaryIO, file)), MESSAGE)
            self.assertFalse(file.closed)

    def test_what_is_no_message(self) -> None:
        for source in ("Subject: a", None, 1):
            self.assertRaises(TypeError, Content, source)

    def test_large_ones_come_in_pieces(self) -> None:
        pieces = list(Content(io.BytesIO(b"x" * (3 * PIECE))).pieces())
        self.assertEqual([len(piece) for piece in pieces], [PIECE] * 3)

    def test_a_file_that_becomes_shorter(self) -> None:
        # The number of octets was announced already; the rest of the connection is in doubt.
        # One that is short is read in one go.
        file = io.BytesIO(MESSAGE + b"x" * 2 * PIECE)
        session, channel = make_session(Server("CHUNKING"))
        run(session.open())

        def cut(data: bytes) -> None:
            if data.startswith(b"RCPT"):
                file.truncate(100)

        channel.on_write = cut
        result = run(session.send(make_envelope("a@b.example", "c@d.example"), file))
        self.assertTrue(result.outcomes[0].temporary)
        self.assertTrue(channel.aborted)


class EmailTests(SynchronousTestCase):
    """Messages of the standard library."""

    def message(self, **fields: str) -> EmailMessage:
        message = EmailMessage()
        for name, value in {"From": "a@example.net", "Subject": "Grüße", **fields}.items():
            message[name] = value
        message.set_content("Wie geht's?\n.\nGrüße\n")
        return message

    def test_lines_end_with_crlf_and_the_header_is_ascii(self) -> None:
        octets = message_octets(self.message())
        self.assertEqual(octets.count(b"\n"), octets.count(b"\r\n"))
        self.assertTrue(octets.partition(b"\r\n\r\n")[0].isascii())

    def test_bcc_is_left_out_and_the_message_stays(self) -> None:
        message = self.message(Bcc="secret@example.org")
        self.assertNotIn(b"secret", message_octets(message))
        self.assertEqual(message["Bcc"], "secret@example.org")

    def test_an_address_that_needs_utf8(self) -> None:
        octets = message_octets(self.message(To="jürgen@example.org"))
        self.assertIn("To: jürgen@example.org".encode(), octets)

    def test_sent(self) -> None:
        server = Server("8BITMIME", "PIPELINING")
        result = run(
            open_session(server).send(
                make_envelope("a@example.net", "b@example.org"), self.message()
            )
        )
        self.assertTrue(result.accepted)
        back = email.message_from_bytes(server.messages[0], policy=email.policy.default)
        self.assertEqual(back["Subject"], "Grüße")
        self.assertEqual(back.get_content(), "Wie geht's?\r\n.\r\nGrüße\r\n")


def part(content_type: str, body: bytes, encoding: str = "8bit") -> bytes:
    header = f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return header.encode() + body


def multipart(subtype: str, *parts: bytes) -> bytes:
    header = f'Content-Type: multipart/{subtype}; boundary="b"\r\nContent-Transfer-Encoding: 8bit'
    inside = b"".join(b"--b\r\n" + each + b"\r\n" for each in parts)
    return header.encode() + b"\r\n\r\npreamble\r\n" + inside + b"--b--\r\nepilogue\r\n"


class ConversionTests(SynchronousTestCase):
    """RFC 6152 section 3: the same parts, in other octets."""

    def bodies(self, message: bytes) -> list[bytes]:
        parsed = email.message_from_bytes(message)
        return [
            cast(bytes, each.get_payload(decode=True))
            for each in parsed.walk()
            if not each.is_multipart()
        ]

    def check(self, message: bytes, keep_8bit: bool = False) -> bytes:
        converted = convert(message, keep_8bit)
        self.assertEqual(self.bodies(converted), self.bodies(message))
        self.assertNotIn(b"\0", converted)
        self.assertEqual(converted.count(b"\n"), converted.count(b"\r\n"))
        self.assertEqual(converted.count(b"\r"), converted.count(b"\r\n"))
        self.assertLess(max(map(len, converted.split(b"\r\n"))), 999)
        if not keep_8bit:
            self.assertTrue(converted.isascii())
        return converted

    def test_text(self) -> None:
        message = HEADER + part("text/plain; charset=utf-8", "Grüße\r\n= .\r\n".encode())
        converted = self.check(message)
        self.assertIn(b"Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC", converted)
        self.assertEqual(converted.count(b"Content-Transfer-Encoding"), 1)

    def test_long_and_many_lines(self) -> None:
        for body in ("ü" * 5000, "ü " * 5000, "Grüße aus Köln\r\n" * 9000, "x" * 70_000 + "ü"):
            self.check(HEADER + part("text/plain; charset=utf-8", body.encode()))

    def test_what_is_not_text(self) -> None:
        body = bytes(range(128, 256)) * 1000
        converted = self.check(HEADER + part("image/png", body))
        self.assertIn(b"Content-Transfer-Encoding: base64", converted)

    def test_parts(self) -> None:
        plain = part("text/plain", b"ascii only  \r\n", "7bit")
        text = part("text/html; charset=utf-8", "ü\r\n".encode())
        image = part("image/png", b"\x89PNG")
        message = HEADER + multipart("mixed", plain, text, image)
        converted = self.check(message)
        # What needs no change keeps its octets.
        self.assertIn(b"--b\r\n" + plain + b"\r\n--b\r\n", converted)
        self.assertIn(b"\r\n\r\npreamble\r\n", converted)
        self.assertTrue(converted.endswith(b"\r\n--b--\r\nepilogue\r\n"))
        self.assertNotIn(b"8bit", converted)

    def test_embedded_messages(self) -> None:
        inner = HEADER + part("text/plain; charset=utf-8", "ü\r\n".encode())
        message = HEADER + multipart("mixed", part("message/rfc822", inner))
        converted = self.check(message)
        self.assertIn(b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit", converted)

    def test_text_without_mime(self) -> None:
        converted = convert("From: a@example.net\r\n\r\nGrüße\r\n".encode())
        parsed = email.message_from_bytes(converted)
        self.assertEqual(parsed["MIME-Version"], "1.0")
        self.assertEqual(parsed.get_param("charset"), "unknown-8bit")
        self.assertEqual(parsed.get_payload(decode=True), "Grüße\r\n".encode())

    def test_binary_for_a_server_with_8bitmime(self) -> None:
        text = part("text/plain; charset=utf-8", "ü\r\n".encode())
        data = part("application/octet-stream", b"a\0b\rc\nd", "binary")
        converted = self.check(HEADER + multipart("mixed", text, data), keep_8bit=True)
        self.assertIn(text, converted)

    def test_a_cr_before_a_delimiter(self) -> None:
        data = part("application/octet-stream", b"abc\r", "binary")
        self.check(HEADER + multipart("mixed", data))

    def test_signed_parts_are_left_alone(self) -> None:
        text = part("text/plain; charset=utf-8", "ü\r\n".encode())
        for subtype in ("signed", "encrypted"):
            inner = multipart(subtype, text, part("application/pgp-signature", b"x", "7bit"))
            for message in (HEADER + inner, HEADER + multipart("mixed", inner)):
                with self.assertRaises(Unsendable) as caught:
                    convert(message)
                self.assertEqual(caught.exception.enhanced, "5.6.3")
        ascii_only = multipart("signed", part("text/plain", b"a\r\n", "7bit"))
        image = part("image/png", b"\x89PNG")
        self.assertIn(ascii_only, convert(HEADER + multipart("mixed", ascii_only, image)))

    def test_what_cannot_be_converted(self) -> None:
        utf8 = "ü\r\n".encode()
        for message, enhanced in (
            (HEADER + part("message/delivery-status", utf8), "5.6.3"),
            (HEADER + part("multipart/mixed", utf8), "5.6.3"),
            (HEADER + multipart("mixed", b"Subject: " + utf8 + b"\r\nx"), "5.6.9"),
            (b"Subject: " + utf8 + b"\r\n" + utf8, "5.6.9"),
            (HEADER + multipart("mixed", b"a: b\r\n\r\nx").replace(b"preamble", utf8), "5.6.3"),
        ):
            with self.assertRaises(Unsendable) as caught:
                convert(message)
            self.assertEqual(caught.exception.enhanced, enhanced, message)

    def test_messages_in_utf_8_are_encoded_as_a_whole(self) -> None:
        # RFC 6532 section 3.7, RFC 6533 section 6.
        text = part("text/plain; charset=utf-8", "ü\r\n".encode())
        signed = "From: ü@example.net\r\n".encode() + multipart("signed", text, text)
        status = "Final-Recipient: utf-8; ü@example.net\r\n".encode()
        for kind, octets, encoding in (
            ("global", signed.replace(b'"b"', b"inner").replace(b"--b", b"--inner"), "quoted"),
            ("global-delivery-status", status, "quoted"),
            ("global-headers", b"Subject: \xc3\xbc\0\r\n", "base64"),
        ):
            message = HEADER + multipart("mixed", text, part(f"message/{kind}", octets))
            converted = convert(message)
            self.assertTrue(converted.isascii())
            header, body = converted.split(f"message/{kind}\r\n".encode())[1].split(b"\r\n\r\n", 1)
            self.assertIn(b"Content-Transfer-Encoding: " + encoding.encode(), header)
            decode = binascii.a2b_base64 if encoding == "base64" else quopri.decodestring
            self.assertEqual(decode(body.split(b"--b--")[0]).rstrip(), octets.rstrip())

    def report(self, message: bytes) -> bytes:
        status = part("message/delivery-status", b"Reporting-MTA: dns; a.example\r\n", "7bit")
        text = part("text/plain; charset=utf-8", "Grüße\r\n".encode())
        return HEADER + multipart("report", text, status, part("message/rfc822", message))

    def test_a_report_returns_the_header_of_what_cannot_be_converted(self) -> None:
        # RFC 6522 section 3
        text = part("text/plain; charset=utf-8", "ü\r\n".encode())
        signed = HEADER + multipart("signed", text, text).replace(b"--b", b"--i")
        for message, header, encoding in (
            (signed.replace(b'"b"', b'"i"'), HEADER, "7bit"),
            ("Subject: ü\r\n\r\nü\r\n".encode(), b"Subject: =C3=BC\r\n", "quoted-printable"),
            ("Subject: ü".encode(), b"Subject: =C3=BC\r\n", "quoted-printable"),
        ):
            report = self.report(message)
            self.assertRaises(Unsendable, convert, report)
            converted = convert(report, may_shorten=True)
            self.assertTrue(converted.isascii())
            parsed = email.message_from_bytes(converted)
            _, status, returned = cast("list[Message]", parsed.get_payload())
            self.assertEqual(status.get_content_type(), "message/delivery-status")
            self.assertEqual(returned.get_content_type(), "text/rfc822-headers")
            self.assertEqual(returned["Content-Transfer-Encoding"], encoding)
            self.assertIn(header, converted)
            self.assertNotIn(b"signed\r\n\r\n", converted)
            self.assertTrue(converted.endswith(b"\r\n--b--\r\nepilogue\r\n"))

    def test_a_report_that_is_shortened_loses_its_signature(self) -> None:
        signature = b"DKIM-Signature: v=1; d=example.org;\r\n\tbh=x; b=y\r\n"
        # The one within stays.
        for inner, subject in ((b"", "ü"), (signature, "u")):
            text = part("text/plain; charset=utf-8", "ü\r\n".encode())
            signed = multipart("signed", text, text).replace(b'"b"', b'"i"').replace(b"--b", b"--i")
            message = inner + f"Subject: {subject}\r\n".encode() + HEADER + signed
            report = self.report(message)
            converted = convert(signature + report, may_shorten=True)
            self.assertEqual(converted.count(signature), len(inner) and 1)
            self.assertEqual(converted, convert(report, may_shorten=True))

    def test_a_report_returns_whole_what_can_be_converted(self) -> None:
        inner = HEADER + part("text/plain; charset=utf-8", "ü\r\n".encode())
        converted = convert(self.report(inner), may_shorten=True)
        self.assertEqual(converted, self.check(self.report(inner)))
        self.assertIn(b"message/rfc822", converted)

    def test_only_a_report_is_shortened(self) -> None:
        text = part("text/plain; charset=utf-8", "ü\r\n".encode())
        inner = multipart("signed", text, text)
        inner = inner.replace(b'"b"', b'"i"').replace(b"--b", b"--i")
        signed = HEADER + inner
        for message in (
            signed,
            HEADER + multipart("mixed", part("message/rfc822", signed)),
            HEADER + multipart("report", text, text, inner),
            HEADER + multipart("report").replace(b"preamble", b"\xff"),
        ):
            with self.assertRaises(Unsendable):
                convert(message, may_shorten=True)

    def test_a_report_that_is_sent(self) -> None:
        report = self.report("Subject: ü\r\n\r\n".encode())
        server = Server("SIZE")
        session = open_session(server)
        envelope = make_envelope("", "c@d.example")
        result = run(session.send(envelope, report))
        self.assertEqual(result.outcomes[0].enhanced, "5.6.9")
        envelope.connection = ConnectionInfo("report")
        self.assertTrue(run(session.send(envelope, report)).accepted)
        self.assertEqual(server.messages, [convert(report, may_shorten=True)])

    def test_any_octets(self) -> None:
        for piece in (b"\0", b"\xff", b"--b", b"\r", b"\n", b": ", b"\r\n\r\n"):
            for at in range(0, 120, 7):
                message = HEADER + multipart("mixed", part("text/plain", b"\xc3\xbc"))
                try:
                    converted = convert(message[:at] + piece + message[at:])
                except Unsendable:
                    continue
                self.assertTrue(converted.isascii())

    def test_sent(self) -> None:
        message = HEADER + part("text/plain; charset=utf-8", "Grüße\r\n".encode())
        server = Server("SIZE")
        result = run(
            open_session(server).send(make_envelope("a@b.example", "c@d.example"), message)
        )
        self.assertTrue(result.accepted and result.converted)
        self.assertEqual(server.messages, [convert(message)])
        self.assertIn(f"SIZE={len(server.messages[0])}", server.commands[0])
        self.assertEqual(result.size, len(server.messages[0]))

    def test_sent_from_a_large_file(self) -> None:
        body = "Grüße aus Köln\n" * 40_000
        source = HEADER.replace(b"\r", b"") + part("text/plain", body.encode()).replace(b"\r", b"")
        server = Server("SIZE")
        session, channel = make_session(server)
        run(session.open())
        result = run(session.send(make_envelope("a@b.example", "c@d.example"), io.BytesIO(source)))
        self.assertTrue(result.accepted and result.converted)
        self.assertGreater(channel.turns, 0)
        (sent,) = self.bodies(server.messages[0])
        self.assertEqual(sent, body.replace("\n", "\r\n").encode())

    def test_a_failure_is_an_outcome_and_nothing_is_sent(self) -> None:
        text = part("text/plain; charset=utf-8", "ü\r\n".encode())
        message = HEADER + multipart("signed", text, text)
        server = Server("SIZE")
        session = open_session(server)
        result = run(session.send(make_envelope("a@b.example", "c@d.example"), message))
        outcome: RecipientOutcome = result.outcomes[0]
        self.assertEqual((outcome.enhanced, outcome.permanent), ("5.6.3", True))
        self.assertEqual(server.commands, [])
        self.assertFalse(session.closed)


class LineEndTests(SynchronousTestCase):
    """A CR or LF that stands alone, by setting."""

    def send(self, mode: BareLineEnds, *keywords: str) -> tuple[str, list[bytes]]:
        server = Server(*keywords)
        session = open_session(server, ClientSettings(helo="c.example", bare_line_ends=mode))
        message = b"Subject: a\r\n\r\nx\n.\ny\r"
        result = run(session.send(make_envelope("a@b.example", "c@d.example"), message))
        return result.outcomes[0].enhanced, server.messages

    def test_normalise(self) -> None:
        corrected = b"Subject: a\r\n\r\nx\r\n.\r\ny\r\n"
        for keywords in ((), ("CHUNKING",), ("CHUNKING", "BINARYMIME")):
            self.assertEqual(self.send("normalise", *keywords), ("2.6.0", [corrected]))

    def test_keep(self) -> None:
        message = b"Subject: a\r\n\r\nx\n.\ny\r"
        self.assertEqual(self.send("keep", "CHUNKING", "BINARYMIME"), ("2.6.0", [message]))
        code, (converted,) = self.send("keep", "CHUNKING")
        self.assertEqual(code, "2.6.0")
        parsed = email.message_from_bytes(converted)
        self.assertEqual(parsed.get_payload(decode=True), b"x\n.\ny\r")

    def test_refuse(self) -> None:
        self.assertEqual(self.send("refuse"), ("5.6.0", []))
