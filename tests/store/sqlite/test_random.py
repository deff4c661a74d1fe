"""Random changes: the store agrees with a simple model, with its own recount, and after reopening."""

from __future__ import annotations

import random
from collections.abc import Sequence

from mailkit.model import AppendMessage, FlagOp, LocalDelivery
from mailkit.spool import Spool
from mailkit.store.sqlite import SQLiteStore, StoreSettings
from mailkit.store.sqlite.mailbox import SQLiteMailbox
from mailkit.store.sqlite.repair import repair_store

from .helpers import ANN, BOB, StoreTestCase, message

SETTINGS = StoreSettings(
    maintenance_interval=0.01,
    ahead_delay=0.01,
    segment_size=40_000,
    large_body=6_000,
    spool_memory=2_000,
    journal_size=3_000,
    garbage_ratio=0.3,
)
NAMES = ("INBOX", "Archive", "Work", "Work/Old")
KEYWORDS = ("\\Seen", "\\Flagged", "\\Draft", "Me", "You", "Them")

#: UID to content and flags.
Model = dict[int, tuple[bytes, frozenset[str]]]


class Mirror:
    """What one account should look like."""

    def __init__(self) -> None:
        self.mailboxes: dict[str, Model] = {name: {} for name in NAMES}
        self.next_uid = dict.fromkeys(NAMES, 1)
        self.renamed = 0

    def add(self, name: str, content: bytes, flags: frozenset[str]) -> int:
        uid = self.next_uid[name]
        self.next_uid[name] = uid + 1
        self.mailboxes[name][uid] = (content, flags)
        return uid


class RandomTests(StoreTestCase):
    timeout = 600

    async def prepare(self) -> SQLiteStore:
        store = await self.make_store(ANN, BOB, settings=SETTINGS)
        for name in (ANN, BOB):
            await (await store.open_account(name=name)).create_mailbox(name="Work/Old")
        self.mirrors = {ANN: Mirror(), BOB: Mirror()}
        self.count = 0
        return store

    def content(self) -> bytes:
        self.count += 1
        return message(self.count, self.dice.choice([0, 500, 3000, 9000]))

    def flags(self) -> frozenset[str]:
        return frozenset(self.dice.sample(KEYWORDS, self.dice.randrange(3)))

    def some(self, uids: Sequence[int]) -> list[int]:
        kind = self.dice.randrange(4)
        if kind == 0 or not uids:
            return list(uids)
        if kind == 1:
            begin = self.dice.randrange(len(uids))
            return list(uids[begin : begin + self.dice.randrange(1, 9)])
        return sorted(self.dice.sample(list(uids), self.dice.randrange(1, len(uids) + 1)))

    async def step(self, store: SQLiteStore) -> None:
        """Do something to some mailbox, and look at what it says of it."""
        account = self.dice.choice([ANN, BOB])
        mirror = self.mirrors[account]
        name = self.dice.choice(NAMES)
        model = mirror.mailboxes[name]
        mailbox = await self.mailbox(store, account, name)
        before = (await mailbox.get_info()).highest_modseq
        old = dict(model)
        kind = self.dice.choice(
            ["deliver", "append", "flags", "flags", "expunge", "copy", "move", "replace"]
        )
        uids = self.some(sorted(model))
        if kind == "deliver":
            await self.deliver_to_both(store, name)
        elif kind == "append":
            items = [(self.content(), self.flags()) for _ in range(self.dice.randrange(1, 5))]
            appended = await mailbox.append(
                messages=[AppendMessage(Spool.from_bytes(c), f) for c, f in items]
            )
            self.assertEqual(list(appended.uids), [mirror.add(name, *item) for item in items])
        elif kind == "flags":
            await self.change_flags(mailbox, model, uids)
        elif kind == "expunge":
            # Else the mailboxes stay empty.
            uids = uids[: max(1, len(uids) // 2)]
            self.assertEqual(await mailbox.expunge(uids=uids), uids)
            for uid in uids:
                del model[uid]
        elif kind == "replace" and model:
            await self.replace(mailbox, mirror, name)
        elif kind != "replace":
            await self.copy_or_move(mailbox, mirror, name, uids[:20], kind == "move")
        changes = await mailbox.get_changes(since=before)
        self.assertEqual(list(changes.added), sorted(model.keys() - old.keys()))
        self.assertEqual(
            list(changes.changed),
            sorted(u for u in model.keys() & old.keys() if model[u] != old[u]),
        )
        self.assertTrue(old.keys() - model.keys() <= set(changes.vanished))
        self.assertFalse(set(changes.vanished) & model.keys())

    async def replace(self, mailbox: SQLiteMailbox, mirror: Mirror, name: str) -> None:
        uid = self.dice.choice(sorted(mirror.mailboxes[name]))
        destination = self.dice.choice(NAMES)
        content, flags = self.content(), self.flags()
        replaced = await mailbox.replace_message(
            uid=uid,
            destination=destination,
            message=AppendMessage(Spool.from_bytes(content), flags),
        )
        self.assertEqual(list(replaced.uids), [mirror.add(destination, content, flags)])
        del mirror.mailboxes[name][uid]

    async def deliver_to_both(self, store: SQLiteStore, name: str) -> None:
        content, flags = self.content(), self.flags()
        spool = store.new_spool()
        spool.write(content)
        deliveries = [LocalDelivery(who, name, flags) for who in (ANN, BOB)]
        results = await store.deliver(message=spool, deliveries=deliveries)
        for who, result in zip((ANN, BOB), results, strict=True):
            self.assertEqual(result.uid, self.mirrors[who].add(name, content, flags))

    async def change_flags(self, mailbox: SQLiteMailbox, model: Model, uids: list[int]) -> None:
        op, flags = self.dice.choice(list(FlagOp)), self.flags()
        stored = await mailbox.store_flags(uids=uids, op=op, flags=flags)
        for uid in uids:
            content, had = model[uid]
            new = {FlagOp.ADD: had | flags, FlagOp.REMOVE: had - flags}.get(op, flags)
            model[uid] = (content, new)
        self.assertEqual(
            [(info.uid, info.flags) for info in stored.messages],
            [(uid, model[uid][1]) for uid in uids],
        )

    async def copy_or_move(
        self, mailbox: SQLiteMailbox, mirror: Mirror, name: str, uids: list[int], move: bool
    ) -> None:
        model = mirror.mailboxes[name]
        other = self.dice.choice(NAMES)
        method = mailbox.move_messages if move else mailbox.copy_messages
        result = await method(uids=uids, destination=other)
        self.assertEqual(list(result.source_uids), uids)
        items = [model[uid] for uid in uids]
        if move:
            for uid in uids:
                del model[uid]
        self.assertEqual(
            list(result.destination_uids), [mirror.add(other, *item) for item in items]
        )

    async def compare(self, store: SQLiteStore) -> None:
        """The store shows what the model has."""
        for account, mirror in self.mirrors.items():
            for name, model in mirror.mailboxes.items():
                mailbox = await self.mailbox(store, account, name)
                uids = await mailbox.list_uids()
                self.assertEqual(list(uids), sorted(model))
                infos = await mailbox.get_messages(uids=uids)
                self.assertEqual([i.flags for i in infos], [model[i.uid][1] for i in infos])
                for uid in uids:
                    self.assertEqual(await self.read(mailbox, uid), model[uid][0])
                info = await mailbox.get_info()
                self.assertEqual(info.messages, len(model))
                self.assertEqual(info.size, sum(len(content) for content, _ in model.values()))
                unseen = sum("\\Seen" not in flags for _, flags in model.values())
                self.assertEqual(info.unseen, unseen)

    async def run_steps(self, seed: int, steps: int) -> None:
        self.dice = random.Random(seed)
        store = await self.prepare()
        for number in range(steps):
            await self.step(store)
            if number % 60 == 59:
                await self.compare(store)
                await self.close_store(store)
                self.check()
                store = self.open_store(SETTINGS)
        await self.compare(store)
        await self.close_store(store)
        self.check()
        # And the same from the copy, the journal and the log.
        repair_store(self.directory)
        self.check()
        store = self.open_store(SETTINGS)
        await self.compare(store)

    async def test_one_sequence(self) -> None:
        await self.run_steps(1, 200)

    async def test_another_sequence(self) -> None:
        await self.run_steps(2, 200)
