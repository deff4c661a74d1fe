"""Where the standards leave no choice and servers differ all the same, a test each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from twisted.trial.unittest import SynchronousTestCase

from mailkit.model import CopyResult
from mailkit.store.memory_mailbox import MemoryMailbox
from tests.imap.messages import PLAIN
from tests.imap.support import Server

_Transfer: TypeAlias = Callable[[MemoryMailbox, Sequence[int], str], Awaitable[CopyResult]]


class FetchTests(SynchronousTestCase):
    def setUp(self) -> None:
        server = Server()
        server.add(b"0123456789\r\n")
        self.client = server.login("SELECT INBOX")

    def test_two_parts_of_one_section_that_begin_at_one_octet(self) -> None:
        # RFC 3501 section 6.4.5: each item is answered, though both are called BODY[]<0>.
        self.assertEqual(
            self.client.command("FETCH 1 (BODY.PEEK[]<0.2> BODY.PEEK[]<0.4> BODY.PEEK[]<0.2>)")[0],
            b"* 1 FETCH (BODY[]<0> {2}\r\n01 BODY[]<0> {4}\r\n0123)",
        )

    def test_numbers_beyond_32_bits(self) -> None:
        # RFC 3501 section 9, number.
        for item in (
            "BODY.PEEK[]<4294967296.1>", "BODY.PEEK[]<0.4294967296>", "BODY.PEEK[4294967296]",
            "BODY.PEEK[1.4294967296.MIME]",
        ):  # fmt: skip
            (response,) = self.client.command("FETCH 1 " + item)
            self.assertTrue(response.startswith(b"BAD "), item)
        for item in ("BODY.PEEK[]<4294967295.4294967295>", "BODY.PEEK[4294967295]"):
            self.assertEqual(len(self.client.command("FETCH 1 " + item)), 2, item)


class TagTests(SynchronousTestCase):
    def test_what_only_begins_like_a_tag_is_not_answered_as_one(self) -> None:
        # RFC 3501 section 7.1.3: an untagged BAD. "a" may be the tag of another command.
        client = Server().connect()
        for line in (b"a+ NOOP", b"a* NOOP", b"a\x80 NOOP", b"a\tNOOP", b'a"b NOOP'):
            self.assertEqual(client.send(line + b"\r\n")[:6], b"* BAD ", line)
        for line in (b"a", b"a ", b"a  NOOP"):
            self.assertEqual(client.send(line + b"\r\n")[:6], b"a BAD ", line)


class SearchTests(SynchronousTestCase):
    def test_a_date_with_one_quote(self) -> None:
        # RFC 3501 section 9, date.
        client = Server().login("SELECT INBOX")
        for date in ('"1-Feb-1994', '1-Feb-1994"', '"1-Feb-1994" "'):
            (response,) = client.command("SEARCH SINCE " + date)
            self.assertTrue(response.startswith(b"BAD "), date)
        for date in ('"1-Feb-1994"', "01-Feb-1994"):
            self.assertEqual(client.command("SEARCH SINCE " + date)[0], b"* SEARCH")


class ListTests(SynchronousTestCase):
    def test_the_level_above_the_children_of_inbox_in_any_case(self) -> None:
        # RFC 3501 section 5.1; what SELECT takes, LIST and LSUB find.
        client = Server().login("CREATE INBOX/Child", "CREATE INBOX/Child/x", "SUBSCRIBE inbox/x")
        child, deep = b'"INBOX/Child"', b'"INBOX/Child/x"'
        for arguments, names in [
            ('"" "inbox/%"', [child]),
            ('"" "Inbox/Child"', [child]),
            ('"inbox/" "%"', [child]),
            ('"" "inb*"', [b'"INBOX"', child, deep]),
            ('"" "%nbox/C%"', [child]),
            ('"" "inbox/*/x"', [deep]),
            ('"" "*x"', [b'"INBOX"', deep]),
            # Only the first level has no case.
            ('"" "INBOX/child"', []),
            ('"" "INBOX/CHILD/%"', []),
        ]:
            lines = client.command("LIST " + arguments)[:-1]
            self.assertEqual([line.split(b' "/" ')[1] for line in lines], names, arguments)
        self.assertEqual(
            client.command('LSUB "" "iNbOx/%"')[:-1], [b'* LSUB (\\Noselect) "/" "INBOX/x"']
        )


def _slowly(transfer: _Transfer) -> _Transfer:
    """As if somebody else had expunged the first of the messages meanwhile."""

    async def slow(mailbox: MemoryMailbox, uids: Sequence[int], destination: str) -> CopyResult:
        await mailbox.expunge(uids=uids[:1])
        return await transfer(mailbox, uids, destination)

    return slow


class TwoSessionTests(SynchronousTestCase):
    """RFC 2180 section 4: what becomes of commands on messages that somebody else expunged."""

    def setUp(self) -> None:
        self.server = Server()
        self.server.add(PLAIN, PLAIN, PLAIN, PLAIN)
        self.ann = self.server.login("SELECT INBOX")
        bob = self.server.login("SELECT INBOX")
        bob.command("STORE 2 +FLAGS.SILENT (\\Deleted)")
        bob.command("EXPUNGE")

    def copies(self) -> int:
        (line, _) = self.ann.command("STATUS Trash (MESSAGES)")
        return int(line.split(b"MESSAGES ")[1][:-1])

    def test_storing_silently_succeeds(self) -> None:
        # RFC 2180 section 4.2.1
        self.assertEqual(
            self.ann.command("STORE 1:3 +FLAGS.SILENT (\\Seen)"),
            [b"OK [EXPUNGEISSUED] STORE completed"],
        )
        self.assertEqual(
            self.ann.command("STORE 2 +FLAGS.SILENT (\\Seen)"),
            [b"OK [EXPUNGEISSUED] STORE completed"],
        )
        self.assertEqual(self.ann.command("SEARCH SEEN")[0], b"* SEARCH 1 3")

    def test_storing_aloud_tells_of_the_rest_and_fails(self) -> None:
        # RFC 2180 section 4.2.3
        lines = self.ann.command("STORE 1:2 +FLAGS (\\Seen)")
        self.assertEqual(lines[0], b"* 1 FETCH (FLAGS (\\Recent \\Seen))")
        self.assertTrue(lines[-1].startswith(b"NO [EXPUNGEISSUED] "), lines)

    def test_copying_by_number_copies_nothing(self) -> None:
        # RFC 2180 section 4.4.1, RFC 3501 section 6.4.7: all or nothing.
        lines = self.ann.command("COPY 1:3 Trash")
        self.assertEqual(lines[0], b"* 2 EXPUNGE")
        self.assertTrue(lines[-1].startswith(b"NO [EXPUNGEISSUED] "), lines)
        self.assertEqual(self.copies(), 0)
        self.assertTrue(self.ann.command("COPY 1:3 Trash")[-1].startswith(b"OK [COPYUID "))

    def test_moving_by_number_moves_nothing(self) -> None:
        lines = self.ann.command("MOVE 2:3 Trash")
        self.assertEqual(lines[0], b"* 2 EXPUNGE")
        self.assertTrue(lines[-1].startswith(b"NO [EXPUNGEISSUED] "), lines)
        self.assertEqual(self.copies(), 0)
        self.assertEqual(self.ann.command("UID SEARCH ALL")[0], b"* SEARCH 1 3 4")

    def test_a_message_that_vanishes_while_it_is_copied(self) -> None:
        for command, kept, uids in (
            ("COPY 1:3 Trash", 0, b"* SEARCH 3 4"),
            ("MOVE 1:2 Trash", 1, b"* SEARCH"),
        ):
            self.ann.command("NOOP")
            name = f"{command.split()[0].lower()}_messages"
            transfer = getattr(MemoryMailbox, name)
            self.patch(MemoryMailbox, name, _slowly(transfer))
            lines = self.ann.command(command)
            self.patch(MemoryMailbox, name, transfer)
            self.assertIn(b"* 1 EXPUNGE", lines)
            self.assertTrue(lines[-1].startswith(b"NO [EXPUNGEISSUED] "), lines)
            self.assertEqual(self.copies(), kept)
            self.assertEqual(self.ann.command("UID SEARCH ALL")[0], uids)

    def test_copying_others_by_number(self) -> None:
        lines = self.ann.command("COPY 1,3 Trash")
        self.assertTrue(lines[-1].startswith(b"OK [COPYUID "), lines)
        self.assertEqual(self.copies(), 2)

    def test_copying_by_uid_ignores_what_is_gone(self) -> None:
        # RFC 3501 section 6.4.8
        lines = self.ann.command("UID COPY 1:3 Trash")
        self.assertTrue(lines[-1].startswith(b"OK [COPYUID "), lines)
        self.assertEqual(self.copies(), 2)


class RecentTests(SynchronousTestCase):
    def test_the_number_changes_with_an_expunge(self) -> None:
        # RFC 3501 section 7.3.2: sent when the size of the mailbox changes.
        server = Server()
        server.add(PLAIN, PLAIN)
        client = server.login("SELECT INBOX", "UNSELECT")
        server.add(PLAIN, PLAIN)
        client.command("SELECT INBOX")
        client.command("STORE 1,3 +FLAGS.SILENT (\\Deleted)")
        self.assertEqual(
            client.command("EXPUNGE")[:-1], [b"* 3 EXPUNGE", b"* 1 EXPUNGE", b"* 1 RECENT"]
        )
        client.command("STORE 1 +FLAGS.SILENT (\\Deleted)")
        self.assertEqual(client.command("EXPUNGE")[:-1], [b"* 1 EXPUNGE"])

    def test_status_of_the_selected_mailbox(self) -> None:
        # RFC 3501 section 6.3.10: RECENT counts what is \\Recent, and that is so in this session.
        server = Server()
        server.add(PLAIN)
        ann = server.login("SELECT INBOX", "UNSELECT")
        server.add(PLAIN, PLAIN)
        ann.command("SELECT INBOX")
        bob = server.login("EXAMINE INBOX")
        recent = [b'* STATUS "INBOX" (RECENT %d)' % count for count in range(5)]
        self.assertEqual(ann.command("STATUS INBOX (RECENT)")[0], recent[2])
        self.assertEqual(bob.command("STATUS INBOX (RECENT)")[0], recent[0])
        server.add(PLAIN)
        self.assertEqual(ann.command("STATUS INBOX (RECENT)")[0], recent[3])
        server.add(PLAIN)
        self.assertEqual(bob.command("STATUS INBOX (RECENT)")[0], recent[1])


class LeniencyTests(SynchronousTestCase):
    """What the ABNF forbids and clients send all the same."""

    def test_a_date_time_without_its_leading_blank(self) -> None:
        client = Server().login("SELECT INBOX")
        command = 'APPEND INBOX "1-Jan-2020 10:00:00 +0100" {3+}\r\nabc'
        self.assertTrue(client.command(command)[-1].startswith(b"OK "))
        self.assertEqual(
            client.command("FETCH 1 INTERNALDATE")[0],
            b'* 1 FETCH (INTERNALDATE "01-Jan-2020 09:00:00 +0000")',
        )

    def test_8_bit_octets_in_a_quoted_string(self) -> None:
        # imap-tools sends searches like this one; so do many scripts.
        server = Server()
        server.add("Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\r\nkäse\r\n".encode())
        client = server.login("SELECT INBOX")
        for command in ('SEARCH CHARSET UTF-8 SUBJECT "grüße"', 'SEARCH BODY "KÄSE"'):
            self.assertEqual(client.command(command)[0], b"* SEARCH 1", command)
        self.assertEqual(
            client.command('SELECT "Entwürfe"')[-1],
            b"NO [NONEXISTENT] No such mailbox",
        )
        checker = next(iter(server.factory.portal.checkers.values()))  # type: ignore[union-attr]
        checker.addUser("jörg@example.org".encode(), "häßlich".encode())
        (response,) = server.connect().command('LOGIN "jörg@example.org" "häßlich"')
        self.assertTrue(response.startswith(b"OK "), response)
