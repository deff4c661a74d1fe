"""FETCH of whole messages, many of them small: they are read and sent together, each as it is."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from unittest import mock

from mailkit.imap.handlers.fetch import READ_OCTETS
from mailkit.store.sqlite.bodies import BodyFiles, Cold
from tests.imap.fakes import PlainAccount
from tests.imap.messages import NESTED, PLAIN
from tests.imap.support import Server, ServerTestCase, now, split_responses

LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcde\r\n" * 20_000
MIDDLE = b"Subject: middle\r\n\r\n" + b"0123456789abcde\r\n" * 5_000
SMALL = b"Subject: small\r\n\r\n" + b"0123456789abcde\r\n" * 500


class WholeTests(ServerTestCase):
    messages: Sequence[bytes] = (PLAIN, NESTED, LARGE, b"", SMALL, MIDDLE, PLAIN, b"x", LARGE)

    def setUp(self) -> None:
        self.server = self.serve()
        self.server.add(*self.messages)
        self.client = self.server.login("SELECT INBOX")

    def serve(self) -> Server:
        return self.make_server()

    def fetch(self, items: str, messages: str = "1:*", verb: str = "FETCH") -> list[bytes]:
        data = self.client.send(f"a {verb} {messages} {items}\r\n".encode())
        while not data.endswith(b"a OK FETCH completed\r\n"):
            self.server.clock.advance(0.01)
            more = self.client.send(b"")
            self.assertTrue(more, data[-200:])
            data += more
        # Whether a message is \\Recent is another matter.
        return split_responses(data.replace(b"\\Recent", b""))[:-1]

    def test_whole_messages(self) -> None:
        for items, name in (
            ("BODY.PEEK[]", b"BODY[]"),
            ("(RFC822)", b"RFC822"),
            ("BODY[]", b"BODY[]"),
        ):
            expected = [
                b"* %d FETCH (%b {%d}\r\n%b)" % (number, name, len(message), message)
                for number, message in enumerate(self.messages, 1)
            ]
            # Where \\Seen is set, that is told besides.
            lines = self.fetch(items)
            found = [re.sub(rb" FLAGS \( ?\\Seen\)\)\Z", b")", line) for line in lines]
            self.assertEqual(found, expected, items)

    def test_other_items_stay_where_they_were_asked_for(self) -> None:
        for number, message in enumerate(self.messages, 1):
            whole = b"BODY[] {%d}\r\n%b" % (len(message), message)
            size = b"RFC822.SIZE %d" % len(message)
            (line,) = self.fetch("(FLAGS BODY.PEEK[] RFC822.SIZE)", str(number))
            self.assertEqual(line, b"* %d FETCH (FLAGS () %b %b)" % (number, whole, size))
            (line,) = self.fetch("(BODY.PEEK[] FLAGS RFC822.SIZE)", str(number))
            self.assertEqual(line, b"* %d FETCH (%b FLAGS () %b)" % (number, whole, size))
            (line,) = self.fetch("BODY.PEEK[]", str(number), "UID FETCH")
            self.assertEqual(line, b"* %d FETCH (UID %d %b)" % (number, number, whole))

    def test_parts_of_messages(self) -> None:
        for items, start, end in (("<0.10>", 0, 10), ("<5.99999>", 5, 5 + 99999)):
            for number, line in enumerate(self.fetch(f"BODY.PEEK[]{items}"), 1):
                octets = self.messages[number - 1][start:end]
                value = b"BODY[]<%d> {%d}\r\n%b" % (start, len(octets), octets)
                self.assertEqual(line, b"* %d FETCH (%b)" % (number, value))

    def test_two_sections_of_each(self) -> None:
        for number, line in enumerate(self.fetch("(BODY.PEEK[] BODY.PEEK[TEXT]<0.3>)"), 1):
            self.assertIn(self.messages[number - 1] + b" BODY[TEXT]<0> {", line)

    def test_some_messages_in_any_order(self) -> None:
        found = self.fetch("BODY.PEEK[]", "7,5,1,9")
        self.assertEqual([line[:9] for line in found], [b"* %d FETCH" % n for n in (1, 5, 7, 9)])

    def test_numbers_of_messages_behind_those_that_were_expunged(self) -> None:
        now(self.server.mailbox().expunge(uids=[1, 4, 5]))
        self.client.command("NOOP")
        rest = [self.messages[n] for n in (1, 2, 5, 6, 7, 8)]
        for number, line in enumerate(self.fetch("BODY.PEEK[]"), 1):
            octets = rest[number - 1]
            self.assertEqual(
                line, b"* %d FETCH (BODY[] {%d}\r\n%b)" % (number, len(octets), octets)
            )

    def test_no_nul(self) -> None:
        # RFC 3501 section 4.3.1
        self.server.add(b"a\0b\0\0")
        self.client.command("NOOP")
        self.assertIn(b"BODY[] {5}\r\na\x80b\x80\x80)", self.fetch("BODY.PEEK[]", "*")[0])

    def test_a_client_that_does_not_read_costs_one_buffer(self) -> None:
        self.server.add(*[SMALL] * 200)
        client = self.server.login("SELECT INBOX")
        client.transport.limit = 1000
        data = client.send(b"a FETCH 10:* BODY.PEEK[]\r\n")
        self.assertLess(len(data), READ_OCTETS + 64 * 1024)
        self.assertGreater(len(data), 0)
        while b"a OK" not in data[-100:]:
            client.transport.resume()
            more = client.send(b"")
            self.assertLess(len(more), READ_OCTETS + 64 * 1024)
            data += more
        self.assertEqual(data.count(SMALL), 200)


class PlainWholeTests(WholeTests):
    """A mailbox without any optional ability."""

    def serve(self) -> Server:
        server = Server()
        server.realm.account = PlainAccount(server.account)
        return server


class SQLiteWholeTests(WholeTests):
    sqlite = True

    def test_small_messages_are_read_together(self) -> None:
        self.server.add(*[SMALL] * 50)
        client = self.server.login("SELECT INBOX")
        bodies = self.server.store.core.bodies
        with mock.patch.object(bodies, "_read_warm", wraps=bodies._read_warm) as reads:
            data = client.send(b"a FETCH 10:* BODY.PEEK[]\r\n")
        self.assertEqual(data.count(SMALL), 50)
        self.assertLess(reads.call_count, 10)

    def test_what_is_not_in_memory_is_read_by_a_thread(self) -> None:
        self.server.add(*[SMALL] * 50)
        client = self.server.login("SELECT INBOX")
        core = self.server.store.core
        with (
            mock.patch.object(BodyFiles, "_read_warm", side_effect=Cold),
            mock.patch.object(core, "in_thread", wraps=core.in_thread) as threads,
        ):
            data = client.send(b"a FETCH 10:* BODY.PEEK[]\r\n")
        self.assertEqual(data.count(SMALL), 50)
        self.assertLess(threads.call_count, 10)

    def test_a_damaged_message_keeps_nobody_from_its_neighbours(self) -> None:
        self.server.add(*[b"Subject: %d\r\n\r\nthis is number %d\r\n" % (n, n) for n in range(20)])
        client = self.server.login("SELECT INBOX")
        for name in sorted(os.listdir(os.path.join(self.directory, "log"))):
            path = os.path.join(self.directory, "log", name)
            with open(path, "r+b") as file:
                content = file.read()
                if b"this is number 7\r\n" in content:
                    file.seek(content.index(b"this is number 7\r\n"))
                    file.write(b"T")
        lines = client.command("FETCH 10:16 BODY.PEEK[]")
        self.assertEqual(
            [line[:12] for line in lines[:-1]], [b"* %d FETCH (" % n for n in range(10, 17)]
        )
        lines = client.command("FETCH 17 BODY.PEEK[]")
        self.assertTrue(lines[-1].startswith(b"NO"), lines)
        lines = client.command("FETCH 18:* BODY.PEEK[]")
        self.assertEqual(len(lines), 13)
