"""The embedded store beyond the contracts: bodies of every size, processes, lists."""

from __future__ import annotations

import errno
import io
import os
from typing import Any
from unittest import mock

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock

from mailkit.errors import (
    NoSuchAccount,
    NoSuchMailbox,
    NoSuchMessage,
    StoreCorrupt,
    StoreUnavailable,
)
from mailkit.model import AppendMessage, FlagOp, LocalDelivery
from mailkit.spool import Spool
from mailkit.store.sqlite import (
    SQLiteDirectory,
    SQLiteStore,
    StoreSettings,
    history,
    reader,
)
from mailkit.store.sqlite import mailbox as sqlite_mailbox
from mailkit.store.sqlite.content import MAX_PREFIX
from mailkit.store.sqlite.marking import read_marking
from mailkit.store.sqlite.segments import scan_segment

from .helpers import ANN, BOB, StoreTestCase, appended, message

#: Bodies become segments of their own early.
SMALL_LIMITS = StoreSettings(
    maintenance_interval=3600.0,
    ahead_delay=3600.0,
    segment_size=100_000,
    large_body=20_000,
    spool_memory=5_000,
)


class BodyTests(StoreTestCase):
    async def test_a_message_for_many_is_kept_once(self) -> None:
        store = await self.make_store(ANN, BOB)
        await self.deliver(store, message(1), ANN, BOB, ANN)
        inbox = await self.mailbox(store)
        await inbox.copy_messages(uids=[1, 2], destination="Archive")
        self.assertEqual(self.log_files(), ["00000001.seg"])
        marking = read_marking(store.connection())
        self.assertEqual(len(list(scan_segment(store.core.log_directory, 1, marking))), 1)
        ids = {info.email_id for info in await inbox.get_messages(uids=[1, 2])}
        self.assertEqual(len(ids), 1)

    async def test_a_large_body_is_renamed_into_the_log(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        content = message(1, 150_000)
        spool = store.new_spool()
        spool.write(content)
        spool.prepend(b"Received: here\r\n")
        self.assertEqual(os.path.dirname(str(spool.path)), store.core.spool_directory)
        inode = os.stat(str(spool.path)).st_ino
        await store.deliver(message=spool, deliveries=[LocalDelivery(ANN)])
        spool.close()
        (name,) = self.log_files()
        path = os.path.join(self.directory, "log", name)
        self.assertEqual(os.stat(path).st_ino, inode)
        self.assertEqual(os.listdir(store.core.spool_directory), [])
        with open(path, "rb") as file:
            self.assertTrue(file.read().endswith(b"Received: here\r\n" + content))
        self.assertEqual(await self.contents(store), [b"Received: here\r\n" + content])
        await self.close_store(store)
        self.check()

    async def test_large_bodies_of_other_places_and_shapes(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        expected = []
        elsewhere = self.mktemp()
        os.mkdir(elsewhere)
        for number, spool in enumerate(
            (
                Spool(elsewhere, 100, 0),
                Spool(store.core.spool_directory, 100, 17),
                store.new_spool(),
            )
        ):
            content = message(number, 50_000)
            spool.write(content)
            prefix = b"X: " + b"y" * (MAX_PREFIX if number == 2 else 10) + b"\r\n"
            spool.prepend(prefix)
            await store.deliver(message=spool, deliveries=[LocalDelivery(ANN)])
            spool.close()
            expected.append(prefix + content)
        self.assertTrue(await self.contents(store) == expected)
        self.assertEqual(os.listdir(elsewhere), [])
        self.assertEqual(os.listdir(store.core.spool_directory), [])

    async def test_a_large_body_with_another_head_is_not_copied(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        expected = []
        for number, length in enumerate((10, 20_000, MAX_PREFIX + 20_000, MAX_PREFIX + 20_001)):
            spool = store.new_spool()
            content = message(number, 50_000)
            spool.write(content)
            head = b"X: " + b"y" * (length - 5) + b"\r\n"
            spool.replace_head(20_000, head)
            assert spool.path is not None
            inode = os.stat(spool.path).st_ino
            await store.deliver(message=spool, deliveries=[LocalDelivery(ANN)])
            spool.close()
            log = os.path.join(self.directory, "log")
            segments = {os.stat(os.path.join(log, name)).st_ino for name in self.log_files()}
            self.assertEqual(inode in segments, length <= MAX_PREFIX + 20_000)
            expected.append(head + content[20_000:])
        self.assertTrue(await self.contents(store) == expected)
        self.assertEqual(os.listdir(store.core.spool_directory), [])

    async def test_a_spooled_body_below_the_threshold_joins_the_others(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        content = message(1, 10_000)
        await self.deliver(store, content)
        await self.deliver(store, message(2))
        self.assertEqual(len(self.log_files()), 1)
        self.assertEqual(os.listdir(store.core.spool_directory), [])
        self.assertEqual(await self.contents(store), [content, message(2)])

    async def test_many_spooled_bodies_at_once(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        spools = [store.new_spool() for _ in range(30)]
        for number, spool in enumerate(spools):
            spool.write(message(number, 9000))
            spool.prepend(b"Received: here\r\n")
            self.assertIsNotNone(spool.path)
        delivering = [store.deliver(message=s, deliveries=[LocalDelivery(ANN)]) for s in spools]
        found = await gatherResults([Deferred.fromCoroutine(each) for each in delivering])
        self.assertEqual([result[0].error for result in found], [None] * 30)
        expected = [b"Received: here\r\n" + message(number, 9000) for number in range(30)]
        self.assertTrue(sorted(await self.contents(store)) == sorted(expected))
        self.assertEqual(os.listdir(store.core.spool_directory), [])
        await self.close_store(store)
        self.check()

    async def test_a_spooled_body_with_another_head(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        content = message(1, 10_000)
        spool = store.new_spool()
        spool.write(content)
        spool.replace_head(8_000, b"X: " + b"y" * 40_000 + b"\r\n")
        expected = b"X: " + b"y" * 40_000 + b"\r\n" + content[8_000:]
        await store.deliver(message=spool, deliveries=[LocalDelivery(ANN)])
        self.assertTrue(await self.contents(store) == [expected])
        await self.close_store(store)
        self.check()

    async def test_an_append_that_is_cancelled_leaves_no_files(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        inbox = await self.mailbox(store)
        messages = []
        for size in (50_000, 9000):
            spool = store.new_spool()
            spool.write(message(size, size))
            messages.append(AppendMessage(spool))
        appending = Deferred.fromCoroutine(inbox.append(messages=messages))
        appending.cancel()
        await self.assertFailure(appending, CancelledError)
        await self.wait_until(lambda: not os.listdir(store.core.spool_directory))
        self.assertEqual(await self.contents(store), [])

    async def test_a_spool_that_is_gone_concerns_nobody_else(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        spools = [store.new_spool() for _ in range(3)]
        for number, spool in enumerate(spools):
            spool.write(message(number, 9000))
        os.unlink(str(spools[1].path))
        first, gone, last = (
            Deferred.fromCoroutine(store.deliver(message=s, deliveries=[LocalDelivery(ANN)]))
            for s in spools
        )
        await self.assertFailure(gone, StoreUnavailable)
        self.assertEqual([(await each)[0].error for each in (first, last)], [None, None])
        self.assertEqual(await self.contents(store), [message(0, 9000), message(2, 9000)])

    async def test_a_large_body_that_nobody_takes_is_removed(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        spool = store.new_spool()
        spool.write(message(1, 50_000))
        (result,) = await store.deliver(message=spool, deliveries=[LocalDelivery("eve@nowhere")])
        self.assertIsInstance(result.error, NoSuchAccount)
        self.assertEqual((os.listdir(store.core.spool_directory), self.log_files()), ([], []))

    async def test_large_appends_all_or_none(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        inbox = await self.mailbox(store)
        contents = [message(number, 50_000) for number in range(3)]
        messages = []
        for content in contents:
            spool = store.new_spool()
            spool.write(content)
            messages.append(AppendMessage(spool))
        await inbox.append(messages=messages)
        self.assertTrue(await self.contents(store) == contents)
        account = await store.open_account(name=ANN)
        await account.create_mailbox(name="Gone")
        gone = await account.open_mailbox(name="Gone")
        await account.delete_mailbox(name="Gone")
        spool = store.new_spool()
        spool.write(contents[0])
        with self.assertRaises(NoSuchMailbox):
            await gone.append(messages=[AppendMessage(spool)])
        self.assertEqual(os.listdir(store.core.spool_directory), [])
        self.assertEqual(len(self.log_files()), 3)

    async def test_one_who_goes_away_while_a_large_body_is_read_leaves_nothing(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        spool = store.new_spool()
        spool.write(message(1, 50_000))
        delivery = Deferred.fromCoroutine(
            store.deliver(message=spool, deliveries=[LocalDelivery(ANN)])
        )
        spool.close()
        delivery.cancel()
        await self.assertFailure(delivery, CancelledError)
        await self.wait_until(lambda: not os.listdir(store.core.spool_directory))
        self.assertEqual(await self.contents(store), [])

    async def test_both_kinds_of_readers(self) -> None:
        store = await self.make_store()
        small, large = message(1), message(2, 400_000)
        await self.deliver(store, small)
        await self.deliver(store, large)
        inbox = await self.mailbox(store)
        for uid, content in ((1, small), (2, large)):
            with await inbox.open_message(uid=uid) as file:
                self.assertEqual(file.seek(0, os.SEEK_END), len(content))
                self.assertEqual(file.seek(10), 10)
                self.assertEqual(file.read(20), content[10:30])
                self.assertEqual(file.tell(), 30)
                file.seek(-5, os.SEEK_END)
                self.assertEqual(file.read(), content[-5:])
                self.assertEqual(file.read(), b"")
                file.seek(len(content) + 10)
                self.assertEqual(file.read(), b"")
                file.seek(0)
                self.assertTrue(b"".join(iter(lambda: file.read(7001), b"")) == content)
        self.assertNotIsInstance(await inbox.open_message(uid=2), io.BytesIO)

    async def test_bodies_that_are_not_in_memory_are_read_in_a_thread(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        inbox = await self.mailbox(store)
        with mock.patch("os.preadv", mock.Mock(side_effect=BlockingIOError)):
            self.assertEqual(await self.read(inbox, 1), message(1))
        unsupported = OSError(errno.EOPNOTSUPP, "not here")
        with mock.patch("os.preadv", mock.Mock(side_effect=unsupported)):
            self.assertEqual(await self.read(inbox, 1), message(1))

    async def test_damage_is_noticed(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        await self.deliver(store, message(2))
        (name,) = self.log_files()
        with open(os.path.join(self.directory, "log", name), "r+b") as file:
            position = file.read().index(b"line of message 2")
            file.seek(position)
            file.write(b"L")
        inbox = await self.mailbox(store)
        self.assertEqual(await self.read(inbox, 1), message(1))
        with self.assertRaises(StoreCorrupt):
            await inbox.open_message(uid=2)
        os.unlink(os.path.join(self.directory, "log", name))
        store.core.bodies.forget(1)
        with self.assertRaises(StoreCorrupt):
            await inbox.open_message(uid=1)

    async def test_a_message_that_is_not_there(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        with self.assertRaises(NoSuchMessage):
            await inbox.open_message(uid=1)


class ProcessTests(StoreTestCase):
    async def test_a_closed_store_says_so(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await self.deliver(store, message(1))
        delivery = Deferred.fromCoroutine(self.deliver(store, message(2)))
        await self.close_store(store)
        # What was accepted before is done.
        self.assertEqual(await delivery, [2])
        with self.assertRaises(StoreUnavailable):
            await store.open_account(name=ANN)
        for call in (
            inbox.list_uids,
            lambda: inbox.expunge(uids=[1]),
            lambda: inbox.append(messages=appended(b"x")),
        ):
            with self.assertRaises(StoreUnavailable):
                await call()

    async def test_closing_twice_and_without_opening(self) -> None:
        store = SQLiteStore(self.directory)
        await store.close()
        await store.close()
        self.assertFalse(os.path.exists(self.directory))

    async def test_a_directory_that_cannot_be(self) -> None:
        with open(self.directory, "w"):
            pass
        self.assertRaises(StoreUnavailable, SQLiteStore(self.directory).open)

    async def test_an_administrators_command_beside_the_server(self) -> None:
        store = await self.make_store(ANN)
        await self.deliver(store, message(1))
        inbox = await self.mailbox(store)
        await inbox.list_uids()
        command = SQLiteDirectory(self.directory)
        self.addCleanup(command.close)
        await command.add_account(name=BOB, password_hash="x")
        self.assertEqual(await store.get_password_hash(account=BOB), "x")
        self.assertEqual(await self.deliver(store, message(2), BOB), [1])
        await command.set_password_hash(account=BOB, password_hash="y")
        self.assertEqual(await store.get_password_hash(account=BOB), "y")
        await command.add_alias(alias="team@example.org", targets=[ANN, BOB])
        self.assertEqual(await store.list_aliases(), [("team@example.org", (ANN, BOB))])
        await command.remove_account(name=ANN)
        with self.assertRaises(NoSuchAccount):
            await self.deliver(store, message(3), ANN)
        for call in (
            inbox.list_uids,
            inbox.get_info,
            lambda: inbox.get_messages(uids=[1]),
            lambda: inbox.get_summaries(uids=[1]),
            lambda: inbox.open_message(uid=1),
            lambda: inbox.append(messages=appended(b"x")),
            lambda: inbox.store_flags(uids=[1], op=FlagOp.ADD, flags=frozenset({"\\Seen"})),
        ):
            with self.assertRaises(NoSuchMailbox):
                await call()
        await command.add_account(name=ANN)
        new = await self.mailbox(store)
        self.assertEqual(list(await new.list_uids()), [])
        self.assertEqual(await self.deliver(store, message(4)), [1])
        await self.close_store(store)
        self.check()

    async def test_uid_validity_of_an_account_that_comes_back_is_higher(self) -> None:
        store = await self.make_store(ANN, clock=Clock())
        before = (await (await self.mailbox(store)).get_info()).uid_validity
        await store.remove_account(name=ANN)
        await store.add_account(name=ANN)
        self.assertGreater((await (await self.mailbox(store)).get_info()).uid_validity, before)

    async def test_files_are_for_nobody_else(self) -> None:
        os.mkdir(self.directory, 0o755)
        store = await self.make_store(settings=SMALL_LIMITS)
        await self.deliver(store, message(1))
        await self.deliver(store, message(2, 50_000))
        await store.compact()
        for folder, _, names in os.walk(self.directory):
            for name in names:
                mode = os.stat(os.path.join(folder, name)).st_mode & 0o777
                self.assertEqual(mode, 0o600, name)

    async def test_time_comes_from_the_clock(self) -> None:
        clock = Clock()
        clock.advance(1_700_000_000)
        store = await self.make_store(clock=clock)
        await self.deliver(store, message(1))
        (info,) = await (await self.mailbox(store)).get_messages(uids=[1])
        self.assertEqual((info.internal_date, info.save_date), (1_700_000_000, 1_700_000_000))

    async def test_leftover_spools_are_removed(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        spool = store.new_spool()
        spool.write(b"x" * 10_000)
        path = str(spool.path)
        await self.close_store(store)
        self.open_store()
        self.assertFalse(os.path.exists(path))
        spool.close()


class ListTests(StoreTestCase):
    async def test_uids_are_shared_while_nothing_comes_or_goes(self) -> None:
        store = await self.make_store()
        inbox, other = await self.mailbox(store), await self.mailbox(store)
        await inbox.append(messages=appended(*map(message, range(5))))
        uids = await inbox.list_uids()
        await inbox.store_flags(uids=[1], op=FlagOp.ADD, flags=frozenset({"\\Seen"}))
        self.assertIs(await other.list_uids(), uids)
        await inbox.append(messages=appended(message(6)))
        await inbox.expunge(uids=[2])
        self.assertEqual(list(uids), [1, 2, 3, 4, 5])
        self.assertEqual(list(await other.list_uids()), [1, 3, 4, 5, 6])

    async def test_uids_without_gaps_are_not_read(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(*map(message, range(9))))
        for gone, wanted in (
            ([], range(1, 10)),
            ([1, 9], range(2, 9)),
            ([4], [2, 3, 5, 6, 7, 8]),
            ([2, 3], range(5, 9)),
            (range(5, 9), []),
        ):
            await inbox.expunge(uids=gone)
            await self.close_store(store)
            store = self.open_store()
            inbox = await self.mailbox(store)
            uids = await inbox.list_uids()
            self.assertEqual(list(uids), list(wanted))
            self.assertEqual(isinstance(uids, range), isinstance(wanted, range), wanted)
        await inbox.append(messages=appended(message(1)))
        self.assertEqual(list(await inbox.list_uids()), [10])

    async def test_uids_that_were_not_read_grow(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(message(1), message(2)))
        before = (await inbox.get_view(claim_recent=False)).uids
        self.assertEqual(before, range(1, 3))
        await inbox.append(messages=appended(message(3)))
        view = await inbox.get_view(claim_recent=False)
        self.assertEqual((list(before), list(view.uids)), ([1, 2], [1, 2, 3]))

    async def test_recent_is_claimed_once_and_remembered(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await self.deliver(store, message(1))
        self.assertEqual(await inbox.claim_recent(), 1)
        self.assertEqual(await inbox.claim_recent(), 2)
        await self.deliver(store, message(2))
        self.assertEqual((await inbox.get_info()).first_recent_uid, 2)
        self.assertEqual(await inbox.claim_recent(), 2)
        self.assertEqual((await inbox.get_info()).first_recent_uid, 3)
        await self.close_store(store)
        again = await self.mailbox(self.open_store())
        self.assertEqual((await again.get_info()).first_recent_uid, 3)

    async def test_first_unseen_message(self) -> None:
        self.patch(reader, "MAX_UNSEEN_SEARCH", 50)
        store = await self.make_store()
        inbox = await self.mailbox(store)

        async def first_unseen() -> int | None:
            return (await inbox.get_view(claim_recent=False)).first_unseen_uid

        async def unsee(uid: int) -> None:
            await inbox.store_flags(uids=[uid], op=FlagOp.REMOVE, flags=frozenset({"\\Seen"}))

        self.assertIsNone(await first_unseen())
        await inbox.append(messages=appended(message(1)))
        self.assertEqual(await first_unseen(), 1)
        await inbox.expunge(uids=[1])
        self.assertIsNone(await first_unseen())
        seen = appended(*map(message, range(200)), flags=["\\Seen"])
        await inbox.append(messages=seen)
        self.assertIsNone(await first_unseen())
        for uid, found in ((201, 201), (190, 190), (120, None), (40, None), (20, 20), (2, 2)):
            await unsee(uid)
            self.assertEqual(await first_unseen(), found)
        await inbox.expunge(uids=range(2, 150))
        self.assertEqual(await first_unseen(), 190)

    async def test_view_tells_keywords(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        self.assertEqual(set((await inbox.get_view(claim_recent=False)).keywords), set())
        await inbox.append(messages=appended(message(1), flags=["\\Seen", "mine", "$Junk"]))
        await inbox.append(messages=appended(message(2), flags=["yours", "mine"]))
        keywords = (await inbox.get_view(claim_recent=False)).keywords
        self.assertEqual(set(keywords), {"mine", "$Junk", "yours"})

    async def test_who_opens_a_mailbox_asks_the_index_once(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        account = await store.open_account(name=ANN)
        # So that the list of UIDs is there.
        await (await account.open_mailbox(name="INBOX")).get_view(claim_recent=False)
        asked: list[str] = []
        store.connection().set_trace_callback(asked.append)
        for ask in ("get_info", "get_view"):
            arguments = {"claim_recent": False} if ask == "get_view" else {}
            mailbox: Any = await account.open_mailbox(name="INBOX")
            asked.clear()
            first = await getattr(mailbox, ask)(**arguments)
            self.assertEqual(asked, [])
            self.assertEqual(await getattr(mailbox, ask)(**arguments), first)
            self.assertEqual(len(asked), 1)

    async def test_what_changes_between_opening_and_asking(self) -> None:
        store = await self.make_store()
        account = await store.open_account(name=ANN)
        command = SQLiteDirectory(self.directory)
        self.addCleanup(command.close)
        mailbox, other = [await account.open_mailbox(name="INBOX") for _ in range(2)]
        await self.deliver(store, message(1))
        self.assertEqual((await mailbox.get_info()).messages, 1)
        self.assertEqual(list((await other.get_view(claim_recent=True)).uids), [1])
        mailbox, other = [await account.open_mailbox(name="INBOX") for _ in range(2)]
        first = (await mailbox.get_view(claim_recent=True)).info.first_recent_uid
        second = (await other.get_view(claim_recent=True)).info.first_recent_uid
        self.assertEqual((first, second), (2, 2))
        mailbox = await account.open_mailbox(name="INBOX")
        await command.remove_account(name=ANN)
        self.patch(sqlite_mailbox, "_FRESH", 0)
        with self.assertRaises(NoSuchMailbox):
            await mailbox.get_view(claim_recent=False)

    async def test_view_of_a_mailbox_that_is_gone(self) -> None:
        store = await self.make_store()
        account = await store.open_account(name=ANN)
        await account.create_mailbox(name="Work")
        mailbox = await account.open_mailbox(name="Work")
        await account.create_mailbox(name="Work/Mine")
        await account.delete_mailbox(name="Work")
        with self.assertRaises(NoSuchMailbox):
            await mailbox.get_view(claim_recent=True)

    async def test_sparse_and_dense_sets_of_uids(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(*map(message, range(1, 101))))
        for uids in ([1, 2, 3], [1, 50, 100], list(range(1, 101, 2)), [7], [100, 101, 4000]):
            present = [uid for uid in uids if uid <= 100]
            infos = await inbox.get_messages(uids=uids)
            self.assertEqual([info.uid for info in infos], present)
            before = (await inbox.get_info()).highest_modseq
            keyword = f"k{uids[-1]}"
            result = await inbox.store_flags(uids=uids, op=FlagOp.ADD, flags=frozenset({keyword}))
            self.assertEqual([info.uid for info in result.messages], present)
            changes = await inbox.get_changes(since=before)
            self.assertEqual(list(changes.changed), present)
        self.assertEqual(await inbox.expunge(uids=[2, 50, 99]), [2, 50, 99])
        self.assertEqual(await inbox.expunge(uids=list(range(1, 101, 2))), list(range(1, 98, 2)))
        await self.close_store(store)
        self.check()

    async def test_many_changes_are_found_in_a_thread(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(*map(message, range(1, 21))))
        await inbox.store_flags(uids=[2, 5, 7], op=FlagOp.ADD, flags=frozenset({"x"}))
        await inbox.expunge(uids=[3, 5, 20])
        await inbox.append(messages=appended(message(21)))
        await inbox.store_flags(uids=[1, 2, 4, 6], op=FlagOp.ADD, flags=frozenset({"y"}))
        last = (await inbox.get_info()).highest_modseq
        few = [await inbox.get_changes(since=since) for since in range(last + 2)]
        self.assertEqual(list(few[0].added), [n for n in range(1, 22) if n not in (3, 5, 20)])
        with mock.patch.object(history, "MANY_CHANGES", 2):
            # Four have changed at once; more are new.
            for since in (last - 1, 0):
                self.assertIsNone(store.core.reader.get_changes(inbox._id, since))
            self.assertIsNotNone(store.core.reader.get_changes(inbox._id, last))
            for since, changes in enumerate(few):
                self.assertEqual(await inbox.get_changes(since=since), changes)
            # Three are gone at once.
            await inbox.expunge(uids=[7, 8, 9])
            self.assertIsNone(store.core.reader.get_changes(inbox._id, last))
            self.assertEqual(list((await inbox.get_changes(since=last)).vanished), [7, 8, 9])
        account = await store.open_account(name=ANN)
        await account.create_mailbox(name="Work")
        work = await account.open_mailbox(name="Work")
        await account.delete_mailbox(name="Work")
        with mock.patch.object(history, "MANY_CHANGES", 0), self.assertRaises(NoSuchMailbox):
            await work.get_changes(since=1)

    async def test_a_renamed_mailbox_knows_its_name(self) -> None:
        store = await self.make_store()
        account = await store.open_account(name=ANN)
        await account.create_mailbox(name="Work")
        mailbox = await account.open_mailbox(name="Work")
        await account.rename_mailbox(name="Work", new_name="Play")
        self.assertEqual(mailbox.name, "Play")
        await account.delete_mailbox(name="Play")
        self.assertEqual(mailbox.name, "Play")


class DeletedCountTests(StoreTestCase):
    async def test_counted_in_pieces(self) -> None:
        self.patch(reader, "COUNTED_ROWS", 3)
        store = await self.make_store()
        inbox = await self.mailbox(store)
        for count in range(1, 8):
            await inbox.append(messages=appended(message(count)))
            if count % 2:
                deleted = frozenset({"\\Deleted"})
                await inbox.store_flags(uids=[count], op=FlagOp.ADD, flags=deleted)
            infos = await inbox.get_messages(uids=range(1, count + 1))
            sizes = [info.size for info in infos if "\\Deleted" in info.flags]
            self.assertEqual(await inbox.count_deleted(), (len(sizes), sum(sizes)))
