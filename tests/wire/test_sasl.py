"""What all mechanisms share: base64 and names."""

import base64

from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire.sasl import (
    MAX_RESPONSE,
    SASLError,
    decode_base64,
    decode_name,
    encode_base64,
)


class Base64Tests(SynchronousTestCase):
    def test_decode(self) -> None:
        self.assertEqual(decode_base64(b"AHRpbQBzZWNyZXQ="), b"\0tim\0secret")
        self.assertEqual(decode_base64(b""), b"")

    def test_equals_sign_is_the_empty_response(self) -> None:
        # RFC 4954 section 4
        self.assertEqual(decode_base64(b"="), b"")

    def test_all_octets(self) -> None:
        data = bytes(range(256))
        self.assertEqual(decode_base64(encode_base64(data)), data)

    def test_what_is_not_base64(self) -> None:
        for line in (
            b"A",
            b"AB",
            b"ABC",
            b"A===",
            b"====",
            b"==",
            b"AA=A",
            b"AA==AAAA",
            b"AAA\n",
            b"AA A",
            b"AAA*",
            b"AAA-",
            b"AAA_",
            b"AA\xff=",
            b"AAA=\0\0\0\0",
        ):
            self.assertRaises(SASLError, decode_base64, line)

    def test_length_is_limited(self) -> None:
        self.assertEqual(len(decode_base64(base64.b64encode(b"x" * MAX_RESPONSE))), MAX_RESPONSE)
        self.assertRaises(SASLError, decode_base64, base64.b64encode(b"x" * (MAX_RESPONSE + 10)))


class NameTests(SynchronousTestCase):
    def test_names_are_utf8(self) -> None:
        self.assertEqual(decode_name("jürgen".encode()), "jürgen")
        self.assertRaises(SASLError, decode_name, b"\xff")
