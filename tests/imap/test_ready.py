"""FETCH from what a mailbox has ready: it answers as it does from what has to be made."""

from __future__ import annotations

from typing import Any
from unittest import mock

from tests.imap.messages import NESTED, PLAIN
from tests.imap.support import Client, ServerTestCase, now

UNENDED = b"Subject: no end"
FOLDED = (
    b"to: ann@example.org,\r\n\tbob@example.org\r\nX-To: nobody\r\nSubject : a\r\n b\r\n"
    b"SUBJECT:\r\nNo colon\r\n Subject: folded\r\nDate:\0x\r\n\r\nbody\r\n"
)
BARE = b"Subject: bare\nTo: x\n\nbody\n"
ITEMS = (
    "UID",
    "(UID FLAGS INTERNALDATE RFC822.SIZE)",
    "ENVELOPE",
    "BODYSTRUCTURE",
    "(BODY BODYSTRUCTURE FLAGS)",
    "(MODSEQ EMAILID SAVEDATE)",
    "(THREADID EMAILID)",
    "BODY.PEEK[HEADER.FIELDS (Subject To)]",
    "(BODY.PEEK[HEADER.FIELDS (from)] BODY.PEEK[HEADER.FIELDS (Date)]<3.4>)",
    "BODY.PEEK[HEADER.FIELDS (X-To)]",
    "FULL",
)


class ReadyTestCase(ServerTestCase):
    settings: dict[str, Any] = {}

    def setUp(self) -> None:
        self.server = self.make_server(**self.settings)
        self.server.add(PLAIN, NESTED, UNENDED, FOLDED, BARE, b"", b"\r\n\r\n")
        self.server.add(PLAIN, flags="$Work \\Seen")
        self.client = self.server.login("SELECT INBOX")

    def answers(self, client: Client, numbers: str, uid: bool) -> list[Any]:
        verb = "UID FETCH" if uid else "FETCH"
        return [client.command(f"{verb} {numbers} {items}") for items in ITEMS]

    def compare(self, client: Client, numbers: str, uid: bool = False) -> None:
        # What can be made is made before.
        self.answers(client, numbers, uid)
        ready = self.answers(client, numbers, uid)
        kind = type(self.server.mailbox())
        with mock.patch.object(kind, "read_fields", return_value=None) as asked:
            made = self.answers(client, numbers, uid)
        self.assertTrue(asked.called)
        for items, one, other in zip(ITEMS, ready, made, strict=True):
            self.assertIn(b"OK ", one[-1])
            self.assertEqual(one, other, items)


class ReadyTests(ReadyTestCase):
    def test_all_messages(self) -> None:
        self.compare(self.client, "1:*")
        self.compare(self.client, "1:*", uid=True)

    def test_recent_messages(self) -> None:
        self.assertIn(b"\\Recent", self.client.command("FETCH 1 FLAGS")[0])
        self.compare(self.client, "1:*")
        self.assertNotIn(b"\\Recent", self.server.login("SELECT INBOX").command("FETCH 1 FLAGS")[0])

    def test_some_messages(self) -> None:
        self.compare(self.client, "1,3:4,8")
        self.compare(self.client, "2,7", uid=True)

    def test_messages_that_are_gone(self) -> None:
        now(self.server.mailbox().expunge(uids=[2, 5]))
        for items in ITEMS:
            lines = self.client.command(f"FETCH 1:4 {items}")
            told = [line.split()[1] for line in lines[:-1] if b" FETCH (" in line]
            if items == "UID":
                # The backend is not asked for those.
                self.assertEqual(told, [b"1", b"2", b"3", b"4"])
                continue
            self.assertEqual(told, [b"1", b"3", b"4"], items)
            self.assertEqual(
                lines[-1], b"NO [EXPUNGEISSUED] Some of the messages no longer exist", items
            )
        self.client.command("NOOP")
        self.compare(self.client, "1:*")

    def test_clients_of_rev2_and_of_uids_alone(self) -> None:
        message = (
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
            "Content-Type: message/global\r\n\r\nSubject: Gr\u00fc\u00dfe\r\n\r\n--b--\r\n"
        )
        self.server.add(message.encode())
        self.compare(self.server.login("ENABLE IMAP4rev2", "SELECT INBOX"), "1:*")
        self.compare(self.server.login("ENABLE UIDONLY", "SELECT INBOX"), "1:*", uid=True)

    def test_more_messages_than_are_told_at_once(self) -> None:
        self.server.add(*[b"Subject: %d\r\n\r\n" % number for number in range(1200)])
        self.client.command("NOOP")
        self.compare(self.client, "3:*")

    def test_headers(self) -> None:
        client = self.client
        item = "BODY.PEEK[HEADER.FIELDS (Subject To)]"
        for number, expected in (
            (3, b"Subject: no end\r\n"),
            (4, FOLDED[: FOLDED.index(b"X-To")] + b"Subject : a\r\n b\r\nSUBJECT:\r\n\r\n"),
            (5, b"Subject: bare\nTo: x\n\r\n"),
            (6, b"\r\n"),
        ):
            lines = client.command(f"FETCH {number} {item}")
            self.assertEqual(
                lines[0],
                b"* %d FETCH (BODY[HEADER.FIELDS (Subject To)] {%d}\r\n%b)"
                % (number, len(expected), expected),
            )


class SQLiteReadyTests(ReadyTests):
    sqlite = True


class LastFirstTests(ReadyTestCase):
    settings = {"message_limit": 3}

    def test_the_last_messages_first(self) -> None:
        self.compare(self.client, "1:*", uid=True)


class SQLiteLastFirstTests(LastFirstTests):
    sqlite = True
