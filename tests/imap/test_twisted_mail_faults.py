"""What ``twisted.mail`` 26.10 gets wrong in IMAP, a test each."""

from __future__ import annotations

from twisted.cred.portal import Portal
from twisted.trial.unittest import SynchronousTestCase

from tests.imap.fakes import Slow
from tests.imap.support import USER, Server, split_responses


class FaultTests(SynchronousTestCase):
    def test_a_slow_select_is_answered_before_what_follows_and_decides_its_state(self) -> None:
        server = Server()
        server.add(b"Subject: x\r\n\r\n")
        slow = Slow(server.account)
        server.realm.account = slow
        client = server.login()
        slow.slow = True
        client.send(b'1 SELECT INBOX\r\n2 LIST "" INBOX\r\n3 FETCH 1 UID\r\n')
        self.assertEqual(client.take(), b"")
        slow.release_all()
        server.clock.advance(0)
        tagged = [line[:4] for line in split_responses(client.take()) if line[:1] != b"*"]
        self.assertEqual(tagged, [b"1 OK", b"2 OK", b"3 OK"])

    def test_an_escaped_quote_in_a_quoted_string(self) -> None:
        server = Server()
        checker = server.factory.portal.checkers.values()  # type: ignore[union-attr]
        next(iter(checker)).addUser(USER.encode(), b'pa"ss\\')
        (response,) = server.connect().command(rf'LOGIN {USER} "pa\"ss\\"')
        self.assertTrue(response.startswith(b"OK "), response)

    def test_a_non_synchronizing_literal(self) -> None:
        client = Server().connect()
        self.assertTrue(
            client.send(b"a LOGIN {15+}\r\nann@example.org {6+}\r\nsecret\r\n").startswith(b"a OK ")
        )

    def test_a_literal_is_never_read_as_a_command(self) -> None:
        client = Server().connect()
        data = client.send(b"a LOGIN {8+}\r\nx NOOP\r\n {1+}\r\ny z\r\n")
        self.assertNotIn(b"x OK", data)
        self.assertTrue(data.startswith(b"a BAD "))
        data = client.send(b"b FOO {8+}\r\nx NOOP\r\n\r\nc NOOP\r\n")
        self.assertEqual(data, b"b BAD There is no such command\r\nc OK NOOP completed\r\n")

    def test_del_is_no_atom_character(self) -> None:
        client = Server().login()
        self.assertTrue(client.command("SELECT IN\x7fBOX")[0].startswith(b"BAD "))

    def test_namespace_names_each_list_once(self) -> None:
        self.assertEqual(
            Server().login().command("NAMESPACE"),
            [
                b'* NAMESPACE (("" "/")) (("Other Users/" "/")) (("Shared/" "/"))',
                b"OK NAMESPACE completed",
            ],
        )

    def test_messages_are_not_kept_in_memory(self) -> None:
        server = Server()
        client = server.login()
        client.send(b"a APPEND INBOX {10000000}\r\n")
        for _ in range(100):
            client.send(b"x" * 99_999)
        pending = client.protocol.append
        assert pending is not None
        self.assertIsNotNone(pending.spool.path)
        self.assertLess(len(client.protocol.buffer), 100_000)
        self.assertIn(b"a OK", client.send(b"x" * 100 + b"\r\n"))
        client.command("SELECT INBOX")
        client.transport.limit = 1000
        self.assertLess(len(client.send(b"b FETCH 1 BODY[]\r\n")), 200_000)

    def test_nothing_the_client_sends_names_a_method(self) -> None:
        client = Server().connect()
        for name in ("__init__", "connectionLost", "do_LOGIN", "unauth_LOGIN"):
            self.assertEqual(client.command(name), [b"BAD There is no such command"])

    def test_the_authorization_identity_counts(self) -> None:
        server = Server()
        self.assertIsInstance(server.factory.portal, Portal)
        client = server.connect()
        said = client.send(b"a AUTHENTICATE PLAIN Ym9iAGFubkBleGFtcGxlLm9yZwBzZWNyZXQ=\r\n")
        self.assertTrue(said.startswith(b"a NO [AUTHORIZATIONFAILED] "))
