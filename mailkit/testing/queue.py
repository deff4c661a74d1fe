"""Contract tests of outbound queues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailkit.errors import NoSuchMessage
from mailkit.interfaces import (
    IQueueEvents,
)
from mailkit.model import (
    INBOX,
    DeliverBy,
    HookRecord,
    LocalDelivery,
    OriginalRecipient,
    Path,
    Recipient,
    ValidSince,
)
from mailkit.queue.values import (
    Attempt,
    NewMessage,
    Order,
    QueuedMessage,
    RecipientState,
    Report,
    Update,
)
from mailkit.testing.base import read_message, sample_message, spooled
from mailkit.testing.queue_base import ANN, BOB, HOUR, queue_envelope
from mailkit.testing.queue_keeping import KeepingTests
from mailkit.testing.queue_orders import OrderTests
from mailkit.testing.queue_postponing import PostponingTests


class QueueContract(OrderTests, PostponingTests, KeepingTests):
    """Tests of a queue, :class:`~mailkit.interfaces.IQueue`, and of the store that has it.

    The hook is ``make_queueing_store``. The store is closed when the test is over. Who keeps the
    queue on disk gives ``reopen_queueing_store`` too.
    """

    async def test_enqueue(self) -> None:
        queue = await self.open_queue()
        id = await self.add(queue, "eve@example.net", "joe@EXAMPLE.net", "sue@example.com")
        self.assertEqual(await self.content(queue, id), sample_message(1))
        message = await queue.get_message(id=id)
        self.assertEqual(message.size, len(sample_message(1)))
        self.assertEqual(message.expires, self.now + 100 * HOUR)
        self.assertEqual({each.state for each in message.recipients}, {RecipientState.QUEUED})
        self.assertEqual(
            sorted(await queue.find_due(now=self.now, limit=10)), ["example.com", "example.net"]
        )
        self.assertEqual(
            await self.due(queue, "example.net"), ["eve@example.net", "joe@EXAMPLE.net"]
        )
        self.assertEqual(await self.due(queue, "example.com"), ["sue@example.com"])
        self.assertEqual(await self.due(queue, "example.org"), [])

    async def test_envelope_is_kept(self) -> None:
        queue = await self.open_queue()
        envelope = queue_envelope(
            account=ANN,
            transaction_id="4bxQ",
            parameters={"BODY": "8BITMIME", "SMTPUTF8": None},
            history=[HookRecord("Check", "mail", "accept", "", 0.5)],
            declared_size=100,
            body="8BITMIME",
            smtputf8=True,
            ret="HDRS",
            envid="QQ314159",
            require_tls=True,
            deliver_by=DeliverBy(self.now + 99, "R", True),
            priority=-3,
            hold_until=self.now,
            solicitation=("org.example:ADV",),
            submitter="ann@example.org",
            date_added=True,
        )
        envelope.recipients = [
            Recipient(
                Path("jös e", "example.net"),
                {"NOTIFY": "NEVER"},
                frozenset({"SUCCESS", "FAILURE"}),
                OriginalRecipient("rfc822", "joe@example.com"),
                ValidSince(5, "C"),
            )
        ]
        content = spooled(sample_message(1))
        self.addCleanup(content.close)
        new = NewMessage(envelope, self.now, self.now + HOUR)
        id = (await queue.enqueue(message=content, new=[new])).ids[0]
        self.assertEqual((await queue.get_message(id=id)).envelope, envelope)

    async def test_an_envelope_may_be_used_again(self) -> None:
        queue = await self.open_queue()
        envelope = queue_envelope("tom@example.com")
        new = NewMessage(envelope, self.now, self.now + HOUR)
        for name in ("tom", "eve"):
            envelope.recipients = [Recipient(Path(name, "example.com"))]
            envelope.reverse_path = Path(f"list+{name}", "example.org")
            content = spooled(sample_message(1))
            self.addCleanup(content.close)
            await queue.enqueue(message=content, new=[new])
        envelope.recipients[0] = Recipient(Path("kim", "example.com"))
        due = await queue.list_due(domain="example.com", now=self.now, limit=9)
        for message, name in zip(due, ("tom", "eve"), strict=True):
            self.assertEqual(str(message.envelope.reverse_path), f"list+{name}@example.org")
            paths = [str(each.recipient.path) for each in message.recipients]
            self.assertEqual(paths, [f"{name}@example.com"])

    async def test_enqueue_and_deliver(self) -> None:
        queue = await self.open_queue(ANN)
        trace = b"Return-Path: <ann@example.org>\r\n"
        content = spooled(sample_message(1))
        self.addCleanup(content.close)
        content.prepend(trace)
        new = NewMessage(
            queue_envelope("eve@example.net"), self.now, self.now + HOUR, skip=len(trace)
        )
        deliveries = [LocalDelivery(ANN), LocalDelivery(BOB)]
        queued = await queue.enqueue(message=content, new=[new], deliveries=deliveries)
        first, second = queued.results
        self.assertIsNone(first.error)
        self.assertIsNotNone(second.error)
        self.assertEqual(await self.content(queue, queued.ids[0]), sample_message(1))
        store: Any = self.store
        inbox = await (await store.open_account(name=ANN)).open_mailbox(name=INBOX)
        self.assertEqual(await read_message(inbox, first.uid), trace + sample_message(1))
        await inbox.expunge(uids=[first.uid])
        self.assertEqual(await self.content(queue, queued.ids[0]), sample_message(1))

    async def test_several_envelopes(self) -> None:
        queue = await self.open_queue()
        content = spooled(sample_message(1))
        self.addCleanup(content.close)
        news = [
            NewMessage(queue_envelope("a@example.net"), self.now, self.now + HOUR, skip=4),
            NewMessage(
                queue_envelope("b@example.net"), self.now, self.now + HOUR, 0, b"X: \xff\r\n"
            ),
        ]
        first, second = (await queue.enqueue(message=content, new=news)).ids
        self.assertEqual(await self.content(queue, first), sample_message(1)[4:])
        await queue.order(order=Order.CANCEL, id=first, now=self.now)
        expected = b"X: \xff\r\n" + sample_message(1)
        self.assertEqual(await self.content(queue, second), expected)
        self.assertEqual((await queue.get_message(id=second)).size, len(expected))

    async def test_large_message(self) -> None:
        queue = await self.open_queue(ANN)
        octets = sample_message(1, size=2_000_000)
        content = spooled(octets, on_disk=True)
        self.addCleanup(content.close)
        new = NewMessage(queue_envelope("eve@example.net"), self.now, self.now + HOUR, skip=7)
        queued = await queue.enqueue(message=content, new=[new], deliveries=[LocalDelivery(ANN)])
        self.assertEqual(await self.content(queue, queued.ids[0]), octets[7:])
        with await queue.open_message(id=queued.ids[0]) as file:
            file.seek(len(octets) - 17)
            self.assertEqual(file.read(), octets[-10:])

    async def test_time(self) -> None:
        queue = await self.open_queue()
        self.assertIsNone(await queue.get_next_time())
        id = await self.add(queue, "eve@example.net", later=HOUR)
        await self.add(queue, "eve@example.com", later=2 * HOUR)
        self.assertEqual(await self.states(queue, id), [RecipientState.SCHEDULED])
        self.assertEqual(await queue.get_next_time(), self.now + HOUR)
        self.assertEqual(await queue.find_due(now=self.now, limit=10), [])
        self.assertEqual(await self.due(queue, "example.net"), [])
        later = self.now + 3 * HOUR
        self.assertEqual(await queue.find_due(now=later, limit=10), ["example.net", "example.com"])
        self.assertEqual(await queue.find_due(now=later, limit=1), ["example.net"])
        self.assertEqual(
            await queue.find_due(now=later, limit=1, exclude=["example.net"]), ["example.com"]
        )

    async def test_record(self) -> None:
        queue = await self.open_queue()
        id = await self.add(queue, "eve@example.net", "joe@example.net")
        eve, joe = (await queue.get_message(id=id)).recipients
        failed = Attempt(
            self.now, 1.5, "mx.example.net", "192.0.2.3:25", "TLSv1.3", "opportunistic", 451,
            "4.3.0", "not now", "RCPT",
        )  # fmt: skip
        taken = Attempt(self.now, 2.0, code=250, text="fine")
        await queue.record(
            updates=[
                Update(eve.id, RecipientState.DEFERRED, self.now + HOUR, failed, warned=True),
                Update(joe.id, RecipientState.DELIVERED, attempt=taken),
            ]
        )
        self.assertEqual(
            await self.states(queue, id), [RecipientState.DEFERRED, RecipientState.DELIVERED]
        )
        self.assertEqual(await self.due(queue, "example.net"), [])
        self.assertEqual(await queue.get_next_time(), self.now + HOUR)
        self.assertEqual(await self.due(queue, "example.net", later=HOUR), ["eve@example.net"])
        again = (await queue.get_message(id=id)).recipients[0]
        self.assertEqual((again.attempts, again.warned), (1, True))
        self.assertEqual(
            sorted(await queue.get_attempts(id=id)), sorted([(eve.id, failed), (joe.id, taken)])
        )

    async def test_final_is_final(self) -> None:
        queue = await self.open_queue()
        id = await self.add(queue, "eve@example.net")
        (eve,) = (await queue.get_message(id=id)).recipients
        await queue.record(updates=[Update(eve.id, RecipientState.DELIVERED)])
        await queue.record(updates=[Update(eve.id, RecipientState.DEFERRED, self.now)])
        self.assertEqual(await self.states(queue, id), [RecipientState.DELIVERED])
        self.assertIsNone(await queue.get_next_time())
        with self.assertRaises(NoSuchMessage):
            await queue.open_message(id=id)
        self.assertEqual(await queue.list_messages(), [])
        (known,) = await queue.list_messages(finished=True)
        self.assertEqual(known.id, id)

    async def test_attempting(self) -> None:
        """What is under way shows, and is still due: whoever has begun it may not end it."""
        queue = await self.open_queue()
        id = await self.add(queue, "eve@example.net")
        (eve,) = (await queue.get_message(id=id)).recipients
        await queue.record(updates=[Update(eve.id, RecipientState.ATTEMPTING)])
        self.assertEqual(await self.states(queue, id), [RecipientState.ATTEMPTING])
        self.assertEqual(await self.due(queue, "example.net"), ["eve@example.net"])
        self.assertEqual((await queue.get_message(id=id)).recipients[0].attempts, 0)
        attempt = Attempt(self.now, 9.0, code=451)
        await queue.record(
            updates=[Update(eve.id, RecipientState.DEFERRED, self.now + HOUR, attempt)]
        )
        self.assertEqual(await self.states(queue, id), [RecipientState.DEFERRED])
        self.assertEqual(await self.due(queue, "example.net"), [])
        for final in (RecipientState.DELIVERED, RecipientState.ATTEMPTING):
            await queue.record(updates=[Update(eve.id, final)])
        self.assertEqual(await self.states(queue, id), [RecipientState.DELIVERED])

    async def test_nobody_is_attempting_any_more(self) -> None:
        """After a start: whoever had begun the attempts is gone."""
        queue = await self.open_queue()
        ids = [await self.add(queue, f"{name}@example.net") for name in ("new", "old", "other")]
        new, old, other = [(await queue.get_message(id=id)).recipients[0] for id in ids]
        failed = Attempt(self.now, 9.0, code=451)
        await queue.record(
            updates=[
                Update(old.id, RecipientState.DEFERRED, self.now, failed),
                Update(new.id, RecipientState.ATTEMPTING),
                Update(old.id, RecipientState.ATTEMPTING),
                Update(other.id, RecipientState.DEFERRED, self.now + HOUR, failed),
            ]
        )
        self.assertEqual(await queue.end_attempts(), 2)
        self.assertEqual(await queue.end_attempts(), 0)
        states = [state for id in ids for state in await self.states(queue, id)]
        waiting = [RecipientState.QUEUED, RecipientState.DEFERRED, RecipientState.DEFERRED]
        self.assertEqual(states, waiting)
        due = await self.due(queue, "example.net")
        self.assertEqual(sorted(due), ["new@example.net", "old@example.net"])

    async def test_reports(self) -> None:
        queue = await self.open_queue()
        id = await self.add(queue, "eve@example.net")
        (eve,) = (await queue.get_message(id=id)).recipients
        content = spooled(sample_message(7))
        self.addCleanup(content.close)
        new = NewMessage(queue_envelope("ann@example.com"), self.now, self.now + HOUR)
        await queue.record(
            updates=[Update(eve.id, RecipientState.FAILED)], reports=[Report(new, content)]
        )
        (report,) = await queue.list_due(domain="example.com", now=self.now, limit=10)
        self.assertEqual(await self.content(queue, report.id), sample_message(7))

    async def test_due_in_portions(self) -> None:
        queue = await self.open_queue()
        for number in range(5):
            await self.add(queue, "a@example.net", "b@example.net", number=number)
        many = [f"{number}@example.com" for number in range(20)]
        id = await self.add(queue, *many)
        taken = await queue.list_due(domain="example.net", now=self.now, limit=5)
        self.assertEqual([len(message.recipients) for message in taken], [2, 2])
        (whole,) = await queue.list_due(domain="example.com", now=self.now, limit=3)
        self.assertEqual((whole.id, len(whole.recipients)), (id, 20))

    async def test_priority(self) -> None:
        queue = await self.open_queue()
        await self.add(queue, "slow@example.net", priority=-1)
        await self.add(queue, "urgent@example.net", priority=4)
        self.assertEqual(
            await self.due(queue, "example.net"), ["urgent@example.net", "slow@example.net"]
        )

    async def test_flush(self) -> None:
        queue = await self.open_queue()
        domains = ["example.net", "a.example.net", "example.com", "notexample.net"]
        for domain in domains:
            id = await self.add(queue, f"eve@{domain}")
            (eve,) = (await queue.get_message(id=id)).recipients
            attempt = Attempt(self.now, 1.0, code=450)
            update = Update(eve.id, RecipientState.DEFERRED, self.now + HOUR, attempt)
            await queue.record(updates=[update])
        await self.add(queue, "joe@example.net", later=HOUR)

        async def due() -> list[str]:
            return sorted(await queue.find_due(now=self.now, limit=10))

        told: list[str] = []
        self.addCleanup(queue.watch(told.append))
        self.assertEqual(await queue.flush(now=self.now, domain="example.org"), 0)
        self.assertEqual(await queue.flush(now=self.now, domain="example.net"), 1)
        self.assertEqual((await due(), told), (["example.net"], ["example.net"]))
        # What is scheduled stays scheduled, and nothing is flushed twice.
        self.assertEqual(await self.due(queue, "example.net"), ["eve@example.net"])
        flushed = await queue.flush(now=self.now, domain="example.net", subdomains=True)
        self.assertEqual((flushed, await due()), (1, ["a.example.net", "example.net"]))
        self.assertEqual(await queue.flush(now=self.now), 2)
        self.assertEqual(await due(), sorted(domains))

    async def test_sizes(self) -> None:
        queue = await self.open_queue()
        self.assertEqual(tuple(await queue.get_size()), (0, 0))
        await self.add(queue, "eve@example.net", "joe@example.net", account=ANN)
        done = await self.add(queue, "eve@example.net", number=2, account=ANN)
        await self.add(queue, "eve@example.com", number=3, account=BOB)
        sizes = [len(sample_message(number)) for number in (1, 2, 3)]
        self.assertEqual(tuple(await queue.get_size()), (3, sum(sizes)))

        async def counts(limit: int = 10) -> list[int]:
            found = [await queue.count(limit=limit, account=each) for each in (ANN, BOB, "x@y")]
            for domain in ("example.net", "example.com", "example.org"):
                found.append(await queue.count(limit=limit, domain=domain))
            return found

        self.assertEqual(await counts(), [2, 1, 0, 3, 1, 0])
        self.assertEqual(await counts(limit=2), [2, 1, 0, 2, 1, 0])
        await queue.order(order=Order.CANCEL, id=done, now=self.now)
        self.assertEqual(await counts(), [1, 1, 0, 2, 1, 0])
        self.assertEqual(tuple(await queue.get_size()), (2, sizes[0] + sizes[2]))

    async def test_list(self) -> None:
        queue = await self.open_queue()
        ids = [await self.add(queue, f"{number}@example.net") for number in range(5)]
        self.assertEqual(self.ids(await queue.list_messages()), ids)
        self.assertEqual(self.ids(await queue.list_messages(limit=2)), ids[:2])
        self.assertEqual(self.ids(await queue.list_messages(after=ids[1], limit=2)), ids[2:4])

    @staticmethod
    def ids(messages: Sequence[QueuedMessage]) -> list[str]:
        return [message.id for message in messages]

    async def test_forget(self) -> None:
        queue = await self.open_queue()
        done = await self.add(queue, "eve@example.net")
        left = await self.add(queue, "joe@example.net")
        await queue.order(order=Order.CANCEL, id=done, now=self.now)
        self.assertEqual(await queue.forget(before=self.now - 10), 0)
        self.assertEqual(await queue.forget(before=self.now + HOUR), 1)
        self.assertEqual(self.ids(await queue.list_messages(finished=True)), [left])
        with self.assertRaises(NoSuchMessage):
            await queue.get_message(id=done)

    async def test_no_such_message(self) -> None:
        queue = await self.open_queue()
        for id in ("1", "", "x", "9" * 30, "-1"):
            for call in (queue.get_message, queue.open_message):
                with self.assertRaises(NoSuchMessage):
                    await call(id=id)
            with self.assertRaises(NoSuchMessage):
                await queue.order(order=Order.RETRY, id=id, now=self.now)

    async def test_find_by_message_id(self) -> None:
        queue = await self.open_queue()
        envelope = queue_envelope("eve@example.net")
        ids: list[str] = []
        for message_id in ("<1@example.org>", "<2@example.org>", "<1@example.org>", ""):
            new = NewMessage(envelope, self.now, self.now + HOUR, message_id=message_id)
            content = spooled(sample_message(1))
            ids += (await queue.enqueue(message=content, new=[new])).ids
            content.close()
        found = await queue.find_messages(message_id="<1@example.org>")
        self.assertEqual(self.ids(found), [ids[2], ids[0]])
        self.assertEqual(found[0].message_id, "<1@example.org>")
        self.assertEqual(len(await queue.find_messages(message_id="<1@example.org>", limit=1)), 1)
        for other in ("", "<3@example.org>"):
            self.assertEqual(await queue.find_messages(message_id=other), [])

    async def test_find_by_envid_and_sender(self) -> None:
        queue = await self.open_queue()
        ids: list[str] = []
        for envid, sender in (
            ("one", Path("Ann", "example.org")),
            ("one", Path("bob", "example.org")),
            ("two", Path("ann", "example.org")),
            (None, Path("ann", "example.org")),
            (None, Path("", "")),
        ):
            envelope = queue_envelope("eve@example.net", envid=envid)
            envelope.reverse_path = sender
            new = NewMessage(envelope, self.now, self.now + HOUR, message_id="<1@example.org>")
            content = spooled(sample_message(1))
            ids += (await queue.enqueue(message=content, new=[new])).ids
            content.close()
        ann = Path("ann", "EXAMPLE.org")
        for wanted, found in (
            ({"envid": "one"}, [1, 0]),
            ({"envid": "one", "sender": ann}, [0]),
            # Others that stand before them take no place from the sender's.
            ({"envid": "one", "sender": ann, "limit": 1}, [0]),
            ({"message_id": "<1@example.org>", "sender": ann}, [3, 2, 0]),
            ({"message_id": "<1@example.org>", "sender": Path("", "")}, [4]),
            # The Message-ID goes before.
            ({"message_id": "<1@example.org>", "envid": "two", "sender": ann}, [3, 2, 0]),
            ({"envid": "three"}, []),
            ({"envid": ""}, []),
            ({"sender": ann}, []),
        ):
            messages = await queue.find_messages(**wanted)
            self.assertEqual(self.ids(messages), [ids[number] for number in found], wanted)

    async def test_key(self) -> None:
        queue = await self.open_queue(ANN)
        ids: list[str] = []
        for key in ("outbox 1", "outbox 2", "outbox 1", "outbox 1"):
            new = NewMessage(queue_envelope("eve@example.net"), self.now, self.now + HOUR, key=key)
            content = spooled(sample_message(1), on_disk=bool(ids))
            ids += (await queue.enqueue(message=content, new=[new])).ids
            content.close()
        self.assertEqual(ids, [ids[0], ids[1], ids[0], ids[0]])
        self.assertEqual(self.ids(await queue.list_messages()), ids[:2])
        # As long as the message is known, also when it is over.
        await queue.order(order=Order.CANCEL, id=ids[0], now=self.now)
        content = spooled(sample_message(1))
        self.addCleanup(content.close)
        new = NewMessage(
            queue_envelope("eve@example.net"), self.now, self.now + HOUR, key="outbox 1"
        )
        self.assertEqual((await queue.enqueue(message=content, new=[new])).ids, [ids[0]])
        with self.assertRaises(NoSuchMessage):
            await queue.open_message(id=ids[0])

    async def test_what_is_reported_later(self) -> None:
        queue = await self.open_queue()
        id = await self.add(queue, "eve@example.net", "joe@example.net")
        eve, joe = (await queue.get_message(id=id)).recipients
        taken = Attempt(self.now, 2.0, code=250, text="fine")
        returned = Attempt(self.now + 5, 0.0, "mx.example.net", enhanced="5.1.1", command="report")
        delivered = RecipientState.DELIVERED
        await queue.record(
            updates=[
                Update(eve.id, delivered, attempt=taken),
                Update(joe.id, RecipientState.FAILED, attempt=taken),
            ]
        )
        for state in (RecipientState.BOUNCED, RecipientState.COMPLAINED, RecipientState.BOUNCED):
            await queue.record(
                updates=[
                    Update(eve.id, state, attempt=returned),
                    Update(joe.id, state, attempt=returned),
                ]
            )
        self.assertEqual(
            await self.states(queue, id), [RecipientState.COMPLAINED, RecipientState.FAILED]
        )
        attempts = [attempt for number, attempt in await queue.get_attempts(id=id)]
        self.assertEqual(attempts.count(returned), 2)
        self.assertIsNone(await queue.get_next_time())

    async def test_events(self) -> None:
        queue: Any = self.need(IQueueEvents, await self.open_queue())
        self.check_provides(queue, [IQueueEvents], [])
        await self.add(queue, "nobody@example.net")
        await queue.change_listeners(add=["one"])
        id = await self.add(queue, "eve@example.net", "joe@example.net")
        eve, joe = (await queue.get_message(id=id)).recipients
        attempt = Attempt(self.now, 1.0, code=451, text="later")
        await queue.change_listeners(add=["two", "one"], remove=["three"])
        self.assertEqual(sorted(await queue.list_listeners()), ["one", "two"])
        await queue.record(
            updates=[
                Update(eve.id, RecipientState.DEFERRED, self.now + HOUR, attempt),
                # No attempt, nothing happened.
                Update(joe.id, RecipientState.DEFERRED, self.now + HOUR),
            ]
        )
        await queue.order(order=Order.CANCEL, id=id, now=self.now)
        deferred = (id, "eve@example.net", RecipientState.DEFERRED, attempt)
        later = [
            deferred,
            (id, "eve@example.net", RecipientState.CANCELLED, None),
            (id, "joe@example.net", RecipientState.CANCELLED, None),
        ]
        queued = [
            (id, "eve@example.net", RecipientState.QUEUED, None),
            (id, "joe@example.net", RecipientState.QUEUED, None),
        ]
        self.assertEqual(await self.events(queue, "one"), queued + later)
        self.assertEqual(await self.events(queue, "two"), later)
        self.assertEqual(await self.events(queue, "three"), [])
        first, second = await queue.list_events(listener="one", limit=2)
        self.assertLess(first.id, second.id)
        last = (await queue.list_events(listener="one", limit=100))[-1].id
        self.assertEqual(await queue.get_last_event(), last)
        await queue.acknowledge(listener="one", through=second.id)
        await queue.acknowledge(listener="one", through=first.id)
        await queue.acknowledge(listener="three", through=second.id + 100)
        self.assertEqual(await self.events(queue, "one"), later)
        self.assertEqual(await self.events(queue, "two"), later)
        await queue.change_listeners(add=["two"], remove=["one"])
        self.assertEqual(await self.events(queue, "one"), [])
        self.assertEqual(await self.events(queue, "two"), later)
        # What is forgotten tells nobody anything.
        await queue.forget(before=self.now + HOUR)
        self.assertEqual(await self.events(queue, "two"), [])

    @staticmethod
    async def events(queue: Any, listener: str) -> list[tuple[Any, ...]]:
        return [
            (each.message, str(each.recipient.path), each.state, each.attempt)
            for each in await queue.list_events(listener=listener, limit=100)
        ]

    async def test_watch(self) -> None:
        queue = await self.open_queue()
        told: list[str] = []
        end = queue.watch(told.append)
        id = await self.add(queue, "eve@example.net")
        await self.wait_until(lambda: told == ["example.net"])
        await queue.order(order=Order.HOLD, id=id, now=self.now)
        await queue.order(order=Order.RELEASE, id=id, now=self.now)
        await self.wait_until(lambda: len(told) >= 2)
        end()
        end()
        count = len(told)
        await self.add(queue, "eve@example.net")
        self.assertEqual(len(told), count)
