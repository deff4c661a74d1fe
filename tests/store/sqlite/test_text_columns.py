"""Searching header fields in texts that are kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults

from mailkit.model import FlagOp
from mailkit.query import And, Collation, HasFlag, HeaderContains, Not, Or, Query, UIDs
from mailkit.store.sqlite import SQLiteStore, slices, textcolumns
from mailkit.store.sqlite.fields import TEXTS, find_heads
from mailkit.store.sqlite.mailbox import SQLiteMailbox

from .helpers import StoreTestCase

X = HeaderContains("Subject", "X")
Y = HeaderContains("subject", "y")


class TextColumnTests(StoreTestCase):
    async def filled(self, subjects: bytes) -> tuple[SQLiteStore, SQLiteMailbox]:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        for subject in subjects:
            await self.deliver_subject(store, b"%c" % subject)
        return store, inbox

    async def deliver_subject(self, store: SQLiteStore, subject: bytes) -> None:
        await self.deliver(store, b"From: z\r\nSubject: %b\r\n\r\n" % subject)

    def note_headers(self) -> list[int]:
        """Of how many messages the headers are read."""
        asked: list[int] = []

        async def note(core: Any, mailbox_id: int, uids: Sequence[int], turns: Any) -> Any:
            asked.append(len(uids))
            return await find_heads(core, mailbox_id, uids, turns)

        self.patch(textcolumns, "find_heads", note)
        return asked

    async def test_texts_are_read_once(self) -> None:
        self.patch(textcolumns, "READ_AT_ONCE", 3)
        _, inbox = await self.filled(b"xyxyxyxy")
        asked = self.note_headers()
        self.assertEqual(await inbox.search(query=X), [1, 3, 5, 7])
        self.assertEqual(sum(asked), 8)
        self.assertEqual(await inbox.search(query=Y), [2, 4, 6, 8])
        self.assertEqual(await inbox.search(query=Not(Y)), [1, 3, 5, 7])
        self.assertEqual(await inbox.search(query=Or([X, Y])), list(range(1, 9)))
        self.assertEqual(await inbox.search(query=And([X, Y])), [])
        await inbox.store_flags(uids=[3, 4], op=FlagOp.ADD, flags=frozenset({"\\Seen"}))
        seen = HasFlag("\\Seen")
        self.assertEqual(await inbox.search(query=And([X, seen])), [3])
        self.assertEqual(await inbox.search(query=Not(Or([X, seen]))), [2, 6, 8])
        self.assertEqual(sum(asked), 8)
        # Another field is another column.
        self.assertEqual(await inbox.search(query=HeaderContains("From", "z")), list(range(1, 9)))
        self.assertEqual(sum(asked), 16)
        # These texts do not tell.
        strictly = HeaderContains("Subject", "X", Collation.OCTET)
        for query in (strictly, HeaderContains("Subject", "x\ny"), HeaderContains("Bcc", "")):
            self.assertEqual(await inbox.search(query=query), [])

    async def test_a_message_that_begins_with_an_empty_line_has_no_header(self) -> None:
        # RFC 5322 section 2.1: the body begins behind it.
        store, inbox = await self.filled(b"x")
        for line_end in (b"\r\n", b"\n"):
            await self.deliver(store, line_end + b"Subject: x\r\n\r\nSubject: x\r\n")
        self.assertEqual(await inbox.search(query=X), [1])

    async def test_messages_come_and_go(self) -> None:
        store, inbox = await self.filled(b"xyxyxy")
        asked = self.note_headers()
        for query in (X, Not(X)):
            await inbox.search(query=query)
        await self.deliver_subject(store, b"x")
        self.assertEqual(await inbox.search(query=X), [1, 3, 5, 7])
        self.assertEqual(await inbox.search(query=Not(X)), [2, 4, 6])
        self.assertEqual(asked, [6, 1])
        await inbox.expunge(uids=[1, 2, 4])
        self.assertEqual(await inbox.search(query=X), [3, 5, 7])
        await self.deliver_subject(store, b"y")
        self.assertEqual(await inbox.search(query=X), [3, 5, 7])
        self.assertEqual(await inbox.search(query=Y), [6, 8])
        self.assertEqual(asked, [6, 1, 1])
        # So many are gone that what is left is read anew.
        await inbox.expunge(uids=[3, 5, 6])
        await self.deliver_subject(store, b"x")
        self.assertEqual(await inbox.search(query=X), [7, 9])
        self.assertEqual(asked, [6, 1, 1, 3])
        await inbox.expunge(uids=[7, 8, 9])
        self.assertEqual(await inbox.search(query=X), [])

    async def test_what_is_kept_is_not_read(self) -> None:
        self.patch(textcolumns, "READ_AT_ONCE", 4)
        store, inbox = await self.filled(b"xyxyxyxyxyx")
        await store.core.fields.make(inbox._id, [1, 2, 6, 7, 9, 10, 11], TEXTS)
        await store.core.summaries.get(inbox._id, [3, 4, 10, 11], False)
        count = "SELECT count(*) FROM summary"
        await self.wait_until(lambda: store.connection().execute(count).fetchone() == (4,))
        asked = self.note_headers()
        self.assertEqual(await inbox.search(query=X), [1, 3, 5, 7, 9, 11])
        self.assertEqual(asked, [2])

    async def test_messages_come_while_texts_are_read(self) -> None:
        store, inbox = await self.filled(b"xy")

        async def find(core: Any, mailbox_id: int, uids: Sequence[int], turns: Any) -> Any:
            found = await find_heads(core, mailbox_id, uids, turns)
            await self.deliver_subject(store, b"x")
            return found

        self.patch(textcolumns, "find_heads", find)
        self.assertEqual(await inbox.search(query=Not(Y)), [1])
        self.assertEqual(await inbox.search(query=Not(Y)), [1, 3])

    async def test_messages_go_while_texts_are_read(self) -> None:
        store, inbox = await self.filled(b"xyx")

        async def find(core: Any, mailbox_id: int, uids: Sequence[int], turns: Any) -> Any:
            found = await find_heads(core, mailbox_id, uids, turns)
            await inbox.expunge(uids=[1, 2, 3])
            await store.compact()
            return found

        self.patch(textcolumns, "find_heads", find)
        self.assertEqual(await inbox.search(query=And([X, HasFlag("\\Seen")])), [])
        self.assertEqual(await inbox.search(query=X), [])

    async def test_searches_at_the_same_time_read_once(self) -> None:
        _, inbox = await self.filled(b"xyx")
        asked: list[int] = []
        read = Deferred[None]()

        async def wait(core: Any, mailbox_id: int, uids: Sequence[int], turns: Any) -> Any:
            asked.append(len(uids))
            await read
            return await find_heads(core, mailbox_id, uids, turns)

        self.patch(textcolumns, "find_heads", wait)
        queries: list[Query] = [Not(X), Y, X, X]
        searches = [Deferred.fromCoroutine(inbox.search(query=query)) for query in queries]
        # One that is given up leaves the others alone.
        searches[3].addErrback(lambda failure: failure.trap(CancelledError))
        searches[3].cancel()
        read.callback(None)
        self.assertEqual(await gatherResults(searches[:3]), [[2], [2], [1, 3]])
        self.assertEqual(asked, [3])

    async def test_another_reads_what_one_has_given_up(self) -> None:
        _, inbox = await self.filled(b"xyx")
        asked: list[int] = []

        async def wait(core: Any, mailbox_id: int, uids: Sequence[int], turns: Any) -> Any:
            asked.append(len(uids))
            if len(asked) == 1:
                await Deferred[None]()
            return await find_heads(core, mailbox_id, uids, turns)

        self.patch(textcolumns, "find_heads", wait)
        given_up = Deferred.fromCoroutine(inbox.search(query=X))
        search = Deferred.fromCoroutine(inbox.search(query=Y))
        self.assertNoResult(search)
        given_up.cancel()
        await self.assertFailure(given_up, CancelledError)
        self.assertEqual(await search, [2])
        self.assertEqual(asked, [3, 3])

    async def test_a_few_messages_are_left_to_the_index(self) -> None:
        _, inbox = await self.filled(b"xyxyxyxyx")
        asked = self.note_headers()
        for query in (And([UIDs([(2, 3)]), X]), And([X, UIDs([(3, 3), (4, 4)])])):
            self.assertEqual(await inbox.search(query=query), [3])
        self.assertEqual(asked, [])
        self.assertEqual(await inbox.search(query=And([UIDs([(2, 5)]), X])), [3, 5])
        # Of three of them the index has texts now.
        self.assertEqual(asked, [6])

    async def test_too_much_is_left_to_the_index(self) -> None:
        _, inbox = await self.filled(b"xyx")
        asked = self.note_headers()
        for name, limit in (("MAX_COLUMN", 4), ("MAX_MESSAGES", 2), ("MAX_FIELDS", 0)):
            with self.subTest(name):
                patch = self.patch(textcolumns, name, limit)
                self.assertEqual(await inbox.search(query=X), [1, 3])
                patch.restore()
        self.assertEqual(asked, [3])
        deep: Query = X
        for _ in range(textcolumns.MAX_DEPTH + 1):
            deep = Not(deep)
        self.assertEqual(await inbox.search(query=deep), [2])
        self.assertEqual(asked, [3])

    async def test_so_many_texts_are_kept(self) -> None:
        store, inbox = await self.filled(b"xyx")
        asked = self.note_headers()
        for name, limit in (("MAX_KEPT", 7), ("MAX_COLUMNS", 1), ("MAX_KEPT", 10)):
            patch = self.patch(textcolumns, name, limit)
            store.core.text_columns = textcolumns.TextColumns(store.core)
            for _ in range(2):
                for query in (X, HeaderContains("From", "z")):
                    await inbox.search(query=query)
            patch.restore()
        self.assertEqual(asked, [3] * (4 + 4 + 2))

    async def test_the_reactor_has_its_turn(self) -> None:
        self.patch(textcolumns, "READ_AT_ONCE", 2)
        self.patch(slices, "SLICE", -1.0)
        _, inbox = await self.filled(b"xyxyxyxyxyxy")
        turns: list[int] = []
        running = Deferred.fromCoroutine(inbox.search(query=X))
        running.addBoth(lambda found: turns.append(-1) or found)
        while -1 not in turns:
            turns.append(1)
            await self.turn()
        self.assertGreater(len(turns), 5)
        self.assertEqual(await running, [1, 3, 5, 7, 9, 11])
