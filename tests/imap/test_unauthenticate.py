"""UNAUTHENTICATE (RFC 8437), LITERAL- (RFC 7888), and codes of refusals (RFC 5530)."""

from __future__ import annotations

import zlib
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit import errors
from mailkit.imap.replies import RESPONSE_CODES
from tests.imap.support import PASSWORD, USER, Server, ServerTestCase

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
LOGIN = f"LOGIN {USER} {PASSWORD.decode()}"


class UnauthenticateTests(ServerTestCase):
    def setUp(self) -> None:
        self.server = self.make_server()
        self.server.add(MESSAGE, flags="\\Deleted")
        self.client = self.server.login("ENABLE QRESYNC IMAP4rev2", "SELECT INBOX")

    def test_another_login(self) -> None:
        greeting = self.client.greeting
        self.assertEqual(self.client.command("UNAUTHENTICATE"), [b"OK UNAUTHENTICATE completed"])
        self.assertEqual(self.server.realm.logouts, 1)
        words = self.client.command("CAPABILITY")[0].removeprefix(b"* ")
        self.assertIn(words, greeting)
        for command in ("SELECT INBOX", "CHECK", "UNAUTHENTICATE", 'LIST "" *'):
            self.assertTrue(self.client.command(command)[-1].startswith(b"BAD "), command)
        self.assertTrue(self.client.command(LOGIN)[-1].startswith(b"OK "))
        # Nothing of what was enabled is left.
        lines = self.client.command("SELECT INBOX")
        self.assertTrue([line for line in lines if line.endswith(b" RECENT")], lines)
        # Nothing was expunged.
        self.assertIn(b"* 1 EXISTS", lines)
        self.assertEqual(self.client.command("SEARCH DELETED")[0], b"* SEARCH 1")
        self.client.command("EXPUNGE")
        self.client.lose()
        self.assertEqual(self.server.realm.logouts, 2)

    def test_pipelined(self) -> None:
        data = self.client.send(f"a UNAUTHENTICATE\r\nb {LOGIN}\r\nc SELECT INBOX\r\n".encode())
        for expected in (b"a OK ", b"b OK ", b"c OK "):
            self.assertIn(b"\r\n" + expected, b"\r\n" + data)

    def test_no_watch_is_left(self) -> None:
        self.client.command("UNAUTHENTICATE")
        self.server.add(MESSAGE)
        self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])

    def test_faults(self) -> None:
        self.assertTrue(self.client.command("UNAUTHENTICATE now")[-1].startswith(b"BAD "))
        self.assertTrue(self.client.command("CHECK")[-1].startswith(b"OK "))
        fresh = self.server.connect()
        self.assertTrue(fresh.command("UNAUTHENTICATE")[-1].startswith(b"BAD "))
        self.assertNotIn(b"UNAUTHENTICATE", fresh.greeting)

    def unauthenticate_compressed(self, finish: int, more: bytes = b"") -> tuple[bytes, bytes]:
        """The reply, and what is sent behind the end of the server's compressed data."""
        self.client.command("COMPRESS DEFLATE")
        deflate = zlib.compressobj(wbits=-15)
        inflater = zlib.decompressobj(wbits=-15)
        sent = deflate.compress(b"a UNAUTHENTICATE\r\n") + deflate.flush(finish)
        reply = inflater.decompress(self.client.send(sent + more))
        return reply, inflater.unused_data

    def test_compression_ends_too(self) -> None:
        # RFC 8437 section 4.1
        for finish in (zlib.Z_SYNC_FLUSH, zlib.Z_FINISH):
            answer = self.unauthenticate_compressed(finish)
            self.assertEqual(answer, (b"a OK UNAUTHENTICATE completed\r\n", b""))
            self.assertTrue(self.client.command(LOGIN)[-1].startswith(b"OK "))
        answer = self.unauthenticate_compressed(zlib.Z_FINISH, f"b {LOGIN}\r\n".encode())
        self.assertEqual(answer[0], b"a OK UNAUTHENTICATE completed\r\n")
        self.assertTrue(answer[1].startswith(b"b OK "), answer)

    def test_compression_that_goes_on(self) -> None:
        self.client.command("COMPRESS DEFLATE")
        deflate = zlib.compressobj(wbits=-15)
        sent = deflate.compress(b"a UNAUTHENTICATE\r\nb NOOP\r\n") + deflate.flush(
            zlib.Z_SYNC_FLUSH
        )
        inflater = zlib.decompressobj(wbits=-15)
        answer = inflater.decompress(self.client.send(sent)) + inflater.unused_data
        self.assertEqual(answer.split(b"\r\n")[0], b"a OK UNAUTHENTICATE completed")
        self.assertIn(b"\r\n* BYE ", answer)
        self.assertTrue(self.client.closed)


class SQLiteUnauthenticateTests(UnauthenticateTests):
    sqlite = True


class SwitchTests(SynchronousTestCase):
    def test_without(self) -> None:
        client = Server(without=["UNAUTHENTICATE"]).login()
        self.assertNotIn(b"UNAUTHENTICATE", client.command("CAPABILITY")[0])
        self.assertTrue(client.command("UNAUTHENTICATE")[-1].startswith(b"BAD "))


class ShortLiteralTests(SynchronousTestCase):
    """RFC 7888 section 5"""

    def setUp(self) -> None:
        self.server = Server(short_literals=True)
        self.client = self.server.login()

    def test_announced_instead(self) -> None:
        words = self.client.greeting.split()
        self.assertIn(b"LITERAL-", words)
        self.assertNotIn(b"LITERAL+", words)
        self.assertIn(b"IMAP4rev2", words)
        self.assertNotIn(b"LITERAL-", Server().login().greeting)

    def test_short_ones_need_not_wait(self) -> None:
        self.assertTrue(
            self.client.command(b"APPEND {5+}\r\nINBOX {4096+}\r\n" + b"x" * 4096)[-1].startswith(
                b"OK "
            )
        )

    def test_long_ones_have_to(self) -> None:
        long = b"{4097+}\r\n" + b"x" * 4097
        (line,) = self.client.command(b"APPEND INBOX " + long)
        self.assertTrue(line.startswith(b"BAD [TOOBIG] "), line)
        (line,) = self.client.command(b"SELECT " + long)
        self.assertTrue(line.startswith(b"BAD "), line)
        # In step, and nothing of it was read as a command.
        self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])
        self.assertEqual(
            self.client.send(b"a APPEND INBOX {4097}\r\n"), b"+ Ready for the message\r\n"
        )
        self.assertTrue(self.client.send(b"x" * 4097 + b"\r\n").startswith(b"a OK "))

    def test_the_second_message_too(self) -> None:
        (line,) = self.client.command(b"APPEND INBOX {1+}\r\nx {4097+}\r\n" + b"x" * 4097)
        self.assertTrue(line.startswith(b"BAD [TOOBIG] "), line)
        self.assertEqual(
            self.client.command("STATUS INBOX (MESSAGES)")[0], b'* STATUS "INBOX" (MESSAGES 0)'
        )


class CodeTests(SynchronousTestCase):
    """RFC 5530 section 3"""

    #: Those that no error has: who sends them.
    ELSEWHERE = {
        "PRIVACYREQUIRED": "imap.handlers.not_authenticated",
        "SERVERBUG": "imap.connection",
        "CLIENTBUG": "imap.answering",
    }

    def test_every_code_of_the_standard_is_in_use(self) -> None:
        codes = (
            "UNAVAILABLE AUTHENTICATIONFAILED AUTHORIZATIONFAILED EXPIRED PRIVACYREQUIRED"
            " CONTACTADMIN NOPERM INUSE EXPUNGEISSUED CORRUPTION SERVERBUG CLIENTBUG CANNOT LIMIT"
            " OVERQUOTA ALREADYEXISTS NONEXISTENT"
        )
        of_errors = {code.decode() for code in RESPONSE_CODES.values()}
        self.assertEqual(set(codes.split()) - of_errors, set(self.ELSEWHERE))

    def refused(self, error: Exception) -> bytes:
        server = Server()

        def refuse(*arguments: object) -> Any:
            raise error

        server.realm.requestAvatar = refuse  # type: ignore[method-assign]
        client = server.connect()
        return b"".join(client.command(LOGIN))

    def test_logins(self) -> None:
        for error, code in (
            (errors.PasswordExpired(), b"EXPIRED"),
            (errors.AccountDisabled(), b"CONTACTADMIN"),
            (errors.AuthorizationFailed(), b"AUTHORIZATIONFAILED"),
            (errors.AuthenticationFailed(), b"AUTHENTICATIONFAILED"),
        ):
            answer = self.refused(error)
            self.assertTrue(answer.startswith(b"NO [%b] " % code), answer)

    def test_messages_that_are_gone_but_not_told(self) -> None:
        server = Server()
        server.add(MESSAGE, MESSAGE)
        client = server.login("SELECT INBOX")
        server.login("SELECT INBOX", "STORE 2 +FLAGS (\\Deleted)", "EXPUNGE")
        self.assertEqual(
            client.command("SEARCH ALL"),
            [b"* SEARCH 1 2", b"OK [EXPUNGEISSUED] SEARCH completed"],
        )
        self.assertEqual(client.command("NOOP")[0], b"* 2 EXPUNGE")
        self.assertEqual(client.command("SEARCH ALL")[-1], b"OK SEARCH completed")
