"""Which messages have changed, as spans of UIDs."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from mailkit.model import FlagOp
from mailkit.store.sqlite.migrations import MIGRATIONS
from mailkit.store.sqlite.schema import open_index
from mailkit.store.sqlite.spans import forget_changed, note_changed

from .helpers import ANN, StoreTestCase, appended, message

SEEN = frozenset(("\\Seen",))


class SpanTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.addCleanup(self.connection.close)
        step = next(step for step in MIGRATIONS if "TABLE changed" in step)
        self.connection.execute(step.split(";\n")[0])

    def note(self, modseq: int, *runs: tuple[int, int], before: Iterable[int]) -> None:
        note_changed(self.connection, 1, modseq, runs, before)

    def spans(self) -> list[tuple[int, int, int]]:
        rows = self.connection.execute(
            "SELECT modseq, first_uid, last_uid FROM changed WHERE mailbox_id = 1 ORDER BY 2"
        )
        return rows.fetchall()

    def test_one_that_changes_again_is_there_once(self) -> None:
        self.note(5, (7, 7), before=[3])
        self.note(6, (7, 7), before=[5])
        self.assertEqual(self.spans(), [(6, 7, 7)])

    def test_what_is_changed_again_is_cut_out(self) -> None:
        self.note(5, (1, 100), before=range(5))
        self.note(6, (10, 19), (30, 30), (100, 100), before=[5])
        self.assertEqual(
            self.spans(),
            [
                (5, 1, 9),
                (6, 10, 19),
                (5, 20, 29),
                (6, 30, 30),
                (5, 31, 99),
                (6, 100, 100),
            ],
        )

    def test_what_lies_within_goes(self) -> None:
        for number in range(1, 40):
            self.note(100 + number, (number, number), before=[number])
        self.note(200, (2, 50), before=range(102, 140))
        self.assertEqual(self.spans(), [(101, 1, 1), (200, 2, 50)])

    def test_what_is_gone_is_forgotten(self) -> None:
        self.note(5, (1, 10), before=range(5))
        forget_changed(self.connection, 1, [(3, 4), (9, 12)], [5])
        self.assertEqual(self.spans(), [(5, 1, 2), (5, 5, 8)])

    def test_other_mailboxes_are_left_alone(self) -> None:
        note_changed(self.connection, 2, 5, [(1, 10)], [1])
        self.note(5, (1, 10), before=[1])
        forget_changed(self.connection, 2, [(1, 10)], [5])
        self.assertEqual(self.spans(), [(5, 1, 10)])

    def test_like_a_plain_table(self) -> None:
        rng = random.Random(4)
        for _ in range(100):
            self.connection.execute("DELETE FROM changed")
            modseqs = dict.fromkeys(range(1, 31), 0)
            for modseq in range(1, 25):
                chosen = sorted(rng.sample(range(1, 31), rng.choice([1, 1, 2, 5, 25])))
                if rng.random() < 0.5:
                    chosen = list(range(chosen[0], chosen[-1] + 1))
                runs = [(uid, uid) for uid in chosen]
                if len(chosen) == chosen[-1] - chosen[0] + 1:
                    runs = [(chosen[0], chosen[-1])]
                before = [modseqs[uid] for uid in chosen]
                known: Iterable[int] = range(min(before), max(before) + 1)
                note_changed(
                    self.connection, 1, modseq, runs, known if rng.random() < 0.5 else before
                )
                modseqs.update(dict.fromkeys(chosen, modseq))
                there = {
                    uid: modseq
                    for modseq, first, last in self.spans()
                    for uid in range(first, last + 1)
                }
                self.assertEqual(there, {uid: n for uid, n in modseqs.items() if n})
                self.assertEqual(
                    sum(last - first + 1 for _, first, last in self.spans()), len(there)
                )


class StoreTests(StoreTestCase):
    def count(self) -> int:
        index = sqlite3.connect(os.path.join(self.directory, "index.sqlite"))
        self.addCleanup(index.close)
        (count,) = index.execute("SELECT count(*) FROM changed").fetchone()
        return int(count)

    async def test_one_span_for_one_change_and_none_for_what_is_gone(self) -> None:
        store = await self.make_store(ANN)
        for number in range(1, 11):
            await self.deliver(store, message(number))
        inbox = await self.mailbox(store)
        uids = await inbox.list_uids()
        for uid in uids:
            await inbox.store_flags(uids=[uid], op=FlagOp.ADD, flags=SEEN)
        self.assertEqual(self.count(), 10)
        before = (await inbox.get_info()).highest_modseq
        await inbox.store_quietly(uids=uids, op=FlagOp.REMOVE, flags=SEEN)
        self.assertEqual(self.count(), 1)
        self.assertEqual(list((await inbox.get_changes(since=before)).changed), list(uids))
        await inbox.store_flags(uids=[uids[4]], op=FlagOp.ADD, flags=SEEN)
        self.assertEqual(self.count(), 3)
        await inbox.expunge(uids=uids[:4])
        await inbox.move_messages(uids=uids[4:], destination="Trash")
        self.assertEqual(self.count(), 0)
        await self.close_store(store)
        self.check()

    async def test_few_messages_of_a_mailbox_change_once_more(self) -> None:
        store = await self.make_store(ANN)
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(*[message(number) for number in range(20)]))
        uids = await inbox.list_uids()
        for uid in uids[2:5]:
            await inbox.store_flags(uids=[uid], op=FlagOp.ADD, flags=SEEN)
        self.assertEqual(self.count(), 3)
        await inbox.store_quietly(uids=uids[3:5], op=FlagOp.REMOVE, flags=SEEN)
        self.assertEqual(self.count(), 2)

    async def test_no_changes_are_looked_for_after_the_last_one(self) -> None:
        store = await self.make_store(ANN)
        await self.deliver(store, message(1))
        inbox = await self.mailbox(store)
        modseq = (await inbox.get_info()).highest_modseq
        asked: list[str] = []
        connection = store.core.reader.connection
        connection.set_trace_callback(asked.append)
        self.addCleanup(connection.set_trace_callback, None)
        self.assertEqual(await inbox.get_changes(since=modseq), (modseq, (), (), ()))
        self.assertEqual(len(asked), 1, asked)
        self.assertEqual(list((await inbox.get_changes(since=modseq - 1)).added), [1])

    async def test_what_had_changed_before_there_were_spans(self) -> None:
        os.mkdir(self.directory)
        (before,) = (n for n, step in enumerate(MIGRATIONS) if "TABLE changed" in step)
        old = open_index(self.directory, migrations=MIGRATIONS[:before])
        old.execute("INSERT INTO account (name, password_hash) VALUES (?, 'x')", (ANN,))
        old.execute(
            "INSERT INTO mailbox (account_id, name, uid_validity, uid_next, highest_modseq,"
            " messages, unseen, size) VALUES (1, 'INBOX', 7, 4, 9, 3, 3, 30)"
        )
        old.executemany(
            "INSERT INTO message VALUES (1, ?, 0, 0, 10, ?, ?, ?, 0, NULL)",
            [(1, 1, 1, 1), (2, 9, 2, 2), (3, 3, 3, 3)],
        )
        old.close()
        store = self.open_store()
        inbox = await self.mailbox(store)
        for since, added, changed in ((1, [2, 3], []), (2, [3], [2]), (3, [], [2]), (9, [], [])):
            changes = await inbox.get_changes(since=since)
            self.assertEqual((list(changes.added), list(changes.changed)), (added, changed))
