"""Return paths of our own, and the reports that come back by them."""

from __future__ import annotations

import string
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import MailError, MessageRefused, NoSuchRecipient
from mailkit.model import ConnectionInfo, Envelope, OriginalRecipient, Path, Recipient
from mailkit.queue.bounces import MAX_MATCHES, BounceDelivery, take_report
from mailkit.queue.manager import QueueManager
from mailkit.queue.outcomes import Event
from mailkit.queue.return_paths import MIN_SECRET, ReturnPaths, SentTo
from mailkit.queue.transport import Handover
from mailkit.queue.values import RecipientState
from mailkit.spool import Spool
from mailkit.testing.queue import queue_envelope
from tests.mime.test_properties import steady
from tests.mime.test_reports import FEEDBACK, MULTI

from .support import SAMPLE, QueueTestCase, reply

SECRET = b"0123456789abcdef"
DOMAIN = "bounces.example.org"


def path(address: str) -> Path:
    local, _, domain = address.rpartition("@")
    return Path(local, domain)


class ReturnPathTests(SynchronousTestCase):
    paths = ReturnPaths(SECRET, DOMAIN)

    @steady
    @given(st.integers(1, 10**18 - 1), st.integers(1, 10**18 - 1))
    def test_round_trip(self, message: int, recipient: int) -> None:
        sent = SentTo(str(message), recipient)
        made = self.paths.make(sent)
        # RFC 5321 section 4.5.3.1.1
        self.assertLessEqual(len(made.local_part), 64)
        self.assertEqual(self.paths.read(made), sent)
        # Some servers return it in another case.
        self.assertEqual(self.paths.read(path(str(made).upper())), sent)
        self.assertIsNone(ReturnPaths(SECRET + b"x", DOMAIN).read(made))

    def test_nobody_forges(self) -> None:
        made = self.paths.make(SentTo("17", 23))
        for address in (
            str(made).replace("17", "18"),
            str(made).replace("23", "24"),
            str(made).replace("17.23", "172.3"),
            str(made).replace("@bounces", "@elsewhere"),
            str(made)[1:],
            f"bounces+17.23-{'a' * 16}@{DOMAIN}",
            f"bounces@{DOMAIN}",
            "",
        ):
            self.assertIsNone(self.paths.read(path(address)), address)

    @steady
    @given(st.text(string.printable, max_size=70))
    def test_anything_is_read(self, local: str) -> None:
        self.assertIsNone(self.paths.read(Path(local, DOMAIN)))

    def test_short_secret(self) -> None:
        self.assertRaises(ValueError, ReturnPaths, b"x" * (MIN_SECRET - 1), DOMAIN)

    def test_senders(self) -> None:
        some = ReturnPaths(
            SECRET,
            DOMAIN,
            [
                *("List@example.org", "@example.com", "@b\u00fccher.example"),
                *('"John Doe"@example.org', '"a\\"b@c"@example.org'),
            ],
        )
        for address, account, applies in (
            ("list@example.org", "list", True),
            ("joe@EXAMPLE.com", "joe", True),
            ("joe@xn--bcher-kva.example", "joe", True),
            ("joe@B\u00fccher.example", "joe", True),
            ("ann@example.org", "ann", False),
            ("john doe@example.org", "joe", True),
            ('a"b@c@example.org', "joe", True),
            # Strangers' mail keeps its sender.
            ("list@example.org", None, False),
            ("", "ann", False),
        ):
            envelope = queue_envelope("eve@example.net", account=account)
            envelope.reverse_path = path(address)
            self.assertIs(some.applies(envelope), applies, address)
        for sender in ("example.org", "ann@", "@", ""):
            self.assertRaises(ValueError, ReturnPaths, SECRET, DOMAIN, [sender])


class BounceTests(QueueTestCase):
    paths = ReturnPaths(SECRET, DOMAIN)
    to_sender = False

    def setUp(self) -> None:
        super().setUp()
        self.transport.leaves = True
        self.told: list[Event] = []
        self.manager.outcomes.listen(self.told.append)
        self.bounces = BounceDelivery(
            self.queue,
            self.paths,
            self.clock.seconds,
            self.manager.outcomes.tell,
            to_sender=self.to_sender,
        )

    def make_manager(self, **settings: Any) -> QueueManager:
        return super().make_manager(return_paths=self.paths, **settings)

    def return_paths(self) -> list[Path]:
        return [envelope.reverse_path for _, envelope, _ in self.transport.sent]

    async def send_back(self, to: Path, octets: bytes) -> MailError | None:
        """What a report to an address gets."""
        envelope = Envelope(ConnectionInfo("smtp", "192.0.2.7"), "mx.example.net", Path("", ""))
        recipient = Recipient(to)
        await self.bounces.check_sender(envelope=envelope)
        try:
            await self.bounces.check_recipient(envelope=envelope, recipient=recipient)
        except MailError as error:
            return error
        envelope.recipients.append(recipient)
        (outcome,) = await self.bounces.deliver(
            envelope=envelope, message=Spool.from_bytes(octets.replace(b"\n", b"\r\n"))
        )
        return outcome.error

    async def test_each_recipient_has_a_return_path(self) -> None:
        id = await self.submit("eve@example.net", "joe@example.net")
        self.assertEqual(self.transport.recipients(), ["eve@example.net", "joe@example.net"])
        recipients = (await self.queue.get_message(id=id)).recipients
        self.assertEqual(
            [self.paths.read(each) for each in self.return_paths()],
            [SentTo(id, each.id) for each in recipients],
        )
        self.assertEqual([content for _, _, content in self.transport.sent], [SAMPLE, SAMPLE])

    async def test_what_was_handed_over_is_put_down_soon(self) -> None:
        """Whoever has it gets it once, though this process ends before all the others have it."""
        self.transport.max_parallel = 1
        put_down: list[int] = []

        async def look() -> None:
            (message,) = await self.waiting()
            states = [each.state for each in message.recipients]
            put_down.append(states.count(RecipientState.DELIVERED))

        def answer(recipient: Recipient) -> Handover:
            self.successResultOf(Deferred.fromCoroutine(look()))
            return reply()

        self.transport.answer = answer
        await self.submit(*[f"{number}@example.net" for number in range(25)])
        self.assertEqual(put_down, [0] * 10 + [10] * 10 + [20] * 5)
        self.assertEqual(len(set(self.return_paths())), 25)

    async def test_all_failures_of_a_message_are_in_one_report(self) -> None:
        """RFC 3464 section 1: though it is handed over in portions, some of which are delivered."""
        numbers = range(25)

        def answer(recipient: Recipient) -> Handover:
            local = recipient.path.local_part
            return reply(550, "no") if local.isdecimal() and int(local) % 5 else reply()

        self.transport.answer = answer
        for lanes in (1, 20):
            self.transport.max_parallel = lanes
            self.transport.sent.clear()
            id = await self.submit(*[f"{number}@example.net" for number in numbers])
            self.pass_time(1)
            (report,) = self.reports()
            status = report.as_string()
            self.assertEqual(status.count("Final-Recipient"), 20)
            states = await self.states(id)
            self.assertEqual(
                [state is RecipientState.FAILED for state in states],
                [bool(number % 5) for number in numbers],
            )

    async def test_all_delays_of_a_message_are_in_one_report(self) -> None:
        self.transport.answer = lambda recipient: reply(
            250 if str(recipient.path) == "ann@example.org" else 451, "later"
        )
        await self.submit(*[f"{number}@example.net" for number in range(25)])
        self.pass_time(5 * 3600)
        (report,) = self.reports()
        self.assertEqual(report.as_string().count("Final-Recipient"), 25)

    async def test_failures_are_put_down_before_a_domain_that_went_away(self) -> None:
        self.transport.max_parallel = 1

        def answer(recipient: Recipient) -> Handover:
            number = recipient.path.local_part
            self.transport.unreachable = number == "10"
            if str(recipient.path) == "ann@example.org":
                return reply()
            return reply(550, "no") if int(number) < 10 else reply(451, "gone")

        self.transport.answer = answer
        id = await self.submit(*[f"{number}@example.net" for number in range(25)])
        self.assertEqual(self.transport.recipients().count("10@example.net"), 1)
        self.assertEqual(len(self.reports()), 1)
        self.assertEqual(
            await self.states(id), [RecipientState.FAILED] * 10 + [RecipientState.DEFERRED] * 15
        )

    async def test_a_failure_of_our_own_sends_nothing_twice(self) -> None:
        """It is told at once, and whoever is left waits as after any other failure."""
        fails = iter([False, False, True])

        def answer(recipient: Recipient) -> Handover:
            if next(fails, False):
                raise ValueError("a defect")
            return reply()

        self.transport.answer = answer
        id = await self.submit(*[f"{number}@example.net" for number in range(4)])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(
            await self.states(id), [RecipientState.DELIVERED] * 2 + [RecipientState.DEFERRED] * 2
        )
        self.pass_time(600)
        counts = Counter(self.transport.recipients())
        self.assertEqual((counts["0@example.net"], counts["1@example.net"]), (1, 1))
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED] * 4)

    async def test_what_is_broken_off_is_put_down(self) -> None:
        hangs: Deferred[None] = Deferred()
        send = self.transport.send

        async def hang(*arguments: Any) -> Any:
            result = await send(*arguments)
            if len(self.transport.sent) == 3:
                await hangs
            return result

        self.patch(self.transport, "send", hang)
        id = await self.submit(*[f"{number}@example.net" for number in range(5)])
        self.pass_time(6)
        self.assertEqual(await self.states(id), [RecipientState.ATTEMPTING] * 5)
        stopped = Deferred.fromCoroutine(self.manager.stop(grace=3.0))
        self.pass_time(3)
        self.successResultOf(stopped)
        self.assertEqual(
            await self.states(id), [RecipientState.DELIVERED] * 2 + [RecipientState.QUEUED] * 3
        )

    async def test_what_earlier_portions_came_to_is_put_down_when_it_is_broken_off(self) -> None:
        self.transport.max_parallel = 1
        self.transport.answer = lambda recipient: reply(
            451 if str(recipient.path) == "1@example.net" else 250, "later"
        )
        send = self.transport.send

        async def hang(*arguments: Any) -> Any:
            result = await send(*arguments)
            if len(self.transport.sent) == 11:
                await Deferred()
            return result

        self.patch(self.transport, "send", hang)
        id = await self.submit(*[f"{number}@example.net" for number in range(12)])
        self.pass_time(6)
        stopped = Deferred.fromCoroutine(self.manager.stop(grace=3.0))
        self.pass_time(3)
        self.successResultOf(stopped)
        delivered, waits = RecipientState.DELIVERED, RecipientState.QUEUED
        self.assertEqual(
            await self.states(id),
            [delivered, RecipientState.DEFERRED, *[delivered] * 8, waits, waits],
        )

    async def test_others_keep_the_senders(self) -> None:
        self.transport.leaves = False
        await self.submit("eve@example.net")
        self.transport.leaves = True
        await self.submit("eve@example.net", account=None)
        self.assertEqual({str(each) for each in self.return_paths()}, {"ann@example.org"})

    async def test_a_domain_that_cannot_be_reached_is_tried_once(self) -> None:
        self.transport.answer = lambda recipient: reply(451, "no")
        self.transport.unreachable = True
        id = await self.submit("eve@example.net", "joe@example.net")
        self.assertEqual(self.transport.recipients(), ["eve@example.net"])
        self.assertEqual(set(await self.states(id)), {RecipientState.DEFERRED})

    async def test_a_failure_is_recorded(self) -> None:
        id = await self.submit("eve@example.net", "joe@example.net")
        self.assertIsNone(await self.send_back(self.return_paths()[0], MULTI))
        self.assertEqual(await self.states(id), [RecipientState.BOUNCED, RecipientState.DELIVERED])
        (attempt,) = [
            each for _, each in await self.queue.get_attempts(id=id) if each.command == "report"
        ]
        self.assertEqual((attempt.host, attempt.code), ("vnet.ibm.com", 550))
        self.assertIn("is not a registered gateway user", attempt.text)
        event = self.told[-1]
        self.assertEqual(
            (event.id, str(event.recipient.path), event.state),
            (id, "eve@example.net", RecipientState.BOUNCED),
        )
        # Once is enough.
        count = len(self.told)
        self.assertIsNone(await self.send_back(self.return_paths()[0], MULTI))
        self.assertEqual(len(self.told), count)
        # Nothing more is sent, to nobody.
        self.assertEqual(len(self.transport.sent), 2)

    async def test_what_is_no_failure_changes_nothing(self) -> None:
        id = await self.submit("eve@example.net")
        delayed = MULTI.replace(b"Action: failed", b"Action: delayed")
        for octets in (delayed, b"Subject: I am on holiday\n\nBye\n", b""):
            self.assertIsNone(await self.send_back(self.return_paths()[0], octets))
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])

    async def test_what_still_waits_goes_on(self) -> None:
        self.transport.answer = lambda recipient: reply(451, "later")
        id = await self.submit("eve@example.net")
        self.assertIsNone(await self.send_back(self.return_paths()[0], MULTI))
        self.assertEqual(await self.states(id), [RecipientState.DEFERRED])

    async def test_unknown_addresses_are_refused(self) -> None:
        id = await self.submit("eve@example.net")
        (good,) = self.return_paths()
        for address in (
            Path("bounces+1.1-" + "a" * 16, DOMAIN),
            Path("postmaster", DOMAIN),
            self.paths.make(SentTo(id, 99)),
            self.paths.make(SentTo("99", 1)),
        ):
            self.assertIsInstance(await self.send_back(address, MULTI), NoSuchRecipient)
        await self.queue.forget(before=int(self.clock.seconds()) + 1)
        self.assertIsInstance(await self.send_back(good, MULTI), NoSuchRecipient)

    async def test_complaint(self) -> None:
        id = await self.submit("eve@example.net")
        (address,) = self.return_paths()
        for octets in (
            FEEDBACK.replace(b"somespammer@example.net", str(address).encode(), 1),
            # Without the envelope's sender, which some leave out.
            FEEDBACK.replace(
                b"From: <somespammer", b"Return-Path: <%s>\nFrom: <some" % (str(address).encode())
            ),
        ):
            self.assertIsNone(await self.send_back(Path("Complaints", DOMAIN), octets))
            self.assertEqual(await self.states(id), [RecipientState.COMPLAINED])
        self.assertEqual(self.told[-1].attempt.text, "abuse report by SomeGenerator/1.0")

    async def test_complaints_without_a_proof(self) -> None:
        await self.submit("eve@example.net")
        for octets in (FEEDBACK, MULTI, b"Subject: spam!\n\nspam\n"):
            error = await self.send_back(Path("complaints", DOMAIN), octets)
            self.assertIsInstance(error, MessageRefused)

    async def test_no_spam_after_all(self) -> None:
        id = await self.submit("eve@example.net")
        (address,) = self.return_paths()
        octets = FEEDBACK.replace(b"Feedback-Type: abuse", b"Feedback-Type: not-spam")
        self.assertIsNone(await self.send_back(address, octets))
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])

    async def test_words_do_not_steer_a_terminal(self) -> None:
        id = await self.submit("eve@example.net")
        octets = MULTI.replace(b"550 'arathib", b"550 \x1b[31m\xc2\x9bred")
        await self.send_back(self.return_paths()[0], octets)
        attempt = (await self.queue.get_attempts(id=id))[-1][1]
        self.assertTrue(attempt.text.isprintable(), attempt.text)


class ForSenderTests(BounceTests):
    """The sender gets the report too."""

    to_sender = True

    async def test_a_failure_is_recorded(self) -> None:
        id = await self.submit("eve@example.net")
        self.assertIsNone(await self.send_back(self.return_paths()[0], MULTI))
        self.assertEqual(await self.states(id), [RecipientState.BOUNCED])
        (report,) = self.reports()
        self.assertEqual(report["Subject"], None)
        self.assertEqual(report.get_content_type(), "multipart/report")
        envelope = self.transport.sent[-1][1]
        self.assertTrue(envelope.reverse_path.is_null)
        self.assertEqual(envelope.recipients[0].notify, frozenset({"NEVER"}))


class TakeReportTests(QueueTestCase):
    """Reports that a program has got by itself, or that came to the sender of a message."""

    async def take(self, octets: bytes, **how: Any) -> int:
        now = int(self.clock.seconds())
        return await take_report(
            self.queue, octets.replace(b"\n", b"\r\n"), now, self.manager.outcomes.tell, **how
        )

    #: About the message of the tests.
    failed = MULTI.replace(b"<1@cs.utk.edu>", b"<1@example.org>").replace(
        b"arathib@vnet.ibm.com", b"Eve@example.net"
    )

    async def test_by_message_id_and_address(self) -> None:
        told: list[Event] = []
        self.manager.outcomes.listen(told.append)
        id = await self.submit("joe@example.net", "eve@example.net")
        self.assertEqual(await self.take(self.failed), 1)
        self.assertEqual(await self.take(self.failed), 0)
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED, RecipientState.BOUNCED])
        self.assertEqual(told[-1].state, RecipientState.BOUNCED)

    async def test_by_the_original_address(self) -> None:
        envelope = queue_envelope(account="ann")
        orcpt = OriginalRecipient("rfc822", "eve@example.net")
        envelope.recipients = [Recipient(Path("e", "example.com"), orcpt=orcpt)]
        id = await self.submit_envelope(envelope)
        self.assertEqual(await self.take(self.failed), 1)
        self.assertEqual(await self.states(id), [RecipientState.BOUNCED])

    async def test_envid_tells_messages_apart(self) -> None:
        first = await self.submit("eve@example.net", envid="one")
        second = await self.submit("eve@example.net", envid="two")
        octets = self.failed.replace(
            b"Reporting-MTA:", b"Original-Envelope-Id: two\nReporting-MTA:"
        )
        self.assertEqual(await self.take(octets), 1)
        self.assertEqual(
            await self.states(first) + await self.states(second),
            [RecipientState.DELIVERED, RecipientState.BOUNCED],
        )

    async def test_complaint(self) -> None:
        id = await self.submit("user@example.com", "eve@example.net")
        octets = FEEDBACK.replace(b"<8787KJKJ3K4J3K4J3K4J3.mail@example.net>", b"<1@example.org>")
        self.assertEqual(await self.take(self.failed, complaints_only=True), 0)
        self.assertEqual(await self.take(octets, complaints_only=True), 1)
        self.assertEqual(
            await self.states(id), [RecipientState.COMPLAINED, RecipientState.DELIVERED]
        )

    async def test_by_envid_where_no_header_came_back(self) -> None:
        ids = [await self.submit("eve@example.net", envid=envid) for envid in ("one", "two", None)]
        head = self.failed.replace(b"Message-ID: <1@example.org>\n", b"")
        self.assertEqual(await self.take(head), 0)
        for envid, count in (("three", 0), ("two", 1)):
            field = f"Original-Envelope-Id: {envid}\nReporting-MTA:".encode()
            self.assertEqual(await self.take(head.replace(b"Reporting-MTA:", field)), count)
        states = [state for id in ids for state in await self.states(id)]
        after = [RecipientState.DELIVERED, RecipientState.BOUNCED, RecipientState.DELIVERED]
        self.assertEqual(states, after)

    async def test_to_the_sender_of_the_message_alone(self) -> None:
        id = await self.submit("eve@example.net")
        self.assertEqual(await self.take(self.failed, sender=path("bob@example.org")), 0)
        self.assertEqual(await self.take(self.failed, sender=path("")), 0)
        # Who has many messages of that name does not stand before the others.
        envelope = queue_envelope("eve@example.net", account="mallory")
        envelope.reverse_path = path("mallory@example.org")
        for _ in range(MAX_MATCHES):
            await self.submit_envelope(envelope)
        self.assertEqual(await self.take(self.failed, sender=path("Ann@EXAMPLE.org")), 1)
        self.assertEqual(await self.states(id), [RecipientState.BOUNCED])

    async def test_messages_with_return_paths_of_ours_want_a_proof(self) -> None:
        id = await self.submit("eve@example.net")
        ann = path("ann@example.org")
        all_senders, others = (
            ReturnPaths(SECRET, DOMAIN, senders) for senders in (None, ["news@example.org"])
        )
        self.assertEqual(await self.take(self.failed, sender=ann, paths=all_senders), 0)
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])
        self.assertEqual(await self.take(self.failed, sender=ann, paths=others), 1)

    async def test_what_it_is_not_about(self) -> None:
        await self.submit("sue@example.net")
        for octets in (
            self.failed,
            MULTI,
            FEEDBACK,
            b"",
            self.failed.replace(b"<1@example.org>", b""),
            self.failed.replace(b"Eve@", b"sue@").replace(b"Action: failed", b"Action: delayed"),
        ):
            self.assertEqual(await self.take(octets), 0)
