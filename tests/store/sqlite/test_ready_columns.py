"""What was told of messages is kept in memory; whether they are there is asked each time."""

from __future__ import annotations

from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from mailkit.store.sqlite import readycolumns
from mailkit.store.sqlite.readycolumns import PER_VALUE, ReadyColumns

from .helpers import StoreTestCase, appended, message

FIELDS = ["envelope", "body_structure", "header subject"]


class ColumnsTests(SynchronousTestCase):
    def test_some_of_what_is_known(self) -> None:
        columns = ReadyColumns()
        self.assertIsNone(columns.get(1, "a", [5]))
        columns.keep(1, "a", [5, 6, 8], [b"five", b"six", b"eight"])
        self.assertEqual(columns.get(1, "a", range(5, 7)), [b"five", b"six"])
        self.assertEqual(columns.get(1, "a", [6, 8]), [b"six", b"eight"])
        self.assertIsNone(columns.get(1, "a", range(5, 8)))
        self.assertIsNone(columns.get(1, "b", [5]))
        self.assertIsNone(columns.get(2, "a", [5]))

    def test_a_column_that_is_full_begins_anew(self) -> None:
        columns = ReadyColumns()
        with mock.patch.object(readycolumns, "MAX_COLUMN", 2 * (PER_VALUE + 1)):
            columns.keep(1, "a", [1, 2], [b"1", b"2"])
            # What is known already takes no more.
            columns.keep(1, "a", [2], [b"2"])
            self.assertEqual(columns.get(1, "a", [1, 2]), [b"1", b"2"])
            columns.keep(1, "a", [2, 3], [b"2", b"3"])
            self.assertIsNone(columns.get(1, "a", [1]))
            self.assertEqual(columns.get(1, "a", [2, 3]), [b"2", b"3"])
            columns.keep(1, "a", [4], [b"4"])
            self.assertIsNone(columns.get(1, "a", [3]))
            self.assertEqual(columns.get(1, "a", [4]), [b"4"])

    def test_values_count_with_their_own_octets(self) -> None:
        # Not with the average of what they were asked for with, most of which is known and small.
        columns = ReadyColumns()
        small, large = range(1, 10), b"x" * 1000
        with mock.patch.object(readycolumns, "MAX_COLUMN", 3 * (PER_VALUE + 1000)):
            for uid in range(10, 20):
                columns.keep(1, "a", [*small, uid], [b"1"] * 9 + [large])
            kept = [uid for uid in range(10, 20) if columns.get(1, "a", [uid])]
        self.assertLess(len(kept), 3)

    def test_what_is_known_already_throws_nothing_away(self) -> None:
        columns = ReadyColumns()
        with mock.patch.object(readycolumns, "MAX_COLUMN", 3 * (PER_VALUE + 1)):
            columns.keep(1, "a", [1, 2], [b"1", b"2"])
            columns.keep(1, "a", [2, 3], [b"2", b"3"])
            self.assertEqual(columns.get(1, "a", [1, 2, 3]), [b"1", b"2", b"3"])

    def test_what_was_asked_for_longest_ago_goes_first(self) -> None:
        for limit, value in (("MAX_KEPT", 3 * (PER_VALUE + 1)), ("MAX_COLUMNS", 3)):
            with mock.patch.object(readycolumns, limit, value):
                columns = ReadyColumns()
                for name in "abc":
                    columns.keep(1, name, [1], [b"1"])
                    # Again takes no more.
                    columns.keep(1, name, [1], [b"1"])
                self.assertIsNotNone(columns.get(1, "a", [1]))
                columns.keep(1, "d", [1], [b"1"])
                kept = [name for name in "abcd" if columns.get(1, name, [1])]
                self.assertEqual(kept, ["a", "c", "d"], limit)


class MailboxTests(StoreTestCase):
    async def test_the_index_is_asked_for_nothing_twice(self) -> None:
        store = await self.make_store()
        account = await store.open_account(name="ann@example.org")
        await account.create_mailbox(name="Old")
        mailbox = await account.open_mailbox(name="Old")
        await mailbox.append(messages=appended(*map(message, range(1, 10))))
        await mailbox.get_summaries(uids=range(1, 10))
        await store.core.writer.settle()
        first = mailbox.read_fields(range(1, 10), FIELDS)
        assert first is not None
        asked: list[str] = []
        store.core.reader.connection.set_trace_callback(asked.append)
        for uids in (range(1, 10), [2, 3], [1, 9]):
            again = mailbox.read_fields(uids, FIELDS)
            assert again is not None
            for values, all_values in zip(again, first, strict=True):
                self.assertEqual(list(values), [all_values[uid - 1] for uid in uids])
        # The order is that of the question, whatever is known already.
        mixed = mailbox.read_fields([4, 5], ["size", "envelope", "modseq"])
        assert mixed is not None
        self.assertEqual(list(mixed[1]), [first[0][3], first[0][4]])
        self.assertTrue(asked)
        self.assertFalse([sql for sql in asked if "summary" in sql], asked)
        store.core.reader.connection.set_trace_callback(None)
        # What is gone is not told.
        await mailbox.expunge(uids=[5])
        for gone in (range(1, 10), [4, 5], [1, 5, 9], [5]):
            self.assertIsNone(mailbox.read_fields(gone, FIELDS))
            self.assertIsNone(mailbox.read_fields(gone, [*FIELDS, "size"]))
        self.assertIsNotNone(mailbox.read_fields([4, 6], FIELDS))
        await account.delete_mailbox(name="Old")
        self.assertIsNone(mailbox.read_fields([4, 6], FIELDS))

    async def test_what_was_just_made_is_known_before_the_index_has_it(self) -> None:
        store = await self.make_store()
        mailbox = await self.mailbox(store)
        await mailbox.append(messages=appended(*map(message, range(1, 10))))
        asked: list[str] = []
        made = await mailbox.get_summaries(uids=range(1, 10))
        store.core.reader.connection.set_trace_callback(asked.append)
        found = mailbox.read_fields(range(1, 10), FIELDS[:2])
        store.core.reader.connection.set_trace_callback(None)
        self.assertEqual(
            found, [[each.envelope for each in made], [each.body_structure for each in made]]
        )
        self.assertFalse([sql for sql in asked if "summary" in sql], asked)
