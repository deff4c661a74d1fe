"""Sorting by the index gives what sorting the headers gives."""

from __future__ import annotations

import random
from array import array
from typing import Any

from mailkit.errors import NoSuchMailbox
from mailkit.model import AppendMessage
from mailkit.query import SortCriterion, SortKey
from mailkit.sorting import read_sort_values, sort_steps, sort_value
from mailkit.spool import Spool
from mailkit.store.sqlite import sorting
from mailkit.store.sqlite.mailbox import SQLiteMailbox

from .helpers import ANN, StoreTestCase, appended

WORDS = ["apple", "Birne", "çilek", "=?utf-8?q?=C3=87ilek?=", "Re: apple", "", "x_y", "Zebra"]
KEYS = list(SortKey)
TABLES = ("thread_value", "sort_address")


def make_message(dice: random.Random) -> bytes:
    """A message of one of many kinds; some lack fields."""
    lines = []
    for name in ("Subject", "From", "To", "Cc", "Date"):
        value = dice.choice(WORDS)
        if name == "Date":
            value = f"{dice.randrange(40)} Jan 2024 {dice.randrange(30)}:00 {dice.choice(WORDS)}"
        elif name != "Subject":
            value = f"{value} <{dice.choice('aAbBc')}@example.org>"
        if dice.random() < 0.8:
            lines.append(f"{name}: {value}".encode())
    return b"\r\n".join([*lines, b"", b"x" * dice.randrange(9)])


class SortTests(StoreTestCase):
    async def fill(self, store: Any, contents: list[bytes]) -> SQLiteMailbox:
        account = await store.open_account(name=ANN)
        mailbox: SQLiteMailbox = await account.open_mailbox(name="INBOX")
        dates = random.Random(2)
        await mailbox.append(
            messages=[
                AppendMessage(Spool.from_bytes(content), frozenset(), dates.randrange(2**31))
                for content in contents
            ]
        )
        return mailbox

    async def by_headers(
        self, mailbox: SQLiteMailbox, uids: list[int], criteria: list[SortCriterion]
    ) -> list[int] | None:
        infos = await mailbox.get_messages(uids=uids)
        headers = await mailbox.get_summaries(uids=uids)
        values = [read_sort_values(summary.header) for summary in headers]
        columns = [
            [sort_value(key, info, value) for info, value in zip(infos, values, strict=True)]
            for key, _ in criteria
        ]
        *_, order = sort_steps(uids, criteria, columns)
        return order

    async def test_all_keys(self) -> None:
        # Some in a thread, and some not.
        self.patch(sorting, "SORTED_HERE", 30)
        dice = random.Random(7)
        store = await self.make_store(ANN)
        mailbox = await self.fill(store, [make_message(dice) for _ in range(150)])
        uids = list(await mailbox.list_uids())
        for number in range(60):
            some = uids if number % 3 else sorted(dice.sample(uids, dice.randrange(1, 60)))
            criteria = [
                SortCriterion(key, dice.random() < 0.5)
                for key in dice.sample(KEYS, dice.randrange(1, 4))
            ]
            found = list(await mailbox.sort_messages(uids=some, criteria=criteria))
            self.assertEqual(found, await self.by_headers(mailbox, some, criteria), criteria)

    async def test_values_are_made_once_and_go_with_the_message(self) -> None:
        store = await self.make_store(ANN)
        mailbox = await self.fill(store, [b"Subject: %d\r\n\r\n" % n for n in range(5)])
        # What nobody has asked for is not made.
        await self.check_rows(store, mailbox, [SortKey.SIZE, SortKey.ARRIVAL], 0, 0)
        await self.check_rows(store, mailbox, [SortKey.SIZE, SortKey.DATE], 5, 0)
        await self.check_rows(store, mailbox, [SortKey.TO, SortKey.SUBJECT], 5, 5)
        await mailbox.expunge(uids=[2, 3])
        await store.compact()
        await self.check_rows(store, mailbox, [SortKey.SUBJECT], 3, 3)

    async def check_rows(
        self, store: Any, mailbox: SQLiteMailbox, keys: list[SortKey], *counts: int
    ) -> None:
        uids = list(await mailbox.list_uids())
        criteria = [SortCriterion(key) for key in keys]
        await mailbox.sort_messages(uids=uids, criteria=criteria)
        self.assertEqual(tuple(self.rows(store, table) for table in TABLES), counts)

    async def test_an_order_is_remembered_as_long_as_it_holds(self) -> None:
        self.patch(sorting, "REMEMBERED_FROM", 2)
        self.patch(sorting, "MAX_REMEMBERED", 11)
        store = await self.make_store(ANN)
        contents = [b"Subject: %d\r\n\r\n" % (n * 7 % 5) for n in range(5)]
        mailbox = await self.fill(store, contents)
        asked = []
        real = sorting._sort

        def note(*arguments: Any) -> list[int]:
            asked.append(arguments[2])
            return real(*arguments)

        self.patch(sorting, "_sort", note)
        criteria = [SortCriterion(SortKey.SUBJECT)]
        uids = list(await mailbox.list_uids())
        found = list(await mailbox.sort_messages(uids=uids, criteria=criteria))
        self.assertEqual(found, [1, 4, 2, 5, 3])
        # Whoever got it may do with it what he likes.
        found.clear()
        again = list(await mailbox.sort_messages(uids=array("I", uids), criteria=criteria))
        self.assertEqual(again, [1, 4, 2, 5, 3])
        self.assertEqual(len(asked), 1)
        # Another direction, other messages.
        backwards = [SortCriterion(SortKey.SUBJECT, True)]
        found = list(await mailbox.sort_messages(uids=uids, criteria=backwards))
        self.assertEqual(found, [3, 5, 2, 4, 1])
        self.assertEqual(
            list(await mailbox.sort_messages(uids=[1, 2, 4], criteria=criteria)), [1, 4, 2]
        )
        self.assertEqual(len(asked), 3)
        # Now there is no room for the first one and the latest.
        await mailbox.sort_messages(uids=uids, criteria=backwards)
        self.assertEqual(len(asked), 3)
        await mailbox.sort_messages(uids=uids, criteria=criteria)
        self.assertEqual(len(asked), 4)
        # Only messages that exist are sorted.
        await mailbox.expunge(uids=[4])
        again = list(await mailbox.sort_messages(uids=uids, criteria=criteria))
        self.assertEqual(again, [1, 2, 5, 3])

    async def test_values_of_those_that_are_new_are_made(self) -> None:
        store = await self.make_store(ANN)
        mailbox = await self.fill(store, [b"Subject: %d\r\n\r\n" % n for n in range(5)])
        uids = list(await mailbox.list_uids())
        subjects = [SortCriterion(SortKey.SUBJECT)]
        await mailbox.sort_messages(uids=uids[:3], criteria=subjects)
        self.assertEqual(self.rows(store), 3)
        await mailbox.sort_messages(uids=uids, criteria=subjects)
        await mailbox.sort_messages(uids=uids, criteria=subjects)
        self.assertEqual(self.rows(store), 5)
        await mailbox.expunge(uids=uids[1:3])
        await store.compact()
        self.assertEqual(self.rows(store), 3)

    def rows(self, store: Any, table: str = "thread_value") -> int:
        (count,) = store.connection().execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(count)

    async def test_dates_alone_are_read_where_nothing_was_made(self) -> None:
        self.patch(sorting, "WANTED_FROM", 2)
        self.patch(sorting, "DATES", 7)
        self.patch(sorting, "HEADERS", 2)
        store = await self.make_store(ANN)
        dice = random.Random(5)
        contents = [make_message(dice) for _ in range(40)]
        mailbox = await self.fill(store, contents)
        uids = list(await mailbox.list_uids())
        await mailbox.sort_messages(uids=uids[3:9], criteria=[SortCriterion(SortKey.SUBJECT)])
        made = self.rows(store)
        await store.core.summaries.get(mailbox._id, uids[5:25], False)
        await self.wait_until(lambda: self.rows(store, "summary") == 20)
        infos = await mailbox.get_messages(uids=uids)
        values = [read_sort_values(octets) for octets in contents]
        for reverse in (False, True):
            for some in (uids, uids[::3]):
                keys = {
                    info.uid: (sort_value(SortKey.DATE, info, value), info.uid)
                    for info, value in zip(infos, values, strict=True)
                }
                sign = -1 if reverse else 1
                order = sorted(some, key=lambda uid: (sign * keys[uid][0], uid))
                found = list(
                    await mailbox.sort_messages(
                        uids=some, criteria=[SortCriterion(SortKey.DATE, reverse)]
                    )
                )
                self.assertEqual(found, order)
        self.assertEqual(self.rows(store), made)

    async def test_a_copy_is_sorted_like_the_original(self) -> None:
        store = await self.make_store(ANN)
        mailbox = await self.fill(store, [b"Subject: b\r\n\r\n", b"Subject: a\r\n\r\n"])
        await mailbox.copy_messages(uids=await mailbox.list_uids(), destination="INBOX")
        uids = list(await mailbox.list_uids())
        found = list(
            await mailbox.sort_messages(uids=uids, criteria=[SortCriterion(SortKey.SUBJECT)])
        )
        self.assertEqual(found, [uids[1], uids[3], uids[0], uids[2]])

    async def test_deleted_mailbox(self) -> None:
        store = await self.make_store(ANN)
        account = await store.open_account(name=ANN)
        mailbox = await account.open_mailbox(name="Archive")
        await mailbox.append(messages=appended(b"\r\n"))
        await account.delete_mailbox(name="Archive")
        with self.assertRaises(NoSuchMailbox):
            await mailbox.sort_messages(uids=[1], criteria=[SortCriterion(SortKey.SIZE)])
