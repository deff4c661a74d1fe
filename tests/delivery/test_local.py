"""Delivery to the mailboxes of one store."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import closing
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailkit.delivery import duplicates, local
from mailkit.delivery.duplicates import Duplicates
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.errors import (
    MailError,
    NoSuchRecipient,
    OverQuota,
    RelayDenied,
    SenderRefused,
    StoreUnavailable,
    TemporaryFailure,
)
from mailkit.interfaces import IMessageDelivery, ISenderPolicy, ISpooling
from mailkit.model import LocalDelivery, Outcome, Path, Quota, Recipient, Resolution
from mailkit.spool import MEMORY_LIMIT, Spool
from tests.delivery.fakes import (
    FakeDirectory,
    FakeQuotaDirectory,
    FakeStore,
    SpoolingStore,
    make_envelope,
)

T = TypeVar("T")

ANN, BOB = "ann@example.org", "bob@example.org"


class LocalTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = FakeStore()
        self.directory: FakeDirectory = FakeDirectory(
            ann=Resolution([ANN]),
            bob=Resolution([BOB]),
            lists=Resolution([BOB], "lists"),
            team=Resolution([ANN, BOB]),
            away=Resolution([], remote=[Path("x", "example.com")]),
            both=Resolution([ANN], remote=[Path("x", "example.com")]),
            empty=Resolution([]),
            postmaster=Resolution([ANN]),
        )

    def delivery(self, account: str | None = None, **settings: Any) -> LocalMessageDelivery:
        return LocalMessageDelivery(self.store, self.directory, account, **settings)

    def result(self, waiting: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(waiting))

    def error(self, waiting: Coroutine[Any, Any, object], kind: type[MailError]) -> str:
        error = self.failureResultOf(Deferred.fromCoroutine(waiting), kind).value
        assert isinstance(error, MailError)
        self.assertIs(type(error), kind)
        return error.text

    def deliver(
        self,
        *addresses: str,
        delivery: LocalMessageDelivery | None = None,
        message: bytes = b"Received: x\r\n\r\nhi\r\n",
        **settings: Any,
    ) -> list[type[Exception] | None]:
        """Classes of the errors, by recipient."""
        envelope = make_envelope(*addresses, **settings)
        outcomes = self.result(
            (delivery or self.delivery()).deliver(
                envelope=envelope, message=Spool.from_bytes(message)
            )
        )
        self.assertEqual([outcome.recipient for outcome in outcomes], envelope.recipients)
        return [outcome.error and type(outcome.error) for outcome in outcomes]


class LocalTests(LocalTestCase):
    def test_interfaces(self) -> None:
        for interface in (IMessageDelivery, ISpooling, ISenderPolicy):
            verifyObject(interface, self.delivery())

    def test_anybody_may_be_the_sender_from_outside(self) -> None:
        for sender in (Path("", ""), Path("ann", "example.org"), Path("a", "b")):
            self.result(self.delivery().check_sender(envelope=make_envelope(sender=sender)))

    def test_users_send_as_themselves(self) -> None:
        delivery = self.delivery(ANN)
        for sender in (Path("ann", "example.org"), Path("", "")):
            self.result(delivery.check_sender(envelope=make_envelope(sender=sender)))
        for sender in (Path("bob", "example.org"), Path("ann", "example.com"), Path("Ann", "")):
            self.error(delivery.check_sender(make_envelope(sender=sender)), SenderRefused)

    def test_owned_addresses(self) -> None:
        path = Path("ann", "example.org")
        self.assertIs(self.result(self.delivery(ANN).owns_address(path=path)), True)
        self.assertIs(self.result(self.delivery(BOB).owns_address(path=path)), False)
        self.assertIs(self.result(self.delivery().owns_address(path=path)), False)
        self.assertEqual((self.delivery(ANN).account, self.delivery().account), (ANN, None))

    def check(self, delivery: LocalMessageDelivery, address: str) -> Coroutine[Any, Any, None]:
        envelope = make_envelope(address)
        return delivery.check_recipient(envelope=envelope, recipient=envelope.recipients[0])

    def test_recipients(self) -> None:
        delivery = self.delivery()
        for address in ("ann@example.org", "team@example.org", "postmaster@"):
            self.result(self.check(delivery, address))
        self.error(self.check(delivery, "eve@example.org"), NoSuchRecipient)
        self.error(self.check(delivery, "empty@example.org"), NoSuchRecipient)
        text = self.error(self.check(delivery, "ann@example.com"), RelayDenied)
        self.assertEqual(text, RelayDenied.default_text)

    def test_users_are_told_that_there_is_no_queue(self) -> None:
        text = self.error(self.check(self.delivery(ANN), "x@example.com"), RelayDenied)
        self.assertIn("does not send mail to other domains", text)

    def test_an_alias_that_leads_elsewhere_is_refused_whole(self) -> None:
        for address in ("away@example.org", "both@example.org"):
            text = self.error(self.check(self.delivery(), address), RelayDenied)
            self.assertIn("another domain", text)

    def test_a_directory_in_trouble(self) -> None:
        self.directory.trouble = TemporaryFailure()
        self.error(self.check(self.delivery(), "ann@example.org"), TemporaryFailure)
        self.assertEqual(self.deliver("ann@example.org"), [TemporaryFailure])
        self.assertEqual(self.store.delivered, [])

    def test_return_path_stands_first(self) -> None:
        self.assertEqual(self.deliver("ann@example.org"), [None])
        self.deliver("ann@example.org", sender=Path("", ""))
        self.deliver("ann@example.org", sender=Path("ä b", "example.net"))
        heads = [message.partition(b"\r\n")[0].decode() for message, _ in self.store.delivered]
        self.assertEqual(
            heads,
            [
                "Return-Path: <ann@example.net>",
                "Return-Path: <>",
                'Return-Path: <"ä b"@example.net>',
            ],
        )
        self.assertEqual(
            self.store.delivered[0][0],
            b"Return-Path: <ann@example.net>\r\nDelivered-To: ann@example.org\r\n"
            b"Received: x\r\n\r\nhi\r\n",
        )

    def test_recipients_do_not_learn_of_each_other(self) -> None:
        # Nor do they have bodies of their own.
        self.deliver("ann@example.org", "bob@example.org")
        self.deliver("postmaster@")
        for message, _ in self.store.delivered:
            self.assertTrue(message.endswith(b">\r\nReceived: x\r\n\r\nhi\r\n"), message)

    def test_one_copy_an_account_and_one_call(self) -> None:
        errors = self.deliver("ann@example.org", "team@example.org", "bob@example.org")
        self.assertEqual(errors, [None, None, None])
        ((_, deliveries),) = self.store.delivered
        self.assertEqual(deliveries, [LocalDelivery(ANN), LocalDelivery(BOB)])

    def test_sub_addresses(self) -> None:
        self.deliver("lists@example.org")
        self.deliver("lists@example.org", delivery=self.delivery(detail_to_mailbox=True))
        self.deliver("bob@example.org", delivery=self.delivery(detail_to_mailbox=True))
        mailboxes = [deliveries[0].mailbox for _, deliveries in self.store.delivered]
        self.assertEqual(mailboxes, ["INBOX", "lists", "INBOX"])

    def test_what_was_quarantined(self) -> None:
        for settings in ({}, {"detail_to_mailbox": True}):
            envelope = make_envelope("lists@example.org")
            envelope.quarantine = "looks bad"
            self.result(
                self.delivery(**settings).deliver(envelope=envelope, message=Spool.from_bytes(b""))
            )
            ((delivery,),) = [deliveries for _, deliveries in self.store.delivered]
            self.assertEqual(delivery, LocalDelivery(BOB, "Junk", special_use="\\Junk"))
            self.store.delivered.clear()

    def test_copy_of_what_was_sent(self) -> None:
        delivery = self.delivery(ANN, sent_copy=True)
        copy = LocalDelivery(ANN, "Sent", frozenset({"\\Seen"}), "\\Sent")
        self.assertEqual(self.deliver("bob@example.org", delivery=delivery), [None])
        # To oneself, too.
        self.assertEqual(self.deliver("ann@example.org", delivery=delivery), [None])
        self.assertEqual(
            [deliveries for _, deliveries in self.store.delivered],
            [[LocalDelivery(BOB), copy], [LocalDelivery(ANN), copy]],
        )
        self.assertEqual(self.deliver("eve@example.org", delivery=delivery), [NoSuchRecipient])
        self.deliver("bob@example.org", delivery=self.delivery(sent_copy=True))
        self.assertEqual(len(self.store.delivered), 3)
        self.assertEqual(self.store.delivered[-1][1], [LocalDelivery(BOB)])

    def test_a_copy_that_fails_does_not_stop_the_message(self) -> None:
        self.store.failing[ANN] = OverQuota()
        delivery = self.delivery(ANN, sent_copy=True)
        self.assertEqual(self.deliver("bob@example.org", delivery=delivery), [None])
        self.assertEqual(self.deliver("ann@example.org", delivery=delivery), [OverQuota])

    def test_failures_belong_to_their_recipients(self) -> None:
        self.store.failing[BOB] = OverQuota()
        self.assertEqual(
            self.deliver("ann@example.org", "bob@example.org", "team@example.org"),
            [None, OverQuota, OverQuota],
        )
        self.store.failing[ANN] = StoreUnavailable()
        self.assertEqual(self.deliver("team@example.org"), [StoreUnavailable])

    def test_who_went_away_after_rcpt(self) -> None:
        self.assertEqual(
            self.deliver("eve@example.org", "ann@example.org"), [NoSuchRecipient, None]
        )
        ((_, deliveries),) = self.store.delivered
        self.assertEqual(deliveries, [LocalDelivery(ANN)])

    def test_nobody_is_left(self) -> None:
        self.assertEqual(self.deliver("eve@example.org"), [NoSuchRecipient])
        self.assertEqual(self.store.delivered, [])

    def test_a_store_in_trouble(self) -> None:
        self.store.trouble = StoreUnavailable()
        waiting = self.delivery().deliver(
            envelope=make_envelope("ann@example.org"), message=Spool.from_bytes(b"")
        )
        self.error(waiting, StoreUnavailable)

    def test_resolved_once_between_rcpt_and_the_delivery(self) -> None:
        delivery = self.delivery()
        self.result(self.check(delivery, "ann@example.org"))
        self.deliver("ann@example.org", delivery=delivery)
        self.assertEqual(self.directory.resolved, ["ann@example.org"])
        # It is not remembered for the next transaction.
        self.directory.addresses["ann"] = Resolution([BOB])
        self.deliver("ann@example.org", delivery=delivery)
        self.assertEqual(self.store.delivered[-1][1], [LocalDelivery(BOB)])

    def test_nor_for_another_transaction(self) -> None:
        delivery = self.delivery()
        self.result(self.check(delivery, "ann@example.org"))
        self.directory.addresses["ann"] = Resolution([BOB])
        self.deliver("ann@example.org", delivery=delivery, transaction="t2")
        self.assertEqual(self.store.delivered[-1][1], [LocalDelivery(BOB)])

    def test_transactions_that_are_given_up_are_forgotten(self) -> None:
        self.patch(local, "MAX_RESOLUTIONS", 10)
        delivery = self.delivery()
        recipient = Recipient(Path("ann", "example.org"))
        for number in range(100):
            envelope = make_envelope(transaction=f"t{number}")
            self.result(delivery.check_recipient(envelope=envelope, recipient=recipient))
        self.assertLessEqual(len(delivery._resolutions), 10)

    def test_spools(self) -> None:
        self.assertEqual(self.delivery().new_spool().reserve, 0)
        self.store = SpoolingStore()
        self.assertEqual(self.delivery().new_spool().reserve, 100)

    def test_outcomes_have_the_class_that_callers_expect(self) -> None:
        envelope = make_envelope("ann@example.org")
        outcomes = self.result(
            self.delivery().deliver(envelope=envelope, message=Spool.from_bytes(b""))
        )
        self.assertEqual(outcomes, [Outcome(envelope.recipients[0])])


class DuplicateTests(LocalTestCase):
    """The same Message-ID for the same mailbox within some time."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.duplicates = Duplicates(60, self.clock.seconds)

    def send(self, *addresses: str, name: bytes = b"<1@x>", **settings: Any) -> list[str]:
        """Accounts that got the message."""
        self.store.delivered.clear()
        delivery = self.delivery(duplicates=self.duplicates, **settings)
        message = b"Message-ID: " + name + b"\r\nSubject: x\r\n\r\nhi\r\n"
        self.errors = self.deliver(*addresses, delivery=delivery, message=message)
        return [each.account for _, found in self.store.delivered for each in found]

    def test_dropped_and_acknowledged(self) -> None:
        self.assertEqual(self.send("ann@example.org"), [ANN])
        self.assertEqual(self.send("ann@example.org"), [])
        self.assertEqual(self.errors, [None])
        # By an alias, with others who have not got it.
        self.assertEqual(self.send("team@example.org", "ann@example.org"), [BOB])
        self.assertEqual(self.errors, [None, None])

    def test_other_messages(self) -> None:
        self.send("ann@example.org")
        self.assertEqual(self.send("ann@example.org", name=b"<2@x>"), [ANN])
        for _ in range(2):
            self.assertEqual(self.send("ann@example.org", name=b""), [ANN])

    def test_other_mailboxes(self) -> None:
        self.send("bob@example.org", detail_to_mailbox=True)
        for accounts in ([BOB], []):
            found = self.send("lists@example.org", detail_to_mailbox=True)
            self.assertEqual(found, accounts)

    def test_the_date_counts_where_it_is_the_senders(self) -> None:
        for added, accounts in ((False, [ANN, ANN]), (True, [ANN])):
            self.store.delivered.clear()
            for minute in (5, 6):
                header = b"Message-ID: <%d@x>\r\nDate: Fri, 21 Nov 1997 09:%d:06 -0600\r\n"
                message = header % (added, minute) + b"\r\nhi\r\n"
                envelope = make_envelope("ann@example.org")
                envelope.date_added = added
                delivery = self.delivery(duplicates=self.duplicates)
                spool = Spool.from_bytes(message)
                self.result(delivery.deliver(envelope=envelope, message=spool))
            found = [each.account for _, found in self.store.delivered for each in found]
            self.assertEqual(found, accounts)

    def test_the_body_counts_where_the_sender_has_given_no_date(self) -> None:
        # Devices and cron jobs have one Message-ID for all that they send.
        large = b"x" * MEMORY_LIMIT
        for date, added in ((b"Date: Fri, 21 Nov 1997 09:55:06 -0600\r\n", True), (b"", False)):
            self.store.delivered.clear()
            header = b"Message-ID: <%d@x>\r\n" % added + date + b"\r\n"
            for body in (b"fine\r\n", b"full\r\n", b"full\r\n", large + b"1", large + b"2"):
                envelope = make_envelope("ann@example.org")
                envelope.date_added = added
                delivery = self.delivery(duplicates=self.duplicates)
                with closing(Spool()) as spool:
                    spool.write(header + body)
                    self.result(delivery.deliver(envelope=envelope, message=spool))
            self.assertEqual(len([found for _, found in self.store.delivered if found]), 4)

    def test_after_some_time(self) -> None:
        self.send("ann@example.org")
        self.clock.advance(59)
        self.assertEqual(self.send("ann@example.org"), [])
        self.clock.advance(1)
        self.assertEqual(self.send("ann@example.org"), [ANN])

    def test_what_failed_is_not_remembered(self) -> None:
        self.store.failing[ANN] = StoreUnavailable()
        self.send("team@example.org")
        self.store.failing.clear()
        self.assertEqual(self.send("team@example.org"), [ANN])
        self.assertEqual(self.errors, [None])

    def test_the_copy_of_what_was_sent_is_kept(self) -> None:
        self.send("ann@example.org")
        delivery = self.delivery(ANN, duplicates=self.duplicates, sent_copy=True)
        message = b"Message-ID: <1@x>\r\n\r\nhi\r\n"
        self.store.delivered.clear()
        self.deliver("ann@example.org", delivery=delivery, message=message)
        self.assertEqual([each.mailbox for each in self.store.delivered[0][1]], ["Sent"])

    def test_not_without_bound(self) -> None:
        self.patch(duplicates, "MAX_REMEMBERED", 2)
        self.duplicates = Duplicates(60, self.clock.seconds)
        for name in (b"<1@x>", b"<2@x>", b"<3@x>"):
            self.send("ann@example.org", name=name)
        self.assertEqual(self.send("ann@example.org", name=b"<1@x>"), [ANN])


class QuotaTests(LocalTestCase):
    """Who is full is known at RCPT."""

    def setUp(self) -> None:
        super().setUp()
        addresses = self.directory.addresses
        self.directory = self.quotas = FakeQuotaDirectory(**addresses)

    def check_size(self, address: str, size: int | None = None) -> Coroutine[Any, Any, None]:
        envelope = make_envelope(address)
        envelope.declared_size = size
        return self.delivery().check_recipient(envelope=envelope, recipient=envelope.recipients[0])

    def test_full(self) -> None:
        self.quotas.quotas[ANN] = Quota(100, 1, 100)
        for size in (None, 0, 1):
            self.error(self.check_size("ann@example.org", size), OverQuota)
        self.result(self.check_size("bob@example.org", 10**9))

    def test_too_large_for_the_room_that_is_left(self) -> None:
        self.quotas.quotas[ANN] = Quota(50, 1, 100)
        for size in (None, 0, 50):
            self.result(self.check_size("ann@example.org", size))
        text = self.error(self.check_size("ann@example.org", 51), OverQuota)
        self.assertIn("not enough room", text)

    def test_an_alias_is_refused_when_nobody_has_room(self) -> None:
        self.quotas.quotas[ANN] = Quota(50, 1, 100, 1)
        self.result(self.check_size("team@example.org", 10))
        self.quotas.quotas[BOB] = Quota(50, 1, 40)
        self.error(self.check_size("team@example.org", 10), OverQuota)
