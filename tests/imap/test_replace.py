"""REPLACE and UID REPLACE (RFC 8508)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import OverQuota
from tests.imap.fakes import PlainAccount
from tests.imap.support import Server, ServerTestCase, now, split_responses

NEW = b"Subject: happy new year !!\r\n\r\nJust saw the best fireworks show.\r\n"


class StoredTests(ServerTestCase):
    def test_example_of_the_standard(self) -> None:
        client = self.make_server().login()
        client.command(b"CREATE Drafts")
        client.send(b"a APPEND Drafts" + b" {1+}\r\nx" * 4 + b"\r\n")
        client.command(b"SELECT Drafts")
        client.send(b"A003 REPLACE 4 Drafts (\\Seen \\Draft) {%d}\r\n" % len(NEW))
        answer = client.send(NEW + b"\r\n")
        told, *lines = split_responses(answer.replace(b"+ Ready for the message\r\n", b""))
        self.assertRegex(told, rb"^\* OK \[APPENDUID \d+ 5\] Replacement message ready$")
        self.assertEqual(lines[:2], [b"* 4 EXPUNGE", b"* 4 EXISTS"])
        self.assertEqual(lines[-1], b"A003 OK REPLACE completed")
        line = (client.command(b"FETCH 4 (UID FLAGS BODY.PEEK[])"))[0]
        self.assertIn(b"(UID 5 FLAGS (", line)
        self.assertIn(NEW, line)
        # UID REPLACE, by a message that is put together of the old one.
        data = b'B1 UID REPLACE 5 Drafts CATENATE (TEXT {6+}\r\nTo: x\n URL "/Drafts/;UID=5")\r\n'
        answer = client.send(data)
        self.assertIn(b" 6] Replacement message ready\r\n* 4 EXPUNGE\r\n", answer)
        line = (client.command(b"FETCH 4 BODY.PEEK[]"))[0]
        self.assertTrue(line.endswith(b"To: x\n" + NEW + b")"), line)

    def test_by_a_message_elsewhere(self) -> None:
        client = self.make_server().login()
        client.command(b"CREATE Sent")
        client.send(b"a APPEND INBOX {1+}\r\nx {1+}\r\ny\r\n")
        client.command(b"ENABLE QRESYNC")
        client.command(b"SELECT INBOX")
        lines = client.command(b"REPLACE 1 Sent {%d+}\r\n%b" % (len(NEW), NEW))
        self.assertIn(b" 1] Replacement", lines[0])
        self.assertIn(b"* VANISHED 1", lines)
        self.assertRegex(lines[-1], rb"OK \[HIGHESTMODSEQ \d+\] REPLACE completed")
        self.assertIn(b"(MESSAGES 1)", (client.command(b"STATUS Sent (MESSAGES)"))[0])
        self.assertIn(b"(MESSAGES 1)", (client.command(b"STATUS INBOX (MESSAGES)"))[0])

    def test_quota_counts_the_difference(self) -> None:
        server = self.make_server()
        client = server.login()
        client.send(b"a APPEND INBOX {5+}\r\n12345\r\n")
        now(server.store.set_quota(account=server.account.name, max_octets=6, max_messages=1))
        client.command(b"SELECT INBOX")
        lines = client.command(b"REPLACE 1 INBOX {7+}\r\n1234567")
        self.assertTrue(lines[-1].startswith(b"NO [OVERQUOTA] "), lines)
        lines = client.command(b"REPLACE 1 INBOX {6+}\r\n123456")
        self.assertEqual(lines[-1], b"OK REPLACE completed")

    def test_somebody_else_was_faster(self) -> None:
        server = self.make_server()
        client, other = server.login(), server.login()
        client.send(b"a APPEND INBOX {1+}\r\nx {1+}\r\ny\r\n")
        client.command(b"SELECT INBOX")
        other.command(b"SELECT INBOX")
        client.send(b"a REPLACE 1 INBOX {3}\r\n")
        client.read()
        other.command(b"STORE 1 +FLAGS.SILENT (\\Deleted)")
        other.command(b"EXPUNGE")
        lines = split_responses(client.send(b"abc\r\n"))
        self.assertTrue(lines[-1].startswith(b"a NO [EXPUNGEISSUED] "), lines)
        self.assertIn(b"* 1 EXPUNGE", client.command(b"NOOP"))
        self.assertIn(b"(MESSAGES 1)", (client.command(b"STATUS INBOX (MESSAGES)"))[0])

    def test_the_selected_mailbox_is_gone(self) -> None:
        # No TRYCREATE: the destination is there.
        server = self.make_server()
        client, other = server.login("CREATE Box"), server.login()
        server.add(b"x", mailbox="Box")
        client.command("SELECT Box")
        other.command("DELETE Box")
        for line, start in zip(
            client.command(b"REPLACE 1 Sent {3+}\r\nabc"),
            (b"NO [NONEXISTENT] ", b"* BYE "),
            strict=True,
        ):
            self.assertTrue(line.removeprefix(b"t4 ").startswith(start), line)
        self.assertTrue(client.closed)
        self.assertIn(b"(MESSAGES 0)", other.command("STATUS Sent (MESSAGES)")[0])


class StoredSQLiteTests(StoredTests):
    sqlite = True

    def test_the_store_is_whole_afterwards(self) -> None:
        server = self.make_server()
        client = server.login()
        client.send(b"a APPEND INBOX {1+}\r\nx {1+}\r\ny\r\n")
        client.command(b"SELECT INBOX")
        client.command(b"REPLACE 1 INBOX {%d+}\r\n%b" % (len(NEW), NEW))
        lines = self.reopen(server).login("EXAMINE INBOX").command("FETCH 1:2 BODY.PEEK[]")
        self.assertTrue(lines[0].endswith(b"\r\ny)"), lines)
        self.assertTrue(lines[1].endswith(NEW + b")"), lines)


class DialogueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(max_message_size=1000)
        self.server.add(b"one", b"two", b"three")
        self.client = self.server.login("SELECT INBOX")

    def test_faults(self) -> None:
        for text in (
            b"REPLACE", b"REPLACE 1", b"REPLACE 1 INBOX", b"REPLACE 1 INBOX (\\Seen)",
            b"REPLACE 1:2 INBOX {1+}\r\nx", b"REPLACE 1,2 INBOX {1+}\r\nx", b"REPLACE 0 INBOX {1+}\r\nx",
            b"REPLACE 4 INBOX {1+}\r\nx", b"REPLACE x INBOX {1+}\r\nx", b"REPLACE $ INBOX {1+}\r\nx",
            b"REPLACE 1 INBOX {1+}\r\nx {1+}\r\ny", b"REPLACE 1 INBOX {1+}\r\nx y",
            b"UID REPLACE 1:2 INBOX {1+}\r\nx", b"REPLACE 1 {5+}\r\nINBOX x",
            b"REPLACE 1 INBOX (\\Foo) {1+}\r\nx",
        ):  # fmt: skip
            lines = self.client.command(text)
            self.assertTrue(lines[-1].startswith(b"BAD "), (text, lines))
            self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])
        self.assertEqual(list(now(self.server.mailbox().list_uids())), [1, 2, 3])

    def test_refusals(self) -> None:
        for text, expected in (
            (b"UID REPLACE 9 INBOX {1+}\r\nx", b"NO [EXPUNGEISSUED] There is no such message"),
            (b"REPLACE 1 Nothing {1+}\r\nx", b"NO [TRYCREATE] No such mailbox"),
            (b"REPLACE 1 INBOX {1001}", b"NO [TOOBIG] A message has at most 1000 octets here"),
            (b"REPLACE 1 INBOX {0+}\r\n", b"NO A message is not empty"),
            (b"REPLACE 1 INBOX {1+}\r\n\0", b"NO The message contains NUL octets"),
        ):
            self.assertEqual(self.client.command(text), [expected])
        self.assertEqual(list(now(self.server.mailbox().list_uids())), [1, 2, 3])

    def test_mailbox_as_a_literal_and_the_last_message(self) -> None:
        lines = self.client.command(b"REPLACE * {5+}\r\nINBOX {1+}\r\nx")
        self.assertEqual(lines[-1], b"OK REPLACE completed")
        self.assertEqual(list(now(self.server.mailbox().list_uids())), [1, 2, 4])

    def test_selected_state_only(self) -> None:
        client = self.server.login()
        lines = split_responses(client.send(b"a REPLACE 1 INBOX {6+}\r\nb NOOP\r\nc NOOP\r\n"))
        self.assertTrue(lines[0].startswith(b"a BAD "), lines)
        self.assertEqual(lines[1:], [b"c OK NOOP completed"])

    def test_read_only(self) -> None:
        client = self.server.login("EXAMINE INBOX")
        (line,) = client.command(b"REPLACE 1 INBOX {1+}\r\nx")
        self.assertTrue(line.startswith(b"NO [NOPERM] "), line)

    def test_another_session_is_told(self) -> None:
        other = self.server.login("SELECT INBOX")
        self.client.command(b"REPLACE 2 INBOX {1+}\r\nx")
        self.assertEqual(other.command("NOOP")[:2], [b"* 2 EXPUNGE", b"* 3 EXISTS"])

    def test_backend_without_replacing(self) -> None:
        server = Server(PlainAccount(self.server.account))
        client = server.login("SELECT INBOX")
        lines = client.command(b"REPLACE 2 INBOX {1+}\r\nx")
        self.assertIn(b" 4] Replacement message ready", lines[0])
        self.assertEqual(lines[-1], b"OK REPLACE completed")
        self.assertEqual(list(now(self.server.mailbox().list_uids())), [1, 3, 4])

    def test_switched_off(self) -> None:
        server = Server(without=["REPLACE"])
        server.add(b"x")
        client = server.login("SELECT INBOX")
        self.assertNotIn(b"REPLACE", client.command("CAPABILITY")[0])
        for text in (b"REPLACE 1 INBOX {4+}\r\nx\r\n\r", b"UID REPLACE 1 INBOX {1+}\r\nx"):
            self.assertEqual(client.command(text), [b"BAD There is no such command"])
        self.assertEqual(client.command("NOOP"), [b"OK NOOP completed"])

    def test_store_says_no(self) -> None:
        mailbox = self.client.protocol.selection.mailbox  # type: ignore[union-attr]

        async def replace_message(**_: object) -> None:
            raise OverQuota

        self.patch(mailbox, "replace_message", replace_message)
        lines = self.client.command(b"REPLACE 2 INBOX {1+}\r\nx")
        self.assertEqual(len(lines), 1)
        self.assertTrue(lines[0].startswith(b"NO [OVERQUOTA] "), lines)
