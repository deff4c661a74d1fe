"""What the store knows besides: OBJECTID, SAVEDATE, STATUS=SIZE, APPENDLIMIT."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit.interfaces import IMailAccount
from tests.imap.support import USER, Server, now

DAY = 86400


@implementer(IMailAccount)
class PlainAccount:
    """An account that promises nothing."""

    def __init__(self, account: IMailAccount) -> None:
        self.name = account.name
        self.list_mailboxes = account.list_mailboxes
        self.open_mailbox = account.open_mailbox


class ObjectIDTests(SynchronousTestCase):
    """RFC 8474"""

    def setUp(self) -> None:
        self.server = Server()
        self.server.add(b"Subject: a\r\n\r\n", b"Subject: b\r\n\r\n")
        self.client = self.server.login("SELECT INBOX")

    def object_id(self, pattern: bytes, lines: list[bytes]) -> bytes:
        found = re.search(pattern + rb" \(([A-Za-z0-9_-]{1,255})\)", b"\r\n".join(lines))
        assert found is not None, lines
        return found[1]

    def test_a_mailbox_keeps_its_id(self) -> None:
        lines = self.client.command("CREATE Work")
        self.assertTrue(lines[-1].startswith(b"OK [MAILBOXID ("), lines)
        made = self.object_id(rb"MAILBOXID", lines)
        self.client.command("RENAME Work Play")
        told = self.object_id(rb"MAILBOXID", self.client.command("STATUS Play (MAILBOXID)"))
        selected = self.object_id(rb"\* OK \[MAILBOXID", self.client.command("SELECT Play"))
        inbox = self.object_id(rb"MAILBOXID", self.client.command("EXAMINE INBOX"))
        self.assertEqual((told, selected), (made, made))
        self.assertNotEqual(inbox, made)
        self.client.command("DELETE Play")
        again = self.object_id(rb"MAILBOXID", self.client.command("CREATE Play"))
        self.assertNotEqual(again, made)

    def test_copies_keep_the_id_of_a_message(self) -> None:
        first, second = (
            self.object_id(rb"EMAILID", [line])
            for line in self.client.command("FETCH 1:2 EMAILID")[:2]
        )
        self.assertNotEqual(first, second)
        self.client.command("COPY 2 Trash")
        self.client.command("MOVE 1 Trash")
        self.client.command("SELECT Trash")
        lines = self.client.command("FETCH 1:2 (EMAILID THREADID)")
        self.assertEqual(self.object_id(rb"EMAILID", lines[:1]), second)
        self.assertEqual(self.object_id(rb"EMAILID", lines[1:]), first)
        threads = [self.object_id(rb"THREADID", [line]) for line in lines[:2]]
        self.assertEqual(len(set(threads)), 2)
        lines = self.client.command("FETCH 1 (THREADID BODY.PEEK[])")
        self.assertEqual(self.object_id(rb"THREADID", lines[:1]), threads[0])

    def test_search(self) -> None:
        second = self.object_id(rb"EMAILID", self.client.command("FETCH 2 EMAILID")).decode()
        for key, numbers in (
            (f"EMAILID {second}", b" 2"),
            (f"NOT EMAILID {second}", b" 1"),
            ("EMAILID X-none_", b""),
            ("THREADID T1", b""),
        ):
            self.assertEqual(self.client.command(f"SEARCH {key}")[0], b"* SEARCH" + numbers, key)

    def test_ids_that_are_none(self) -> None:
        for command in (
            "SEARCH EMAILID a.b", "SEARCH EMAILID", 'SEARCH THREADID "a"', "SEARCH EMAILID (a)",
            f"SEARCH EMAILID {'x' * 256}", "FETCH 1 EMAILIDS",
        ):  # fmt: skip
            self.assertTrue(self.client.command(command)[0].startswith(b"BAD "), command)

    def test_accounts_that_promise_nothing(self) -> None:
        account = now(self.server.store.open_account(USER))
        client = Server(PlainAccount(account)).login("SELECT INBOX")
        self.assertNotIn(b"OBJECTID", client.command("CAPABILITY")[0].split())
        self.assertNotIn(b"MAILBOXID", b"".join(client.command("SELECT INBOX")))
        for command in ("FETCH 1 EMAILID", "SEARCH EMAILID a", "STATUS INBOX (MAILBOXID)"):
            self.assertTrue(client.command(command)[0].startswith(b"BAD "), command)


class SaveDateTests(SynchronousTestCase):
    """RFC 8514"""

    def setUp(self) -> None:
        self.server = Server()
        date = b'"01-Jan-2001 00:00:00 +0000"'
        self.server.login().command(b"APPEND INBOX " + date + b" {2+}\r\n\r\n")
        self.server.clock.advance(2 * DAY)
        self.client = self.server.login("SELECT INBOX")

    def test_fetch(self) -> None:
        (line, _) = self.client.command("FETCH 1 (INTERNALDATE SAVEDATE)")
        self.assertEqual(
            line,
            b'* 1 FETCH (INTERNALDATE "01-Jan-2001 00:00:00 +0000"'
            b' SAVEDATE "09-Sep-2001 01:46:40 +0000")',
        )

    def test_a_copy_has_a_date_of_its_own(self) -> None:
        self.client.command("COPY 1 Trash")
        self.client.command("SELECT Trash")
        self.assertIn(b'"11-Sep-2001 01:46:40 +0000"', self.client.command("FETCH 1 SAVEDATE")[0])

    def test_search(self) -> None:
        for key, found in (
            ("SAVEDON 9-Sep-2001", b" 1"),
            ("SAVEDON 8-Sep-2001", b""),
            ("SAVEDBEFORE 10-Sep-2001", b" 1"),
            ("SAVEDBEFORE 9-Sep-2001", b""),
            ("SAVEDSINCE 9-Sep-2001", b" 1"),
            ("SAVEDSINCE 10-Sep-2001", b""),
            ("SAVEDATESUPPORTED", b" 1"),
            ("NOT SAVEDATESUPPORTED", b""),
        ):
            self.assertEqual(self.client.command(f"SEARCH {key}")[0], b"* SEARCH" + found, key)


class StatusTests(SynchronousTestCase):
    """RFC 8438 and RFC 7889"""

    def setUp(self) -> None:
        self.server = Server(max_message_size=1000)
        self.client = self.server.login()

    def test_size(self) -> None:
        self.server.add(b"x" * 100 + b"\r\n", b"y\r\n")
        self.assertEqual(
            self.client.command("STATUS INBOX (SIZE MESSAGES)")[0],
            b'* STATUS "INBOX" (SIZE 105 MESSAGES 2)',
        )

    def test_append_limit(self) -> None:
        self.assertIn(b"APPENDLIMIT=1000", self.client.command("CAPABILITY")[0].split())
        self.assertEqual(
            self.client.command("STATUS INBOX (APPENDLIMIT)")[0],
            b'* STATUS "INBOX" (APPENDLIMIT 1000)',
        )
        (line,) = self.client.command(b"APPEND INBOX {1001+}\r\n" + b"x" * 1001)
        self.assertTrue(line.startswith(b"NO [TOOBIG] "), line)

    def test_switched_off(self) -> None:
        client = Server(without=["STATUS=SIZE", "APPENDLIMIT", "SAVEDATE", "OBJECTID"]).login()
        words = client.command("CAPABILITY")[0]
        for name in (b"SIZE", b"APPENDLIMIT", b"SAVEDATE", b"OBJECTID"):
            self.assertNotIn(name, words)
        client.command("SELECT INBOX")
        for command in ("STATUS INBOX (SIZE)", "FETCH 1 SAVEDATE", "SEARCH SAVEDATESUPPORTED"):
            self.assertTrue(client.command(command)[0].startswith(b"BAD "), command)
