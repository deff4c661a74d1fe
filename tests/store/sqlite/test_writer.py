"""The writer: what shares a transaction, and what happens when one fails."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, cast
from unittest import mock

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import LoopingCall

from mailkit.errors import (
    LimitExceeded,
    NoSuchMailbox,
    StoreUnavailable,
)
from mailkit.model import AppendMessage, FetchedMessage, FlagOp, LocalDelivery
from mailkit.store.sqlite import SQLiteStore, StoreSettings, states
from mailkit.store.sqlite.operations import Deliver
from mailkit.store.sqlite.transaction import Content, Transaction
from mailkit.store.sqlite.writer import (
    LAZY_DELAY,
    MAX_HELD,
    MAX_HELD_OCTETS,
    Operation,
    Writer,
)

from .helpers import ANN, BOB, StoreTestCase, appended, message

#: Bodies become segments of their own early.
SMALL_LIMITS = StoreSettings(
    maintenance_interval=3600.0,
    ahead_delay=3600.0,
    segment_size=100_000,
    large_body=20_000,
    spool_memory=5_000,
)


class Gate:
    """Stands for the writer's lock, held until :meth:`open`; tells when the writer wants it."""

    def __init__(self) -> None:
        self.asked = False
        self._opened = threading.Event()

    def open(self) -> None:
        self._opened.set()

    def __enter__(self) -> None:
        self.asked = True
        self._opened.wait()

    def __exit__(self, *_: object) -> None:
        return None


class EndlessTurn:
    """The reactor, whose turn ends for the store when a test says so."""

    def __init__(self) -> None:
        self.ends = True
        self.callFromThread = cast(Any, global_reactor).callFromThread
        self._calls: list[Callable[[], object]] = []

    def callLater(self, delay: float, call: Callable[..., object], *args: Any) -> Any:
        if self.ends:
            return cast(Any, global_reactor).callLater(delay, call, *args)
        self._calls.append(partial(call, *args))
        return None

    @property
    def has_calls(self) -> bool:
        """Something waits for the end of the turn."""
        return bool(self._calls)

    def end_turn(self) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            call()


class GroupingTests(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.flushes = 0

    def flush(self, descriptor: int) -> None:
        self.flushes += 1
        os.fdatasync(descriptor)

    async def busy(self, store: SQLiteStore) -> Deferred[None]:
        """Keep the writer from its next transaction until the result is fired."""
        gate = store.core.writer.gate = Gate()
        release: Deferred[None] = Deferred()
        release.addCallback(lambda _: gate.open())
        return release

    async def at_the_gate(self, store: SQLiteStore) -> None:
        """Wait until the writer has taken what was submitted and is kept from beginning it.

        An empty queue alone does not say so: the writer may still look for more.
        """
        writer = store.core.writer
        await self.wait_until(lambda: writer.gate.asked and not writer.waiting)

    async def test_concurrent_deliveries_share_one_commit(self) -> None:
        store = await self.make_store(ANN, BOB, flush=self.flush)
        await self.deliver(store, message(0))
        release = await self.busy(store)
        # One gets into the transaction that cannot begin; the others wait behind it.
        first = Deferred.fromCoroutine(self.deliver(store, message(1), ANN))
        writer = store.core.writer
        await self.at_the_gate(store)
        self.flushes, commits = 0, writer.commits
        others = [
            Deferred.fromCoroutine(self.deliver(store, message(number), ANN, BOB))
            for number in range(2, 52)
        ]
        release.callback(None)
        await gatherResults([first, *others])
        self.assertEqual((self.flushes, writer.commits - commits), (2, 2))
        self.assertEqual(len(await self.contents(store, BOB)), 50)

    async def test_what_one_turn_submits_shares_one_commit(self) -> None:
        store = await self.make_store(ANN, BOB)
        commits = store.core.writer.commits
        deliveries = [
            Deferred.fromCoroutine(self.deliver(store, message(number), ANN, BOB))
            for number in range(20)
        ]
        await gatherResults(deliveries)
        self.assertEqual(store.core.writer.commits - commits, 1)

    async def test_what_others_ask_for_in_one_turn_shares_one_commit(self) -> None:
        reactor = EndlessTurn()
        store = await self.make_store(ANN, reactor=cast(Any, reactor))
        reactor.ends = False
        writer = store.core.writer
        assert isinstance(writer, Writer)
        commits, waiters = writer.commits, [Deferred[Any](), Deferred[Any]()]
        for waiter in waiters:
            content = Content((message(1),), len(message(1)), tail=b"\r\n")
            writer.submit_for(Deliver(content, [LocalDelivery(ANN)]), waiter, False)
        self.assertTrue(reactor.has_calls)
        reactor.end_turn()
        await gatherResults(waiters)
        self.assertEqual(writer.commits - commits, 1)
        reactor.ends = True

    async def test_many_and_large_messages_do_not_wait_for_the_end_of_the_turn(self) -> None:
        reactor = EndlessTurn()
        store = await self.make_store(reactor=cast(Any, reactor))
        reactor.ends = False
        deliveries = [
            Deferred.fromCoroutine(self.deliver(store, message(number)))
            for number in range(MAX_HELD)
        ]
        await gatherResults(deliveries)
        await self.deliver(store, message(0, MAX_HELD_OCTETS + 1000))
        waiting = Deferred.fromCoroutine(self.deliver(store, message(1)))
        await self.turn()
        self.assertFalse(waiting.called)
        self.assertEqual(store.core.writer.waiting, 1)
        reactor.end_turn()
        await waiting
        reactor.ends = True

    async def test_what_waits_for_the_end_of_the_turn_is_done_before_the_writer_ends(self) -> None:
        reactor = EndlessTurn()
        store = await self.make_store(reactor=cast(Any, reactor))
        reactor.ends = False
        waiting = Deferred.fromCoroutine(self.deliver(store, message(1)))
        await self.close_store(store)
        await waiting

    async def test_lazy_changes_that_keep_coming_are_made(self) -> None:
        store = await self.make_store()
        writer = store.core.writer
        made: list[object] = []

        class Lazy(Operation[None]):
            def run(self, tx: Transaction) -> None:
                made.append(self)

        def submit() -> None:
            writer.submit_lazy(Lazy())

        # Each comes before the last one's delay has passed.
        coming = LoopingCall(submit)
        coming.start(LAZY_DELAY / 4)
        self.addCleanup(lambda: coming.running and coming.stop())
        await self.wait_until(lambda: bool(made))

    async def test_a_delivery_that_shares_a_commit_with_lazy_changes_is_durable(self) -> None:
        store = await self.make_store()
        writer = store.core.writer
        modes: list[int] = []

        class Look(Operation[None]):
            def run(self, tx: Transaction) -> None:
                modes.append(*tx.connection.execute("PRAGMA synchronous").fetchone())

        release = await self.busy(store)
        first = writer.submit_lazy(Look())
        await self.wait_until(lambda: writer.gate.asked)
        lazy = writer.submit_lazy(Look())
        durable = writer.submit(Look())
        delivery = Deferred.fromCoroutine(self.deliver(store, message(1)))
        release.callback(None)
        await gatherResults([first, lazy, durable, delivery])
        # NORMAL, then FULL for both.
        self.assertEqual(modes, [1, 2, 2])

    async def test_what_is_submitted_while_it_ends_is_answered(self) -> None:
        store = await self.make_store()
        writer = store.core.writer
        release = await self.busy(store)
        first = Deferred.fromCoroutine(self.deliver(store, message(1)))
        await self.at_the_gate(store)
        stopped = writer.stop()
        late = Deferred.fromCoroutine(self.deliver(store, message(2)))
        release.callback(None)
        self.assertEqual([await first, await late], [[1], [2]])
        await stopped
        # It has been stopped: closing the store need not do it again.
        self.patch(writer, "stop", lambda: succeed(None))

    async def test_different_changes_share_one_commit_and_fail_alone(self) -> None:
        store = await self.make_store(flush=self.flush)
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(message(1), message(2), message(3)))
        release = await self.busy(store)
        first = Deferred.fromCoroutine(inbox.expunge(uids=[99]))
        writer = store.core.writer
        await self.at_the_gate(store)
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
        await self.at_the_gate(store)
        before = Deferred.fromCoroutine(self.deliver(store, message(1)))
        # Not what the annotations allow: it fails inside the writer.
        broken = Deferred.fromCoroutine(
            inbox.store_flags(uids=["1"], op=FlagOp.ADD, flags=frozenset())
        )  # type: ignore[list-item]
        after = Deferred.fromCoroutine(self.deliver(store, message(2)))
        release.callback(None)
        await first
        self.assertEqual((await before, await after), ([1], [2]))
        await self.assertFailure(broken, TypeError)
        self.assertEqual(await self.contents(store), [message(1), message(2)])

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

    async def test_a_refusal_after_a_change_undoes_that_change_alone(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(message(1)))
        release = await self.busy(store)
        first = Deferred.fromCoroutine(inbox.expunge(uids=[99]))
        await self.at_the_gate(store)
        before = Deferred.fromCoroutine(self.deliver(store, message(2)))
        refused = store.core.submit(LateRefusal())
        after = Deferred.fromCoroutine(self.deliver(store, message(3)))
        release.callback(None)
        await first
        await self.assertFailure(refused, NoSuchMailbox)
        self.assertEqual((await before, await after), ([2], [3]))
        self.assertEqual((await inbox.get_info()).first_recent_uid, 1)


class LateRefusal(Operation[None]):
    """Refuses when it is too late."""

    def run(self, tx: Transaction) -> None:
        tx.connection.execute("UPDATE mailbox SET first_recent_uid = 77")
        tx.changed = True
        raise NoSuchMailbox


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

    async def test_what_a_new_message_takes_the_place_of_stays_without_it(self) -> None:
        failing = False

        def flush(descriptor: int) -> None:
            if failing:
                raise OSError(errno.EIO, "Input/output error")
            os.fdatasync(descriptor)

        store = await self.make_store(flush=flush)
        await self.deliver(store, message(1))
        account = await store.open_account(name=ANN)
        inbox = await account.open_mailbox(name="INBOX")
        failing = True
        [new] = appended(message(2))
        with self.assertRaises(StoreUnavailable):
            await inbox.replace_message(uid=1, destination="INBOX", message=new)
        with self.assertRaises(StoreUnavailable):
            await inbox.append_fetched(source="s", messages=[FetchedMessage("u", new, "d")])
        failing = False
        self.assertEqual(await self.contents(store), [message(1)])
        # It is fetched again the next time.
        self.assertEqual(await account.list_fetched(source="s"), {})
        await self.close_store(store)
        self.check()

    async def test_refused_messages_go_when_the_index_is_written_again(self) -> None:
        failing = False

        def flush(descriptor: int) -> None:
            if failing:
                raise OSError(errno.EIO, "Input/output error")
            os.fdatasync(descriptor)

        store = await self.make_store(ANN, BOB, flush=flush)
        await self.deliver(store, message(1))
        writer = cast(Any, store.core.writer)
        drop = "mailkit.store.sqlite.writer.drop_bodies"
        error = sqlite3.OperationalError("disk I/O error")
        failing = True
        with mock.patch(drop, mock.Mock(side_effect=error)):
            for number in (2, 3):
                with self.assertRaises(StoreUnavailable):
                    await self.deliver(store, message(number))
        self.assertEqual(len(await self.contents(store)), 2)
        told: list[str] = []
        (await self.mailbox(store)).watch(lambda: told.append("gone"))
        failing = False
        await self.deliver(store, message(9), BOB)
        await self.turn()
        # Who has the mailbox open hears of it, though what was written is elsewhere.
        self.assertEqual(told, ["gone"])
        self.assertEqual(await self.deliver(store, message(4)), [3])
        self.assertEqual(await self.contents(store), [message(1), message(4)])
        await self.deliver(store, message(5))
        self.assertIsNone(writer._refused_from)
        await self.close_store(store)
        self.check()

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

    async def test_an_index_that_another_program_holds(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        await self.refuse_while_locked(store)
        # What was answered before is as it was.
        self.assertEqual(await self.contents(store), [message(1)])
        await self.deliver(store, message(2))
        await self.close_store(store)
        store = self.open_store()
        await self.refuse_while_locked(store)
        self.assertEqual(await self.contents(store), [message(1), message(2)])
        await self.close_store(store)
        self.check()

    async def refuse_while_locked(self, store: SQLiteStore) -> None:
        """Deliver while another program has the index for longer than we wait."""
        cast(Writer, store.core.writer)._connection.execute("PRAGMA busy_timeout = 1")
        with closing(store.core.connect()) as other:
            other.execute("BEGIN IMMEDIATE")
            with self.assertRaises(StoreUnavailable):
                await self.deliver(store, message(3))

    async def test_a_spool_that_cannot_be_written_out(self) -> None:
        store = await self.make_store(settings=SMALL_LIMITS)
        spool = store.new_spool()
        spool.write(message(1, 50_000))
        full = OSError(errno.ENOSPC, "No space left on device")
        with mock.patch("mailkit.store.sqlite.content.flush_file", mock.Mock(side_effect=full)):
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

    async def test_too_many_octets_of_keywords(self) -> None:
        self.patch(states, "MAX_KEYWORD_OCTETS", 20)
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(message(1), flags=["a" * 10]))
        for _ in range(2):
            with self.assertRaises(LimitExceeded):
                await inbox.store_flags(uids=[1], op=FlagOp.ADD, flags=frozenset({"b"}))
            await inbox.store_flags(uids=[1], op=FlagOp.REPLACE, flags=frozenset({"c"}))
            await self.close_store(store)
            store = self.open_store()
            inbox = await self.mailbox(store)
            await inbox.store_flags(uids=[1], op=FlagOp.REPLACE, flags=frozenset({"a" * 10}))

    async def test_watchers_are_told_of_their_own_mailbox_alone(self) -> None:
        store = await self.make_store(ANN, BOB)
        told: list[str] = []
        for account in (ANN, BOB):
            inbox = await self.mailbox(store, account)
            inbox.watch(callback=partial(told.append, account))
        for account in (ANN, BOB):
            told.clear()
            await self.deliver(store, message(1), account)
            await self.wait_until(lambda: bool(told))
            self.assertEqual(told, [account])

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
