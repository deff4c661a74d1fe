"""Space is given back, and nothing else is."""

from __future__ import annotations

import contextlib
import os
from unittest import mock

from twisted.internet.defer import Deferred, gatherResults

from mailkit.errors import StoreUnavailable
from mailkit.model import AppendMessage, LocalDelivery
from mailkit.store.sqlite import SQLiteStore, StoreSettings, compact, maintenance
from mailkit.store.sqlite.check import check_store
from mailkit.store.sqlite.maintenance import Maintenance

from .helpers import ANN, BOB, StoreTestCase, message

SETTINGS = StoreSettings(
    maintenance_interval=3600.0,
    ahead_delay=3600.0,
    segment_size=100_000,
    large_body=50_000,
    spool_memory=20_000,
)
BUSY = StoreSettings(
    maintenance_interval=0.01, segment_size=100_000, large_body=50_000, journal_size=300
)


class CompactTests(StoreTestCase):
    timeout = 240

    def setUp(self) -> None:
        super().setUp()
        self.patch(compact, "MIN_GARBAGE", 1000)

    def size(self) -> int:
        """Octets of all bodies' segments."""
        total = 0
        for name in self.log_files():
            # One that is dropped meanwhile does not count.
            with contextlib.suppress(FileNotFoundError):
                total += os.path.getsize(os.path.join(self.directory, "log", name))
        return total

    async def fill(self, store: SQLiteStore, count: int, size: int = 4000) -> list[bytes]:
        contents = [message(number, size) for number in range(count)]
        await gatherResults(
            [Deferred.fromCoroutine(self.deliver(store, content)) for content in contents]
        )
        return contents

    async def test_space_of_removed_messages(self) -> None:
        store = await self.make_store(settings=SETTINGS)
        contents = await self.fill(store, 100)
        inbox = await self.mailbox(store)
        await inbox.expunge(uids=[uid for uid in range(1, 101) if uid % 5])
        before = self.size()
        await store.compact()
        self.assertLess(self.size(), before // 4)
        self.assertEqual(await self.contents(store), contents[4::5])
        counts = check_store(self.directory).counts
        self.assertEqual((counts["body"], counts["message"]), (20, 20))
        self.check()
        await self.close_store(store)
        self.assertEqual(await self.contents(self.open_store(SETTINGS)), contents[4::5])

    async def test_everything_removed(self) -> None:
        store = await self.make_store(settings=SETTINGS)
        await self.fill(store, 60)
        spool = store.new_spool()
        spool.write(message(1000, 80_000))
        inbox = await self.mailbox(store)
        await inbox.append(messages=[AppendMessage(spool)])
        await inbox.expunge(uids=await inbox.list_uids())
        await store.compact()
        self.assertEqual(self.log_files(), [])
        self.assertEqual(await self.deliver(store, message(1)), [62])
        await self.close_store(store)
        self.check()

    async def test_removed_mailboxes_and_accounts(self) -> None:
        store = await self.make_store(ANN, BOB, settings=SETTINGS)
        account = await store.open_account(name=ANN)
        await account.create_mailbox(name="Work")
        await self.fill(store, 30)
        inbox = await self.mailbox(store)
        await inbox.copy_messages(uids=range(1, 11), destination="Work")
        await store.deliver(
            message=self.spool(store, 77),
            deliveries=[LocalDelivery(ANN, "Work"), LocalDelivery(BOB)],
        )
        await account.delete_mailbox(name="Work")
        await store.compact()
        counts = check_store(self.directory).counts
        self.assertEqual((counts["message"], counts["body"]), (31, 31))
        await store.remove_account(name=ANN)
        await store.compact()
        counts = check_store(self.directory).counts
        self.assertEqual((counts["message"], counts["body"]), (1, 1))
        self.assertEqual(await self.contents(store, BOB), [message(77)])
        await self.close_store(store)
        self.check()

    def spool(self, store: SQLiteStore, number: int):  # type: ignore[no-untyped-def]
        spool = store.new_spool()
        spool.write(message(number))
        return spool

    async def test_a_large_mailbox_is_removed_in_steps(self) -> None:
        self.patch(compact, "SWEEP_ROWS", 7)
        store = await self.make_store(settings=SETTINGS)
        await self.fill(store, 30, 100)
        account = await store.open_account(name=ANN)
        await account.rename_mailbox(name="INBOX", new_name="Old")
        await account.delete_mailbox(name="Old")
        commits = store.core.writer.commits
        await store.compact()
        self.assertGreater(store.core.writer.commits - commits, 5)
        counts = check_store(self.directory).counts
        self.assertEqual((counts["message"], counts["body"]), (0, 0))
        self.check()

    async def test_readers_keep_what_they_have_open(self) -> None:
        store = await self.make_store(settings=SETTINGS)
        inbox = await self.mailbox(store)
        large = message(1, 300_000)
        spool = store.new_spool()
        spool.write(large)
        await inbox.append(messages=[AppendMessage(spool)])
        file = await inbox.open_message(uid=1)
        self.addCleanup(file.close)
        start = file.read(1000)
        await inbox.expunge(uids=[1])
        await store.compact()
        self.assertEqual(self.log_files(), [])
        self.assertTrue(start + file.read() == large)

    async def test_a_body_that_moves_while_it_is_looked_for(self) -> None:
        store = await self.make_store(settings=SETTINGS)
        contents = await self.fill(store, 40)
        inbox = await self.mailbox(store)
        await inbox.expunge(uids=range(2, 41))
        place = store.core.reader.body_place(1, 1)
        await store.compact()
        real = store.core.reader.body_place
        places = [place]
        with mock.patch.object(
            store.core.reader, "body_place", lambda *a: places.pop() if places else real(*a)
        ):
            self.assertEqual(await self.read(inbox, 1), contents[0])
        self.assertEqual(places, [])

    async def test_it_happens_by_itself_while_mail_arrives(self) -> None:
        store = await self.make_store(settings=BUSY)
        inbox = await self.mailbox(store)
        expected: list[bytes] = []
        for _ in range(12):
            contents = await self.fill(store, 25)
            uids = list(await inbox.list_uids())
            await inbox.expunge(uids=uids[len(expected) : -2])
            expected += contents[-2:]
            await self.turn(0.02)
        await self.wait_until(lambda: self.size() < 300_000)
        self.assertEqual(sorted(await self.contents(store)), sorted(expected))
        await self.wait_until(lambda: bool(self.log_files(".index")))
        await self.close_store(store)
        self.check()

    async def test_a_crash_at_any_step(self) -> None:
        """Stop behind each step of a compaction, as a kill would, and open the store again."""
        store = await self.make_store(settings=SETTINGS)
        contents = await self.fill(store, 60)
        inbox = await self.mailbox(store)
        await inbox.expunge(uids=[uid for uid in range(1, 61) if uid % 3])
        expected = contents[2::3]
        for steps in range(1, 40):
            done = self.stop_after(steps)
            try:
                await store.compact()
            except StoreUnavailable:
                pass
            self.unpatch()
            await self.close_store(store)
            self.check()
            store = self.open_store(SETTINGS)
            self.assertEqual(await self.contents(store), expected)
            if not done():
                break
        self.assertGreater(steps, 3)
        self.assertLess(self.size(), 120_000)

    def stop_after(self, steps: int):  # type: ignore[no-untyped-def]
        """Let the maintenance die after some operations or removed files; tells if it did."""
        left = steps

        def count() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise StoreUnavailable("stopped by the test")

        real_do, real_unlink = Maintenance._do, os.unlink

        def do(self, operation, durable=False):  # type: ignore[no-untyped-def]
            count()
            return real_do(self, operation, durable)

        def unlink(path: str) -> None:
            if path.endswith(".seg"):
                count()
            real_unlink(path)

        self.patches = [mock.patch.object(Maintenance, "_do", do), mock.patch("os.unlink", unlink)]
        for patch in self.patches:
            patch.start()
        return lambda: left < 0

    def unpatch(self) -> None:
        for patch in self.patches:
            patch.stop()

    async def test_damaged_bodies_stay_where_they_are(self) -> None:
        store = await self.make_store(settings=SETTINGS)
        contents = await self.fill(store, 20)
        inbox = await self.mailbox(store)
        await inbox.expunge(uids=range(3, 21))
        place = store.core.reader.body_place(1, 1)
        name = self.log_files()[0]
        with open(os.path.join(self.directory, "log", name), "r+b") as file:
            file.seek(place.start + 100)
            file.write(b"\0\0")
        await store.compact()
        self.assertIn(name, self.log_files())
        self.assertEqual(await self.read(inbox, 2), contents[1])
        self.assertEqual(len(check_store(self.directory).problems), 1)

    async def test_the_index_shrinks_too(self) -> None:
        self.patch(maintenance, "MIN_FREE_PAGES", 10)
        store = await self.make_store(settings=SETTINGS)
        await self.fill(store, 400, 100)
        inbox = await self.mailbox(store)
        await inbox.get_summaries(uids=range(1, 401))
        await inbox.expunge(uids=range(1, 400))
        await store.compact()
        (pages,) = store.connection().execute("PRAGMA page_count").fetchone()
        (free,) = store.connection().execute("PRAGMA freelist_count").fetchone()
        self.assertLess(free * 4, pages)
        self.assertEqual(await self.contents(store), [message(399, 100)])
        await self.close_store(store)
        self.check()

    async def test_history_is_forgotten_when_there_is_too_much(self) -> None:
        store = await self.make_store(settings=SETTINGS)
        inbox = await self.mailbox(store)
        await self.fill(store, 12, 100)
        start = (await inbox.get_info()).highest_modseq
        for uid in range(1, 11):
            await inbox.expunge(uids=[uid])
        recent = (await inbox.get_info()).highest_modseq - 2
        with (
            mock.patch("mailkit.store.sqlite.compact.MAX_VANISHED_ROWS", 8),
            mock.patch("mailkit.store.sqlite.maintenance.MAX_VANISHED_ROWS", 8),
        ):
            await store.compact()
        (left,) = store.connection().execute("SELECT count(*) FROM vanished").fetchone()
        self.assertLess(left, 8)
        self.assertEqual(list((await inbox.get_changes(since=start)).vanished), list(range(1, 11)))
        self.assertEqual(list((await inbox.get_changes(since=recent)).vanished), [9, 10])
        await self.close_store(store)
        self.check()
