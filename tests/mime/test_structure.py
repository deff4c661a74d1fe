"""BODY and BODYSTRUCTURE values (RFC 3501 section 7.4.2)."""

from __future__ import annotations

import mmap
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime.parts import Limits, parse_message
from mailkit.mime.structure import body_from_bodystructure, body_octets, bodystructure_octets
from tests.mime.imap_grammar import Body, read_body

EMPTY = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0'


class StructureCase(SynchronousTestCase):
    def body(self, data: bytes) -> bytes:
        root = parse_message(data)
        octets = body_octets(data, root)
        read_body(octets, extended=False)
        return octets

    def structure(self, data: bytes) -> bytes:
        root = parse_message(data)
        octets = bodystructure_octets(data, root)
        read_body(octets, extended=True)
        self.assertEqual(body_from_bodystructure(octets), body_octets(data, root))
        return octets


class SinglePartTests(StructureCase):
    def test_text_of_rfc_3501(self) -> None:
        line = b"x" * 46 + b"\r\n"
        data = (
            b"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n" + line * 47 + b"x" * 21 + b"\r\n"
        )
        # RFC 3501 section 7.4.2 has the types in capitals; they are case-insensitive.
        self.assertEqual(
            self.body(data), b'("text" "plain" ("CHARSET" "US-ASCII") NIL NIL "7bit" 2279 48)'
        )

    def test_defaults(self) -> None:
        self.assertEqual(self.body(b""), EMPTY + b")")
        self.assertEqual(self.structure(b""), EMPTY + b" NIL NIL NIL NIL)")
        self.assertEqual(
            self.body(b"Subject: x\r\n\r\na\r\nb"),
            b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 4 1)',
        )

    def test_charset_joins_other_parameters(self) -> None:
        self.assertEqual(
            self.body(b"Content-Type: text/plain; format=flowed\r\n\r\n"),
            b'("text" "plain" ("format" "flowed" "charset" "us-ascii") NIL NIL "7bit" 0 0)',
        )
        self.assertEqual(
            self.body(b"Content-Type: text/plain; charset*=''utf-8\r\n\r\n"),
            b'("text" "plain" ("charset*" "\'\'utf-8") NIL NIL "7bit" 0 0)',
        )

    def test_all_fields(self) -> None:
        data = (
            b'Content-Type: application/pdf; name="a \\"b\\".pdf"\r\n'
            b"Content-Transfer-Encoding: base64\r\n"
            b"Content-ID: <1@x>\r\nContent-Description: d\r\n"
            b"Content-Disposition: attachment; filename=a.pdf\r\n"
            b"Content-Language: de, en\r\nContent-Location: http://x/\r\nContent-MD5: m\r\n\r\nQUJD"
        )
        self.assertEqual(
            self.structure(data),
            b'("application" "pdf" ("name" "a \\"b\\".pdf") "<1@x>" "d" "base64" 4 "m"'
            b' ("attachment" ("filename" "a.pdf")) ("de" "en") "http://x/")',
        )
        self.assertEqual(
            self.body(data),
            b'("application" "pdf" ("name" "a \\"b\\".pdf") "<1@x>" "d" "base64" 4)',
        )

    def test_disposition_without_parameters(self) -> None:
        octets = self.structure(b"Content-Disposition: inline\r\n\r\n")
        self.assertTrue(octets.endswith(b' NIL ("inline" NIL) NIL NIL)'))

    def test_continued_parameters_are_joined(self) -> None:
        # RFC 2231 section 6
        data = b"Content-Type: image/gif; name*0*=utf-8''%C3; name*1*=%A4; name*2=.gif\r\n\r\n"
        self.assertEqual(
            self.body(data), b'("image" "gif" ("name*" "utf-8\'\'%C3%A4.gif") NIL NIL "7bit" 0)'
        )

    def test_strings_that_cannot_be_quoted(self) -> None:
        data = (
            b'Content-Type: image/\xff; \xfe="\xfd"\r\nContent-ID: \0\xfc\r\n'
            b"Content-Transfer-Encoding: \xfb\r\nContent-Disposition: \xfa; a=\xf9\r\n"
            b"Content-Language: \xf8\r\nContent-Location: \xf7\r\nContent-MD5: \xf6\r\n\r\n"
        )
        found = read_body(self.structure(data), extended=True)
        self.assertEqual(
            found,
            Body(
                b"image",
                b"\xff",
                [b"\xfe", b"\xfd"],
                b"\xfc",
                None,
                b"\xfb",
                0,
                extension=(b"\xf6", (b"\xfa", [b"a", b"\xf9"]), [b"\xf8"], b"\xf7"),
            ),
        )


class MultipartTests(StructureCase):
    def test_example_of_rfc_3501(self) -> None:
        data = (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
            b"--b\r\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n"
            + b"x" * 48
            + b"\r\n" * 23
            + b'\r\n--b\r\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII; NAME="cc.diff"\r\n'
            b"Content-ID: <960723163407.20117h@cac.washington.edu>\r\n"
            b"Content-Description: Compiler diff\r\nContent-Transfer-Encoding: BASE64\r\n\r\n"
            + b"x" * 10
            + b"\r\n" * 73
            + b"\r\n--b--\r\n"
        )
        self.assertEqual(
            self.body(data),
            b'(("text" "plain" ("CHARSET" "US-ASCII") NIL NIL "7bit" 94 23)'
            b'("text" "plain" ("CHARSET" "US-ASCII" "NAME" "cc.diff")'
            b' "<960723163407.20117h@cac.washington.edu>" "Compiler diff" "BASE64" 156 73) "mixed")',
        )

    def test_extension_data(self) -> None:
        data = (
            b"Content-Type: multipart/mixed; boundary=b; x=y\r\nContent-Disposition: inline; a=1\r\n"
            b"Content-Language: de\r\nContent-Location: loc\r\n\r\n--b\r\n\r\n--b--\r\n"
        )
        self.assertEqual(
            self.structure(data),
            b"(" + EMPTY + b' NIL NIL NIL NIL) "mixed" ("boundary" "b" "x" "y")'
            b' ("inline" ("a" "1")) ("de") "loc")',
        )

    def test_multipart_without_parts_shows_an_empty_one(self) -> None:
        data = b"Content-Type: multipart/mixed\r\n\r\nlost"
        self.assertEqual(self.body(data), b"(" + EMPTY + b') "mixed")')
        self.assertEqual(
            self.structure(data), b"(" + EMPTY + b' NIL NIL NIL NIL) "mixed" NIL NIL NIL NIL)'
        )

    def test_nested(self) -> None:
        data = (
            b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n"
            b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n--b--\r\n--a--\r\n"
        )
        self.assertEqual(self.body(data), b"((" + EMPTY + b') "alternative") "mixed")')


class MessageTests(StructureCase):
    DATA = (
        b"Content-Type: message/rfc822; x=y\r\n\r\n"
        b"Subject: inner\r\nFrom: a@x\r\n\r\nbody\r\nlines\r\n"
    )

    def test_message(self) -> None:
        author = b'((NIL NIL "a" "x"))'
        self.assertEqual(
            self.body(self.DATA),
            b'("message" "rfc822" ("x" "y") NIL NIL "7bit" 42 (NIL "inner" '
            + b" ".join([author] * 3)
            + b" NIL NIL NIL NIL NIL)"
            + b' ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 13 2) 5)',
        )
        found = read_body(self.structure(self.DATA), extended=True)
        self.assertEqual(found.lines, 5)
        self.assertEqual(found.extension, (None, None, None, None))

    def test_global_message_has_no_syntax_in_rev1(self) -> None:
        data = self.DATA.replace(b"rfc822", b"global")
        self.assertEqual(self.body(data), b'("message" "global" ("x" "y") NIL NIL "7bit" 42)')
        self.structure(data)
        root = parse_message(data)
        for octets, extended in (
            (body_octets(data, root, rev2=True), False),
            (bodystructure_octets(data, root, rev2=True), True),
        ):
            found = read_body(octets, extended=extended, rev2=True)
            assert found.envelope is not None
            self.assertEqual(found.envelope[1], b"inner")

    def test_opaque_message(self) -> None:
        root = parse_message(self.DATA, limits=Limits(depth=0))
        self.assertEqual(
            body_octets(self.DATA, root),
            b'("application" "octet-stream" ("x" "y") NIL NIL "7bit" 42)',
        )

    def test_deep_nesting(self) -> None:
        data = b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i)
            for i in range(1500)
        )
        root = parse_message(data, limits=Limits(depth=1500))
        octets = bodystructure_octets(data, root)
        self.assertTrue(octets.startswith(b"(" * 1500))
        self.assertEqual(body_from_bodystructure(octets), body_octets(data, root))

    def test_memory_map(self) -> None:
        with tempfile.TemporaryFile() as file:
            file.write(self.DATA)
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                octets = bodystructure_octets(mapped, parse_message(mapped))
        self.assertEqual(octets, self.structure(self.DATA))


class BodyFromBodystructureTests(SynchronousTestCase):
    def test_other_octets_come_back(self) -> None:
        for octets in (b"", b"NIL", b"(", b")", b"(NIL NIL)", b'("a" "b"', b"{9}\r\nx"):
            self.assertEqual(body_from_bodystructure(octets), octets)
