"""The check finds what is wrong."""

from __future__ import annotations

import os
import sqlite3

from mailkit.errors import StoreCorrupt, StoreUnavailable
from mailkit.model import FlagOp
from mailkit.store.sqlite.check import check_store
from mailkit.store.sqlite.migrations import MIGRATIONS
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.schema import INDEX_NAME

from .helpers import ANN, BOB, StoreTestCase, appended, message


class CheckTests(StoreTestCase):
    async def store_with_mail(self) -> None:
        store = await self.make_store(ANN, BOB)
        for number in range(1, 6):
            await self.deliver(store, message(number), ANN, BOB)
        inbox = await self.mailbox(store)
        await inbox.store_flags(uids=[1, 2], op=FlagOp.ADD, flags=frozenset({"\\Seen", "Work"}))
        await inbox.expunge(uids=[3])
        await self.close_store(store)

    def spoil(self, sql: str) -> list[str]:
        """Change the index behind the store's back; gives what the check says."""
        index = os.path.join(self.directory, INDEX_NAME)
        connection = sqlite3.connect(index)
        self.addCleanup(connection.close)
        before = sqlite3.connect(":memory:")
        self.addCleanup(before.close)
        connection.backup(before)
        connection.execute(sql)
        connection.commit()
        problems = check_store(self.directory).problems
        before.backup(connection)
        return problems

    async def test_what_is_wrong_with_the_index(self) -> None:
        await self.store_with_mail()
        self.check()
        for sql, text in (
            ("UPDATE mailbox SET messages = messages + 1 WHERE id = 1", "counts 5 messages"),
            ("UPDATE mailbox SET unseen = 0 WHERE id = 1", "0 unseen of 2"),
            ("UPDATE mailbox SET size = 1 WHERE id = 1", "1 octets of"),
            ("UPDATE mailbox SET uid_next = 2 WHERE id = 1", "says that the next one is 2"),
            ("UPDATE mailbox SET highest_modseq = 2 WHERE id = 1", "that the highest is 2"),
            ("UPDATE message SET created_modseq = 1 WHERE mailbox_id = 1 AND uid = 5", "order"),
            ("UPDATE message SET size = 1 WHERE mailbox_id = 1 AND uid = 5", "has 1 octets, but"),
            ("UPDATE message SET mailbox_id = 99 WHERE uid = 5 AND mailbox_id = 1", "mailbox 99"),
            ("INSERT INTO vanished VALUES (1, 4, 1, 1)", "said to have vanished (1:1)"),
            ("DELETE FROM changed", "of which nobody is told"),
            ("DELETE FROM body WHERE id = 3", "has no body (number 3)"),
            ("UPDATE body SET refs = 7 WHERE id = 3", "counts 7 messages where there are 2"),
            ("DELETE FROM keyword_set", "keywords that are not known"),
            ("UPDATE segment SET dead = 5", "counts 5 octets of garbage"),
            ("DELETE FROM mailbox WHERE id = 7", f"account {BOB} has no INBOX"),
            ("DELETE FROM domain", f"account {ANN} is in a domain that is not served"),
            ("DELETE FROM account WHERE id = 2", "belongs to no account"),
            ("INSERT INTO acl VALUES (99, 'anyone', 'l')", "anyone has rights in mailbox 99"),
            ("INSERT INTO acl VALUES (1, '-x@y', 'l')", "-x@y has rights in mailbox 1 (INBOX)"),
            ("INSERT INTO alias VALUES ('x@example.org', '[')", "alias x@example.org cannot be"),
            ("UPDATE body SET start = start + 1 WHERE id = 3", "start wrong"),
            ("UPDATE body SET position = position + 1 WHERE id = 3", "No record"),
            ("UPDATE body SET segment = 9 WHERE id = 3", "segment 9 cannot be opened"),
            ("INSERT INTO thread_key VALUES (99, 1, 1)", "1 keys of conversations belong to"),
            ("PRAGMA user_version = 0", "the index is empty"),
        ):
            problems = self.spoil(sql)
            self.assertTrue(any(text in line for line in problems), (sql, text, problems))
        self.check()

    async def test_an_index_of_another_version_is_not_called_damaged(self) -> None:
        await self.store_with_mail()
        known = len(MIGRATIONS)
        index = sqlite3.connect(os.path.join(self.directory, INDEX_NAME), isolation_level=None)
        self.addCleanup(index.close)
        for version, kind, text in (
            (known - 1, StoreUnavailable, f"an older mailkit.*up to version {known}"),
            (known + 1, StoreCorrupt, f"version {known + 1}, made by a newer mailkit"),
        ):
            index.execute(f"PRAGMA user_version = {version}")
            error = self.assertRaises(kind, check_store, self.directory)
            self.assertRegex(error.text, text)
        index.execute(f"PRAGMA user_version = {known}")
        self.check()

    async def test_damaged_bodies_are_named(self) -> None:
        await self.store_with_mail()
        path = os.path.join(self.directory, "log", self.log_files()[0])
        with open(path, "r+b") as file:
            file.seek(file.read().index(b"line of message 2"))
            file.write(b"L")
        (problem,) = check_store(self.directory).problems
        self.assertIn(f"{ANN}, INBOX, UID 2", problem)
        self.assertIn("checksum", problem)

    async def test_many_problems_of_a_kind_are_counted(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(*map(message, range(30))))
        await self.close_store(store)
        os.unlink(os.path.join(self.directory, "log", self.log_files()[0]))
        problems = check_store(self.directory).problems
        self.assertEqual((len(problems), problems[-1]), (21, "... and 10 more of the kind"))

    async def test_beside_a_server(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        self.check()
        self.assertEqual(check_store(self.directory).counts["message"], 1)

    def test_no_store(self) -> None:
        self.assertRaises(StoreUnavailable, check_store, self.directory)
        self.assertRaises(StoreUnavailable, repair_store, self.directory)

    async def test_a_damaged_index(self) -> None:
        await self.store_with_mail()
        path = os.path.join(self.directory, INDEX_NAME)
        with open(path, "r+b") as file:
            file.seek(3 * 4096)
            file.write(b"\xff" * 4096 * 6)
        self.assertNotEqual(check_store(self.directory).problems, [])
