"""PLAIN and LOGIN."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.sasl import MECHANISMS, choose_mechanisms
from mailkit.sasl.plain import LoginServer, PlainServer
from mailkit.wire.sasl import SASLContext, SASLError, Success

CONTEXT = SASLContext()


def login(step: Any) -> tuple[str, str, bytes]:
    """Authorization identity, user name and password that a mechanism has come to."""
    assert isinstance(step, Success)
    credentials = step.credentials
    assert step.username.encode() == credentials.username
    return step.authorization_id, step.username, credentials.password


class PlainTests(SynchronousTestCase):
    def test_initial_response(self) -> None:
        found = login(PlainServer(CONTEXT).step(b"\0tim\0tanstaaf tanstaaf"))
        self.assertEqual(found, ("", "tim", b"tanstaaf tanstaaf"))

    def test_without_initial_response(self) -> None:
        server = PlainServer(CONTEXT)
        self.assertEqual(server.step(None), b"")
        self.assertEqual(login(server.step(b"\0tim\0secret")), ("", "tim", b"secret"))

    def test_authorization_identity_is_kept(self) -> None:
        # RFC 4616 section 4
        found = login(PlainServer(CONTEXT).step(b"Ursel\0Kurt\0xipj3plmq"))
        self.assertEqual(found, ("Ursel", "Kurt", b"xipj3plmq"))

    def test_any_octets_are_a_password_but_names_are_utf8(self) -> None:
        found = login(PlainServer(CONTEXT).step("\0jürgen\0".encode() + b"\xff\xfe"))
        self.assertEqual(found, ("", "jürgen", b"\xff\xfe"))
        for response in (b"\0\xff\0x", b"\xff\0a\0x"):
            self.assertRaises(SASLError, PlainServer(CONTEXT).step, response)

    def test_what_is_no_plain_response(self) -> None:
        for response in (b"", b"tim", b"\0tim", b"\0tim\0", b"\0\0pw", b"\0tim\0pw\0", b"\0\0"):
            self.assertRaises(SASLError, PlainServer(CONTEXT).step, response)


class LoginTests(SynchronousTestCase):
    def test_steps(self) -> None:
        server = LoginServer(CONTEXT)
        self.assertEqual(server.step(None), b"Username:")
        self.assertEqual(server.step(b"tim"), b"Password:")
        self.assertEqual(login(server.step(b"secret")), ("", "tim", b"secret"))

    def test_user_name_as_initial_response(self) -> None:
        server = LoginServer(CONTEXT)
        self.assertEqual(server.step(b"tim"), b"Password:")
        self.assertEqual(login(server.step(b"secret")), ("", "tim", b"secret"))

    def test_nothing_given(self) -> None:
        for username, password in ((b"", b"x"), (b"tim", b""), (b"", b""), (b"\xff", b"x")):
            server = LoginServer(CONTEXT)
            server.step(None)
            self.assertEqual(server.step(username), b"Password:")
            self.assertRaises(SASLError, server.step, password)


class MechanismTests(SynchronousTestCase):
    def test_table(self) -> None:
        for name, mechanism in MECHANISMS.items():
            self.assertEqual(mechanism(CONTEXT).name, name)
            self.assertIsNotNone(mechanism.credentials)
        self.assertTrue(PlainServer.plaintext and LoginServer.plaintext)

    def test_choice(self) -> None:
        self.assertEqual(choose_mechanisms(None), tuple(MECHANISMS.values())[:-1])
        self.assertEqual(choose_mechanisms(["login", PlainServer]), (LoginServer, PlainServer))
        error = self.assertRaises(ValueError, choose_mechanisms, ["KERBEROS_V4"])
        self.assertIn("KERBEROS_V4", str(error))
