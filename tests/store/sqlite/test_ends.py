"""Which bodies do not end with CRLF: noted, kept, made again, removed."""

from __future__ import annotations

import os
import sqlite3
from unittest import mock

from mailkit.model import AppendMessage, FlagOp
from mailkit.spool import Spool
from mailkit.store.sqlite import SQLiteStore, StoreSettings, ends
from mailkit.store.sqlite.check import check_store
from mailkit.store.sqlite.migrations import MIGRATIONS
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.schema import INDEX_NAME
from mailkit.store.sqlite.versions import run_step

from .helpers import ANN, BOB, StoreTestCase, appended, message

#: Messages by UID, and those that lack the line end at their end.
CONTENTS = (message(1), b"x", message(3) + b".", message(4), b"", b"y\n")
UNENDED = [2, 3, 6]
SMALL = StoreSettings(
    maintenance_interval=3600.0, ahead_delay=3600.0, large_body=10_000, spool_memory=1000
)


class EndsTests(StoreTestCase):
    async def filled(self) -> SQLiteStore:
        store = await self.make_store(ANN, BOB, settings=SMALL)
        await (await self.mailbox(store)).append(messages=appended(*CONTENTS))
        return store

    async def unended(
        self, store: SQLiteStore, account: str = ANN, name: str = "INBOX"
    ) -> list[int]:
        mailbox = await self.mailbox(store, account, name)
        return list(await mailbox.list_unended(uids=await mailbox.list_uids()))

    def rows(self, store: SQLiteStore) -> int:
        (count,) = store.connection().execute("SELECT count(*) FROM unended_body").fetchone()
        return int(count)

    def change_index(self, *statements: str) -> None:
        connection = sqlite3.connect(os.path.join(self.directory, INDEX_NAME))
        for sql in statements:
            connection.execute(sql)
        connection.commit()
        connection.close()

    async def test_ordinary_mail_leaves_no_rows(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        await (await self.mailbox(store)).append(messages=appended(message(2), b""))
        self.assertEqual((self.rows(store), await self.unended(store)), (0, []))

    async def test_pieces_of_every_size(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        contents = []
        for pieces in (
            (b"x" * 2000, b"\r\n"),
            (b"x" * 2000, b"y" * 2000 + b"\r", b"\n" + b"z" * 2000, b"\r", b"\n"),
            (b"x" * 2000, b"y" * 2000 + b"\r", b"\n"),
            (b"x" * 2000, b"\r", b"\r"),
            (b"x" * 1_400_000, b"y" * 2000, b"\n"),
            (b"x" * 1_400_000, b"y" * 2000, b"\r\n"),
        ):
            spool = store.new_spool()
            for piece in pieces:
                spool.write(piece)
            spool.prepend(b"X: y\r\n")
            self.assertIsNone(spool.path)
            await inbox.append(messages=[AppendMessage(spool)])
            spool.close()
            contents.append(b"X: y\r\n" + b"".join(pieces))
        self.assertTrue(await self.contents(store) == contents)
        self.assertEqual(await self.unended(store), [4, 5])
        await self.close_store(store)
        self.assertEqual(check_store(self.directory).problems, [])

    async def test_spools_of_every_kind(self) -> None:
        store = await self.make_store(settings=SMALL)
        inbox = await self.mailbox(store)
        expected = []
        for size in (10, 5000, 50_000):
            for prefix in (b"", b"Received: x\r\n"):
                for end in (b"", b"\n", b"\r", b"x"):
                    spool = store.new_spool()
                    spool.write(message(1, size))
                    spool.write(end)
                    spool.prepend(prefix)
                    (uid,) = (await inbox.append(messages=[AppendMessage(spool)])).uids
                    spool.close()
                    if end:
                        expected.append(uid)
        # In a file of another place; the first read, of a megabyte, ends between CR and LF; nothing
        # but a prefix.
        for content in (b"x" * ((1 << 20) - 3) + b"\r\n", b"x" * (1 << 20) + b"\r", b""):
            spool = Spool(memory_limit=-1)
            spool.write(content)
            spool.prepend(b"\r\n")
            (uid,) = (await inbox.append(messages=[AppendMessage(spool)])).uids
            spool.close()
            if content.endswith(b"\r"):
                expected.append(uid)
        self.assertEqual(await self.unended(store), expected)
        await self.close_store(store)
        self.check()

    async def test_copies_and_moves_of_messages(self) -> None:
        store = await self.filled()
        inbox = await self.mailbox(store)
        await inbox.copy_messages(uids=[1, 2], destination="Sent")
        await inbox.move_messages(uids=[3, 4], destination="Sent")
        self.assertEqual(await self.unended(store, name="Sent"), [2, 3])
        self.assertEqual(await self.unended(store), [2, 6])
        self.assertEqual(self.rows(store), 3)

    async def test_rows_go_with_the_bodies_and_stay_when_they_move(self) -> None:
        store = await self.filled()
        inbox = await self.mailbox(store)
        await inbox.copy_messages(uids=[2], destination="Sent")
        await inbox.expunge(uids=[2, 3])
        await store.compact()
        self.assertEqual(self.rows(store), 2)
        self.assertEqual(await self.unended(store), [6])
        self.assertEqual(await self.unended(store, name="Sent"), [1])
        await self.close_store(store)
        self.check()

    async def test_the_check_looks_at_them(self) -> None:
        await self.close_store(await self.filled())
        self.check()
        self.change_index(
            "DELETE FROM unended_body WHERE body_id = (SELECT body_id FROM message WHERE uid = 2)"
        )
        (problem,) = check_store(self.directory).problems
        self.assertIn("INBOX, UID 2): the index has its end wrong", problem)
        self.change_index("INSERT INTO unended_body SELECT body_id FROM message WHERE uid < 3")
        (problem,) = check_store(self.directory).problems
        self.assertIn("INBOX, UID 1): the index has its end wrong", problem)
        repair_store(self.directory)
        self.check()
        self.assertEqual(await self.unended(self.open_store()), UNENDED)

    async def test_a_repair_reads_the_log(self) -> None:
        store = await self.filled()
        for copy in (False, True):
            if copy:
                # Only what is in the journal makes a new copy worth while.
                await (await self.mailbox(store)).store_flags(
                    uids=[1], op=FlagOp.ADD, flags=frozenset({"\\Seen"})
                )
                await store.compact()
                self.assertEqual(len(self.log_files(".index")), 1)
            await self.close_store(store)
            for suffix in ("", "-wal", "-shm"):
                if os.path.exists(path := os.path.join(self.directory, INDEX_NAME + suffix)):
                    os.unlink(path)
            repair_store(self.directory)
            self.check()
            store = self.open_store(SMALL)
            self.assertEqual(await self.unended(store), UNENDED)

    def make_older(self) -> None:
        """Bring the index to the state before the ends were noted, and up again."""
        (before,) = (n for n, step in enumerate(MIGRATIONS) if "TABLE unended_body" in step)
        self.change_index("DROP TABLE unended_body")
        connection = sqlite3.connect(os.path.join(self.directory, INDEX_NAME), isolation_level=None)
        run_step(connection, MIGRATIONS[before])
        connection.close()

    async def test_bodies_of_an_older_store_are_looked_at_once(self) -> None:
        await self.close_store(await self.filled())
        self.make_older()
        self.check()
        store = self.open_store(SMALL)
        # Of new ones it is known at once.
        await (await self.mailbox(store)).append(messages=appended(b"z"))
        self.assertEqual(await self.unended(store), [7])
        self.patch(ends, "ENDS_AT_ONCE", 2)
        with mock.patch.object(ends, "lacks_line_end", wraps=ends.lacks_line_end) as look:
            await store.compact()
            await store.compact()
        self.assertEqual(look.call_count, len(CONTENTS))
        self.assertEqual(await self.unended(store), [*UNENDED, 7])
        await self.close_store(store)
        self.check()

    async def test_an_older_store_is_looked_at_in_the_background(self) -> None:
        await self.close_store(await self.filled())
        self.make_older()
        self.patch(ends, "ENDS_AT_ONCE", 4)
        store = self.open_store(StoreSettings(maintenance_interval=0.01, ahead_delay=0.01))
        await self.wait_until(
            lambda: not ends.ends_known_from(store.connection()) and self.rows(store) == 3
        )
        self.assertEqual(await self.unended(store), UNENDED)

    async def test_a_missing_segment_does_not_keep_the_others_waiting(self) -> None:
        await self.close_store(await self.filled())
        self.make_older()
        self.change_index(
            "UPDATE body SET segment = 99 WHERE id = (SELECT body_id FROM message WHERE uid = 2)"
        )
        store = self.open_store(SMALL)
        operation = ends.look_at_ends(store.connection(), store._core.bodies)
        assert operation is not None
        await store._core.submit(operation)
        self.assertEqual(await self.unended(store), [3, 6])
        self.assertEqual(ends.ends_known_from(store.connection()), 0)

    async def test_sparse_questions(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(*[b"x", b"y\r\n"] * 50))
        self.assertEqual(await inbox.list_unended(uids=[1, 99]), [1, 99])
        self.assertEqual(await inbox.list_unended(uids=[1, 2, 5]), [1, 5])
        self.assertEqual(await inbox.list_unended(uids=[*range(2, 90, 3)]), [*range(5, 90, 6)])
