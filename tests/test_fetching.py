"""Fetching maildrops: each message once, whatever breaks."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.content import Content
from mailkit.errors import OverQuota, StoreUnavailable
from mailkit.fetching import (
    FORGET_AFTER,
    HEADER_OCTETS,
    FetchReport,
    FetchSettings,
    MaildropFetch,
    arrival_date,
    digest_of,
    distinct,
    group_of,
    source_name,
)
from mailkit.pop3.client import ConnectionLost, Refused
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore
from tests.pop3.client.support import Wire, scripted, served
from tests.pop3.fakes import FakeWritableMailbox, Server

SOURCE = "pop3:ann@pop.example"
ANN = "ann@example.org"
DAY = 86400


def message(number: int) -> bytes:
    return b"Subject: %d\r\n\r\n.text\r\n" % number


def taken(number: int, which: int) -> tuple[bytes, bytes]:
    """What a server is asked for, and its answer: a message under a number."""
    return b"RETR %d" % number, b"+OK\r\n" + message(which) + b".\r\n"


DELE_1, DELE_2 = ((b"DELE %d" % number, b"+OK\r\n") for number in (1, 2))


class FetchCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        self.successResultOf(self.defer(self.store.add_account(name=ANN)))
        self.account: Any = self.successResultOf(self.defer(self.store.open_account(name=ANN)))
        self.mailbox = FakeWritableMailbox(*map(message, range(5)))
        self.server = Server(self.mailbox)
        self.now = 2_000_000_000.0
        self.told: list[int] = []

    def defer(self, awaitable: Any) -> Any:
        from twisted.internet.defer import Deferred

        return Deferred.fromCoroutine(awaitable)

    def fetch(self, wire: Wire | None = None, **settings: Any) -> FetchReport:
        wire = wire or served(self.server)
        run = MaildropFetch(
            wire.session,
            self.account,
            SOURCE,
            FetchSettings(**settings),
            lambda report: self.told.append(report.fetched),
            lambda: self.now,
        )
        self.report = run.report
        return wire.run(run.run())

    def contents(self, name: str = "INBOX") -> list[bytes]:
        async def read() -> list[bytes]:
            mailbox = await self.account.open_mailbox(name=name)
            found = []
            for uid in await mailbox.list_uids():
                with await mailbox.open_message(uid=uid) as file:
                    found.append(file.read())
            return found

        found: list[bytes] = self.successResultOf(self.defer(read()))
        return found

    def remembered(self) -> set[str]:
        return set(self.successResultOf(self.defer(self.account.list_fetched(source=SOURCE))))


class RunTests(FetchCase):
    def test_each_message_once(self) -> None:
        report = self.fetch(batch_messages=2)
        self.assertEqual((report.listed, report.known, report.fetched), (5, 0, 5))
        self.assertEqual(report.octets, sum(len(message(number)) for number in range(5)))
        self.assertEqual(self.told, [2, 4, 5])
        self.mailbox.messages[99] = message(99)
        report = self.fetch()
        self.assertEqual((report.listed, report.known, report.fetched), (6, 5, 1))
        self.assertEqual(self.contents(), [message(number) for number in (0, 1, 2, 3, 4, 99)])
        self.assertEqual(self.mailbox.expunged, [])

    def test_batches_are_bounded_by_octets(self) -> None:
        self.fetch(batch_octets=1)
        self.assertEqual(self.told, [1, 2, 3, 4, 5])

    def test_deleting_at_once(self) -> None:
        report = self.fetch(delete_after=0)
        self.assertEqual((report.deleted, self.mailbox.messages), (5, {}))
        self.assertEqual(self.contents(), [message(number) for number in range(5)])

    def test_deleting_after_some_days(self) -> None:
        self.patch(self.account, "now", lambda: int(self.now))
        self.assertEqual(self.fetch(delete_after=2 * DAY).deleted, 0)
        self.mailbox.messages[99] = message(99)
        self.now += DAY
        self.assertEqual(self.fetch(delete_after=2 * DAY).deleted, 0)
        self.now += DAY
        self.assertEqual(self.fetch(delete_after=2 * DAY).deleted, 5)
        self.assertEqual(list(self.mailbox.messages), [99])

    def test_another_mailbox(self) -> None:
        self.successResultOf(self.defer(self.account.create_mailbox(name="old")))
        self.fetch(mailbox="old")
        self.assertEqual((len(self.contents("old")), self.contents()), (5, []))

    def test_a_message_that_is_gone_meanwhile(self) -> None:
        wire = served(self.server)
        del self.mailbox.messages[9]
        report = self.fetch(wire)
        ((number, text),) = report.failures
        self.assertEqual((number, report.fetched), (3, 4))
        self.assertNotEqual(text, "")

    def test_what_came_before_the_connection_broke_is_kept(self) -> None:
        lines = [(b"UIDL", b"+OK\r\n1 a\r\n2 b\r\n3 c\r\n.\r\n")]
        lines += [(b"RETR 1", b"+OK\r\n" + message(1) + b".\r\n")]
        wire = scripted(*lines, (b"RETR 2", b"+OK\r\nSub"), (b"RETR 3", b""))
        run = MaildropFetch(
            wire.session, self.account, SOURCE, FetchSettings(delete_after=0), now=lambda: self.now
        )
        results = wire.start(run.run())
        wire.lose()
        self.assertRaises(ConnectionLost, wire.result, results)
        self.assertEqual(self.remembered(), {"a"})
        self.assertEqual(len(self.contents()), 1)
        # The next run goes on, and deletes what this one could not.
        more = [(b"RETR %d" % n, b"+OK\r\n" + message(n) + b".\r\n") for n in (2, 3)]
        more += [(b"DELE %d" % n, b"+OK\r\n") for n in (1, 2, 3)]
        wire = scripted(lines[0], *more, (b"QUIT", b"+OK\r\n"))
        self.server_closes(wire)
        self.assertEqual(self.fetch(wire, delete_after=0).deleted, 3)
        self.assertEqual(len(self.contents()), 3)

    def server_closes(self, wire: Wire) -> None:
        answer = wire.answer

        def close(data: bytes) -> bytes:
            octets = answer(data)
            if not octets and not wire.pending and getattr(answer, "finished", False):
                wire.lose()
            return octets

        wire.answer = close

    def test_deletions_that_failed_are_told(self) -> None:
        self.mailbox.trouble["expunge"] = StoreUnavailable()
        report = self.fetch(delete_after=0)
        self.assertEqual((report.fetched, report.deleted), (5, 0))
        self.assertIn("not removed", report.trouble)
        self.mailbox.trouble.clear()
        self.assertEqual(self.fetch(delete_after=0).deleted, 5)

    def test_a_full_account_takes_what_it_can(self) -> None:
        self.successResultOf(
            self.defer(self.store.set_quota(account=ANN, max_octets=0, max_messages=3))
        )
        self.assertRaises(OverQuota, self.fetch)
        self.assertEqual((self.report.fetched, len(self.contents())), (3, 3))
        self.successResultOf(
            self.defer(self.store.set_quota(account=ANN, max_octets=0, max_messages=0))
        )
        self.server = Server(self.mailbox)
        self.fetch()
        self.assertEqual(len(self.contents()), 5)

    def test_a_server_without_uidl(self) -> None:
        wire = scripted((b"UIDL", b"-ERR what?\r\n"))
        with self.assertRaises(Refused) as caught:
            self.fetch(wire)
        self.assertEqual(caught.exception.command, "UIDL")
        self.assertTrue(wire.transport.aborted)

    def test_no_message_is_deleted_for_one_of_the_same_unique_id(self) -> None:
        """Without the first, the second would be taken for it by the next run, and never be fetched."""
        listing = (b"UIDL", b"+OK\r\n1 x\r\n2 y\r\n3 x\r\n.\r\n")
        taken = [(b"RETR %d" % n, b"+OK\r\n" + message(n) + b".\r\n") for n in (1, 2, 3)]
        refused = [*taken[:2], (b"RETR 3", b"-ERR [SYS/TEMP] later\r\n")]
        last = (b"QUIT", b"+OK\r\n")
        wire = scripted(listing, *refused, (b"DELE 2", b"+OK\r\n"), last)
        self.server_closes(wire)
        report = self.fetch(wire, delete_after=0)
        self.assertEqual((report.fetched, report.deleted, len(report.failures)), (2, 1, 1))
        # Once it is here, both go.
        listing = (b"UIDL", b"+OK\r\n1 x\r\n2 x\r\n.\r\n")
        gone = [(b"DELE %d" % n, b"+OK\r\n") for n in (1, 2)]
        wire = scripted(listing, (b"RETR 2", taken[2][1]), *gone, last)
        self.server_closes(wire)
        report = self.fetch(wire, delete_after=0)
        self.assertEqual((report.fetched, report.deleted), (1, 2))
        subjects = [content[9:10] for content in self.contents()]
        self.assertEqual(subjects, [b"1", b"2", b"3"])

    def test_messages_of_one_unique_id_wait_for_the_youngest(self) -> None:
        """Without the older one, it would be taken for that by the next run."""
        self.patch(self.account, "now", lambda: int(self.now))
        listing, last = [b"1 x"], (b"QUIT", b"+OK\r\n")

        def fetch(*more: tuple[bytes, bytes]) -> FetchReport:
            told = b"\r\n".join((b"+OK", *listing, b".", b""))
            wire = scripted((b"UIDL", told), *more, last)
            self.server_closes(wire)
            return self.fetch(wire, delete_after=2 * DAY)

        fetch((b"RETR 1", b"+OK\r\n" + message(1) + b".\r\n"))
        self.now += DAY
        listing.append(b"2 x")
        fetch((b"RETR 2", b"+OK\r\n" + message(2) + b".\r\n"))
        self.now += DAY
        self.assertEqual(fetch().deleted, 0)
        self.now += DAY
        self.assertEqual(fetch(*((b"DELE %d" % n, b"+OK\r\n") for n in (1, 2))).deleted, 2)
        self.assertEqual(len(self.contents()), 2)

    def reuse(self, number: int) -> None:
        """RFC 1939 section 7: what is deleted may give its unique-id to another message."""
        (unique_id, *_) = self.uids
        self.mailbox.messages[unique_id] = message(number)

    def test_the_unique_id_of_a_deleted_message_is_given_to_another(self) -> None:
        self.uids = list(self.mailbox.messages)
        self.fetch(delete_after=0)
        for number in (7, 8):
            self.reuse(number)
            report = self.fetch(delete_after=0)
            self.assertEqual((report.fetched, report.deleted, report.unchanged), (1, 1, 0))
        self.assertEqual(self.contents(), [message(number) for number in (0, 1, 2, 3, 4, 7, 8)])
        self.assertEqual(self.mailbox.messages, {})

    def test_the_unique_id_of_a_message_that_others_deleted_is_given_to_another(self) -> None:
        self.uids = list(self.mailbox.messages)
        self.fetch()
        self.mailbox.messages.clear()
        self.fetch()
        self.reuse(7)
        self.fetch(delete_after=DAY)
        self.assertEqual(self.contents(), [message(number) for number in (0, 1, 2, 3, 4, 7)])

    def test_a_server_that_lists_what_it_has_deleted(self) -> None:
        """It says that it has done so; nothing comes twice, and what was lost meanwhile comes."""
        messages = dict(self.mailbox.messages)
        for _ in range(3):
            report = self.fetch(delete_after=0)
            self.assertEqual((report.deleted, self.mailbox.messages), (5, {}))
            self.mailbox.messages.update(messages)
            self.assertEqual(len(self.contents()), 5)
        self.assertEqual((report.fetched, report.unchanged), (0, 5))

    def test_a_listing_that_lacks_messages_by_mistake(self) -> None:
        self.patch(self.account, "now", lambda: int(self.now))
        messages = dict(self.mailbox.messages)
        self.fetch()
        self.mailbox.messages.clear()
        self.fetch()
        self.mailbox.messages.update(messages)
        self.assertEqual(self.fetch().unchanged, 5)
        # They are what they were.
        report = self.fetch()
        self.assertEqual((report.known, report.unchanged, len(self.contents())), (5, 0, 5))

    def test_a_listing_that_lacks_old_messages_by_mistake(self) -> None:
        self.patch(self.account, "now", lambda: int(self.now))
        messages = dict(self.mailbox.messages)
        self.fetch()
        self.now += FORGET_AFTER + DAY
        self.mailbox.messages.clear()
        self.fetch()
        self.mailbox.messages.update(messages)
        report = self.fetch()
        self.assertEqual((report.fetched, report.unchanged), (0, 5))

    def test_what_has_gone_is_not_deleted_before_it_has_come_again(self) -> None:
        listing = (b"UIDL", b"+OK\r\n1 x\r\n.\r\n")
        last = (b"QUIT", b"+OK\r\n")
        taken = (b"RETR 1", b"+OK\r\n" + message(1) + b".\r\n")
        refused = (b"RETR 1", b"-ERR [SYS/TEMP] later\r\n")
        # Nobody knows whether the first one was deleted.
        wire = scripted(listing, taken, (b"DELE 1", b"+OK\r\n"), (b"QUIT", b"-ERR perhaps\r\n"))
        self.server_closes(wire)
        self.assertEqual(self.fetch(wire, delete_after=0).deleted, 0)
        wire = scripted(listing, refused, last)
        self.server_closes(wire)
        report = self.fetch(wire, delete_after=0)
        self.assertEqual((report.deleted, len(report.failures)), (0, 1))

    def test_a_message_that_the_server_does_not_delete(self) -> None:
        listing = (b"UIDL", b"+OK\r\n1 x\r\n2 y\r\n3 z\r\n.\r\n")
        taken = [(b"RETR %d" % n, b"+OK\r\n" + message(n) + b".\r\n") for n in (1, 2, 3)]
        gone = [(b"DELE %d" % n, b"-ERR locked\r\n" if n == 2 else b"+OK\r\n") for n in (1, 2, 3)]
        wire = scripted(listing, *taken, *gone, (b"QUIT", b"+OK\r\n"))
        self.server_closes(wire)
        report = self.fetch(wire, delete_after=0)
        self.assertEqual(
            (report.deleted, report.refusals, report.trouble), (2, [(2, "locked")], "")
        )
        # The next run tries again, without a look at it.
        again = [(b"UIDL", b"+OK\r\n1 y\r\n.\r\n"), (b"DELE 1", b"+OK\r\n")]
        wire = scripted(*again, (b"QUIT", b"+OK\r\n"))
        self.server_closes(wire)
        self.assertEqual(self.fetch(wire, delete_after=0).deleted, 1)

    def again(self, listing: bytes, *more: tuple[bytes, bytes], **settings: Any) -> FetchReport:
        """A run at a server that takes its leave, unless it is told otherwise."""
        end = () if more[-1][0] == b"QUIT" else ((b"QUIT", b"+OK\r\n"),)
        wire = scripted((b"UIDL", b"+OK\r\n" + listing + b".\r\n"), *more, *end)
        self.server_closes(wire)
        return self.fetch(wire, **settings)

    def test_a_message_that_was_never_read_is_not_deleted(self) -> None:
        """One of two with the same unique-id stays, and a third one comes."""
        listing = b"1 a\r\n2 a\r\n"
        refused = (b"DELE 2", b"-ERR no\r\n")
        self.again(listing, taken(1, 1), taken(2, 2), DELE_1, refused, delete_after=0)
        report = self.again(listing, taken(1, 2), taken(2, 3), DELE_1, DELE_2, delete_after=0)
        self.assertEqual(report.deleted, 2)
        self.assertIn(b"3", [content[9:10] for content in self.contents()])

    def test_what_is_left_of_one_unique_id_does_not_come_twice(self) -> None:
        listing = b"1 a\r\n2 a\r\n"
        failed = (b"QUIT", b"-ERR some not removed\r\n")
        self.again(listing, taken(1, 1), taken(2, 2), DELE_1, DELE_2, failed, delete_after=0)
        # The first is deleted.
        report = self.again(b"1 a\r\n", taken(1, 2), DELE_1, delete_after=0)
        self.assertEqual((report.fetched, report.unchanged, report.deleted), (0, 1, 1))

    def test_a_message_that_came_back_is_as_old_as_it_was(self) -> None:
        self.patch(self.account, "now", lambda: int(self.now))
        listing = b"1 a\r\n"
        self.again(listing, taken(1, 1))
        self.now += 3 * DAY
        failed = (b"QUIT", b"-ERR some not removed\r\n")
        report = self.again(listing, DELE_1, failed, delete_after=2 * DAY)
        self.assertEqual((report.deleted, report.trouble), (0, "some not removed"))
        # The next run does it.
        report = self.again(listing, taken(1, 1), DELE_1, delete_after=2 * DAY)
        self.assertEqual((report.unchanged, report.deleted), (1, 1))

    def test_messages_that_are_gone_are_forgotten_late(self) -> None:
        self.patch(self.account, "now", lambda: int(self.now))
        self.fetch()
        self.mailbox.messages.clear()
        self.fetch()
        self.assertEqual(len(self.remembered()), 5)
        self.now += FORGET_AFTER + 1
        self.fetch()
        self.assertEqual(self.remembered(), set())


class NameTests(SynchronousTestCase):
    def test_sources(self) -> None:
        self.assertEqual(source_name("ann", "POP.example", 995), "pop3:ann@pop.example")
        self.assertEqual(source_name("ann", "pop.example", 110), "pop3:ann@pop.example")
        self.assertEqual(source_name("ann", "pop.example", 1100), "pop3:ann@pop.example:1100")
        self.assertEqual(source_name("ann", "pop.example.", 995), "pop3:ann@pop.example")

    def test_this_machine_is_one_server(self) -> None:
        for host in ("localhost", "LOCALHOST", "127.0.0.1", "::1", "localhost."):
            self.assertEqual(source_name("ann", host, 995), "pop3:ann@localhost")
            self.assertEqual(source_name("ann", host, 1100), "pop3:ann@localhost:1100")
        self.assertEqual(source_name("ann", "127.0.0.2", 995), "pop3:ann@127.0.0.2")

    def test_unique_ids_that_are_not(self) -> None:
        self.assertEqual(distinct({1: "a", 2: "b", 3: "a"}), {1: "a", 2: "b", 3: "a 2"})
        found = distinct({1: "x" * 255, 2: "x" * 256, 3: "y" * 256})
        self.assertEqual(found[1], "x" * 255)
        self.assertEqual(len(set(found.values())), 3)
        # lenient: one with a blank, which RFC 1939 does not know.
        self.assertEqual(len(set(distinct({1: "a", 2: "a", 3: "a 2"}).values())), 3)
        self.assertLess(len(found[2]), 100)

    def test_what_unique_ids_were_made_from(self) -> None:
        for told in ("a", "7", "x" * 256, "a 2"):
            first, second = distinct({1: told, 2: told}).values()
            self.assertEqual((group_of(first), group_of(second)), (first, first))


class DigestTests(SynchronousTestCase):
    def digest(self, octets: bytes) -> str:
        return digest_of(Content(Spool.from_bytes(octets)))

    def test_what_servers_change_is_no_part_of_a_message(self) -> None:
        plain = self.digest(b"Subject: x\r\n\r\nStatus: O\r\n")
        read = self.digest(b"Subject: x\r\nstatus: RO\r\nX-UIDL: 7\r\n\r\nStatus: O\r\n")
        self.assertEqual(read, plain)
        folded = self.digest(b"X-Keywords: a\r\n b\r\n\tc\r\nSubject: x\r\n\r\nStatus: O\r\n")
        self.assertEqual(folded, plain)
        others = (
            b"Subject: x\r\n\r\nStatus: RO\r\n",
            b"Subject: y\r\n\r\nStatus: O\r\n",
            b"Subject: x\r\n Status: O\r\n\r\nStatus: O\r\n",
            b"Subject: x\r\nStatus: O\r\n",
            b"Subject: x\r\n\r\nStatus: O\r\n" + b"x" * HEADER_OCTETS,
        )
        self.assertEqual(len({plain, *map(self.digest, others)}), 6)


class DateTests(SynchronousTestCase):
    def check(self, header: bytes, expected: int) -> None:
        content = Content(Spool.from_bytes(header + b"\r\nDate: none\r\n"))
        self.assertEqual(arrival_date(content, 2_000_000_000), expected)

    def test_when_a_message_arrived(self) -> None:
        received = b"Received: from a by b; Thu, 01 Jan 2026 00:00:00 +0000\r\n"
        older = b"Received: from c by a; Wed, 31 Dec 2025 00:00:00 +0000\r\n"
        date = b"Date: Tue, 30 Dec 2025 00:00:00 +0100\r\n"
        self.check(received + older + date, 1767225600)
        self.check(date, 1767049200)
        self.check(b"Received: nothing\r\n" + date, 1767049200)
        # What lies in the future is wrong.
        self.check(b"Date: Sat, 01 Jan 2050 00:00:00 +0000\r\n", 2_000_000_000)
        self.check(b"Date: yesterday\r\n", 2_000_000_000)
        self.check(b"Subject: x\r\n", 2_000_000_000)
