"""The embedded store beyond the contracts: grouping, locking, bodies of every size, failures."""

from __future__ import annotations

import errno
import io
import os
import sqlite3
import subprocess
import sys
from unittest import mock

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from mailkit.errors import (
    LimitExceeded,
    NoSuchAccount,
    NoSuchMailbox,
    NoSuchMessage,
    StoreCorrupt,
    StoreUnavailable,
)
from mailkit.model import AppendMessage, FlagOp, LocalDelivery
from mailkit.spool import Spool
from mailkit.store.sqlite import SQLiteDirectory, SQLiteStore, StoreSettings, states
from mailkit.store.sqlite.content import MAX_PREFIX
from mailkit.store.sqlite.log import scan_segment

from .helpers import ANN, BOB, StoreTestCase, appended, message

#: Bodies become segments of their own early.
SMALL_LIMITS = StoreSettings(
    maintenance_interval=3600.0, segment_size=100_000, large_body=20_000, spool_memory=5_000
)


class GroupingTests(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.flushes = 0

    def flush(self, descriptor: int) -> None:
        self.flushes += 1
        os.fdatasync(descriptor)

    async def busy(self, store: SQLiteStore) -> Deferred[None]:
        """Keep the writer from its next transaction until the result is fired."""
        gate = store.core.writer.gate
        gate.acquire()
        release: Deferred[None] = Deferred()
        release.addCallback(lambda _: gate.release())
        return release

    async def test_concurrent_deliveries_share_one_commit(self) -> None:
        store = await self.make_store(ANN, BOB, flush=self.flush)
        await self.deliver(store, message(0))
        release = await self.busy(store)
        # One gets into the transaction that cannot begin; the others wait behind it.
        first = Deferred.fromCoroutine(self.deliver(store, message(1), ANN))
        writer = store.core.writer
        await self.wait_until(lambda: not writer.waiting)
        self.flushes, commits = 0, writer.commits
        others = [
            Deferred.fromCoroutine(self.deliver(store, message(number), ANN, BOB))
            for number in range(2, 52)
        ]
        release.callback(None)
        await gatherResults([first, *others])
        self.assertEqual((self.flushes, writer.commits - commits), (2, 2))
        self.assertEqual(len(await self.contents(store, BOB)), 50)

    async def test_different_changes_share_one_commit_and_fail_alone(self) -> None:
        store = await self.make_store(flush=self.flush)
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(message(1), message(2), message(3)))
        release = await self.busy(store)
        first = Deferred.fromCoroutine(inbox.expunge(uids=[99]))
        writer = store.core.writer
        await self.wait_until(lambda: not writer.waiting)
        commits = writer.commits
        good = [
            Deferred.fromCoroutine(work)
            for work in (
                inbox.store_flags(uids=[1], op=FlagOp.ADD, flags=frozenset({"\\Seen"})),
                inbox.append(messages=appended(message(4))),
                inbox.copy_messages(uids=[1, 4], destination="Sent"),
                inbox.expunge(uids=[4, 2]),
                self.deliver(store, message(5)),
            )
        ]
        bad = Deferred.fromCoroutine(inbox.copy_messages(uids=[1], destination="Nowhere"))
        last = Deferred.fromCoroutine(self.deliver(store, message(6)))
        release.callback(None)
        await first
        results = await gatherResults(good)
        self.assertEqual(writer.commits - commits, 2)
        await self.assertFailure(bad, NoSuchMailbox)
        await last
        # Each saw what those before it had done, though nothing was committed yet.
        self.assertEqual(list(results[2].source_uids), [1, 4])
        self.assertEqual(results[3], [2, 4])
        self.assertEqual(list(await inbox.list_uids()), [1, 3, 5, 6])
        (copy, _) = await (await self.mailbox(store, name="Sent")).get_messages(uids=[1, 2])
        self.assertEqual(copy.flags, {"\\Seen"})

    async def test_a_bug_in_one_operation_fails_that_one_only(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        release = await self.busy(store)
        first = Deferred.fromCoroutine(inbox.expunge(uids=[99]))
        await self.wait_until(lambda: not store.core.writer.waiting)
        before = Deferred.fromCoroutine(self.deliver(store, message(1)))
        # Not an Operation's arguments: it fails inside the writer.
        broken = Deferred.fromCoroutine(
            inbox.append(messages=[AppendMessage(Spool.from_bytes(b"x"), frozenset(), "no date")])  # type: ignore[arg-type]
        )
        worse = Deferred.fromCoroutine(
            inbox.store_flags(uids=["1"], op=FlagOp.ADD, flags=frozenset())
        )  # type: ignore[list-item]
        after = Deferred.fromCoroutine(self.deliver(store, message(2)))
        release.callback(None)
        await first
        self.assertEqual((await before, await after), ([1], [3]))
        await broken
        await self.assertFailure(worse, TypeError)
        self.assertEqual(await self.contents(store), [message(1), b"x", message(2)])

    async def test_a_cancelled_delivery_does_no_harm(self) -> None:
        store = await self.make_store()
        release = await self.busy(store)
        cancelled = Deferred.fromCoroutine(self.deliver(store, message(1)))
        other = Deferred.fromCoroutine(self.deliver(store, message(2)))
        cancelled.addErrback(lambda _: None)
        cancelled.cancel()
        release.callback(None)
        await other
        self.assertEqual(await self.contents(store), [message(1), message(2)])


class BodyTests(StoreTestCase):
    async def test_a_message_for_many_is_kept_once(self) -> None:
        store = await self.make_store(ANN, BOB)
        await self.deliver(store, message(1), ANN, BOB, ANN)
        inbox = await self.mailbox(store)
        await inbox.copy_messages(uids=[1, 2], destination="Archive")
        (name,) = self.log_files()
        path = os.path.join(self.directory, "log", name)
        self.assertEqual(len(list(scan_segment(path))), 1)
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

    async def test_a_spooled_body_below_the_threshold_joins_the_others(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        content = message(1, 10_000)
        await self.deliver(store, content)
        await self.deliver(store, message(2))
        self.assertEqual(len(self.log_files()), 1)
        self.assertEqual(os.listdir(store.core.spool_directory), [])
        self.assertEqual(await self.contents(store), [content, message(2)])

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
    async def test_a_second_process_is_refused_by_name(self) -> None:
        await self.make_store()
        code = (
            "import sys; from mailkit.store.sqlite import SQLiteStore\n"
            "try: SQLiteStore(sys.argv[1]).open()\n"
            "except Exception as error: print(type(error).__name__, error)"
        )
        output = subprocess.run(
            [sys.executable, "-c", code, self.directory],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        self.assertIn("StoreUnavailable", output)
        self.assertIn(f"in use by process {os.getpid()}", output)

    async def test_the_lock_ends_with_the_store(self) -> None:
        store = await self.make_store()
        self.assertRaises(StoreUnavailable, SQLiteStore(self.directory).open)
        await self.close_store(store)
        self.open_store()

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

    async def test_leftover_spools_are_removed(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        spool = store.new_spool()
        spool.write(b"x" * 10_000)
        path = str(spool.path)
        await self.close_store(store)
        self.open_store()
        self.assertFalse(os.path.exists(path))
        spool.close()


class FailureTests(StoreTestCase):
    async def test_a_full_disk_refuses_and_recovers(self) -> None:
        full = False

        def flush(descriptor: int) -> None:
            if full:
                raise OSError(errno.ENOSPC, "No space left on device")
            os.fdatasync(descriptor)

        store = await self.make_store(ANN, BOB, flush=flush, settings=SMALL_LIMITS)
        inbox = await self.mailbox(store)
        await self.deliver(store, message(1))
        before = await inbox.get_info()
        full = True
        deliveries = [
            Deferred.fromCoroutine(self.deliver(store, message(number), ANN, BOB))
            for number in range(2, 6)
        ]
        for delivery in deliveries:
            await self.assertFailure(delivery, StoreUnavailable)
        large = store.new_spool()
        large.write(message(7, 50_000))
        with self.assertRaises(StoreUnavailable):
            await inbox.append(messages=[AppendMessage(large)])
        after = await inbox.get_info()
        self.assertEqual(
            (after.messages, after.unseen, after.size), (before.messages, 1, before.size)
        )
        self.assertEqual(list(await inbox.list_uids()), [1])
        changes = await inbox.get_changes(since=before.highest_modseq)
        self.assertEqual((list(changes.added), list(changes.changed)), ([], []))
        self.assertEqual(os.listdir(store.core.spool_directory), [])
        full = False
        # Numbers that were seen for a moment are not given again.
        self.assertEqual(await self.deliver(store, message(8)), [after.uid_next])
        self.assertEqual(await self.contents(store), [message(1), message(8)])
        self.assertEqual(await self.contents(store, BOB), [])
        await self.close_store(store)
        self.check()
        self.assertEqual(await self.contents(self.open_store()), [message(1), message(8)])

    async def test_a_full_disk_while_the_log_is_written(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        full = OSError(errno.ENOSPC, "No space left on device")
        with (
            mock.patch("os.pwritev", mock.Mock(side_effect=full)),
            self.assertRaises(StoreUnavailable),
        ):
            await self.deliver(store, message(2))
        self.assertEqual(await self.deliver(store, message(3)), [2])
        self.assertEqual(len(self.log_files()), 1)
        await self.close_store(store)
        self.check()

    async def test_an_index_that_refuses(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        finish = "mailkit.store.sqlite.transaction.Transaction.finish"
        error = sqlite3.OperationalError("database or disk is full")
        with mock.patch(finish, mock.Mock(side_effect=error)):
            with self.assertRaises(StoreUnavailable):
                await self.deliver(store, message(2))
            with self.assertRaises(StoreUnavailable):
                await (await self.mailbox(store)).expunge(uids=[1])
        self.assertEqual(await self.deliver(store, message(3)), [2])
        self.assertEqual(await self.contents(store), [message(1), message(3)])
        await self.close_store(store)
        self.check()

    async def test_a_spool_that_cannot_be_written_out(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        spool = store.new_spool()
        spool.write(message(1, 50_000))
        full = OSError(errno.ENOSPC, "No space left on device")
        with mock.patch("os.fdatasync", mock.Mock(side_effect=full)):
            (result,) = await store.deliver(message=spool, deliveries=[LocalDelivery(ANN)])
        self.assertIsInstance(result.error, StoreUnavailable)
        self.assertEqual(os.listdir(store.core.spool_directory), [])

    async def test_too_many_keywords(self) -> None:
        self.patch(states, "MAX_KEYWORDS", 3)
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(message(1), flags=["a", "b", "c"]))
        with self.assertRaises(LimitExceeded):
            await inbox.store_flags(uids=[1], op=FlagOp.ADD, flags=frozenset({"d"}))
        with self.assertRaises(LimitExceeded):
            await inbox.append(messages=appended(b"x", flags=["e"]))
        await inbox.store_flags(uids=[1], op=FlagOp.REMOVE, flags=frozenset({"d", "C"}))
        (info,) = await inbox.get_messages(uids=[1])
        self.assertEqual(info.flags, {"a", "b"})

    async def test_a_watcher_that_fails_does_no_harm(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        calls: list[int] = []
        inbox.watch(callback=lambda: 1 // 0)  # type: ignore[arg-type, return-value]
        end = inbox.watch(callback=lambda: calls.append(1))
        await self.deliver(store, message(1))
        await self.wait_until(lambda: bool(calls))
        self.assertEqual(calls, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        end()
        end()


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

    async def test_a_renamed_mailbox_knows_its_name(self) -> None:
        store = await self.make_store()
        account = await store.open_account(name=ANN)
        await account.create_mailbox(name="Work")
        mailbox = await account.open_mailbox(name="Work")
        await account.rename_mailbox(name="Work", new_name="Play")
        self.assertEqual(mailbox.name, "Play")
        await account.delete_mailbox(name="Play")
        self.assertEqual(mailbox.name, "Play")
