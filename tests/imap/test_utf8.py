"""UTF8=ACCEPT and UTF8=ONLY (RFC 6855)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.imap.support import Client, Server, ServerTestCase

NAME = "Entw\u00fcrfe"
HEADER = "From: J\u00fcrgen <j\u00fcrgen@example.org>\r\nSubject: Gr\u00fc\u00dfe\r\n\r\n".encode()


def append(client: Client, arguments: bytes, message: bytes = HEADER, behind: bytes = b"") -> bytes:
    """The tagged answer to an APPEND."""
    literal = b"{%d+}\r\n%b" % (len(message), message)
    return client.command(b"APPEND INBOX " + arguments + literal + behind)[-1]


class AcceptTests(ServerTestCase):
    def setUp(self) -> None:
        self.server = self.make_server()
        self.client = self.server.login("ENABLE UTF8=ACCEPT")

    def test_announced_after_login(self) -> None:
        self.assertNotIn(b"UTF8", self.server.connect().greeting)
        (words, _) = self.client.command("CAPABILITY")
        self.assertIn(b" UTF8=ACCEPT", words)
        self.assertNotIn(b"UTF8=ONLY", words)

    def test_enable(self) -> None:
        client = self.server.login()
        self.assertEqual(client.command("ENABLE UTF8=ONLY")[0], b"* ENABLED")
        self.assertEqual(client.command("ENABLE utf8=accept")[0], b"* ENABLED UTF8=ACCEPT")
        self.assertEqual(client.command("ENABLE UTF8=ACCEPT")[0], b"* ENABLED")
        refused = self.server.connect().command("ENABLE UTF8=ACCEPT")
        self.assertTrue(refused[-1].startswith(b"BAD "))

    def test_names_both_ways(self) -> None:
        self.client.command(f'CREATE "{NAME}"')
        listed = f'* LIST (\\HasNoChildren) "/" "{NAME}"'.encode()
        self.assertIn(listed, self.client.command('LIST "" *'))
        self.assertTrue(self.client.command(f'SELECT "{NAME}"')[-1].startswith(b"OK "))
        # It is no client of IMAP4rev2.
        self.assertIn(b"* 0 RECENT", self.client.command(f'SELECT "{NAME}"'))

    def test_names_of_8_bits_are_understood_before_enable(self) -> None:
        client = self.server.login()
        self.assertTrue(client.command(f'CREATE "{NAME}"')[-1].startswith(b"OK "))
        # But not sent.
        self.assertIn(
            b'* LIST (\\HasNoChildren) "/" "Entw&APw-rfe"', client.command(f'LIST "" "{NAME}"')
        )
        self.assertTrue(client.command("SELECT Entw&APw-rfe")[-1].startswith(b"OK "))
        self.assertTrue(client.command(b'SELECT "\xfc"')[-1].startswith(b"BAD "))

    def test_search_takes_no_charset(self) -> None:
        append(self.client, b"")
        self.client.command("SELECT INBOX")
        self.assertEqual(self.client.command('SEARCH SUBJECT "gr\u00fc\u00dfe"')[0], b"* SEARCH 1")
        (line,) = self.client.command("SEARCH CHARSET UTF-8 SUBJECT x")
        self.assertTrue(line.startswith(b"BAD "), line)
        self.assertTrue(
            self.server.login("SELECT INBOX")
            .command("SEARCH CHARSET UTF-8 SUBJECT x")[-1]
            .startswith(b"OK ")
        )

    def test_append_of_the_data_extension(self) -> None:
        self.assertTrue(append(self.client, b"UTF8 (~", behind=b")").startswith(b"OK [APPENDUID "))
        answer = append(self.client, b"(\\Seen) utf8 (~", behind=b")")
        self.assertTrue(answer.startswith(b"OK [APPENDUID "), answer)
        self.client.command("SELECT INBOX")
        lines = self.client.command("FETCH 2 (FLAGS BODY.PEEK[])")
        self.assertIn(b"{%d}\r\n%b" % (len(HEADER), HEADER), lines[0])

    def test_several_messages(self) -> None:
        message = b"UTF8 (~{%d+}\r\n%b)" % (len(HEADER), HEADER)
        lines = self.client.command(b"APPEND INBOX " + message + b" (\\Seen) " + message)
        self.assertTrue(lines[-1].startswith(b"OK [APPENDUID "), lines)
        self.assertIn(b" 1:2]", lines[-1])

    def test_append_without_it(self) -> None:
        # RFC 9755 has done away with the data extension.
        self.assertTrue(append(self.client, b"").startswith(b"OK "))

    def test_faults(self) -> None:
        for arguments, behind in (
            (b"UTF8 (~", b""),
            (b"UTF8 (~", b") x"),
            (b"UTF8 (~", b"))"),
            (b"UTF8 (", b")"),
            (b"UTF8 ~", b""),
            (b"UTF8", b""),
            (b"(~", b")"),
        ):
            answer = append(self.client, arguments, behind=behind)
            self.assertTrue(answer.startswith(b"BAD "), (arguments, behind, answer))
            self.client.command("NOOP")
        self.assertEqual(self.client.command("STATUS INBOX (MESSAGES)")[0][-12:], b"(MESSAGES 0)")
        # Who has not enabled it cannot use it.
        answer = append(self.server.login(), b"UTF8 (~", behind=b")")
        self.assertTrue(answer.startswith(b"BAD "), answer)

    def test_octets_that_are_not_utf8(self) -> None:
        for command in (b'SELECT "\xff"', b'LIST "" "\xc3"', b'CREATE "\xed\xa0\x80"'):
            (line,) = self.client.command(command)
            self.assertTrue(line.startswith(b"BAD "), line)


class SQLiteAcceptTests(AcceptTests):
    sqlite = True


class OnlyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(utf8_only=True)

    def test_announced_instead(self) -> None:
        (words, _) = self.server.login().command("CAPABILITY")
        self.assertIn(b" UTF8=ONLY", words)
        self.assertNotIn(b"UTF8=ACCEPT", words)

    def test_nothing_without_enable(self) -> None:
        client = self.server.login()
        for command in ("SELECT INBOX", 'LIST "" *', "STATUS INBOX (MESSAGES)", "NAMESPACE"):
            (line,) = client.command(command)
            self.assertTrue(line.startswith(b"NO [CANNOT] "), line)
        self.assertTrue(append(client, b"").startswith(b"NO [CANNOT] "))
        for command in ("NOOP", "CAPABILITY", "ID NIL"):
            self.assertTrue(client.command(command)[-1].startswith(b"OK "), command)
        self.assertEqual(client.command("ENABLE UTF8=ACCEPT")[0], b"* ENABLED UTF8=ACCEPT")
        self.assertTrue(client.command("SELECT INBOX")[-1].startswith(b"OK "))
        self.assertTrue(append(client, b"").startswith(b"OK "))

    def test_imap4rev2_takes_utf8_too(self) -> None:
        client = self.server.login("ENABLE IMAP4rev2")
        self.assertTrue(client.command("SELECT INBOX")[-1].startswith(b"OK "))

    def test_switched_off(self) -> None:
        for name in ("UTF8=ACCEPT", "ENABLE"):
            client = Server(utf8_only=True, without=[name]).login()
            self.assertNotIn(b"UTF8", client.command("CAPABILITY")[0])
            self.assertTrue(client.command("SELECT INBOX")[-1].startswith(b"OK "))
        client = Server(without=["UTF8=ACCEPT"]).login("ENABLE UTF8=ACCEPT")
        self.assertTrue(client.command(f'SELECT "{NAME}"')[-1].startswith(b"NO [CANNOT] "))
