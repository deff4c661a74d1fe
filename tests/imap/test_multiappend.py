"""Several messages in one APPEND (RFC 3502)."""

from __future__ import annotations

import os
import re

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap import appending
from mailkit.imap.protocol import IMAPProtocol
from tests.imap.support import Client, Server, ServerTestCase, now, split_responses

FIRST = (
    b"Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)\r\n"
    b"From: Fred Foobar <foobar@Blurdybloop.example.COM>\r\nSubject: afternoon meeting\r\n"
    b"\r\nHello Joe, do you think we can meet at 3:30 tomorrow?\r\n"
)
SECOND = (
    b"Date: Mon, 7 Feb 1994 22:43:04 -0800 (PST)\r\n"
    b"From: Joe Mooch <mooch@OWaTaGu.example.net>\r\nSubject: Re: afternoon meeting\r\n"
    b"\r\n3:30 is fine with me.\r\n"
)


def several(*messages: bytes, head: bytes = b"a APPEND INBOX", plus: bytes = b"+") -> bytes:
    """The octets of a command with non-synchronizing literals."""
    pieces = [b" {%d%b}\r\n%b" % (len(message), plus, message) for message in messages]
    return head + b"".join(pieces) + b"\r\n"


class StoredTests(ServerTestCase):
    """What both stores answer, and keep."""

    def test_example_of_the_standard(self) -> None:
        client = self.make_server().login("CREATE saved-messages")
        more = b"+ Ready for the message\r\n"
        head = b"A003 APPEND saved-messages (\\Seen) {%d}\r\n" % len(FIRST)
        self.assertEqual(client.send(head), more)
        middle = b' (\\Seen) " 7-Feb-1994 22:43:04 -0800" {%d}\r\n' % len(SECOND)
        self.assertEqual(client.send(FIRST + middle), more)
        done = client.send(SECOND + b"\r\n")
        self.assertRegex(done, rb"^A003 OK \[APPENDUID \d+ 1:2\] APPEND completed\r\n$")
        client.command(b"EXAMINE saved-messages")
        lines = client.command(b"FETCH 1:2 (FLAGS INTERNALDATE BODY.PEEK[])")
        self.assertTrue(lines[0].endswith(FIRST + b")"), lines)
        self.assertIn(b"(FLAGS (\\Recent \\Seen)", lines[0])
        self.assertIn(b'INTERNALDATE "08-Feb-1994 06:43:04 +0000"', lines[1])
        self.assertTrue(lines[1].endswith(SECOND + b")"), lines)

    def test_none_is_kept_when_one_is_refused(self) -> None:
        client = self.make_server(max_message_size=10_000).login()
        for tail, expected in (
            (b" {10001+}\r\n" + b"a NOOP\r\n".ljust(10001), b"NO [TOOBIG] A message has at most"),
            (b" {0+}\r\n", b"NO A message is not empty"),
            (b" (\\Foo) {3+}\r\nabc", b"BAD \\Foo is not a flag"),
            (b" {3+}\r\na\0b", b"NO The message contains NUL"),
            (b" {3+}\r\na\0b {3+}\r\nabc", b"NO The message contains NUL"),
            (b" {3+}\r\nabc x", b"BAD APPEND takes a message as a literal"),
            (b" {3+}\r\nabc{3+}\r\nabc", b"BAD Behind a message comes a space"),
        ):
            data = b"a APPEND INBOX {%d+}\r\n" % len(FIRST) + FIRST + tail
            lines = split_responses(client.send(data + b"\r\nb NOOP\r\n"))
            self.assertTrue(lines[0].startswith(b"a " + expected), lines)
            self.assertEqual(lines[1:], [b"b OK NOOP completed"])
        self.assertIn(b" (MESSAGES 0)", (client.command(b"STATUS INBOX (MESSAGES)"))[0])

    def test_quota_counts_all_of_them(self) -> None:
        server = self.make_server()
        now(server.store.set_quota(account=server.account.name, max_octets=None, max_messages=2))
        client = server.login()
        answer = client.send(several(b"1", b"2", b"3"))
        self.assertTrue(answer.startswith(b"a NO [OVERQUOTA] "), answer)
        self.assertIn(b"OK [APPENDUID", client.send(several(b"1", b"2")))

    def test_the_selected_mailbox_is_told_at_once(self) -> None:
        client = self.make_server().login("SELECT INBOX")
        client.command(b"NOOP")
        answer = client.send(several(b"1", b"2", b"3"))
        self.assertTrue(answer.startswith(b"* 3 EXISTS\r\n* 3 RECENT\r\na OK "), answer)

    def test_large_and_small_ones(self) -> None:
        messages = [b"x" * (400_000 if number % 2 else 1000) for number in range(6)]
        client = self.make_server().login()
        answer = client.send(several(*messages))
        self.assertRegex(answer, rb"a OK \[APPENDUID \d+ 1:6\]")
        client.command(b"SELECT INBOX")
        lines = client.command(b"FETCH 1:6 RFC822.SIZE")
        sizes = [int(re.findall(rb"SIZE (\d+)", line)[0]) for line in lines[:6]]
        self.assertEqual(sizes, list(map(len, messages)))


class StoredSQLiteTests(StoredTests):
    sqlite = True

    def test_messages_that_were_spooled_to_files(self) -> None:
        server = self.make_server()
        client = server.login()
        answer = client.send(several(*(b"%d" % n * 300_000 for n in range(5))))
        self.assertRegex(answer, rb"a OK \[APPENDUID \d+ 1:5\]")
        lines = self.reopen(server).login("EXAMINE INBOX").command("FETCH 1:5 BODY.PEEK[]")
        for number, line in enumerate(lines[:5]):
            self.assertTrue(line.endswith(b"}\r\n" + b"%d" % number * 300_000 + b")"), number)


class DialogueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(max_message_size=100_000)
        self.client = self.server.login()

    def messages(self) -> int:
        return now(self.server.mailbox().get_info()).messages

    def test_every_split_of_the_octets(self) -> None:
        data = several(b"one", b"a NOOP\r\n{9+}", b"{3+}\r\nx") + b"b NOOP\r\n"
        for position in range(len(data)):
            client = Server().login()
            answer = client.send(data[:position]) + client.send(data[position:])
            self.assertRegex(answer, rb"^a OK \[APPENDUID \d+ 1:3\] .*\r\nb OK .*\r\n$")
        client = Server().login()
        answer = b"".join(client.send(bytes((octet,))) for octet in data)
        self.assertRegex(answer, rb"^a OK \[APPENDUID \d+ 1:3\] .*\r\nb OK .*\r\n$")

    def test_a_refused_later_message_is_not_sent(self) -> None:
        self.client.send(b"a APPEND INBOX {3}\r\n")
        answer = self.client.send(b"abc {100001}\r\n")
        self.assertTrue(answer.startswith(b"a NO [TOOBIG] "), answer)
        self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])
        self.assertEqual(self.messages(), 0)

    def test_an_empty_message_cancels(self) -> None:
        # RFC 3502 section 6.3.11
        self.client.send(b"a APPEND INBOX {3}\r\n")
        self.assertEqual(self.client.send(b"abc {0}\r\n"), b"a NO A message is not empty\r\n")
        self.assertEqual(self.messages(), 0)

    def test_what_follows_a_refused_message_is_swallowed(self) -> None:
        data = several(b"x" * 100_001, b"z NOOP\r\n", b"y NOOP\r\n", b"w NOOP\r\n")
        lines = split_responses(self.client.send(data + b"b NOOP\r\n"))
        self.assertEqual(len(lines), 2)
        self.assertTrue(lines[0].startswith(b"a NO [TOOBIG] "), lines)

    def test_too_many(self) -> None:
        self.patch(appending, "MAX_MESSAGES", 3)
        lines = split_responses(self.client.send(several(*[b"x"] * 5) + b"b NOOP\r\n"))
        self.assertEqual(
            lines, [b"a NO [LIMIT] APPEND takes at most 3 messages at once", b"b OK NOOP completed"]
        )
        self.assertEqual(self.messages(), 0)

    def test_too_much_together(self) -> None:
        lines = split_responses(self.client.send(several(*[b"x" * 90_000] * 3) + b"b NOOP\r\n"))
        self.assertEqual(
            lines,
            [
                b"a NO [TOOBIG] APPEND takes at most 200000 octets of messages at once",
                b"b OK NOOP completed",
            ],
        )

    def test_a_later_literal_too_large_to_be_swallowed(self) -> None:
        answer = self.client.send(b"a APPEND INBOX {3+}\r\nabc {99999999+}\r\n")
        self.assertEqual(answer, b"* BYE [TOOBIG] That literal is too large\r\n")
        self.assertTrue(self.client.closed)

    def test_files_are_closed_and_removed(self) -> None:
        client = Server().login()
        client.send(several(*[b"x" * 300_000] * 3, head=b"a APPEND INBOX")[:-2])
        protocol = client.protocol
        assert isinstance(protocol, IMAPProtocol) and protocol.append is not None
        paths = [message.content.path for message in protocol.append.messages]
        self.assertTrue(all(path and os.path.exists(path) for path in paths))
        for message in protocol.append.messages[:-1]:
            assert message.content._file is not None
            self.assertTrue(message.content._file.closed)
        client.lose()
        self.assertFalse(any(path and os.path.exists(path) for path in paths))

    def test_files_are_removed_when_a_later_message_is_refused(self) -> None:
        client = Server().login()
        client.send(several(b"x" * 300_000)[:-2])
        assert client.protocol.append is not None
        path = client.protocol.append.spool.path
        assert path is not None
        client.send(b" (\\Foo) {1+}\r\nx\r\n")
        self.assertFalse(os.path.exists(path))
        self.assertIsNone(client.protocol.append)

    def test_switched_off(self) -> None:
        client = Server(without=["MULTIAPPEND"]).login()
        self.assertNotIn(b"MULTIAPPEND", client.command("CAPABILITY")[0])
        self.assertEqual(
            client.send(several(b"1", b"2") + b"b NOOP\r\n"),
            b"a BAD APPEND takes one message, and nothing behind it\r\nb OK NOOP completed\r\n",
        )
        self.assertRegex(client.send(several(b"1")), rb"a OK \[APPENDUID \d+ 1\]")

    def test_announced_after_login(self) -> None:
        client = self.server.connect()
        self.assertNotIn(b"MULTIAPPEND", client.greeting)
        self.assertIn(b"MULTIAPPEND", self.client.command("CAPABILITY")[0])

    def test_not_before_login(self) -> None:
        client: Client = self.server.connect()
        lines = split_responses(client.send(several(b"1", b"2") + b"b NOOP\r\n"))
        self.assertTrue(lines[0].startswith(b"a BAD This command cannot be used"), lines)
        self.assertEqual(lines[1:], [b"b OK NOOP completed"])
