"""What one response tells is of one moment, or errs where it does no harm.

Each test lets another session work between two looks of a handler at its mailbox.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides, providedBy

from mailkit.annotations import Annotation
from mailkit.model import FlagOp

from .fakes import PlainAccount
from .support import Client, Server, ServerTestCase, now, split_responses

SEEN = frozenset(("\\Seen",))
PERSONAL = "(personal (MessageNew MessageExpunge FlagChange))"


class Between:
    """An account or a mailbox of which one method is followed by something else, once.

    :ivar after: what comes after which method; shared with the mailboxes that are opened.
    """

    def __init__(self, inner: Any, after: dict[str, Callable[[], object]]) -> None:
        self._inner = inner
        self.after = after
        directlyProvides(self, providedBy(inner))

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name == "open_mailbox":
            return self._open
        if name == "read_fields":
            return lambda **_: None
        if not callable(value) or name.startswith("_"):
            return value

        def call(**arguments: Any) -> Any:
            result = value(**arguments)
            if name not in self.after:
                return result
            return self._follow(result, self.after.pop(name))

        return call

    async def _follow(self, result: Any, work: Callable[[], object]) -> Any:
        result = await result
        work()
        return result

    async def _open(self, name: str) -> Any:
        mailbox = await self._inner.open_mailbox(name=name)
        if "open_mailbox" in self.after:
            self.after.pop("open_mailbox")()
        return Between(mailbox, self.after)


class MomentTestCase(SynchronousTestCase):
    """Four messages; the client's mailboxes let others work between two calls."""

    def setUp(self) -> None:
        self.server = Server()
        self.after: dict[str, Callable[[], object]] = {}
        self.between = Between(self.server.account, self.after)
        self.server.realm.account = self.between
        self.server.add(*[b"x\r\n"] * 4)

    @property
    def box(self) -> Any:
        return self.server.mailbox()

    def flag(self, *uids: int, op: FlagOp = FlagOp.ADD) -> None:
        for uid in uids:
            now(self.box.store_flags(uids=[uid], op=op, flags=SEEN))

    def told_modseq(self, lines: list[bytes], before: int) -> int:
        """HIGHESTMODSEQ of a client that has read these lines (RFC 7162 section 6)."""
        text = b"\r\n".join(lines)
        if codes := re.findall(rb"\[HIGHESTMODSEQ (\d+)\]", text):
            return int(codes[-1])
        return max([before, *map(int, re.findall(rb"MODSEQ \((\d+)\)", text))])

    def open(self, *commands: str) -> tuple[Client, int]:
        client = self.server.login("ENABLE QRESYNC", *commands)
        return client, self.told_modseq(client.command("SELECT INBOX"), 0)

    def told(self, client: Client) -> list[bytes]:
        """What a client is told without having asked."""
        for _ in range(5):
            self.server.clock.advance(0)
        return client.take().split(b"\r\n")[:-1]

    def check_missed(self, known: int, lines: list[bytes], *uids: int) -> None:
        """A client that comes back is told of messages that it has not been told of."""
        client = self.server.login("ENABLE QRESYNC")
        (validity,) = {now(self.box.get_info()).uid_validity}
        again = client.command(f"SELECT INBOX (QRESYNC ({validity} {known}))")
        for uid in uids:
            told = rb"UID %d FLAGS \([^)]*\\Seen" % uid
            self.assertRegex(b"\r\n".join((*lines, *again)), told)


class ModseqTests(MomentTestCase):
    """RFC 7162 section 6: a client takes the highest MODSEQ for what it knows everything of."""

    def test_flags_that_change_again_while_they_are_told(self) -> None:
        client, before = self.open()
        self.flag(1, 2, 3, op=FlagOp.ADD)
        self.flag(1, op=FlagOp.REMOVE)
        # The other way round would be found, too: 1 says that all up to it is known.
        self.after["get_changes"] = lambda: self.flag(4, 1)
        lines = client.command("NOOP")
        self.assertEqual(self.after, {})
        self.check_missed(self.told_modseq(lines, before), lines, 1, 2, 3, 4)
        later = client.command("NOOP")
        for uid in (1, 4):
            self.assertRegex(b"".join(later), rb"UID %d FLAGS \([^)]*\\Seen" % uid)

    def test_annotations_of_what_changes_again(self) -> None:
        client = self.server.login("SELECT INBOX (CONDSTORE ANNOTATE)")
        note = [Annotation("/comment", b"new", shared=True)]
        now(self.box.store_annotations(uids=[1], annotations=note))
        self.after["get_changes"] = lambda: self.flag(1)
        lines = client.command("NOOP")
        self.assertEqual(self.after, {})
        self.assertIn(b"* 1 FETCH (UID 1 ANNOTATION (/comment))", lines)
        self.assertRegex(b"".join(client.command("NOOP")), rb"UID 1 FLAGS \([^)]*\\Seen")

    def test_items_of_messages_that_have_just_come(self) -> None:
        client, before = self.open()
        client.command("NOTIFY SET (selected (MessageNew (FLAGS) MessageExpunge FlagChange))")

        def work() -> None:
            self.flag(4)
            self.flag(5)

        self.after["get_changes"] = work
        # Up to its tagged response, which is all that the client gets.
        lines = split_responses(client.send(b"a APPEND INBOX {3+}\r\nx\r\n\r\n"))
        lines = lines[: [line[:2] for line in lines].index(b"a ") + 1]
        self.assertEqual(self.after, {})
        self.assertTrue(any(b"* 5 FETCH" in line for line in lines), lines)
        self.check_missed(self.told_modseq(lines, before), lines, 4, 5)

    def test_flags_that_are_not_to_be_told(self) -> None:
        client, before = self.open()
        client.command("NOTIFY SET (selected (MessageNew MessageExpunge))")
        self.flag(2)
        lines = [*self.told(client), *client.command("STORE 3 +FLAGS (\\Seen)")]
        self.check_missed(self.told_modseq(lines, before), lines, 2, 3)

    def test_annotations_are_not_older(self) -> None:
        client = self.server.login("SELECT INBOX (CONDSTORE ANNOTATE)")
        note = [Annotation("/comment", b"new", shared=True)]
        self.after["get_annotations"] = lambda: now(
            self.box.store_annotations(uids=[1], annotations=note)
        )
        self.after["get_messages"] = lambda: None
        lines = client.command("FETCH 1 (MODSEQ ANNOTATION (/comment value.shared))")
        (info,) = now(self.box.get_messages(uids=[1]))
        (fetch,) = [line for line in lines if b"value.shared" in line]
        if b"MODSEQ (%d)" % info.modseq in fetch:
            self.assertIn(b"new", fetch)


class StatusTests(MomentTestCase):
    """RFC 3501 section 6.3.10, RFC 9051 section 6.3.11"""

    ITEMS = "(MESSAGES DELETED HIGHESTMODSEQ)"

    def check(self, command: str) -> None:
        def change() -> None:
            deleted = frozenset(("\\Deleted",))
            now(self.box.store_flags(uids=[2], op=FlagOp.ADD, flags=deleted))
            now(self.box.expunge(uids=[1]))

        self.after["count_deleted"] = change
        lines = self.server.login().command(command)
        self.assertEqual(self.after, {})
        (status,) = [line for line in lines if line.startswith(b"* STATUS")]
        (modseq,) = {now(self.box.get_info()).highest_modseq}
        expected = b"(MESSAGES 3 DELETED 1 HIGHESTMODSEQ %d)" % modseq
        self.assertTrue(status.endswith(expected), status)

    def test_messages_that_change_while_they_are_counted(self) -> None:
        self.check(f"STATUS INBOX {self.ITEMS}")

    def test_the_same_in_a_list(self) -> None:
        self.check(f'LIST "" INBOX RETURN (STATUS {self.ITEMS})')


class ExpungeTests(ServerTestCase):
    """RFC 3501 section 6.4.3: what is removed is \\Deleted."""

    def keep(self, command: bytes) -> None:
        server = self.make_server()
        server.add(*[b"x\r\n"] * 3, flags="\\Deleted")
        ann, other = server.login("SELECT INBOX"), server.login("SELECT INBOX")
        told = ann.send(b"a STORE 2 -FLAGS (\\Deleted)\r\n", turn=False)
        other.send(b"b " + command + b"\r\n", turn=False)
        # Whoever is told that the flag is gone finds the message.
        told += ann.send(b"c NOOP\r\n")
        self.assertIn(b"a OK", told)
        self.assertIn(b"d OK", other.send(b"d NOOP\r\n"))
        self.assertEqual(list(now(server.mailbox().list_uids())), [2])

    def test_expunge(self) -> None:
        self.keep(b"EXPUNGE")

    def test_uid_expunge(self) -> None:
        self.keep(b"UID EXPUNGE 1:*")

    def test_close(self) -> None:
        self.keep(b"CLOSE")


class SQLiteExpungeTests(ExpungeTests):
    sqlite = True


class NotifyTests(MomentTestCase):
    """RFC 5465"""

    def test_a_message_that_comes_before_its_mailbox_is_watched(self) -> None:
        now(self.server.account.create_mailbox(name="misc"))
        client = self.server.login()
        self.after["list_mailboxes"] = lambda: self.server.add(b"x\r\n", mailbox="misc")
        lines = client.command(f"NOTIFY SET STATUS {PERSONAL}")
        lines += self.told(client)
        self.assertEqual(self.after, {})
        told = [line for line in lines if line.startswith(b'* STATUS "misc" ')]
        self.assertIn(b"MESSAGES 1", told[-1])
        self.server.add(b"x\r\n", mailbox="misc")
        self.assertIn(b"MESSAGES 2", b"".join(self.told(client)))

    def test_a_message_that_comes_before_a_new_mailbox_is_watched(self) -> None:
        client = self.server.login(f"NOTIFY SET {PERSONAL}")
        now(self.server.account.create_mailbox(name="misc"))
        self.after["list_mailboxes"] = lambda: self.server.add(b"x\r\n", mailbox="misc")
        lines = self.told(client)
        self.assertEqual(self.after, {})
        told = [line for line in lines if line.startswith(b'* STATUS "misc" ')]
        self.assertTrue(told and b"MESSAGES 1" in told[-1], lines)

    def test_a_mailbox_that_is_renamed_while_it_is_looked_at(self) -> None:
        account = self.server.account
        now(account.create_mailbox(name="misc"))
        client = self.server.login(f"NOTIFY SET {PERSONAL[:-2]} MailboxName))")
        self.server.add(b"x\r\n", mailbox="misc")
        self.after["open_mailbox"] = lambda: now(
            account.rename_mailbox(name="misc", new_name="other")
        )
        told = self.told(client)
        self.assertEqual(self.after, {})
        self.assertIn(b'* LIST (\\HasNoChildren) "/" "other" ("OLDNAME" ("misc"))', told)
        self.assertIn(b'* STATUS "other" (UIDNEXT 2 MESSAGES 1 UNSEEN 1)', told)

    def test_news_while_a_message_comes(self) -> None:
        """The answer to APPEND has its tag (RFC 3501 section 2.2.2)."""
        client = self.server.login("SELECT INBOX")
        client.command("NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))")
        for ending in (b"lo\r\n", b"l\r\n"):
            self.assertEqual(client.send(b"a1 APPEND INBOX {5}\r\n")[:1], b"+")
            client.send(b"hel")
            self.server.add(b"x\r\n")
            lines = [*self.told(client), *client.send(ending).split(b"\r\n")]
            tagged = [line for line in lines if line.startswith(b"a1 ")]
            self.assertEqual(len(tagged), 1, lines)
            self.assertNotIn(b"* OK [APPENDUID", b"".join(lines))
            if not ending.startswith(b"lo"):
                client.send(b"\r\n")
        self.assertIn(b"EXISTS", b"".join(client.command("NOOP") + lines))


class PlainTests(SynchronousTestCase):
    """A store whose counters and list of messages have to be asked for one after the other."""

    def test_a_message_that_comes_while_the_mailbox_is_opened(self) -> None:
        server = Server()
        after: dict[str, Callable[[], object]] = {}
        server.realm.account = Between(PlainAccount(server.account), after)
        server.add(b"x\r\n")
        client = server.login()
        after["get_info"] = lambda: server.add(b"x\r\n")
        lines = client.command("SELECT INBOX")
        self.assertIn(b"* 2 EXISTS", lines)
        self.assertIn(b"* OK [UIDNEXT 3] Next UID", lines)
        self.assertEqual(client.command("FETCH 2 FLAGS")[0], b"* 2 FETCH (FLAGS (\\Recent))")
        now(server.mailbox().store_flags(uids=[2], op=FlagOp.ADD, flags=SEEN))
        self.assertEqual(client.command("NOOP")[0], b"* 2 FETCH (FLAGS (\\Recent \\Seen))")
