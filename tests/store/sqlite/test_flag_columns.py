"""Searching by flags that are kept in memory finds what the index has."""

from __future__ import annotations

import random
from unittest import mock

from mailkit.errors import NoSuchMailbox
from mailkit.matching import Matcher
from mailkit.model import FlagOp
from mailkit.query import All, And, HasFlag, Larger, Not, Or, Query, UIDs
from mailkit.store.sqlite import SQLiteStore, flagcolumns
from mailkit.store.sqlite.mailbox import SQLiteMailbox

from .helpers import StoreTestCase, appended, message

FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"]
UNSEEN = Not(HasFlag("\\Seen"))


def make_query(dice: random.Random, depth: int = 3) -> Query:
    """A query about system flags."""
    if not depth or dice.random() < 0.4:
        return HasFlag(dice.choice([*FLAGS, "\\Unknown"])) if dice.random() < 0.9 else All()
    inner = [make_query(dice, depth - 1) for _ in range(dice.randrange(4))]
    match dice.randrange(3):
        case 0:
            return And(tuple(inner))
        case 1:
            return Or(tuple(inner))
    return Not(make_query(dice, depth - 1))


class FlagColumnTests(StoreTestCase):
    """Searches of one mailbox."""

    async def fill(self, count: int) -> tuple[SQLiteStore, SQLiteMailbox]:
        store = await self.make_store(flush=lambda descriptor: None)
        mailbox = await self.mailbox(store)
        await mailbox.append(messages=appended(*map(message, range(count))))
        return store, mailbox

    async def plain_scan(self, mailbox: SQLiteMailbox, query: Query) -> list[int]:
        matcher = Matcher(query)
        infos = await mailbox.get_messages(uids=await mailbox.list_uids())
        return [info.uid for info in infos if matcher.by_info(info)]

    def looked_at(self, store: SQLiteStore) -> mock.Mock:
        """Is told of each statement that the index is asked."""
        told = mock.Mock()
        store.core.reader.connection.set_trace_callback(told)
        return told

    async def test_every_change_counts(self) -> None:
        dice = random.Random(5)
        self.patch(flagcolumns, "READ_AT_ONCE", 7)
        self.patch(flagcolumns, "MAX_CHANGED", 6)
        self.patch(flagcolumns, "MIN_TOLD", 1)
        store, mailbox = await self.fill(20)
        number = 20
        for _ in range(100):
            uids = list(await mailbox.list_uids())
            some = dice.sample(uids, min(len(uids), dice.randrange(12)))
            match dice.randrange(4):
                case 0:
                    await mailbox.append(
                        messages=appended(
                            *map(message, range(number, number + dice.randrange(1, 9))),
                            flags=dice.sample(FLAGS, 2),
                        )
                    )
                    number += 9
                case 1 if len(uids) > 15:
                    await mailbox.store_flags(
                        uids=some[:3], op=FlagOp.ADD, flags=frozenset(["\\Deleted"])
                    )
                    await mailbox.expunge(uids=some[:3])
                case _:
                    await mailbox.store_flags(
                        uids=some,
                        op=dice.choice(list(FlagOp)),
                        flags=frozenset(dice.sample([*FLAGS, "word"], 2)),
                    )
            if dice.random() < 0.2:
                store.core.flag_columns._columns.clear()
            if dice.random() < 0.5:
                # Some of the flags, or all, perhaps after others and before the next change.
                uids = list(await mailbox.list_uids())
                half = dice.randrange(1, len(uids) + 1)
                for some in (await mailbox.list_uids())[:half], (await mailbox.list_uids())[half:]:
                    mailbox.read_fields(some, ["flags"])
                    if dice.random() < 0.3:
                        await mailbox.store_flags(
                            uids=dice.sample(uids, 3),
                            op=dice.choice(list(FlagOp)),
                            flags=frozenset(dice.sample([*FLAGS, "word"], 2)),
                        )
            query = make_query(dice)
            if dice.random() < 0.3:
                first = dice.randrange(1, 30)
                query = And((UIDs(((first, first + dice.randrange(60)),)), query))
            found = await mailbox.search(query=query)
            self.assertEqual(list(found), await self.plain_scan(mailbox, query), query)
            self.assertEqual(await mailbox.search(query=query), found)

    async def test_flags_that_were_told_are_not_read_again(self) -> None:
        self.patch(flagcolumns, "MIN_TOLD", 10)
        store, mailbox = await self.fill(50)
        await mailbox.store_flags(uids=[3, 40], op=FlagOp.ADD, flags=frozenset(["\\Seen", "word"]))
        uids = await mailbox.list_uids()
        for start in (0, 20, 40):
            mailbox.read_fields(uids[start : start + 20], ["uid", "flags"])
        told = self.looked_at(store)
        self.assertEqual(await mailbox.search(query=HasFlag("\\Seen")), [3, 40])
        few = await mailbox.search(query=And((UIDs(((1, 20),)), UNSEEN)))
        self.assertEqual(few, [uid for uid in range(1, 21) if uid != 3])
        self.assertEqual(await mailbox.search(query=HasFlag("\\Seen")), [3, 40])
        asked = [call.args[0] for call in told.call_args_list]
        self.assertEqual([sql for sql in asked if "FROM message" in sql], [])

    async def test_nothing_is_told_of_a_mailbox_that_is_gone(self) -> None:
        self.patch(flagcolumns, "MIN_TOLD", 1)
        store = await self.make_store(flush=lambda descriptor: None)
        account = await store.open_account(name="ann@example.org")
        await account.create_mailbox(name="Gone")
        mailbox = await account.open_mailbox(name="Gone")
        await mailbox.append(messages=appended(message(1), message(2)))
        await account.delete_mailbox(name="Gone")
        self.assertIsNone(mailbox.read_fields([1, 2], ["flags"]))

    async def test_what_was_told_without_the_first_messages_is_not_enough(self) -> None:
        self.patch(flagcolumns, "MIN_TOLD", 10)
        store, mailbox = await self.fill(50)
        uids = await mailbox.list_uids()
        for some in (uids[10:], uids[:5], uids[:20], uids[30:], uids[40:]):
            mailbox.read_fields(some, ["flags"])
        told = self.looked_at(store)
        self.assertEqual(len(await mailbox.search(query=UNSEEN)), 50)
        asked = [call.args[0] for call in told.call_args_list]
        self.assertTrue([sql for sql in asked if "FROM message" in sql])

    async def test_messages_are_not_looked_at_twice(self) -> None:
        store, mailbox = await self.fill(50)
        await mailbox.store_flags(uids=range(3, 51), op=FlagOp.ADD, flags=frozenset(["\\Seen"]))
        self.assertEqual(await mailbox.search(query=UNSEEN), [1, 2])
        told = self.looked_at(store)
        self.assertEqual(await mailbox.search(query=UNSEEN), [1, 2])
        self.assertEqual(len(await mailbox.search(query=Not(UNSEEN))), 48)
        self.assertEqual(await mailbox.search(query=HasFlag("\\Deleted")), [])
        asked = [call.args[0] for call in told.call_args_list]
        self.assertTrue(asked)
        self.assertEqual([sql for sql in asked if "FROM message" in sql], [])

    async def test_the_rows_are_read_in_the_order_of_the_uids(self) -> None:
        store, _ = await self.fill(1)
        plan = store.core.reader.connection.execute(
            f"EXPLAIN QUERY PLAN {flagcolumns._READ}", (1, 1, 100)
        ).fetchall()
        self.assertEqual(len(plan), 1)
        self.assertIn("USING PRIMARY KEY (mailbox_id=? AND uid>? AND uid<?)", plan[0][3])

    async def test_what_is_not_about_system_flags_alone_is_left_to_the_index(self) -> None:
        store, mailbox = await self.fill(20)
        await mailbox.store_flags(uids=[4], op=FlagOp.ADD, flags=frozenset(["word", "\\Seen"]))
        columns = store.core.flag_columns
        box_id = mailbox._id
        for query in (
            HasFlag("word"),
            All(),
            Or((HasFlag("\\Seen"), Larger(1))),
            And((UIDs(((1, 3),)), HasFlag("\\Seen"))),
            And((UIDs(((1, 9), (11, 20))), HasFlag("\\Seen"))),
            And((UIDs(((1, 19),)), UIDs(((2, 20),)), HasFlag("\\Seen"))),
        ):
            self.assertIsNone(await columns.search(box_id, query), query)
            found = await mailbox.search(query=query)
            self.assertEqual(found, await self.plain_scan(mailbox, query), query)

    async def test_deep_queries(self) -> None:
        _, mailbox = await self.fill(3)
        query: Query = HasFlag("\\Seen")
        for _ in range(101):
            query = Not(query)
        self.assertEqual(await mailbox.search(query=query), [1, 2, 3])

    async def test_messages_that_go_while_flags_are_read(self) -> None:
        self.patch(flagcolumns, "READ_AT_ONCE", 5)
        store, mailbox = await self.fill(20)
        core = store.core
        pause = core.pause
        expunged = []

        async def expunge() -> None:
            if not expunged:
                expunged.append(await mailbox.expunge(uids=[1, 12, 20]))
            await pause()

        self.patch(core, "pause", expunge)
        found = await mailbox.search(query=UNSEEN)
        self.assertTrue(expunged)
        self.assertLessEqual({uid for uid in range(1, 21) if uid not in (1, 12, 20)}, set(found))
        found = await mailbox.search(query=UNSEEN)
        self.assertEqual(list(found), await self.plain_scan(mailbox, UNSEEN))

    async def test_a_deleted_mailbox(self) -> None:
        store, _ = await self.fill(1)
        account = await store.open_account(name="ann@example.org")
        await account.create_mailbox(name="Gone")
        mailbox = await self.mailbox(store, name="Gone")
        self.assertEqual(list(await mailbox.search(query=UNSEEN)), [])
        await account.delete_mailbox(name="Gone")
        with self.assertRaises(NoSuchMailbox):
            await mailbox.search(query=UNSEEN)

    async def test_flags_of_a_few_mailboxes_are_kept(self) -> None:
        self.patch(flagcolumns, "MAX_KEPT", 25)
        store, mailbox = await self.fill(20)
        account = await store.open_account(name="ann@example.org")
        for name in ("A", "B"):
            await account.create_mailbox(name=name)
            other = await self.mailbox(store, name=name)
            await other.append(messages=appended(*map(message, range(10))))
            self.assertEqual(len(await other.search(query=UNSEEN)), 10)
            self.assertEqual(len(await mailbox.search(query=UNSEEN)), 20)
        columns = store.core.flag_columns
        self.assertEqual(list(columns._columns), [mailbox._id])
        self.assertEqual(columns._total, 20)
