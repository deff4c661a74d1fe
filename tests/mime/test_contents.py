"""The Content- fields by short cuts are those that stand in the header."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit import mime
from mailkit.mime.contents import (
    content_fields,
    content_type,
    make_header,
    transfer_encoding,
)
from mailkit.mime.headers import MAX_HEADER_FIELDS
from mailkit.mime.lexical import (
    TOKEN,
    Parameters,
    parse_parameterized,
    parse_parameters,
    parse_token,
    strip_comments,
)
from mailkit.mime.structure import render_extension, render_parameters

steady = settings(deadline=None, max_examples=300, derandomize=True, database=None)

PIECES = [
    b"Content-Type:", b"content-TYPE :", b"Content-Type\r\n :", b" ", b"\t", b"\r\n", b"\n", b"\r\n\t", b"\n ",
    b"text/plain", b"Multipart/Mixed", b"text / html", b"; ", b";", b";;", b"charset=", b"boundary=", b"name*0=",
    b'"a b"', b'"a\\"b"', b'"', b"utf-8", b"=_b", b"(c)", b"\0", b"\x0b", b"\r", b"\xff", b"X: y\r\n",
    b"Content-ID: <a@b>\r\n", b"Content-Disposition: inline\r\n", b"Content-Type: text/plain; charset=utf-8\r\n",
    b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding:", b"content-transfer-encoding", b"x-uue",
    b'Content-Disposition: attachment;\r\n filename="a"\r\n', b"content-disposition: x; filename=", b"Content-Language: a\r\n",
    b'Content-Type: multipart/mixed;\r\n boundary="b"\r\n', b"Subject: Content-Type: a/b\r\n", b"Content-Type",
]  # fmt: skip
headers = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)
_TYPE = re.compile(rb"\s*(%b)\s*/\s*(%b)" % (TOKEN, TOKEN))


def read_plainly(header: mime.Header) -> tuple[bytes, bytes, Parameters] | None:
    """RFC 2045 section 5.1, without any short cut."""
    value = header.get(b"content-type")
    if value is None:
        return None
    value = strip_comments(value)
    found = _TYPE.match(value)
    if found is None:
        return b"text", b"plain", ()
    return found[1].lower(), found[2].lower(), parse_parameters(value, found.end())


class ContentTests(SynchronousTestCase):
    @given(headers)
    @steady
    def test_the_type_is_that_of_the_header(self, data: bytes) -> None:
        header = mime.parse_header(data)
        self.assertEqual(content_type(content_fields(header)), read_plainly(header))
        self.assertEqual(content_type(header.octets), read_plainly(header))

    @given(headers)
    @steady
    def test_the_transfer_encoding_is_that_of_the_header(self, data: bytes) -> None:
        header = mime.parse_header(data)
        value = header.get(b"content-transfer-encoding")
        expected = (value and parse_token(value)) or b"7bit"
        self.assertEqual(transfer_encoding(content_fields(header)), expected)

    @given(headers)
    @steady
    def test_the_disposition_is_that_of_the_header(self, data: bytes) -> None:
        header = mime.parse_header(data)
        value = header.get(b"content-disposition")
        found = parse_parameterized(value) if value else None
        expected = b"NIL"
        if found is not None:
            expected = b"(%b %b)" % (mime.imap_string(found[0]), render_parameters(found[1]))
        rendered = render_extension(content_fields(header))
        self.assertEqual(rendered[: len(expected) + 2], b" %b " % expected)

    @given(headers)
    @steady
    def test_no_field_is_lost(self, data: bytes) -> None:
        header = mime.parse_header(data)
        apart = make_header(content_fields(header))
        for name in (b"content-type", b"content-id", b"content-disposition"):
            self.assertEqual(apart.get_all(name), header.get_all(name))
            self.assertEqual(apart.get(name), header.get(name))

    def test_fields_behind_too_many_others_stay_ignored(self) -> None:
        data = b"X: y\r\n" * MAX_HEADER_FIELDS + b"Content-Type: image/png\r\n\r\n"
        part = mime.parse_message(data)
        self.assertEqual((part.type, part.subtype), (b"text", b"plain"))

    def test_a_structure_does_not_depend_on_what_was_read_before(self) -> None:
        head = b"Content-Type: text/plain\r\nContent-ID: <a@b>\r\n"
        for other in (b"", b"Content-MD5: x\r\n", b"Content-Location: y\r\n"):
            data = head + other + b"\r\nbody\r\n"
            root = mime.parse_message(data)
            body = mime.body_octets(data, root)
            extended = mime.bodystructure_octets(data, root)
            self.assertEqual(mime.body_from_bodystructure(extended), body)
            self.assertEqual(b'"x"' in extended, b"MD5" in other)
            self.assertEqual(b'"y"' in extended, b"Location" in other)
