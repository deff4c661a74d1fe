"""SORT (RFC 5256), SORT=DISPLAY (RFC 5957), ESORT (RFC 5267 section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit.errors import NoSuchMessage, StoreUnavailable
from mailkit.interfaces import IMailbox
from mailkit.model import AppendMessage
from mailkit.spool import Spool
from mailkit.store.memory_mailbox import MemoryMailbox
from mailkit.testing.sorting import MESSAGES, ORDERS
from tests.imap.support import Server, now

SUBJECTS = (b"delta", b"Re: Alpha", b"charlie", b"alpha", b"[x] bravo", b"fwd: BRAVO")


@implementer(IMailbox)
class PlainMailbox:
    """Nothing but what is asked of every mailbox."""

    def __init__(self, mailbox: Any) -> None:
        for name in ("name", "get_info", "list_uids", "get_messages", "open_message"):
            setattr(self, name, getattr(mailbox, name))
        self.get_changes = mailbox.get_changes


class SortCase(SynchronousTestCase):
    """Six messages with the UIDs 2 to 7."""

    def setUp(self) -> None:
        self.server = Server()
        uids = self.server.add(
            b"\r\n", *(b"Subject: %b\r\nDate: %d Jan 2024\r\n\r\n" % (subject, 9 - day)
                       for day, subject in enumerate(SUBJECTS))
        )  # fmt: skip
        now(self.server.mailbox().expunge(uids=uids[:1]))
        self.client = self.server.login("SELECT INBOX")

    def ask(self, command: str) -> list[bytes]:
        return self.client.command(command)

    def check(self, command: str, *responses: bytes) -> None:
        lines = self.ask(command)
        expected = [line.replace(b"TAG", b'(TAG "t%d")' % self.client._tags) for line in responses]
        self.assertEqual(lines, [*expected, b"OK SORT completed"], command)

    def check_bad(self, command: str) -> None:
        (line,) = self.ask(command)
        self.assertTrue(line.startswith(b"BAD "), (command, line))


class SortTests(SortCase):
    def test_subjects(self) -> None:
        self.check("SORT (SUBJECT) UTF-8 ALL", b"* SORT 2 4 5 6 3 1")
        self.check("SORT (SUBJECT REVERSE DATE) US-ASCII ALL", b"* SORT 2 4 5 6 3 1")
        self.check("SORT (SUBJECT DATE) US-ASCII ALL", b"* SORT 4 2 6 5 3 1")
        self.check("SORT (REVERSE SUBJECT) utf-8 ALL", b"* SORT 1 3 5 6 2 4")
        self.check("UID SORT (SUBJECT) UTF-8 ALL", b"* SORT 3 5 6 7 4 2")

    def test_searching(self) -> None:
        self.check('SORT (DATE) "UTF-8" 2:4', b"* SORT 4 3 2")
        self.check("SORT (date) UTF-8 SUBJECT alpha NOT 4", b"* SORT 2")
        self.check('SORT (SUBJECT) US-ASCII TEXT "not in mailbox"', b"* SORT")
        self.check("UID SORT (ARRIVAL) UTF-8 UID 3:4 1:*", b"* SORT 3 4")

    def test_numbers_where_some_are_missing(self) -> None:
        now(self.server.mailbox().expunge(uids=[4]))
        self.ask("NOOP")
        self.check("SORT (SUBJECT) UTF-8 ALL", b"* SORT 2 3 4 5 1")

    def test_what_came_since_is_not_in_it(self) -> None:
        self.server.add(b"Subject: aaa\r\n\r\n")
        self.check("SORT (SUBJECT) UTF-8 ALL",
                   b"* SORT 2 4 5 6 3 1", b"* 7 EXISTS", b"* 7 RECENT")  # fmt: skip
        self.check("SORT (SUBJECT) UTF-8 ALL", b"* SORT 7 2 4 5 6 3 1")

    def test_what_is_gone(self) -> None:
        now(self.server.mailbox().expunge(uids=[2]))
        # RFC 5256: EXPUNGE is not permitted while the server is responding to SORT.
        self.assertEqual(
            self.ask("SORT (SIZE) UTF-8 1:2"),
            [b"* SORT 2", b"OK [EXPUNGEISSUED] SORT completed"],
        )
        self.check("UID SORT (SIZE) UTF-8 1:2", b"* SORT 3", b"* 1 EXPUNGE", b"* 5 RECENT")

    def test_empty_mailbox(self) -> None:
        self.ask("SELECT Trash")
        self.check("SORT (DATE SUBJECT) UTF-8 ALL", b"* SORT")

    def test_modification_sequences(self) -> None:
        # RFC 7162 section 3.1.9
        self.ask("STORE 4 +FLAGS (\\Flagged)")
        lines = self.ask("SORT (SUBJECT) UTF-8 MODSEQ 1 4:6")
        self.assertRegex(lines[-2], rb"\A\* SORT 4 5 6 \(MODSEQ \d+\)\Z")
        self.check("SORT (SUBJECT) UTF-8 MODSEQ 1 NOT ALL", b"* SORT")

    def test_wrong_commands(self) -> None:
        for arguments in (
            "", "SUBJECT UTF-8 ALL", "() UTF-8 ALL", "(FOO) UTF-8 ALL", "(REVERSE) UTF-8 ALL",
            "(REVERSE REVERSE DATE) UTF-8 ALL", "(SUBJECT) UTF-8", "(SUBJECT)", "(SUBJECT ) UTF-8 ALL",
            "(SUBJECT) UTF-8 NONSENSE", f"({' '.join(['DATE'] * 21)}) UTF-8 ALL",
            "(SUBJECT) UTF-8 ALL ", "RETURN (FOO) (DATE) UTF-8 ALL", "RETURN (ALL) UTF-8 ALL",
        ):  # fmt: skip
            if not arguments.endswith("ALL "):
                self.check_bad(f"SORT {arguments}")
        self.ask("CLOSE")
        self.check_bad("SORT (DATE) UTF-8 ALL")

    def test_unknown_charset(self) -> None:
        (line,) = self.ask("SORT (DATE) X-NONE ALL")
        self.assertTrue(line.startswith(b"NO [BADCHARSET"), line)

    def test_a_store_that_fails(self) -> None:
        async def fail(mailbox: object, uids: object, structure: bool) -> None:
            raise StoreUnavailable

        self.patch(MemoryMailbox, "get_summaries", fail)
        (line,) = self.ask("SORT (DATE) UTF-8 ALL")
        self.assertTrue(line.startswith(b"NO "), line)
        self.check("SORT (SIZE) UTF-8 1", b"* SORT 1")


class OrderTests(SynchronousTestCase):
    """The orders of the contract, on a backend that does not sort."""

    def setUp(self) -> None:
        self.server = Server()
        self.box = self.server.mailbox()
        now(self.box.append(messages=[
            AppendMessage(Spool.from_bytes(content), frozenset(), date)
            for content, date in MESSAGES
        ]))  # fmt: skip

    def check(self) -> None:
        client = self.server.login("SELECT INBOX")
        for criteria, order in ORDERS:
            words = " ".join(
                ("REVERSE " if criterion.reverse else "") + criterion.key.value
                for criterion in criteria
            )
            numbers = b" ".join(b"%d" % (number + 1) for number in order)
            (line, _) = client.command(f"SORT ({words}) UTF-8 ALL")
            self.assertEqual(line, b"* SORT " + numbers, words)

    def test_with_summaries(self) -> None:
        self.check()

    def test_without_summaries(self) -> None:
        async def open_mailbox(name: str) -> PlainMailbox:
            return PlainMailbox(self.box)

        self.patch(self.server.account, "open_mailbox", open_mailbox)
        self.check()

    def test_a_message_that_vanishes_meanwhile(self) -> None:
        plain = PlainMailbox(self.box)
        works = self.box.open_message

        async def open_message(uid: int) -> Any:
            if uid == 2:
                raise NoSuchMessage
            return await works(uid=uid)

        async def open_mailbox(name: str) -> PlainMailbox:
            return plain

        self.patch(plain, "open_message", open_message)
        self.patch(self.server.account, "open_mailbox", open_mailbox)
        client = self.server.login("SELECT INBOX")
        self.assertEqual(client.command("SORT (SUBJECT) UTF-8 ALL")[0], b"* SORT 4 1 3")


class ESortTests(SortCase):
    def test_each_option(self) -> None:
        for options, result in (
            ("MIN", b"MIN 2"),
            ("MAX", b"MAX 1"),
            ("COUNT", b"COUNT 6"),
            # RFC 5267 section 3.2: ranges ascend.
            ("ALL", b"ALL 2,4:6,3,1"),
            ("", b"ALL 2,4:6,3,1"),
            ("MIN MAX COUNT", b"MIN 2 MAX 1 COUNT 6"),
            ("PARTIAL 1:2", b"PARTIAL (1:2 2,4)"),
            ("PARTIAL -1:-2", b"PARTIAL (-1:-2 3,1)"),
            ("PARTIAL 9:10", b"PARTIAL (9:10 NIL)"),
        ):
            command = f"SORT RETURN ({options}) (SUBJECT) UTF-8 ALL"
            self.check(command, b"* ESEARCH TAG " + result)
        self.check("UID SORT RETURN () (REVERSE DATE) UTF-8 ALL",
                   b"* ESEARCH TAG UID ALL 2:7")  # fmt: skip
        self.check("UID SORT RETURN () (DATE) UTF-8 ALL", b"* ESEARCH TAG UID ALL 7,6,5,4,3,2")

    def test_nothing_found(self) -> None:
        self.check("SORT RETURN (MIN ALL COUNT) (DATE) UTF-8 NOT ALL", b"* ESEARCH TAG COUNT 0")

    def test_saved(self) -> None:
        for options, saved in (
            ("SAVE", b"1 2 3 4 5 6"),
            ("SAVE MIN", b"2"),
            ("SAVE MAX MIN", b"1 2"),
            ("SAVE PARTIAL 2:3", b"4 5"),
        ):
            self.ask(f"SORT RETURN ({options}) (SUBJECT) UTF-8 ALL")
            self.assertEqual(self.ask("SEARCH $")[0], b"* SEARCH " + saved)
        self.ask("SORT RETURN (SAVE) (SUBJECT) X-NONE ALL")
        self.assertEqual(self.ask("SEARCH $")[0], b"* SEARCH")

    def test_modification_sequences(self) -> None:
        # RFC 7162 section 3.1.10
        lines = self.ask("SORT RETURN (MIN) (DATE) UTF-8 MODSEQ 1")
        self.assertRegex(lines[-2], rb"MIN 6 MODSEQ \d+\Z")


class SwitchTests(SynchronousTestCase):
    def commands(self, *without: str) -> tuple[list[bytes], Sequence[bool]]:
        """Capabilities, and which of three commands are understood."""
        server = Server(without=without)
        server.add(b"\r\n")
        client = server.login("SELECT INBOX")
        words = client.command("CAPABILITY")[0].split()
        return words, [
            client.command(command)[-1].startswith(b"OK ")
            for command in (
                "SORT (DATE) UTF-8 ALL",
                "UID SORT (DISPLAYFROM) UTF-8 ALL",
                "SORT RETURN () (DATE) UTF-8 ALL",
            )
        ]

    def test_all(self) -> None:
        words, understood = self.commands()
        self.assertEqual(understood, [True, True, True])
        for name in (b"SORT", b"SORT=DISPLAY", b"ESORT"):
            self.assertIn(name, words)

    def test_without(self) -> None:
        for name, gone, expected in (
            ("SORT", (b"SORT", b"SORT=DISPLAY", b"ESORT"), [False, False, False]),
            ("SORT=DISPLAY", (b"SORT=DISPLAY",), [True, False, True]),
            ("ESORT", (b"ESORT",), [True, True, False]),
        ):
            words, understood = self.commands(name)
            self.assertEqual(understood, expected, name)
            self.assertFalse(set(gone) & set(words))
