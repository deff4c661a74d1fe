"""Messages that some of their recipients get and others don't: who answers for them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.delivery.duplicates import REPEATED_WITHIN, Served
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.delivery.queueing import QueueingDelivery
from mailkit.delivery.routing import Routes, RoutingDelivery
from mailkit.errors import MailboxInUse, MailError, OverQuota, RefusedElsewhere, StoreUnavailable
from mailkit.model import LocalDelivery, LocalResult, Outcome, Path, Recipient
from mailkit.queue.manager import QueueManager
from mailkit.queue.reports import Reporter
from mailkit.queue.schedule import Schedule
from mailkit.queue.transport import DeliveryTransport, Transport
from mailkit.queue.values import RecipientState
from mailkit.smtp.submission import SubmissionFactory
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore
from mailkit.store.sqlite import SQLiteStore, StoreSettings
from mailkit.testing import read_message
from mailkit.testing.queue import queue_envelope
from tests.smtp.fakes import Server

from .test_routing import FakeDelivery

ANN, BOB, CAROL = "ann@example.org", "bob@example.org", "carol@example.org"
TEAM, EVE = "team@example.org", "eve@example.net"
MESSAGE = b"Received: x\r\nMessage-ID: <1@example.org>\r\nSubject: hi\r\n\r\nhi\r\n"
NOW = 1_700_000_000


class PartialTestCase(TestCase):
    async def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store = MemoryStore(clock=self.clock)
        for name in (ANN, BOB, CAROL):
            await self.store.add_account(name=name)
        await self.store.add_alias(alias=TEAM, targets=[BOB, CAROL])
        #: Errors of accounts.
        self.failing: dict[str, MailError] = {}
        deliver = self.store._deliver

        def fail(content: Any, delivery: LocalDelivery) -> LocalResult:
            if delivery.account in self.failing:
                return LocalResult(error=self.failing[delivery.account])
            return deliver(content, delivery)

        self.patch(self.store, "_deliver", fail)
        self.reporter = Reporter("mail.example.org", self.clock.seconds, token=lambda: "token")
        self.manager = QueueManager(
            self.store.queue,
            self.find,
            self.reporter,
            schedule=Schedule(jitter=0.0),
            clock=self.clock,
        )
        self.served = Served(self.clock.seconds)
        self.route = FakeDelivery()

    async def find(self, domain: str) -> Transport:
        return DeliveryTransport(lambda: self.delivery(None), "here", self.clock.seconds, True)

    def delivery(self, account: str | None = ANN) -> QueueingDelivery:
        return QueueingDelivery(
            self.store, self.store, account, queue=self.manager, served=self.served
        )

    async def send(
        self,
        *addresses: str,
        delivery: LocalMessageDelivery | None = None,
        message: bytes = MESSAGE,
        **fields: Any,
    ) -> list[MailError | None]:
        """The errors that the client is told, by recipient."""
        if delivery is None:
            delivery = self.delivery()
        envelope = queue_envelope(*addresses, account=delivery.account)
        for name, value in fields.items():
            setattr(envelope, name, value)
        spool = Spool.from_bytes(message)
        found: Sequence[Outcome] = await delivery.deliver(envelope=envelope, message=spool)
        self.assertEqual([each.recipient for each in found], envelope.recipients)
        return [each.error for each in found]

    async def inbox(self, account: str) -> list[bytes]:
        mailbox = await (await self.store.open_account(name=account)).open_mailbox(name="INBOX")
        return [await read_message(mailbox, uid) for uid in await mailbox.list_uids()]

    async def counts(self) -> tuple[int, ...]:
        """Messages in the inboxes of Bob and Carol."""
        return len(await self.inbox(BOB)), len(await self.inbox(CAROL))

    async def queued(self) -> list[tuple[list[str], bytes, list[int]]]:
        """Recipients, octets and times of what is in the queue."""
        found = []
        for message in await self.store.queue.list_messages():
            addresses = [str(each.recipient.path) for each in message.recipients]
            times = [each.next_time - NOW for each in message.recipients]
            with await self.store.queue.open_message(id=message.id) as file:
                found.append((addresses, file.read(), times))
        return found


class UserTests(PartialTestCase):
    """A user gets 250 and reports."""

    async def test_refused_for_good(self) -> None:
        self.failing[CAROL] = OverQuota()
        self.assertEqual(await self.send(BOB, CAROL), [None, None])
        self.assertEqual(await self.counts(), (1, 0))
        ((recipients, octets, _),) = await self.queued()
        self.assertEqual(recipients, [ANN])
        self.assertIn(b"Action: failed", octets)
        self.assertIn(b"Final-Recipient: rfc822; carol@example.org", octets)
        self.assertIn(OverQuota().text.encode(), octets)
        self.assertNotIn(b"bob@example.org", octets)
        # It comes back whole.
        self.assertIn(MESSAGE, octets)

    async def test_refused_for_now(self) -> None:
        self.failing[CAROL] = MailboxInUse()
        self.assertEqual(await self.send(BOB, CAROL), [None, None])
        self.assertEqual(await self.counts(), (1, 0))
        self.assertEqual(await self.queued(), [([CAROL], MESSAGE, [300])])

    async def test_the_queue_tries_again(self) -> None:
        self.failing[CAROL] = MailboxInUse()
        await self.send(BOB, CAROL)
        self.manager.start()
        del self.failing[CAROL]
        self.clock.pump([10.0] * 31)
        await self.manager.stop()
        self.assertEqual(await self.counts(), (1, 1))
        (message,) = await self.store.queue.list_messages(finished=True)
        self.assertIs(message.recipients[0].state, RecipientState.DELIVERED)

    async def test_a_message_sent_again_is_delivered_again(self) -> None:
        self.failing[CAROL] = MailboxInUse()
        await self.send(BOB, CAROL)
        await self.send(BOB)
        self.assertEqual(await self.counts(), (2, 0))

    async def test_the_queue_does_not_queue_again(self) -> None:
        self.failing[CAROL] = MailboxInUse()
        await self.send(BOB, CAROL)
        self.manager.start()
        self.clock.pump([10.0] * 31)
        await self.manager.stop()
        (message,) = await self.store.queue.list_messages(finished=True)
        self.assertIs(message.recipients[0].state, RecipientState.DEFERRED)
        self.assertEqual(message.recipients[0].attempts, 1)

    async def test_one_for_good_and_one_for_now(self) -> None:
        self.failing = {BOB: OverQuota(), CAROL: MailboxInUse()}
        self.assertEqual(await self.send(BOB, CAROL), [None, None])
        found = sorted(recipients for recipients, _, _ in await self.queued())
        self.assertEqual(found, [[ANN], [CAROL]])

    async def test_refused_everywhere(self) -> None:
        self.failing = {BOB: OverQuota(), CAROL: OverQuota()}
        for error in await self.send(BOB, CAROL):
            self.assertIsInstance(error, OverQuota)
        self.assertEqual(await self.queued(), [])

    async def test_one_recipient_for_now(self) -> None:
        self.failing[BOB] = MailboxInUse()
        self.assertEqual(await self.send(BOB), [None])
        self.assertEqual([each[0] for each in await self.queued()], [[BOB]])

    async def test_members_of_an_alias(self) -> None:
        # Whoever has it does not get it again.
        self.failing[CAROL] = MailboxInUse()
        self.assertEqual(await self.send(TEAM), [None])
        self.assertEqual(await self.counts(), (1, 0))
        ((recipients, octets, _),) = await self.queued()
        self.assertEqual(recipients, [CAROL])
        (message,) = await self.store.queue.list_messages()
        orcpt = message.recipients[0].recipient.orcpt
        assert orcpt is not None
        self.assertEqual(orcpt.address, TEAM)
        self.assertEqual(octets, b"Delivered-To: team@example.org\r\n" + MESSAGE)

    async def test_here_and_elsewhere(self) -> None:
        self.failing[BOB] = OverQuota()
        self.assertEqual(await self.send(EVE, BOB), [None, None])
        found = sorted(recipients for recipients, _, _ in await self.queued())
        self.assertEqual(found, [[ANN], [EVE]])

    async def test_no_report_where_none_is_wanted(self) -> None:
        self.failing[CAROL] = OverQuota()
        recipients = [
            Recipient(Path("bob", "example.org")),
            Recipient(Path("carol", "example.org"), notify=frozenset({"NEVER"})),
        ]
        self.assertEqual(await self.send(recipients=recipients), [None, None])
        self.assertEqual(await self.queued(), [])

    async def test_arrival_is_not_told_of_who_waits(self) -> None:
        self.failing[CAROL] = MailboxInUse()
        notify = frozenset({"SUCCESS"})
        recipients = [
            Recipient(Path(name, "example.org"), notify=notify) for name in ("bob", "carol")
        ]
        await self.send(recipients=recipients)
        ((_, report, _),) = [each for each in await self.queued() if each[0] == [ANN]]
        self.assertIn(b"Final-Recipient: rfc822; bob@example.org", report)
        self.assertNotIn(b"carol@example.org", report)

    async def test_null_reverse_path(self) -> None:
        # Nobody could be told, so the client is.
        self.failing[CAROL] = OverQuota()
        found = await self.send(BOB, CAROL, reverse_path=Path("", ""))
        self.assertIsNone(found[0])
        self.assertIsInstance(found[1], OverQuota)
        self.assertEqual(await self.queued(), [])

    async def test_queue_that_fails(self) -> None:
        self.failing[CAROL] = MailboxInUse()

        async def fail(**arguments: Any) -> Any:
            raise StoreUnavailable

        self.patch(self.store.queue, "enqueue", fail)
        found = await self.send(BOB, CAROL)
        self.assertIsNone(found[0])
        self.assertIsInstance(found[1], MailboxInUse)

    async def test_in_a_file(self) -> None:
        self.failing[CAROL] = MailboxInUse()
        spool = Spool(memory_limit=0)
        spool.write(MESSAGE)
        self.assertIsNone(spool.data)
        envelope = queue_envelope(BOB, CAROL, account=ANN)
        found = await self.delivery().deliver(envelope=envelope, message=spool)
        spool.close()
        self.assertEqual([each.error for each in found], [None, None])
        self.assertEqual(await self.queued(), [([CAROL], MESSAGE, [300])])


class _BusyMailbox(QueueingDelivery):
    """Carol's mailbox cannot be used now."""

    async def put(
        self, message: Spool, deliveries: Sequence[LocalDelivery], skip: int, more: Sequence[Any]
    ) -> Sequence[LocalResult]:
        others = [each for each in deliveries if each.account != CAROL]
        found = dict(zip(others, await super().put(message, others, skip, more), strict=True))
        return [found.get(each, LocalResult(error=MailboxInUse())) for each in deliveries]


class EmbeddedStoreTests(TestCase):
    """The embedded store takes the files that messages come in."""

    async def test_in_a_file_that_is_taken(self) -> None:
        store = SQLiteStore(self.mktemp(), settings=StoreSettings(spool_memory=100_000))
        self.addCleanup(store.close)
        for name in (ANN, BOB, CAROL, "full@example.org"):
            await store.add_account(name=name)
        await store.set_quota(account="full@example.org", max_octets=100, max_messages=None)
        manager: Any = QueueManager(
            store.queue, cast(Any, None), Reporter("mail.example.org", time.time)
        )
        delivery = _BusyMailbox(store, store, ANN, queue=manager)
        spool = delivery.new_spool()
        content = MESSAGE + (b"x" * 998 + b"\r\n") * 300
        spool.write(content)
        self.assertIsNotNone(spool.path)
        envelope = queue_envelope(BOB, CAROL, "full@example.org", account=ANN)
        found = await delivery.deliver(envelope=envelope, message=spool)
        spool.close()
        self.assertEqual([each.error for each in found], [None] * 3)
        queued = {}
        for message in await store.queue.list_messages():
            with await store.queue.open_message(id=message.id) as file:
                queued[str(message.recipients[0].recipient.path)] = file.read()
        self.assertEqual(queued.keys(), {ANN, CAROL})
        self.assertEqual(queued[CAROL], content)
        self.assertIn(content, queued[ANN])

    async def test_a_large_message_without_a_name(self) -> None:
        store = SQLiteStore(self.mktemp(), settings=StoreSettings(spool_memory=100_000))
        self.addCleanup(store.close)
        for name in (BOB, CAROL):
            await store.add_account(name=name)
        manager: Any = QueueManager(
            store.queue, cast(Any, None), Reporter("mail.example.org", time.time)
        )
        delivery = _BusyMailbox(store, store, queue=manager, served=Served())
        spool = delivery.new_spool()
        spool.write(b"Subject: hi\r\n\r\n" + (b"x" * 998 + b"\r\n") * 300)
        self.assertIsNotNone(spool.path)
        found = await delivery.deliver(envelope=queue_envelope(BOB, CAROL), message=spool)
        spool.close()
        self.assertIsNone(found[0].error)
        self.assertIsInstance(found[1].error, MailboxInUse)


class StrangerTests(PartialTestCase):
    """A stranger keeps the message; who has it gets it once."""

    async def test_rule(self) -> None:
        self.failing[CAROL] = MailboxInUse()
        found = await self.send(BOB, CAROL, delivery=self.delivery(None))
        self.assertIsNone(found[0])
        self.assertIsInstance(found[1], MailboxInUse)
        self.assertEqual(await self.queued(), [])

    async def again(self, first: LocalMessageDelivery, second: LocalMessageDelivery) -> None:
        """The sender repeats it once Carol can be served."""
        self.failing[CAROL] = MailboxInUse()
        await self.send(BOB, CAROL, delivery=first)
        self.assertEqual(await self.counts(), (1, 0))
        self.failing.clear()
        self.assertEqual(await self.send(BOB, CAROL, delivery=second), [None, None])

    async def test_no_second_copy(self) -> None:
        await self.again(self.delivery(None), self.delivery(None))
        self.assertEqual(await self.counts(), (1, 1))

    async def test_no_second_copy_without_a_queue(self) -> None:
        deliveries = [
            LocalMessageDelivery(self.store, self.store, served=self.served) for _ in range(2)
        ]
        await self.again(*deliveries)
        self.assertEqual(await self.counts(), (1, 1))

    async def test_another_message_of_the_same_message_id(self) -> None:
        # Mail programs keep it in what their user changes after an error, and set the time anew.
        self.failing[CAROL] = MailboxInUse()
        for minute in (b"55", b"56", b"56"):
            message = b"Date: Fri, 21 Nov 1997 09:%b:06 -0600\r\n" % minute + MESSAGE
            await self.send(BOB, CAROL, delivery=self.delivery(None), message=message)
        found = [octets.count(b":56:06") for octets in await self.inbox(BOB)]
        self.assertEqual(found, [0, 1])

    async def test_a_date_that_is_ours(self) -> None:
        # It is another one each time that the message comes.
        self.failing[CAROL] = MailboxInUse()
        for minute in (b"55", b"56"):
            message = b"Date: Fri, 21 Nov 1997 09:%b:06 -0600\r\n" % minute + MESSAGE
            delivery = self.delivery(None)
            await self.send(BOB, CAROL, delivery=delivery, message=message, date_added=True)
            self.failing.clear()
        self.assertEqual(await self.counts(), (1, 1))

    async def test_submission_without_a_date(self) -> None:
        # The whole dialogue, without a queue that would take what fails.
        server = Server(passwords={"ann": "secret"}, tls=True, factory_class=SubmissionFactory)
        content = "From: ann@example.org\r\nMessage-ID: <1@example.org>\r\n\r\nhi\r\n."
        self.failing[CAROL] = MailboxInUse()
        codes = []
        for _ in range(2):
            users: Any = server.users
            users["ann"] = LocalMessageDelivery(self.store, self.store, ANN, served=self.served)
            server.connect()
            server.greet().say("AUTH PLAIN AGFubgBzZWNyZXQ=")
            commands = f"MAIL FROM:<{ANN}>", f"RCPT TO:<{BOB}>", f"RCPT TO:<{CAROL}>", "DATA"
            codes += server.say(*commands, content)[-1:]
            self.failing.clear()
            server.clock.advance(600)
        self.assertEqual([code[:3] for code in codes], ["450", "250"], codes)
        self.assertEqual(await self.counts(), (1, 1))

    async def test_alias(self) -> None:
        self.failing[CAROL] = MailboxInUse()
        (error,) = await self.send(TEAM, delivery=self.delivery(None))
        self.assertIsInstance(error, MailboxInUse)
        self.failing.clear()
        await self.send(TEAM, delivery=self.delivery(None))
        self.assertEqual(await self.counts(), (1, 1))

    async def test_members_elsewhere(self) -> None:
        await self.store.add_alias(alias="far@example.org", targets=[EVE])
        self.failing[CAROL] = MailboxInUse()
        await self.send("far@example.org", CAROL, delivery=self.delivery(None))
        self.failing.clear()
        found = await self.send("far@example.org", CAROL, delivery=self.delivery(None))
        self.assertEqual(found, [None, None])
        self.assertEqual([each[0] for each in await self.queued()], [[EVE]])

    async def test_another_sender_is_another_message(self) -> None:
        self.failing[CAROL] = MailboxInUse()
        await self.send(BOB, CAROL, delivery=self.delivery(None))
        other = Path("list", "example.net")
        await self.send(BOB, delivery=self.delivery(None), reverse_path=other)
        self.assertEqual(await self.counts(), (2, 0))

    async def test_not_after_a_refusal_for_good(self) -> None:
        self.failing[CAROL] = OverQuota()
        await self.send(BOB, CAROL, delivery=self.delivery(None))
        await self.send(BOB, delivery=self.delivery(None))
        self.assertEqual(await self.counts(), (2, 0))

    async def test_not_for_ever(self) -> None:
        self.failing[CAROL] = MailboxInUse()
        await self.send(BOB, CAROL, delivery=self.delivery(None))
        self.clock.advance(REPEATED_WITHIN)
        await self.send(BOB, delivery=self.delivery(None))
        self.assertEqual(await self.counts(), (2, 0))

    async def test_routes(self) -> None:
        await self.store.add_domain(domain="example.com")

        def delivery() -> RoutingDelivery:
            routes = Routes({"example.com": self.route})
            return RoutingDelivery(self.store, self.store, routes=routes, served=self.served)

        full = RefusedElsewhere("full", 452, "4.2.2")
        self.route.failing["y@example.com"] = full
        found = await self.send(BOB, "x@example.com", "y@example.com", delivery=delivery())
        self.assertEqual(found, [None, None, full])
        self.route.failing.clear()
        await self.send(BOB, "x@example.com", "y@example.com", delivery=delivery())
        self.assertEqual(
            self.route.recipients, [["x@example.com", "y@example.com"], ["y@example.com"]]
        )
        self.assertEqual(await self.counts(), (1, 0))


class ServedTests(SynchronousTestCase):
    def test_places(self) -> None:
        served = Served(Clock().seconds)
        self.assertFalse(served)
        sender, inbox = Path("ann", "example.net"), LocalDelivery(BOB)
        served.remember(sender, b"<1@x>", inbox)
        self.assertTrue(served)
        self.assertTrue(served.has(sender, b"<1@x>", inbox))
        for args in (
            (Path("eve", "example.net"), b"<1@x>", inbox),
            (sender, b"<2@x>", inbox),
            (sender, b"<1@x>", LocalDelivery(BOB, "lists")),
            (sender, b"<1@x>", LocalDelivery(CAROL)),
            (sender, b"<1@x>", Path("bob", "example.org")),
        ):
            self.assertFalse(served.has(*args))
