"""The outbound queue in the embedded store: what the contract does not see."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from mailkit.copies import changed
from mailkit.errors import MailError
from mailkit.model import Envelope, LocalDelivery
from mailkit.queue.values import (
    Attempt,
    NewMessage,
    Order,
    Postponement,
    QueuedMessage,
    QueueEvent,
    RecipientState,
    Report,
    Update,
)
from mailkit.spool import Spool
from mailkit.store.envelopes import load_envelope
from mailkit.store.sqlite import SQLiteStore, StoreSettings, compact, queue
from mailkit.store.sqlite.opening import open_body
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.rows import FIRST_DUE, drop_bodies
from mailkit.store.sqlite.schema import INDEX_NAME
from mailkit.testing.queue import queue_envelope

from .helpers import ANN, StoreTestCase, message

HOUR = 3600


class QueueTests(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = int(time.time())

    async def add(
        self, store: SQLiteStore, number: int, *addresses: str, deliver: bool = False
    ) -> str:
        new = NewMessage(queue_envelope(*addresses), self.now, self.now + HOUR)
        deliveries = [LocalDelivery(ANN)] if deliver else []
        spool = Spool.from_bytes(message(number))
        return (await store.queue.enqueue(message=spool, new=[new], deliveries=deliveries)).ids[0]

    async def fill(self, store: SQLiteStore) -> None:
        """Something of every kind."""
        queue = store.queue
        await queue.change_listeners(add=["hook", "slow"])
        first = await self.add(store, 1, "eve@example.net", "joe@example.net", deliver=True)
        await self.add(store, 2, "sue@example.com")
        third = await self.add(store, 3, "tom@example.com")
        gone = await self.add(store, 4, "kim@example.com")
        held = await self.add(store, 5, "pat@example.com")
        (eve, joe) = (await queue.get_message(id=first)).recipients
        attempt = Attempt(self.now, 0.5, "mx.example.net", code=451, text="later")
        await queue.record(
            updates=[
                Update(eve.id, RecipientState.DEFERRED, self.now + 60, attempt),
                Update(joe.id, RecipientState.DELIVERED, attempt=attempt._replace(code=250)),
            ]
        )
        (tom,) = (await queue.get_message(id=third)).recipients
        report = NewMessage(queue_envelope("ann@example.org"), self.now, self.now + HOUR)
        await queue.record(
            updates=[Update(tom.id, RecipientState.FAILED, attempt=attempt._replace(code=550))],
            reports=[Report(report, Spool.from_bytes(message(6)))],
        )
        await queue.order(order=Order.CANCEL, id=gone, now=self.now)
        await queue.order(order=Order.HOLD, id=held, now=self.now)
        bounced = attempt._replace(code=0, enhanced="5.1.1")
        await queue.record(updates=[Update(joe.id, RecipientState.BOUNCED, attempt=bounced)])
        await queue.acknowledge(listener="slow", through=2)
        for number, address in ((7, "lee@example.edu"), (8, "ray@example.edu")):
            await self.add(store, number, address)
        dead = attempt._replace(code=0, text="no route")
        postponement = Postponement(dead, self.now, self.now + 60, [300, 600], HOUR, 0)
        await queue.postpone(domain="example.edu", postponement=postponement, limit=10)
        await queue.acknowledge(listener="hook", through=5)

    async def state(self, store: SQLiteStore) -> list[tuple[QueuedMessage, list[Attempt], bytes]]:
        """All that the queue knows."""
        queue = store.queue
        waiting = {each.id for each in await queue.list_messages()}
        known = []
        for each in await queue.list_messages(finished=True):
            octets = b""
            if each.id in waiting:
                with await queue.open_message(id=each.id) as file:
                    octets = file.read()
            attempts = [attempt for _, attempt in await queue.get_attempts(id=each.id)]
            known.append((each, attempts, octets))
        return known

    async def test_several_updates_of_one_recipient_at_once(self) -> None:
        store = await self.make_store()
        queue = store.queue
        id = await self.add(store, 1, "eve@example.net", "joe@example.net")
        eve, joe = (await queue.get_message(id=id)).recipients
        failed = Attempt(self.now, 1.5, code=451, text="sp\u00e4ter \U0001f4e8")
        taken = Attempt(self.now + 1, 2.0, code=250, text="fine")
        await queue.record(
            updates=[
                Update(eve.id, RecipientState.DEFERRED, self.now + 60, failed),
                Update(joe.id, RecipientState.DEFERRED, self.now + 120),
                Update(eve.id, RecipientState.DELIVERED, attempt=taken),
                Update(eve.id, RecipientState.DEFERRED, self.now, failed),
            ]
        )
        known = (await queue.get_message(id=id)).recipients
        self.assertEqual(
            [(each.state, each.attempts) for each in known],
            [(RecipientState.DELIVERED, 2), (RecipientState.DEFERRED, 0)],
        )
        self.assertEqual(await queue.get_next_time(), self.now + 120)
        self.assertEqual(await queue.get_attempts(id=id), [(eve.id, failed), (eve.id, taken)])

    async def test_new_messages_are_the_same_from_memory_and_from_the_log(self) -> None:
        store = await self.make_store()
        spool = Spool.from_bytes(b"Return-Path: <>\r\n" + message(1))
        new = [
            NewMessage(queue_envelope(f"{name}@example.net"), self.now, self.now + HOUR, *rest)
            for name, *rest in (("eve",), ("joe", 17), ("sue", 17, b"Received: here\r\n"))
        ]
        await store.queue.enqueue(message=spool, new=new)
        opened: list[object] = []

        async def open_noted(*args: Any) -> Any:
            opened.append(args)
            return await open_body(*args)

        self.patch(queue, "open_body", open_noted)
        found = []
        for of_the_log in (0, len(new)):
            due = await store.queue.list_due(domain="example.net", now=self.now, limit=10)
            for each in due:
                with await store.queue.open_message(id=each.id) as file:
                    found.append((each.id, file.read()))
                    self.assertEqual(file.seek(0), 0)
            # What is in memory is given once.
            self.assertEqual(len(opened), of_the_log)
        self.assertEqual(found[:3], found[3:])
        expected = [b"Return-Path: <>\r\n", b"", b"Received: here\r\n"]
        self.assertEqual([octets for _, octets in found[:3]], [e + message(1) for e in expected])

    async def test_new_messages_are_listed_as_the_index_has_them(self) -> None:
        store = await self.make_store()
        loaded: list[str] = []

        def load(text: str) -> Envelope:
            loaded.append(text)
            return load_envelope(text)

        addresses = [f"{name}@example.net" for name in ("eve", "joe", "eve", "sue")]
        whole = await self.add(store, 1, *addresses)
        parted = await self.add(store, 2, *addresses, "sue@example.com")
        known = {id: await store.queue.get_message(id=id) for id in (whole, parted)}
        self.patch(queue, "load_envelope", load)
        found = await store.queue.list_due(domain="example.net", now=self.now, limit=20)
        self.assertEqual([each.id for each in found], [whole, parted])
        # Where only some of the recipients are due, it is read as ever.
        self.assertEqual(len(loaded), 1)
        self.assertEqual(found[0], known[whole])
        self.assertEqual(found[1].recipients, known[parted].recipients[:4])
        given = [each.recipient for each in found[1].recipients]
        self.assertEqual(found[1].envelope, changed(known[parted].envelope, recipients=given))
        # In whatever order they are due.
        eve = found[0].recipients[0]
        later = Update(eve.id, RecipientState.DEFERRED, self.now + 1)
        await store.queue.record(updates=[later])
        found = await store.queue.list_due(domain="example.net", now=self.now + 1, limit=20)
        (again,) = [each for each in found if each.id == whole]
        self.assertEqual([str(each.recipient.path) for each in again.recipients][-1], addresses[0])
        self.assertEqual(
            {each.id: each.recipient for each in again.recipients},
            {each.id: each.recipient for each in known[whole].recipients},
        )

    async def test_a_domain_is_due_when_its_first_recipient_is(self) -> None:
        store = await self.make_store()
        ids = [await self.add(store, 1, f"{name}@example.net") for name in ("eve", "joe")]
        eve, joe = [(await store.queue.get_message(id=id)).recipients[0] for id in ids]
        times = []
        for id, next_time in ((eve.id, 90), (joe.id, 60), (eve.id, 120), (joe.id, 150)):
            update = Update(id, RecipientState.DEFERRED, self.now + next_time)
            await store.queue.record(updates=[update])
            times.append((await store.queue.get_next_time() or 0) - self.now)
        self.assertEqual(times, [0, 60, 60, 120])
        for id in (eve.id, joe.id):
            await store.queue.record(updates=[Update(id, RecipientState.FAILED)])
        self.assertIsNone(await store.queue.get_next_time())

    async def test_numbers_follow_each_other(self) -> None:
        store = await self.make_store()
        first = await self.add(store, 1, "eve@example.net", "joe@example.net")
        both = await gatherResults(
            [
                Deferred.fromCoroutine(self.add(store, 2, "kim@example.net", "lee@example.net")),
                Deferred.fromCoroutine(self.add(store, 3, "sue@example.com")),
            ]
        )
        self.assertEqual([int(each) - int(first) for each in both], [1, 2])
        messages = await store.queue.list_messages()
        numbers = [recipient.id for each in messages for recipient in each.recipients]
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + 5)))
        self.assertEqual(
            [str(recipient.recipient.path) for each in messages for recipient in each.recipients],
            [f"{name}@example.net" for name in ("eve", "joe", "kim", "lee")] + ["sue@example.com"],
        )

    async def test_two_submissions_under_one_key_in_one_transaction(self) -> None:
        store = await self.make_store()
        new = NewMessage(queue_envelope("eve@example.net"), self.now, self.now + HOUR, key="one")
        queued = await gatherResults(
            [
                Deferred.fromCoroutine(
                    store.queue.enqueue(message=Spool.from_bytes(message(number)), new=[new])
                )
                for number in range(2)
            ]
        )
        self.assertEqual(queued[0].ids, queued[1].ids)
        self.assertEqual(len(await store.queue.list_messages()), 1)

    async def test_a_long_queue_costs_no_more(self) -> None:
        store = await self.make_store()
        connection = store.queue.connection

        async def steps() -> int:
            """What SQLite's machine does to find the next five, and when a domain is due."""
            counted = 0

            def count() -> int:
                nonlocal counted
                counted += 1
                return 0

            connection.set_progress_handler(count, 1)
            found = await store.queue.list_due(domain="example.net", now=self.now, limit=5)
            connection.execute(FIRST_DUE, ("example.net",)).fetchone()
            connection.set_progress_handler(None, 1)
            self.assertEqual(len(found), 5)
            return counted

        for number in range(10):
            await self.add(store, number, f"eve{number}@example.net")
        few = await steps()
        await gatherResults(
            [
                Deferred.fromCoroutine(self.add(store, number, f"joe{number}@example.net"))
                for number in range(100)
            ]
        )
        self.assertEqual(await steps(), few)

    async def test_restart(self) -> None:
        store = await self.make_store()
        await self.fill(store)
        before = await self.state(store)
        await self.close_store(store)
        self.check()
        store = self.open_store()
        self.assertEqual(await self.state(store), before)
        self.assertEqual(
            sorted(await store.queue.find_due(now=self.now, limit=9)),
            ["example.com", "example.org"],
        )

    async def test_repair_without_an_index(self) -> None:
        store = await self.make_store()
        await self.fill(store)
        before = await self.state(store)
        due = await store.queue.find_due(now=self.now + HOUR, limit=9)
        await self.close_store(store)
        os.unlink(os.path.join(self.directory, INDEX_NAME))
        repair_store(self.directory)
        self.check()
        store = self.open_store()
        self.assertEqual(await self.state(store), before)
        self.assertEqual(await store.queue.find_due(now=self.now + HOUR, limit=9), due)

    async def test_repair_brings_events_back(self) -> None:
        store = await self.make_store()
        await self.fill(store)
        before = [await self.events(store, name) for name in ("hook", "slow")]
        self.assertEqual(len(before[1]), len(before[0]) + 3)
        await self.close_store(store)
        os.unlink(os.path.join(self.directory, INDEX_NAME))
        repair_store(self.directory)
        store = self.open_store()
        self.assertEqual([await self.events(store, name) for name in ("hook", "slow")], before)
        # When all were heard of, their numbers may be given again.
        await store.queue.acknowledge(listener="slow", through=1000)
        await store.queue.acknowledge(listener="hook", through=1000)
        await self.close_store(store)
        os.unlink(os.path.join(self.directory, INDEX_NAME))
        repair_store(self.directory)
        store = self.open_store()
        id = await self.add(store, 9, "new@example.net")
        for name in ("hook", "slow"):
            self.assertEqual([each.message for each in await self.events(store, name)], [id])

    @staticmethod
    async def events(store: SQLiteStore, listener: str) -> Sequence[QueueEvent]:
        return await store.queue.list_events(listener=listener, limit=100)

    async def test_repair_forgets_what_was_forgotten(self) -> None:
        store = await self.make_store()
        await self.fill(store)
        await store.queue.forget(before=self.now + HOUR)
        before = await self.state(store)
        self.assertEqual(len(before), 6)
        await self.close_store(store)
        os.unlink(os.path.join(self.directory, INDEX_NAME))
        repair_store(self.directory)
        self.assertEqual(await self.state(self.open_store()), before)

    async def test_what_a_power_loss_took_is_not_queued(self) -> None:
        store = await self.make_store()
        await self.fill(store)
        before = await self.state(store)
        await self.close_store(store)
        connection = sqlite3.connect(os.path.join(self.directory, INDEX_NAME))
        self.addCleanup(connection.close)
        (body,) = connection.execute("SELECT max(body_id) FROM queue_message").fetchone()
        with connection:
            self.assertEqual(drop_bodies(connection, body).messages, 1)
        store = self.open_store()
        self.assertEqual(await self.state(store), before[:-1])
        self.assertEqual(
            await store.queue.find_due(now=self.now + HOUR, limit=9),
            ["example.com", "example.org", "example.net", "example.edu"],
        )
        await self.close_store(store)
        self.check()

    async def test_space_is_given_back(self) -> None:
        store = await self.make_store()
        id = await self.add(store, 1, "eve@example.net")
        await store.queue.order(order=Order.CANCEL, id=id, now=self.now)
        await store.compact()
        await self.close_store(store)
        self.check()
        connection = sqlite3.connect(os.path.join(self.directory, INDEX_NAME))
        self.addCleanup(connection.close)
        self.assertEqual(connection.execute("SELECT count(*) FROM body").fetchone(), (0,))

    async def test_no_failure_is_known_without_its_report(self) -> None:
        store = await self.make_store()
        id = await self.add(store, 1, "tom@example.com")
        (tom,) = (await store.queue.get_message(id=id)).recipients
        update = Update(tom.id, RecipientState.FAILED, attempt=Attempt(self.now, 0.5))
        new = NewMessage(queue_envelope("ann@example.org"), self.now, self.now + HOUR)

        def fail(descriptor: int) -> None:
            raise OSError(errno.EIO, "the disk is broken")

        patch = self.patch(store.core.writer._tx.log, "_flush", fail)
        report = Report(new, Spool.from_bytes(message(2)))
        with self.assertRaises(MailError):
            await store.queue.record(updates=[update], reports=[report])
        patch.restore()
        (tom,) = (await store.queue.get_message(id=id)).recipients
        self.assertEqual(tom.state, RecipientState.QUEUED)
        self.assertEqual(len(await store.queue.find_due(now=self.now, limit=9)), 1)

    async def test_compaction_moves_what_waits(self) -> None:
        self.patch(compact, "MIN_GARBAGE", 1000)
        settings = StoreSettings(
            maintenance_interval=3600.0, ahead_delay=3600.0, segment_size=20_000
        )
        store = await self.make_store(settings=settings)
        await self.deliver(store, message(1, size=15_000))
        id = await self.add(store, 77, "eve@example.net")
        # Another segment begins.
        await self.deliver(store, message(2, size=15_000))
        before = store.queue.place(id)[0].segment
        inbox = await self.mailbox(store)
        await inbox.expunge(uids=[1])
        await store.compact()
        self.assertNotEqual(store.queue.place(id)[0].segment, before)
        with await store.queue.open_message(id=id) as file:
            self.assertEqual(file.read(), message(77))
