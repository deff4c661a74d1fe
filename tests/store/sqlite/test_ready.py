"""What is told of many messages at once: from the index, or not at all."""

from __future__ import annotations

import re
from unittest import mock

from mailkit.store.sqlite import ready
from mailkit.store.sqlite.mailbox import SQLiteMailbox

from .helpers import StoreTestCase, appended, message


class ReadyTests(StoreTestCase):
    async def filled(self, count: int = 9) -> SQLiteMailbox:
        self.store = await self.make_store()
        mailbox = await self.mailbox(self.store)
        await mailbox.append(messages=appended(*map(message, range(1, count + 1))))
        return mailbox

    async def made(self, mailbox: SQLiteMailbox, structure: bool) -> None:
        """Summaries are kept."""
        await mailbox.get_summaries(uids=range(1, 10), structure=structure)
        await self.store.core.writer.submit_lazy(mock.Mock(spec=["run"], run=lambda tx: None))

    async def test_summaries_that_are_not_made(self) -> None:
        mailbox = await self.filled()
        self.assertIsNone(mailbox.read_fields(range(1, 10), ["envelope"]))
        self.assertIsNotNone(mailbox.read_fields(range(1, 10), ["size", "modseq"]))
        await self.made(mailbox, False)
        found = mailbox.read_fields(range(1, 3), ["header"])
        headers = [b"Subject: %d\r\nMessage-ID: <%d@example.org>\r\n" % (n, n) for n in (1, 2)]
        self.assertEqual(found, [tuple(headers)])
        self.assertIsNone(mailbox.read_fields(range(1, 3), ["header", "body_structure"]))
        await self.made(mailbox, True)
        self.assertIsNotNone(mailbox.read_fields(range(1, 3), ["header", "body_structure"]))

    async def test_very_large_summaries_are_left_to_the_long_way(self) -> None:
        mailbox = await self.filled(12)
        await self.made(mailbox, False)
        with mock.patch.object(ready, "MAX_OCTETS", 41):
            found = mailbox.read_fields([1, 2], ["header"])
            assert found is not None
            self.assertEqual(set(map(len, found[0])), {41})
            await mailbox.get_summaries(uids=[10, 11], structure=False)
            await self.store.core.writer.submit_lazy(mock.Mock(spec=["run"], run=lambda tx: None))
            self.assertIsNone(mailbox.read_fields([9, 10], ["size", "header"]))
            self.assertIsNotNone(mailbox.read_fields([9, 10], ["size"]))
        self.assertIsNotNone(mailbox.read_fields([9, 10], ["size", "header"]))

    async def test_what_the_index_does_not_have(self) -> None:
        mailbox = await self.filled()
        self.assertIsNone(mailbox.read_fields(range(1, 10), ["size", "thread_id"]))

    async def test_messages_of_a_deleted_mailbox(self) -> None:
        self.store = await self.make_store()
        account = await self.store.open_account(name="ann@example.org")
        await account.create_mailbox(name="Old")
        mailbox = await account.open_mailbox(name="Old")
        await mailbox.append(messages=appended(message(1), message(2)))
        self.assertIsNotNone(mailbox.read_fields([1, 2], ["modseq"]))
        await account.delete_mailbox(name="Old")
        # Its rows go bit by bit.
        self.assertIsNone(mailbox.read_fields([1, 2], ["modseq"]))

    async def test_few_of_many(self) -> None:
        mailbox = await self.filled(60)
        for uids in ([5], [1, 60], [1, 2, 3, 59], [*range(1, 20), *range(30, 61)]):
            self.assertEqual(
                mailbox.read_fields(uids, ["email_id", "flags"]),
                [
                    [info.email_id for info in await mailbox.get_messages(uids)],
                    [frozenset()] * len(uids),
                ],
            )

    async def test_the_questions_of_a_first_select(self) -> None:
        # To read them takes as long as to answer them; that is done before there are clients.
        await self.filled()
        account = await self.store.open_account(name="ann@example.org")
        reader = self.store.core.reader

        def shape(statement: str) -> str:
            return re.sub(r"'[^']*'|\d+", "?", statement)

        prepared: set[str] = set()
        reader.connection.set_trace_callback(lambda sql: prepared.add(shape(sql)))
        reader.prepare()
        asked: set[str] = set()
        reader.connection.set_trace_callback(lambda sql: asked.add(shape(sql)))
        view = await (await account.open_mailbox(name="INBOX")).get_view(claim_recent=False)
        reader.connection.set_trace_callback(None)
        self.assertEqual((len(view.uids), view.first_unseen_uid), (9, 1))
        self.assertTrue(asked)
        self.assertLessEqual(asked, prepared)
