"""Delivery with a queue: what is put where, in one step, and what is reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mailkit._typing import override
from mailkit.delivery.queueing import FEEDBACK_START, QueueingDelivery
from mailkit.delivery.routing import Routes
from mailkit.errors import NoSuchRecipient, RelayDenied, SenderRefused, StoreUnavailable
from mailkit.model import Ability, Envelope, OriginalRecipient, Outcome, Path, Recipient, ValidSince
from mailkit.queue.manager import QueueManager
from mailkit.queue.reports import Reporter
from mailkit.queue.values import QueuedMessage
from mailkit.signing.srs import SRS
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore
from mailkit.testing import read_message
from mailkit.testing.queue import queue_envelope

from .test_routing import FakeDelivery

ANN, BOB = "ann@example.org", "bob@example.org"
MESSAGE = b"Received: x\r\nSubject: hi\r\n\r\nhi\r\n"
NOW = 1_700_000_000


class QueueingCase(TestCase):
    """Two accounts, an alias that leads elsewhere, and a queue."""

    async def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store = MemoryStore(clock=self.clock)
        for name in (ANN, BOB):
            await self.store.add_account(name=name)
        await self.store.add_alias(alias="team@example.org", targets=[BOB, "eve@example.net"])
        reporter = Reporter("mail.example.org", self.clock.seconds, token=lambda: "token")
        # Not started: what is queued stays.
        self.manager = QueueManager(self.store.queue, self.none, reporter, clock=self.clock)

    async def none(self, domain: str) -> Any:
        raise NotImplementedError

    def delivery(self, account: str | None = ANN, **settings: Any) -> QueueingDelivery:
        return QueueingDelivery(self.store, self.store, account, queue=self.manager, **settings)

    async def send(
        self, *addresses: str, delivery: QueueingDelivery | None = None, **fields: Any
    ) -> Sequence[Outcome]:
        if delivery is None:
            delivery = self.delivery()
        envelope = queue_envelope(*addresses, account=delivery.account, **fields)
        return await self.send_envelope(envelope, delivery)

    async def send_envelope(
        self, envelope: Envelope, delivery: QueueingDelivery, message: bytes = MESSAGE
    ) -> Sequence[Outcome]:
        recipients, envelope.recipients = envelope.recipients, []
        await delivery.check_sender(envelope=envelope)
        for recipient in recipients:
            await delivery.check_recipient(envelope=envelope, recipient=recipient)
            envelope.recipients.append(recipient)
        return await delivery.deliver(envelope=envelope, message=Spool.from_bytes(message))

    async def queued(self) -> list[tuple[list[str], bytes]]:
        """Recipients and octets of what is in the queue."""
        found = []
        for message in await self.store.queue.list_messages():
            with await self.store.queue.open_message(id=message.id) as file:
                found.append((self.addresses(message), file.read()))
        return found

    @staticmethod
    def addresses(message: QueuedMessage) -> list[str]:
        return [str(each.recipient.path) for each in message.recipients]

    async def inbox(self, account: str) -> list[bytes]:
        mailbox = await (await self.store.open_account(name=account)).open_mailbox(name="INBOX")
        return [await read_message(mailbox, uid) for uid in await mailbox.list_uids()]


class TrustedTests(QueueingCase):
    """Clients that are trusted without a login."""

    async def test_they_send_to_anybody_in_the_name_of_their_sender(self) -> None:
        await self.send("eve@example.net", delivery=self.delivery(None, trusted=True))
        (queued,) = await self.store.queue.list_messages()
        self.assertEqual((queued.envelope.account, queued.envelope.trusted), (ANN, True))
        with self.assertRaises(RelayDenied):
            await self.send("eve@example.net", delivery=self.delivery(None))

    async def test_who_has_logged_in_there_is_a_user_like_any_other(self) -> None:
        delivery = self.delivery(BOB, trusted=True)
        with self.assertRaises(SenderRefused):
            await self.send("eve@example.net", delivery=delivery)
        envelope = queue_envelope("eve@example.net", account=BOB)
        envelope.reverse_path = Path("bob", "example.org")
        await self.send_envelope(envelope, delivery)
        (queued,) = await self.store.queue.list_messages()
        self.assertEqual((queued.envelope.account, queued.envelope.trusted), (BOB, False))


class ReportTests(QueueingCase):
    """What may be a report is shown to who knows what it is about."""

    def setUp(self) -> Any:
        self.taken: list[tuple[bytes, str]] = []
        return super().setUp()

    async def take(self, octets: bytes, to: Path, null: bool) -> None:
        self.taken.append((octets, f"{'<>' if null else 'a sender'} to {to}"))

    async def report(
        self,
        *addresses: str,
        account: str | None = None,
        sender: str = "",
        protocol: str = "smtp",
        message: bytes = MESSAGE,
    ) -> Sequence[Outcome]:
        envelope = queue_envelope(*addresses, account=account)
        envelope.connection = envelope.connection._replace(protocol=protocol)
        envelope.reverse_path = Path(*sender.split("@")) if sender else Path("", "")
        delivery = self.delivery(account, take_report=self.take)
        return await self.send_envelope(envelope, delivery, message)

    async def test_what_strangers_send_under_the_null_reverse_path(self) -> None:
        for protocol in ("smtp", "lmtp"):
            self.taken.clear()
            (outcome,) = await self.report(ANN, protocol=protocol)
            self.assertIsNone(outcome.error)
            self.assertEqual(self.taken, [(MESSAGE, f"<> to {ANN}")])
        self.assertEqual(len(await self.inbox(ANN)), 2)

    async def test_feedback_reports_under_any(self) -> None:
        # RFC 5965 section 5: no requirement is made of the reverse-path.
        head = b'Content-Type: multipart/report; report-type="Feedback-Report"; boundary=b\r\n\r\n'
        padding = b"X: %b\r\n" % (b"x" * FEEDBACK_START)
        for message in (head, padding + head):
            await self.report(ANN, sender="fbl@example.net", message=message)
        await self.report(ANN, sender=ANN, account=ANN, message=head)
        self.assertEqual(self.taken, [(head, f"a sender to {ANN}")])
        self.assertEqual(len(await self.inbox(ANN)), 3)

    async def test_nothing_else(self) -> None:
        await self.report(ANN, sender="eve@example.net")
        await self.report(ANN, account=ANN)
        await self.report(ANN, BOB)
        await self.report(ANN, protocol="report")
        self.assertEqual(self.taken, [])
        self.assertEqual(len(await self.inbox(ANN)), 4)

    async def test_nothing_that_was_not_delivered(self) -> None:
        route = FakeDelivery()
        route.failing["eve@example.net"] = StoreUnavailable()
        delivery = self.delivery(None, take_report=self.take, routes=Routes({"example.net": route}))
        for address in ("eve@example.net", "joe@example.net"):
            envelope = queue_envelope(address)
            envelope.reverse_path = Path("", "")
            await self.send_envelope(envelope, delivery)
        self.assertEqual(self.taken, [(MESSAGE, "<> to joe@example.net")])

    async def test_a_failure_there_is_none_of_the_delivery(self) -> None:
        async def fail(octets: bytes, to: Path, null: bool) -> None:
            raise ZeroDivisionError

        self.patch(self, "take", fail)
        (outcome,) = await self.report(ANN)
        self.assertIsNone(outcome.error)
        self.assertEqual(len(await self.inbox(ANN)), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class QueueingTests(QueueingCase):
    async def test_elsewhere(self) -> None:
        outcomes = await self.send("eve@example.net", "joe@example.com")
        self.assertEqual([outcome.error for outcome in outcomes], [None, None])
        self.assertEqual(await self.queued(), [(["eve@example.net", "joe@example.com"], MESSAGE)])

    async def test_here_and_elsewhere(self) -> None:
        await self.send("eve@example.net", BOB)
        self.assertEqual(await self.queued(), [(["eve@example.net"], MESSAGE)])
        self.assertEqual(await self.inbox(BOB), [b"Return-Path: <ann@example.org>\r\n" + MESSAGE])

    async def test_here_alone(self) -> None:
        await self.send(BOB)
        self.assertEqual(await self.queued(), [])
        self.assertEqual(len(await self.inbox(BOB)), 1)

    async def test_strangers_do_not_relay(self) -> None:
        with self.assertRaises(RelayDenied):
            await self.send("eve@example.net", delivery=self.delivery(None))

    async def test_alias(self) -> None:
        await self.send("team@example.org", delivery=self.delivery(None))
        self.assertEqual(
            await self.queued(),
            [(["eve@example.net"], b"Delivered-To: team@example.org\r\n" + MESSAGE)],
        )
        self.assertEqual(len(await self.inbox(BOB)), 1)
        (message,) = await self.store.queue.list_messages()
        self.assertEqual(
            message.recipients[0].recipient.orcpt, OriginalRecipient("rfc822", "team@example.org")
        )

    async def test_routes_are_not_queued(self) -> None:
        route = FakeDelivery()
        delivery = self.delivery(routes=Routes({"example.net": route}))
        await self.send("eve@example.net", "joe@example.com", delivery=delivery)
        self.assertEqual(await self.queued(), [(["joe@example.com"], MESSAGE)])
        self.assertEqual(len(route.delivered), 1)

    async def test_sent_copy(self) -> None:
        await self.send("eve@example.net", delivery=self.delivery(sent_copy=True))
        account = await self.store.open_account(name=ANN)
        sent = await account.open_mailbox(name="Sent")
        self.assertEqual(len(await sent.list_uids()), 1)

    async def test_held_for_everybody(self) -> None:
        await self.send("eve@example.net", BOB, hold_until=NOW + 60)
        self.assertEqual(await self.inbox(BOB), [])
        (message,) = await self.store.queue.list_messages()
        self.assertEqual(self.addresses(message), ["eve@example.net", BOB])
        self.assertEqual(message.recipients[0].next_time, NOW + 60)

    async def test_store_that_fails(self) -> None:
        async def fail(**arguments: Any) -> Any:
            raise StoreUnavailable

        self.patch(self.store.queue, "enqueue", fail)
        outcomes = await self.send("eve@example.net", BOB)
        for outcome in outcomes:
            self.assertIsInstance(outcome.error, StoreUnavailable)
        self.assertEqual(await self.inbox(BOB), [])

    async def test_arrival_is_reported(self) -> None:
        envelope = queue_envelope(account=ANN, envid="X1")
        notify = frozenset({"SUCCESS"})
        envelope.recipients = [
            Recipient(Path("bob", "example.org"), notify=notify),
            Recipient(Path("eve", "example.net"), notify=notify),
        ]
        await self.send_envelope(envelope, self.delivery())
        _, (recipients, octets) = await self.queued()
        self.assertEqual(recipients, [ANN])
        self.assertIn(b"Action: delivered", octets)
        self.assertIn(b"Final-Recipient: rfc822; bob@example.org", octets)
        self.assertNotIn(b"eve@example.net", octets)

    async def test_owners_elsewhere_are_for_the_next_server(self) -> None:
        # RFC 7293 section 5.1.1
        envelope = queue_envelope(account=ANN)
        since = ValidSince(NOW, "C")
        envelope.recipients = [Recipient(Path("eve", "example.net"), rrvs=since)]
        await self.send_envelope(envelope, self.delivery())
        (message,) = await self.store.queue.list_messages()
        self.assertEqual(message.recipients[0].recipient.rrvs, since)

    async def test_abilities(self) -> None:
        self.assertIn(Ability.DSN, self.delivery().abilities)
        self.assertIn(Ability.HOLD, self.delivery().abilities)
        for promised in (
            self.delivery(None).abilities,
            self.delivery(routes=Routes({"example.net": FakeDelivery()})).abilities,
        ):
            self.assertNotIn(Ability.DSN, promised)


class RewrittenPathTests(QueueingCase):
    """SRS: reports about mail that an alias sent on go back to where it was from."""

    async def setUp(self) -> None:
        await super().setUp()
        self.srs = SRS("example.org", [b"secret"], self.clock.seconds)
        self.wrapped = self.srs.wrap(Path("joe", "example.com"))

    @override
    def delivery(self, account: str | None = None, **settings: Any) -> QueueingDelivery:
        return super().delivery(account, srs=self.srs, **settings)

    async def report(self, path: Path, sender: Path | None = None) -> Sequence[Outcome]:
        envelope = queue_envelope(ANN, account=None)
        envelope.reverse_path = sender or Path("", "")
        envelope.recipients = [Recipient(path)]
        return await self.send_envelope(envelope, self.delivery())

    async def test_reports_go_back(self) -> None:
        (outcome,) = await self.report(self.wrapped)
        self.assertIsNone(outcome.error)
        (queued,) = await self.store.queue.list_messages()
        self.assertEqual(str(queued.recipients[0].recipient.path), "joe@example.com")
        self.assertTrue(queued.envelope.reverse_path.is_null)

    async def test_reports_are_shown_with_the_path_inside(self) -> None:
        taken: list[str] = []

        async def take(octets: bytes, to: Path, null: bool) -> None:
            taken.append(str(to))

        envelope = queue_envelope(ANN, account=None)
        envelope.reverse_path = Path("", "")
        envelope.recipients = [Recipient(self.wrapped)]
        await self.send_envelope(envelope, self.delivery(take_report=take))
        self.assertEqual(taken, ["joe@example.com"])

    async def test_also_to_an_account_here(self) -> None:
        (outcome,) = await self.report(self.srs.wrap(Path("bob", "example.org")))
        self.assertIsNone(outcome.error)

    async def test_other_mail_does_not(self) -> None:
        with self.assertRaises(RelayDenied):
            await self.report(self.wrapped, Path("eve", "example.net"))

    async def test_nor_anything_to_forged_addresses(self) -> None:
        with self.assertRaises(NoSuchRecipient):
            await self.report(Path("SRS0=AAAA=JK=example.com=joe", "example.org"))
        self.assertEqual(await self.store.queue.list_messages(), [])

    async def test_addresses_grow_old(self) -> None:
        self.clock.advance(22 * 86_400)
        with self.assertRaises(NoSuchRecipient):
            await self.report(self.wrapped)
