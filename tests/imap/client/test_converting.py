"""Parts in another form (RFC 5259): with our own server, and with what others may say."""

from __future__ import annotations

from dataclasses import replace

from mailkit.imap.client import (
    Conversion,
    ConversionFailed,
    NotOffered,
    Numbers,
    ProtocolError,
    Refused,
    ResponseLimits,
    ResponseTooLarge,
    WrongState,
)
from mailkit.imap.client.reader import Response, ResponseReader
from mailkit.imap.client.responses import Typed, parse_response
from mailkit.imap.client.values import Converted
from mailkit.imap.conversion import TYPES
from tests.imap.client.support import SETTINGS, ClientTestCase, Script, Wire, login
from tests.imap.support import Server

TEXT = (
    b"Subject: =?iso-8859-1?q?caf=E9?=\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9\r\n"
)
IMAGE = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORwAA\r\n"  #
UTF8 = {"charset": "utf-8"}
ALL_ITEMS = ("BINARY[1]", "BINARY.SIZE[1]", "BODYPARTSTRUCTURE[1]", "AVAILABLECONVERSIONS[1]")
CAPABLE = b"* OK [CAPABILITY IMAP4rev1 LITERAL+ CONVERT] hello\r\n"
LOGGED_IN = (b"*", b"TAG OK [CAPABILITY IMAP4rev1 LITERAL+ CONVERT] in\r\n")
SELECTED = (b"SELECT INBOX", b"* 3 EXISTS\r\nTAG OK x\r\n")


class OurServerTests(ClientTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.add(TEXT, IMAGE, TEXT)
        self.client = login(self.server)
        self.session = self.client.session
        self.run_it(self.session.select("INBOX"))

    def test_all_items(self) -> None:
        (found,) = self.run_it(self.session.convert(3, "text/plain", ALL_ITEMS, UTF8))
        self.assertEqual((found.number, found.uid, found.failures), (3, 3, {}))
        content = found.content("1")
        assert content is not None
        self.assertEqual(content.octets(), "café\r\n".encode())
        self.assertEqual(found.sizes, {"BINARY.SIZE[1]": 7})
        structure = found.structures["BODYPARTSTRUCTURE[1]"]
        self.assertEqual((structure.parameters["charset"], structure.size), (b"utf-8", 7))
        self.assertEqual(found.others, {"AVAILABLECONVERSIONS[1]": b'(("text/plain"))'})
        found.close()

    def test_a_header(self) -> None:
        (found,) = self.run_it(self.session.convert(1, None, "BODY[HEADER]", UTF8))
        content = found.content("HEADER")
        assert content is not None
        self.assertIn(b"Subject: =?utf-8?Q?caf=C3=A9?=\r\n", content.octets())

    def test_what_cannot_be_converted(self) -> None:
        found = self.run_it(self.session.convert("1:*", "text/plain", "BINARY[1]", UTF8))
        self.assertEqual([each.uid for each in found], [1, 2, 3])
        self.assertIsNone(found[1].content("1"))
        failure = found[1].failures["BINARY[1]"]
        self.assertEqual((failure.code, bool(failure.text)), ("BADPARAMETERS", True))
        # All of them: the server answers NO, and tells why.
        call = self.session.convert(Numbers("1"), "text/plain", "BINARY[1]", {"charset": "x-odd"})
        (found_one,) = self.run_it(call)
        self.assertEqual(list(found_one.failures), ["BINARY[1]"])
        self.assertIsNone(found_one.uid)

    def test_refusals(self) -> None:
        self.fails(Refused, self.session.convert(1, "image/jpeg", "BINARY[1]"))
        for items in ("BODY[1]", "FLAGS", "BINARY[HEADER]", "BINARY[1]\r\nx", ()):
            self.fails(ValueError, self.session.convert(1, "text/plain", items))
        self.assertEqual(self.run_it(self.session.convert(99, "text/plain", "BINARY[1]")), [])
        self.session._connection.facts.announced -= {"CONVERT"}
        self.fails(NotOffered, self.session.convert(1, "text/plain", "BINARY[1]"))
        self.fails(NotOffered, self.session.conversions())
        self.run_it(self.session.unselect())
        self.fails(WrongState, self.session.convert(1, "text/plain", "BINARY[1]"))

    def test_conversions(self) -> None:
        found = self.run_it(self.session.conversions())
        self.assertEqual({each.source for each in found}, set(TYPES))
        (one,) = self.run_it(self.session.conversions("text/html", "text/*"))
        self.assertEqual((one.source, one.target), ("text/html", "text/html"))
        self.assertIn("charset", one.parameters)
        self.assertEqual(self.run_it(self.session.conversions("image/png", "*")), [])


class ScriptedTests(ClientTestCase):
    def start(self, command: bytes, answer: bytes, **limits: int) -> None:
        script = Script(LOGGED_IN, SELECTED, (command, answer), greeting=CAPABLE)
        settings = replace(SETTINGS, limits=ResponseLimits(**limits))
        self.client = Wire(script, settings=settings)
        self.client.run(self.client.session.open())
        self.client.run(self.client.session.select("INBOX"))

    def test_an_answer_for_somebody_else(self) -> None:
        self.start(
            b"UID CONVERT 1:2 (NIL) BINARY[1]",
            b'* 1 CONVERTED (Tag "other") (UID 1 BINARY[1] "no")\r\n'
            b'* 2 CONVERTED (Tag "TAG") (UID 2 BINARY[1]<5> ~{3}\r\na\0b)\r\nTAG OK x\r\n',
        )
        call = self.client.session.convert("1:2", None, "BINARY[1]")
        (found,) = self.run_it(call)
        content = found.content("1")
        assert content is not None
        self.assertEqual((found.uid, content.octets()), (2, b"a\0b"))

    def test_too_large(self) -> None:
        """It is passed over, and the connection can be used."""
        self.start(
            b'UID CONVERT 2 ("text/plain" ("charset" "utf-8")) BINARY[1]',
            b'* 2 CONVERTED (Tag "TAG") (UID 2 BINARY[1] {30}\r\n%b)\r\nTAG OK x\r\n' % (b"x" * 30),
            content=20,
        )
        call = self.client.session.convert(2, "text/plain", "BINARY[1]", UTF8)
        self.fails(ResponseTooLarge, call)
        self.assertFalse(self.client.session.closed)


class ReadingTests(ClientTestCase):
    def read(self, octets: bytes) -> Typed:
        reader = ResponseReader()
        reader.feed(octets + b"\r\n")
        while (response := reader.read()) is None:
            pass
        return parse_response(response)

    def test_errors(self) -> None:
        for code, rest in (
            ("TEMPFAIL", b""),
            ("BADPARAMETERS", b' "text/html" NIL ("charset" "x")'),
            ("MISSINGPARAMETERS", b' "text/html" "text/plain" ("charset")'),
        ):
            line = b'* 2 CONVERTED (TAG "b") (BINARY[3] (error "No." %b%b))' % (code.encode(), rest)
            found = self.read(line)
            assert isinstance(found, Converted)
            self.assertEqual(found.failures, {"BINARY[3]": ConversionFailed("No.", code)})

    def test_conversions(self) -> None:
        for line, parameters in (
            (b'* CONVERSION "image/GIF" "image/jpeg"', ()),
            (b'* CONVERSION "image/gif" "image/jpeg" ("PIX-X" "pix-y")', ("pix-x", "pix-y")),
        ):
            self.assertEqual(self.read(line), Conversion("image/gif", "image/jpeg", parameters))

    def test_what_cannot_be_read(self) -> None:
        for line in (
            b'2 CONVERTED (BINARY[1] "x")',
            b'2 CONVERTED (TAG "a")',
            b'2 CONVERTED (TAG "a") (BINARY[1])',
            b'2 CONVERTED (TAG "a") (BINARY[1] (ERROR "x" TEMPFAIL)',
            b'2 CONVERTED (TAG "a") (BINARY.SIZE[1] "x")',
            b'CONVERSION "a/b"',
        ):
            with self.assertRaises(ProtocolError, msg=line):
                parse_response(Response(b"* " + line, {}))
