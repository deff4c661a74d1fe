"""Reading one message after the other: few questions to the index, and never a wrong answer."""

from __future__ import annotations

import os
from unittest import mock

from mailkit.store.sqlite.bodies import Cold
from mailkit.store.sqlite.mailbox import SQLiteMailbox
from mailkit.store.sqlite.readahead import MAX_AHEAD, MAX_READY, ReadAhead

from .helpers import StoreTestCase, appended, message


class AheadTests(StoreTestCase):
    async def filled(self, count: int = 300) -> SQLiteMailbox:
        self.store = await self.make_store()
        mailbox = await self.mailbox(self.store)
        await mailbox.append(messages=appended(*map(message, range(1, count + 1))))
        return mailbox

    async def test_few_questions(self) -> None:
        mailbox = await self.filled()
        reader = self.store.core.reader
        with (
            mock.patch("mailkit.store.sqlite.readahead.time.monotonic", return_value=5.0),
            mock.patch.object(reader, "body_places", wraps=reader.body_places) as asked,
        ):
            for uid in range(1, 301):
                self.assertEqual(mailbox.read_ready(uid), message(uid))
        self.assertLess(asked.call_count, 15)
        self.assertEqual(max(call.args[2] for call in asked.call_args_list), MAX_AHEAD)

    async def test_whoever_jumps_about_is_given_one_place_at_a_time(self) -> None:
        mailbox = await self.filled()
        reader = self.store.core.reader
        with (
            mock.patch("mailkit.store.sqlite.readahead.time.monotonic", return_value=5.0),
            mock.patch.object(reader, "body_places", wraps=reader.body_places) as asked,
        ):
            for uid in (5, 100, 290, 20, 200, 3):
                self.assertEqual(mailbox.read_ready(uid), message(uid))
                (found,) = await mailbox.read_messages([uid], 10_000)
                self.assertEqual(found, message(uid))
        self.assertEqual([call.args[1:] for call in asked.call_args_list],
                         [(uid, 1) for uid in (5, 100, 290, 20, 200, 3)])  # fmt: skip

    async def test_slow_readers_ask_little_more_than_quick_ones(self) -> None:
        mailbox = await self.filled()
        reader = self.store.core.reader
        with mock.patch.object(reader, "body_places", wraps=reader.body_places) as asked:
            for uid in range(1, 301):
                with mock.patch(
                    "mailkit.store.sqlite.readahead.time.monotonic", return_value=uid * 0.04
                ):
                    self.assertEqual(mailbox.read_ready(uid), message(uid))
        # Twelve messages while the places are believed: some looked up in vain, none one by one.
        self.assertLess(asked.call_count, 35)
        self.assertLess(sum(call.args[2] for call in asked.call_args_list), 2 * 300)

    async def test_places_are_believed_for_a_moment_only(self) -> None:
        mailbox = await self.filled(10)
        reading = ReadAhead(self.store.core, mailbox._id)
        reader = self.store.core.reader
        with mock.patch.object(reader, "body_places", wraps=reader.body_places) as asked:
            for number, seconds in enumerate((1.0, 1.01, 2.0, 2.01), 1):
                with mock.patch(
                    "mailkit.store.sqlite.readahead.time.monotonic", return_value=seconds
                ):
                    self.assertEqual(reading.read(2), message(2), number)
        self.assertEqual(asked.call_count, 2)

    async def test_what_is_not_ready(self) -> None:
        self.store = await self.make_store()
        mailbox = await self.mailbox(self.store)
        await mailbox.append(messages=appended(message(1, MAX_READY), message(2, MAX_READY + 100)))
        self.assertIsNotNone(mailbox.read_ready(1))
        for uid in (0, 2, 3, 2**32):
            self.assertIsNone(mailbox.read_ready(uid))
        with mock.patch.object(self.store.core.bodies, "read", side_effect=Cold):
            self.assertIsNone(mailbox.read_ready(1))

    async def test_damaged_messages_are_left_to_the_long_way(self) -> None:
        mailbox = await self.filled(3)
        path = os.path.join(self.directory, "log", self.log_files()[0])
        with open(path, "r+b") as file:
            file.seek(file.read().index(b"line of message 2"))
            file.write(b"L")
        self.assertIsNone(mailbox.read_ready(2))
        self.assertEqual(mailbox.read_ready(3), message(3))
