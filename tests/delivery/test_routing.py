"""Delivery by routes: what goes where, and what becomes of each recipient."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailkit.delivery.routing import Routes, RoutingDelivery
from mailkit.errors import (
    MailError,
    MailLoop,
    MessageRefused,
    NoSuchRecipient,
    OverQuota,
    RelayDenied,
    StoreUnavailable,
    TemporaryFailure,
)
from mailkit.interfaces import IMessageDelivery, ISenderPolicy, ISpooling
from mailkit.model import (
    Envelope,
    LocalDelivery,
    OriginalRecipient,
    Outcome,
    Path,
    Recipient,
    Resolution,
)
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore
from mailkit.testing import DeliveryContract
from mailkit.testing.base import read_message
from tests.delivery.fakes import FakeDirectory, FakeStore, make_envelope

T = TypeVar("T")

ANN, BOB = "ann@example.org", "bob@example.org"
MESSAGE = b"Received: x\r\nSubject: hi\r\n\r\nhi\r\n"


@implementer(IMessageDelivery)
class FakeDelivery:
    """Keeps what it gets; refuses whom it is told to refuse."""

    def __init__(self) -> None:
        self.delivered: list[tuple[Envelope, bytes]] = []
        self.checked: list[str] = []
        self.refused: dict[str, MailError] = {}
        self.failing: dict[str, MailError] = {}
        self.trouble: Exception | None = None
        self.gate: Deferred[None] | None = None
        self.outcomes: Callable[[Sequence[Outcome]], Sequence[Outcome]] = list

    async def check_sender(self, envelope: Envelope) -> None:
        if str(envelope.reverse_path) in self.refused:
            raise self.refused[str(envelope.reverse_path)]

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        self.checked.append(str(recipient.path))
        if str(recipient.path) in self.refused:
            raise self.refused[str(recipient.path)]

    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        if self.gate is not None:
            await self.gate
        if self.trouble is not None:
            raise self.trouble
        # As a store does it.
        message.prepend(b"X-Route: yes\r\n")
        with message.open() as file:
            self.delivered.append((envelope, file.read()))
        return self.outcomes(
            [Outcome(each, self.failing.get(str(each.path))) for each in envelope.recipients]
        )

    @property
    def recipients(self) -> list[list[str]]:
        """Of each message."""
        return [[str(each.path) for each in env.recipients] for env, _ in self.delivered]


class RoutingTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = FakeStore()
        self.route = FakeDelivery()
        self.smart = FakeDelivery()
        self.directory = FakeDirectory(
            ann=Resolution([ANN]),
            bob=Resolution([BOB]),
            away=Resolution([], remote=[Path("x", "routed.example")]),
            further=Resolution([], remote=[Path("y", "routed.example")]),
            both=Resolution([ANN], remote=[Path("x", "routed.example")]),
            abroad=Resolution([], remote=[Path("z", "elsewhere.example")]),
            moved=Resolution([ANN, "old@routed.example"]),
            many=Resolution([], remote=[Path("x", "routed.example"), Path("y", "routed.example")]),
        )
        self.routes: Mapping[str, FakeDelivery] = {"Routed.example.": self.route}
        self.default: FakeDelivery | None = None

    def delivery(self, account: str | None = None, **settings: Any) -> RoutingDelivery:
        routes = Routes(self.routes, self.default)
        return RoutingDelivery(self.store, self.directory, account, routes=routes, **settings)

    def result(self, waiting: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(waiting))

    def rcpt(self, address: str, account: str | None) -> Deferred[None]:
        envelope = make_envelope(address)
        return Deferred.fromCoroutine(
            self.delivery(account).check_recipient(
                envelope=envelope, recipient=envelope.recipients[0]
            )
        )

    def check(self, address: str, account: str | None = None) -> None:
        """RCPT is accepted."""
        self.successResultOf(self.rcpt(address, account))

    def refusal(self, address: str, account: str | None = None) -> MailError:
        """Why RCPT is not."""
        error = self.failureResultOf(self.rcpt(address, account), MailError).value
        assert isinstance(error, MailError)
        return error

    def deliver(
        self,
        *addresses: str,
        message: bytes = MESSAGE,
        delivery: RoutingDelivery | None = None,
    ) -> list[type[MailError] | None]:
        """Classes of the errors, by recipient."""
        envelope = make_envelope(*addresses)
        outcomes = self.result(
            (delivery or self.delivery()).deliver(
                envelope=envelope, message=Spool.from_bytes(message)
            )
        )
        self.assertEqual([outcome.recipient for outcome in outcomes], envelope.recipients)
        return [outcome.error and type(outcome.error) for outcome in outcomes]


class RecipientTests(RoutingTestCase):
    """What RCPT says."""

    def test_interfaces(self) -> None:
        for interface in (IMessageDelivery, ISpooling, ISenderPolicy):
            verifyObject(interface, self.delivery())

    def test_where_each_address_goes(self) -> None:
        for address in (ANN, "x@routed.example", "X@ROUTED.EXAMPLE", "away@example.org"):
            self.check(address)
        self.assertEqual(
            self.route.checked, ["x@routed.example", "X@ROUTED.EXAMPLE", "x@routed.example"]
        )

    def test_nobody_relays_anywhere_else(self) -> None:
        for address in ("x@elsewhere.example", "x@sub.routed.example"):
            self.assertIsInstance(self.refusal(address), RelayDenied)
        self.assertIn("to other domains", self.refusal("x@elsewhere.example", ANN).text)
        self.assertIsInstance(self.refusal("eve@example.org"), NoSuchRecipient)

    def test_an_alias_without_a_route(self) -> None:
        self.assertIn("no route", self.refusal("abroad@example.org").text)

    def test_the_default_is_for_users_and_aliases(self) -> None:
        self.default = self.smart
        self.check("x@elsewhere.example", ANN)
        self.check("abroad@example.org")
        self.assertEqual(self.smart.checked, ["x@elsewhere.example", "z@elsewhere.example"])
        self.assertIsInstance(self.refusal("x@elsewhere.example"), RelayDenied)
        # A user's mistake in one of our domains does not leave the house.
        self.assertIsInstance(self.refusal("eve@example.org", ANN), NoSuchRecipient)

    def test_a_served_domain_with_a_route(self) -> None:
        self.routes = {"example.org": self.route}
        # Accounts and whoever the directory does not know go by the route.
        for address in (ANN, "Eve@example.org"):
            self.check(address)
        self.assertEqual(self.route.checked, [ANN, "Eve@example.org"])
        self.assertEqual(self.deliver(ANN, "Eve@example.org"), [None, None])
        self.assertEqual(self.store.delivered, [])

    def test_sub_addresses_are_passed_on(self) -> None:
        self.directory.addresses["ann+lists"] = Resolution([ANN], "Lists")
        self.directory.addresses["team+x"] = Resolution([ANN], "x")
        self.routes = {"example.org": self.route}
        for address in ("Ann+Lists@example.org", "Ann@Example.org", "team+x@example.org"):
            self.assertEqual(self.deliver(address), [None])
        sent = [recipients for (recipients,) in self.route.recipients]
        self.assertEqual(sent, ["Ann+Lists@example.org", "Ann@Example.org", ANN])
        heads = [octets.count(b"Delivered-To") for _, octets in self.route.delivered]
        self.assertEqual(heads, [0, 0, 1])

    def test_the_route_judges(self) -> None:
        self.route.refused["x@routed.example"] = NoSuchRecipient("Not me")
        self.assertEqual(self.refusal("x@routed.example").text, "Not me")
        self.assertEqual(self.refusal("away@example.org").text, "Not me")
        # Ann gets it; and of many, one is enough.
        self.check("both@example.org")
        self.check("many@example.org")
        self.route.refused["y@routed.example"] = TemporaryFailure()
        self.assertIsInstance(self.refusal("many@example.org"), TemporaryFailure)

    def test_the_route_judges_the_sender_too(self) -> None:
        self.route.refused["ann@example.net"] = MessageRefused()
        self.assertIsInstance(self.refusal("x@routed.example"), MessageRefused)


class DeliveryTests(RoutingTestCase):
    """Parts of a transaction, and their outcomes."""

    def test_each_part_goes_its_way(self) -> None:
        addresses = "p@routed.example", ANN, "q@routed.example", BOB
        self.assertEqual(self.deliver(*addresses), [None] * 4)
        self.assertEqual(self.route.recipients, [["p@routed.example", "q@routed.example"]])
        ((message, deliveries),) = self.store.delivered
        self.assertEqual(deliveries, [LocalDelivery(ANN), LocalDelivery(BOB)])
        self.assertEqual(message, b"Return-Path: <ann@example.net>\r\n" + MESSAGE)
        self.assertEqual(self.route.delivered[0][1], b"X-Route: yes\r\n" + MESSAGE)

    def test_the_envelope_is_kept(self) -> None:
        envelope = make_envelope("away@example.org")
        envelope.smtputf8, envelope.envid, envelope.account = True, "e1", ANN
        envelope.recipients = [
            replace(
                envelope.recipients[0],
                notify=frozenset({"FAILURE"}),
                orcpt=OriginalRecipient("rfc822", "away@example.org"),
            )
        ]
        self.result(self.delivery().deliver(envelope=envelope, message=Spool.from_bytes(MESSAGE)))
        ((sent, _),) = self.route.delivered
        self.assertEqual((sent.smtputf8, sent.envid, sent.account), (True, "e1", ANN))
        self.assertEqual(
            sent.recipients, [replace(envelope.recipients[0], path=Path("x", "routed.example"))]
        )
        self.assertEqual(str(envelope.recipients[0].path), "away@example.org")

    def test_what_an_alias_sends_on_says_so(self) -> None:
        self.assertEqual(self.deliver("away@example.org", "further@example.org"), [None, None])
        sent = {env.recipients[0].path.local_part: octets for env, octets in self.route.delivered}
        self.assertEqual(
            sent,
            {
                "x": b"X-Route: yes\r\nDelivered-To: away@example.org\r\n" + MESSAGE,
                "y": b"X-Route: yes\r\nDelivered-To: further@example.org\r\n" + MESSAGE,
            },
        )

    def test_fan_out(self) -> None:
        self.assertEqual(self.deliver("many@example.org", "both@example.org"), [None, None])
        self.assertEqual(
            self.route.recipients, [["x@routed.example", "y@routed.example"], ["x@routed.example"]]
        )
        self.assertEqual(self.store.delivered[0][1], [LocalDelivery(ANN)])

    def test_an_account_in_a_routed_domain(self) -> None:
        self.assertEqual(self.deliver("moved@example.org"), [None])
        self.assertEqual(self.route.recipients, [["old@routed.example"]])
        self.assertEqual(self.store.delivered[0][1], [LocalDelivery(ANN)])

    def test_one_message_for_the_domains_of_one_delivery(self) -> None:
        self.routes = {"a.example": self.route, "b.example": self.route}
        self.deliver("x@a.example", "x@b.example")
        self.assertEqual(self.route.recipients, [["x@a.example", "x@b.example"]])

    def test_failures_belong_to_their_recipients(self) -> None:
        self.route.failing["q@routed.example"] = NoSuchRecipient()
        self.store.failing[BOB] = OverQuota()
        self.assertEqual(
            self.deliver("p@routed.example", ANN, "q@routed.example", BOB, "eve@example.org"),
            [None, None, NoSuchRecipient, OverQuota, NoSuchRecipient],
        )

    def test_one_of_many_fails(self) -> None:
        self.route.failing["x@routed.example"] = TemporaryFailure()
        self.assertEqual(
            self.deliver("many@example.org", "both@example.org", "further@example.org"),
            [TemporaryFailure, TemporaryFailure, None],
        )

    def test_a_route_in_trouble(self) -> None:
        self.route.trouble = StoreUnavailable()
        self.assertEqual(self.deliver("p@routed.example", ANN), [StoreUnavailable, None])
        self.route.trouble = ValueError("a bug")
        self.assertEqual(self.deliver("p@routed.example", ANN), [TemporaryFailure, None])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.route.trouble, self.route.outcomes = None, lambda outcomes: outcomes[1:]
        self.assertEqual(self.deliver("p@routed.example"), [TemporaryFailure])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_the_store_in_trouble(self) -> None:
        self.store.trouble = StoreUnavailable()
        self.assertEqual(self.deliver("p@routed.example", ANN), [None, StoreUnavailable])

    def test_routes_at_the_same_time(self) -> None:
        self.default = self.smart
        gate: Deferred[None] = Deferred()
        self.route.gate = gate
        envelope = make_envelope("p@routed.example", "x@elsewhere.example", ANN)
        delivery = self.delivery(ANN)
        done = Deferred.fromCoroutine(
            delivery.deliver(envelope=envelope, message=Spool.from_bytes(MESSAGE))
        )
        self.assertEqual(self.smart.recipients, [["x@elsewhere.example"]])
        # What can fail elsewhere comes before the store.
        self.assertEqual(self.store.delivered, [])
        gate.callback(None)
        self.successResultOf(done)
        self.assertEqual(len(self.store.delivered), 1)

    def test_a_copy_of_what_went_by_a_route(self) -> None:
        delivery = self.delivery(ANN, sent_copy=True)
        self.assertEqual(self.deliver("p@routed.example", delivery=delivery), [None])
        ((_, deliveries),) = self.store.delivered
        self.assertEqual([each.mailbox for each in deliveries], ["Sent"])
        self.route.trouble = TemporaryFailure()
        self.assertEqual(self.deliver("p@routed.example", delivery=delivery), [TemporaryFailure])
        self.assertEqual(len(self.store.delivered), 1)

    def test_large_messages_are_shared(self) -> None:
        spool = Spool(memory_limit=0)
        self.addCleanup(spool.close)
        spool.write(MESSAGE)
        envelope = make_envelope("p@routed.example", "away@example.org")
        outcomes = self.result(self.delivery().deliver(envelope=envelope, message=spool))
        self.assertEqual([outcome.error for outcome in outcomes], [None, None])
        self.assertEqual(
            [octets[-len(MESSAGE) :] for _, octets in self.route.delivered], [MESSAGE] * 2
        )
        with spool.open() as file:
            self.assertEqual(file.read(), MESSAGE)


class LoopTests(RoutingTestCase):
    """What an alias of ours has sent on comes back."""

    def test_refused(self) -> None:
        for value in (
            b"away@example.org",
            b" <Away@EXAMPLE.org>",
            b"x@y\r\nDelivered-To: away@example.org",
        ):
            message = b"Delivered-To: " + value + b"\r\n" + MESSAGE
            self.assertEqual(
                self.deliver("away@example.org", ANN, "further@example.org", message=message),
                [MailLoop, None, None],
            )

    def test_final_delivery_ends_a_loop(self) -> None:
        message = b"Delivered-To: ann@example.org\r\n" + MESSAGE
        self.assertEqual(self.deliver(ANN, message=message), [None])

    def test_so_does_the_route_of_the_address_itself(self) -> None:
        message = b"Delivered-To: x@routed.example\r\n" + MESSAGE
        self.assertEqual(self.deliver("x@routed.example", message=message), [None])
        self.assertEqual(self.route.delivered[0][1].count(b"Delivered-To"), 1)

    def test_the_body_is_not_the_header(self) -> None:
        message = MESSAGE + b"Delivered-To: away@example.org\r\n\xff"
        self.assertEqual(self.deliver("away@example.org", message=message), [None])

    def test_junk_in_the_field(self) -> None:
        message = b"Delivered-To: \xff\xfe\x00@@\r\n" + MESSAGE
        self.assertEqual(self.deliver("away@example.org", message=message), [None])


class RoutingContractTests(DeliveryContract, TestCase):
    """With no routes, it is a delivery like any other."""

    async def make_delivery(self, accounts: Sequence[str]) -> RoutingDelivery:
        self.mail = MemoryStore()
        for account in accounts:
            await self.mail.add_account(name=account)
        return RoutingDelivery(self.mail, self.mail, routes=Routes())

    async def delivered(self, account: str) -> Sequence[bytes]:
        inbox = await (await self.mail.open_account(name=account)).open_mailbox(name="INBOX")
        return [await read_message(inbox, uid) for uid in await inbox.list_uids()]
