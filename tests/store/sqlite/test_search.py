"""Searching finds exactly what a plain scan finds."""

from __future__ import annotations

import datetime
import gc
import itertools
import random
from collections.abc import Mapping
from typing import Any
from unittest import mock

from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults

from mailkit.errors import NoSuchMailbox, StoreUnavailable
from mailkit.matching import Matcher
from mailkit.model import AppendMessage, FlagOp
from mailkit.query import (
    All,
    And,
    BodyContains,
    Comparison,
    HasFlag,
    HeaderContains,
    InternalDate,
    Larger,
    ModifiedSince,
    Not,
    Or,
    Query,
    SentDate,
    Smaller,
    SortCriterion,
    SortKey,
    TextContains,
    UIDs,
)
from mailkit.spool import Spool
from mailkit.store.sqlite import (
    SQLiteStore,
    StoreSettings,
    fields,
    making,
    search,
    slices,
    textcolumns,
)
from mailkit.store.sqlite.mailbox import SQLiteMailbox
from mailkit.store.sqlite.writer import Operation

from .helpers import StoreTestCase

DAY = 86400
WORDS = ["apple", "Birne", "çilek", "date", "x y", "", "7"]
FLAGS = ["\\Seen", "\\Flagged", "\\Deleted", "Work", "play", "$Junk"]


def make_message(dice: random.Random, number: int) -> bytes:
    """A message of one of many kinds."""
    subject: bytes = dice.choice(
        [
            b"apple pie %d" % number,
            b"=?utf-8?q?=C3=A7ilek?= %d" % number,
            b"folded\r\n  apple\r\n\tx y",
            "roh çilek".encode(),
            b"",
        ]
    )
    day = dice.randrange(1, 28)
    header = [
        b"Subject: " + subject,
        b"From: " + dice.choice([b"Birne <b@example.org>", b"apple@example.org", b"x"]),
        b"Date: %d Jan 2024 23:30:00 -0800" % day,
        b"X-Other: " + dice.choice([b"date", b"apple", b"=?iso-8859-1?q?=E7ilek?="]),
    ]
    if dice.random() < 0.3:
        header.append(b"Content-Transfer-Encoding: base64")
        body = b"YXBwbGUgw6dpbGVr"
    else:
        body = dice.choice([b"apple", "çilek Birne".encode(), b"date 7 x y", b""])
    if dice.random() < 0.2:
        header.append(b"Content-Type: text/plain; charset=utf-8")
    dice.shuffle(header)
    return b"\r\n".join(header) + b"\r\n\r\n" + body + b"\r\nfiller" * dice.randrange(40)


def make_query(dice: random.Random, depth: int = 3) -> Query:
    """Any query."""
    if depth and dice.random() < 0.5:
        kind = dice.randrange(3)
        if kind == 0:
            return Not(make_query(dice, depth - 1))
        parts = [make_query(dice, depth - 1) for _ in range(dice.randrange(4))]
        return And(parts) if kind == 1 else Or(parts)
    comparison = dice.choice(list(Comparison))
    date = datetime.date(2024, 1, dice.randrange(1, 28))
    ranges = [
        (low, low + dice.randrange(9)) for low in dice.sample(range(1, 60), dice.randrange(4))
    ]
    leaves: list[Query] = [
        All(),
        UIDs(ranges),
        UIDs([(low, low) for low, _ in ranges]),
        HasFlag(dice.choice([*FLAGS, "\\seen", "WORK", "never", "\\Recent", "\\Odd"])),
        InternalDate(comparison, date),
        SentDate(comparison, date),
        Larger(dice.randrange(600)),
        Smaller(dice.randrange(600)),
        ModifiedSince(dice.randrange(40)),
        HeaderContains(dice.choice(["Subject", "from", "X-Other", "Nothing"]), dice.choice(WORDS)),
        BodyContains(dice.choice(WORDS)),
        TextContains(dice.choice(WORDS)),
    ]
    return dice.choice(leaves)


class SearchTests(StoreTestCase):
    timeout = 240

    async def filled(self, count: int, **settings: int) -> tuple[SQLiteStore, SQLiteMailbox]:
        store = await self.make_store(
            settings=StoreSettings(
                maintenance_interval=3600.0, ahead_delay=3600.0, large_body=300, spool_memory=100
            )
        )
        dice = random.Random(5)
        inbox = await self.mailbox(store)
        messages = []
        for number in range(count):
            spool = store.new_spool() if number % 7 == 0 else Spool()
            spool.write(make_message(dice, number))
            flags = frozenset(dice.sample(FLAGS, dice.randrange(4)))
            date = 1704067200 + dice.randrange(-2 * DAY, 30 * DAY)
            messages.append(AppendMessage(spool, flags, date))
        for begin in range(0, count, 10):
            await inbox.append(messages=messages[begin : begin + 10])
        await inbox.store_flags(uids=[3, 4], op=FlagOp.ADD, flags=frozenset({"play"}))
        await inbox.expunge(uids=[5, 17])
        return store, inbox

    async def plain_scan(self, mailbox: SQLiteMailbox, query: Query) -> list[int]:
        matcher = Matcher(query)
        infos = await mailbox.get_messages(uids=await mailbox.list_uids())
        return [
            info.uid
            for info in infos
            if matcher.by_message(info, await self.read(mailbox, info.uid))
        ]

    async def test_exactly_what_a_plain_scan_finds_in_a_large_mailbox(self) -> None:
        self.patch(textcolumns, "MAX_MESSAGES", 0)
        self.patch(search, "SIFTED_OCTETS", 1000)
        await self.test_exactly_what_a_plain_scan_finds()

    async def test_exactly_what_a_plain_scan_finds(self) -> None:
        self.patch(search, "CHUNK", 13)
        self.patch(search, "SCAN_MESSAGES", 5)
        self.patch(search, "SMALL_BODY", 400)
        self.patch(making, "SMALL_BODY", 400)
        _, inbox = await self.filled(60)
        dice = random.Random(11)
        sizes = set()
        for number in range(250):
            query = make_query(dice)
            found = await inbox.search(query=query)
            wanted = await self.plain_scan(inbox, query)
            self.assertEqual(list(found), wanted, f"{number}: {query}")
            sizes.add(len(found))
        self.assertGreater(len(sizes), 20)

    async def test_what_the_index_can_tell_opens_no_message(self) -> None:
        store, inbox = await self.filled(20)
        store.core.bodies.read = None  # type: ignore[assignment, method-assign]
        store.core.bodies.map = None  # type: ignore[assignment, method-assign]
        query = And(
            [
                Not(HasFlag("\\Seen")),
                Or([Larger(10), HasFlag("work")]),
                InternalDate(Comparison.SINCE, datetime.date(2023, 1, 1)),
                UIDs([(1, 3), (9, 4000)]),
            ]
        )
        self.assertTrue(await inbox.search(query=query))

    async def test_headers_are_searched_without_opening_messages_again(self) -> None:
        store, inbox = await self.filled(20)
        query = HeaderContains("Subject", "apple")
        first = await inbox.search(query=query)
        self.assertTrue(first)
        # The second time, the summaries are in the index.
        await store.core.submit(_Nothing())
        store.core.bodies.read = None  # type: ignore[assignment, method-assign]
        store.core.bodies.map = None  # type: ignore[assignment, method-assign]
        self.assertEqual(await inbox.search(query=query), first)

    async def test_deep_and_wide_queries(self) -> None:
        _, inbox = await self.filled(20)
        deep: Query = HasFlag("\\Seen")
        for _ in range(100):
            deep = Not(Not(deep))
        wide = Or([UIDs([(number, number)]) for number in range(1, 500, 2)])
        nested: Query = All()
        for number in range(100):
            nested = Or([UIDs([(number, number)]), And([Larger(number), nested])])
        for query in (deep, wide, nested):
            self.assertEqual(
                list(await inbox.search(query=query)), await self.plain_scan(inbox, query)
            )

    async def test_many_ranges_and_keywords(self) -> None:
        _, inbox = await self.filled(20)
        # SQL would compare each message with each range, and each set of keywords with each word.
        ranges = UIDs([(number, number + 1) for number in range(2, 90_000, 3)])
        words = And([Not(HasFlag(f"word{number}")) for number in range(150)])
        for query in (ranges, Not(ranges), And([words, HasFlag("play")])):
            found = search.Search(inbox._core, inbox._id, query)
            self.assertLess(found._condition.sql.count("json_each"), 10)
            self.assertEqual(
                list(await inbox.search(query=query)), await self.plain_scan(inbox, query)
            )

    async def test_a_search_can_be_cancelled(self) -> None:
        self.patch(search, "SCAN_MESSAGES", 1)
        _, inbox = await self.filled(30)
        running = Deferred.fromCoroutine(inbox.search(query=BodyContains("apple")))
        await self.turn()
        running.cancel()
        await self.assertFailure(running, CancelledError)

    async def test_the_reactor_has_its_turn(self) -> None:
        self.patch(search, "CHUNK", 5)
        self.patch(search, "TEXT_CHUNKS", 1)
        self.patch(textcolumns, "MAX_MESSAGES", 0)
        _, inbox = await self.filled(40)
        turns: list[int] = []
        running = Deferred.fromCoroutine(inbox.search(query=HeaderContains("From", "apple")))
        running.addBoth(lambda found: turns.append(-1) or found)
        while -1 not in turns:
            turns.append(1)
            await self.turn()
        self.assertGreater(len(turns), 5)

    async def test_a_mailbox_that_is_gone(self) -> None:
        store, _ = await self.filled(1)
        account = await store.open_account(name="ann@example.org")
        await account.create_mailbox(name="Work")
        mailbox = await account.open_mailbox(name="Work")
        await account.delete_mailbox(name="Work")
        for query in (All(), BodyContains("x")):
            with self.assertRaises(NoSuchMailbox):
                await mailbox.search(query=query)

    async def test_bodies_that_the_compaction_moved(self) -> None:
        _, inbox = await self.filled(20)
        query = BodyContains("apple")
        expected = await self.plain_scan(inbox, query)
        real = search.Search._places

        def old_places(self, infos):  # type: ignore[no-untyped-def]
            places, maps = real(self, infos)
            old = {
                place._replace(segment=place.segment + 1000): found
                for place, found in places.items()
            }
            return old, maps

        self.patch(search.Search, "_places", old_places)
        self.assertEqual(await inbox.search(query=query), expected)


class _Nothing(Operation[None]):
    def run(self, tx):  # type: ignore[no-untyped-def, explicit-override]
        return None


class FieldTextTests(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        # Of larger mailboxes no texts are kept in memory.
        self.patch(textcolumns, "MAX_MESSAGES", 0)

    def rows(self, store: SQLiteStore, table: str = "field_text") -> int:
        (count,) = store.connection().execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(count)

    async def test_texts_are_made_once_and_go_with_the_message(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        for number in range(5):
            await self.deliver(store, b"From: a%d\r\nX: apple\r\n\r\n" % number)
        query = Or([HeaderContains("From", "A3"), HeaderContains("Subject", "x")])
        self.assertEqual(await inbox.search(query=query), [4])
        # They are there when the search that made them has ended; nothing else is looked at then.
        self.assertEqual(self.rows(store), 5)
        self.patch(store.core.fields, "make", None)
        self.patch(search, "find_headers", None)
        self.patch(store.core.summaries, "get", None)
        self.assertEqual(await inbox.search(query=query), [4])
        self.assertEqual(await inbox.search(query=Not(query)), [1, 2, 3, 5])
        self.assertEqual(await inbox.search(query=HeaderContains("Bcc", "")), [])
        await inbox.expunge(uids=[2, 3])
        await store.compact()
        self.assertEqual(self.rows(store), 3)

    async def test_others_have_their_turn_between_steps_that_are_quick_by_themselves(self) -> None:
        self.patch(fields, "HEADERS", 1)
        store = await self.make_store()
        inbox = await self.mailbox(store)
        for number in range(12):
            await self.deliver(store, b"From: a%d\r\n\r\n" % number)
        # Each look at the clock finds a fifth of a slice gone.
        looks = itertools.count()
        clock = mock.Mock(monotonic=lambda: next(looks) * slices.SLICE / 5)
        pause = mock.Mock(wraps=store.core.pause)
        self.patch(slices, "time", clock)
        self.patch(store.core, "pause", pause)
        await store.core.fields.make(inbox._id, list(range(1, 13)), fields.TEXTS)
        self.assertEqual(self.rows(store), 12)
        self.assertGreaterEqual(pause.call_count, 3)

    async def test_made_ahead(self) -> None:
        store = await self.make_store(
            settings=StoreSettings(maintenance_interval=0.01, ahead_delay=0.01)
        )
        inbox = await self.mailbox(store)
        await self.deliver(store, b"Subject: x\r\n\r\nan apple\r\n")
        await self.deliver(store, b"Subject: y\r\n\r\na pear\r\n")
        await self.wait_until(lambda: self.rows(store) == self.rows(store, "text_map") == 2)
        self.patch(search, "parse_message", None)
        self.patch(fields, "find_headers", None)
        self.assertEqual(await inbox.search(query=HeaderContains("Subject", "y")), [2])
        self.assertEqual(await inbox.search(query=BodyContains("pear")), [2])

    async def test_searches_at_the_same_time_make_texts_once(self) -> None:
        self.patch(fields, "HEADERS", 2)
        self.patch(fields, "SAVED_AT_ONCE", 2)
        self.patch(fields, "MAX_BEHIND", 1)
        self.patch(fields, "FOUND_AT_ONCE", 5)
        store = await self.make_store()
        inbox = await self.mailbox(store)
        for subject in b"xyxyxyxy":
            await self.deliver(store, b"Subject: %c\r\n\r\n" % subject)
        asked = self.note_headers()
        query = HeaderContains("Subject", "y")
        sorts = inbox.sort_messages(uids=[1, 2], criteria=[SortCriterion(SortKey.SUBJECT)])
        searches = [inbox.search(query=query), inbox.search(query=Not(query)), sorts]
        results = await gatherResults(map(Deferred.fromCoroutine, searches))
        found = list(map(list, results))
        self.assertEqual(found, [[2, 4, 6, 8], [1, 3, 5, 7], [1, 2]])
        # Texts of all eight, and values of two.
        self.assertEqual(sum(asked), 10)
        await self.deliver(store, b"Subject: y\r\n\r\n")
        self.assertEqual(await inbox.search(query=query), [2, 4, 6, 8, 9])
        self.assertEqual(sum(asked), 11)
        self.assertEqual(self.rows(store), 9)

    def note_headers(self) -> list[int]:
        """Of how many messages the headers are asked for."""
        real = fields.find_headers
        asked: list[int] = []

        async def note(core: Any, mailbox_id: int, bodies: Mapping[int, int], turns: Any) -> Any:
            asked.append(len(bodies))
            return await real(core, mailbox_id, bodies, turns)

        self.patch(fields, "find_headers", note)
        return asked

    async def test_texts_are_made_of_those_that_may_match(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        for subject in b"xyxyxyxy":
            await self.deliver(store, b"Subject: %c\r\n\r\n" % subject)
        asked = self.note_headers()
        query = And([UIDs([(3, 3), (6, 7)]), HeaderContains("Subject", "x")])
        self.assertEqual(await inbox.search(query=query), [3, 7])
        self.assertEqual(sum(asked), 3)
        self.assertEqual(await inbox.search(query=HeaderContains("Subject", "x")), [1, 3, 5, 7])
        self.assertEqual(sum(asked), 8)

    async def test_texts_are_made_of_those_that_summaries_do_not_exclude(self) -> None:
        self.patch(search, "NARROWED", 3)
        store = await self.make_store()
        inbox = await self.mailbox(store)
        for subject in b"xyxyxyxy":
            await self.deliver(store, b"From: z\r\nSubject: =?utf-8?q?%c?= q\r\n\r\n" % subject)
        await store.core.summaries.get(inbox._id, [1, 2, 3, 4, 6, 7, 8], False)
        await self.wait_until(lambda: self.rows(store, "summary") == 7)
        asked = self.note_headers()
        for query, matches, made in (
            (And([HeaderContains("Subject", "y q"), HeaderContains("From", "z")]), [2, 4, 6, 8], 5),
            (Or([HeaderContains("From", "y"), HeaderContains("Cc", "x")]), [], 0),
            (Or([HeaderContains("From", "z"), HasFlag("$x")]), list(range(1, 9)), 3),
        ):
            self.assertEqual(await inbox.search(query=query), matches)
            self.assertEqual(sum(asked), made)
            asked.clear()
            # What is kept, and what is not, gives the same.
            self.assertEqual(await inbox.search(query=query), matches)
            asked.clear()

    async def test_a_search_that_is_given_up_leaves_the_others_alone(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await self.deliver(store, b"Subject: x\r\n\r\n")
        query = HeaderContains("Subject", "x")
        one, two = (Deferred.fromCoroutine(inbox.search(query=query)) for _ in range(2))
        one.addErrback(lambda failure: failure.trap(CancelledError))
        one.cancel()
        self.assertEqual(await two, [1])
        self.assertEqual(await inbox.search(query=query), [1])

    async def test_messages_that_go_while_texts_are_made(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        for subject in b"xyx":
            await self.deliver(store, b"Subject: %c\r\n\r\n" % subject)
        real = fields.find_headers

        async def find(core: Any, mailbox_id: int, bodies: Mapping[int, int], turns: Any) -> Any:
            found = await real(core, mailbox_id, bodies, turns)
            await inbox.expunge(uids=[1])
            return found

        self.patch(fields, "find_headers", find)
        self.assertEqual(await inbox.search(query=HeaderContains("Subject", "x")), [3])
        await store.compact()
        self.assertEqual(self.rows(store), 2)

    async def test_texts_that_are_too_long_are_made_each_time(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await self.deliver(store, b"Subject: %b x\r\n\r\n" % (b"y" * 40_000))
        for _ in range(2):
            self.assertEqual(await inbox.search(query=HeaderContains("Subject", "Y X")), [1])
        self.assertEqual(self.rows(store), 0)

    async def test_maps_of_texts_are_made_once_and_go_with_the_message(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        for word in (b"apple", b"pear", b"plum", b"cherry"):
            await self.deliver(store, b"From: a\r\n\r\n%b\r\n" % word)
        # The first time, only what is not excluded by a look.
        self.assertEqual(await inbox.search(query=BodyContains("PLUM")), [3])
        await self.wait_until(lambda: self.rows(store, "text_map") == 1)
        # The second time, of longer messages.
        self.patch(search, "MAPPED_FROM", 18)
        self.assertEqual(await inbox.search(query=BodyContains("PLUM")), [3])
        await self.wait_until(lambda: self.rows(store, "text_map") == 3)
        self.patch(search, "MAPPED_FROM", 0)
        self.assertEqual(await inbox.search(query=BodyContains("PLUM")), [3])
        await self.wait_until(lambda: self.rows(store, "text_map") == 4)
        # From now on no message is taken apart.
        self.patch(search, "parse_message", None)
        self.assertEqual(await inbox.search(query=BodyContains("cherry")), [4])
        self.assertEqual(await inbox.search(query=TextContains("a")), [1, 2, 3, 4])
        await inbox.expunge(uids=[2])
        await store.compact()
        self.assertEqual(self.rows(store, "text_map"), 3)

    async def test_what_is_made_cannot_be_kept(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await self.deliver(store, b"From: a\r\n\r\napple\r\n")
        for name in ("submit", "submit_lazy"):
            self.patch(store.core.writer, name, lambda _: fail(StoreUnavailable()))
        query = And([HeaderContains("From", "a"), BodyContains("apple")])
        for _ in range(2):
            self.assertEqual(await inbox.search(query=query), [1])
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.rows(store), 0)
