"""SASL mechanisms and their base64."""

import base64

from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire.sasl import (
    MAX_RESPONSE,
    MECHANISMS,
    LoginServer,
    PlainServer,
    SASLError,
    SASLPassword,
    decode_base64,
    encode_base64,
)


class PlainTests(SynchronousTestCase):
    def test_initial_response(self) -> None:
        server = PlainServer()
        self.assertIsNone(server.step(b"\0tim\0tanstaaf tanstaaf"))
        self.assertEqual(server.result, SASLPassword("", "tim", b"tanstaaf tanstaaf"))

    def test_without_initial_response(self) -> None:
        server = PlainServer()
        self.assertEqual(server.step(None), b"")
        self.assertIsNone(server.result)
        self.assertIsNone(server.step(b"\0tim\0secret"))
        self.assertEqual(server.result, SASLPassword("", "tim", b"secret"))

    def test_authorization_identity_is_kept(self) -> None:
        # RFC 4616 section 4
        server = PlainServer()
        server.step(b"Ursel\0Kurt\0xipj3plmq")
        self.assertEqual(server.result, SASLPassword("Ursel", "Kurt", b"xipj3plmq"))

    def test_identity_of_somebody_else(self) -> None:
        self.assertTrue(SASLPassword("Ursel", "Kurt", b"x").wants_other_identity)
        self.assertFalse(SASLPassword("Kurt", "Kurt", b"x").wants_other_identity)
        self.assertFalse(SASLPassword("", "Kurt", b"x").wants_other_identity)

    def test_any_octets_are_a_password_but_names_are_utf8(self) -> None:
        server = PlainServer()
        server.step("\0jürgen\0".encode() + b"\xff\xfe")
        self.assertEqual(server.result, SASLPassword("", "jürgen", b"\xff\xfe"))
        for response in (b"\0\xff\0x", b"\xff\0a\0x"):
            self.assertRaises(SASLError, PlainServer().step, response)

    def test_what_is_no_plain_response(self) -> None:
        for response in (b"", b"tim", b"\0tim", b"\0tim\0", b"\0\0pw", b"\0tim\0pw\0", b"\0\0"):
            server = PlainServer()
            self.assertRaises(SASLError, server.step, response)
            self.assertIsNone(server.result)


class LoginTests(SynchronousTestCase):
    def test_steps(self) -> None:
        server = LoginServer()
        self.assertEqual(server.step(None), b"Username:")
        self.assertEqual(server.step(b"tim"), b"Password:")
        self.assertIsNone(server.result)
        self.assertIsNone(server.step(b"secret"))
        self.assertEqual(server.result, SASLPassword("", "tim", b"secret"))

    def test_user_name_as_initial_response(self) -> None:
        server = LoginServer()
        self.assertEqual(server.step(b"tim"), b"Password:")
        self.assertIsNone(server.step(b"secret"))
        self.assertEqual(server.result, SASLPassword("", "tim", b"secret"))

    def test_nothing_given(self) -> None:
        for username, password in ((b"", b"x"), (b"tim", b""), (b"", b""), (b"\xff", b"x")):
            server = LoginServer()
            server.step(None)
            self.assertEqual(server.step(username), b"Password:")
            self.assertRaises(SASLError, server.step, password)
            self.assertIsNone(server.result)


class MechanismTests(SynchronousTestCase):
    def test_table(self) -> None:
        for name, make in MECHANISMS.items():
            self.assertEqual(make().name, name)
            self.assertTrue(make().plaintext)


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
