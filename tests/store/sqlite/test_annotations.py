"""Annotations about messages outlive a restart, and the loss of the index."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from mailkit.annotations import Annotation
from mailkit.rights import RightsOp
from mailkit.store.sqlite import SQLiteStore
from mailkit.store.sqlite.check import check_store
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.rows import drop_bodies
from mailkit.store.sqlite.schema import INDEX_NAME

from .helpers import ANN, BOB, StoreTestCase, appended, message

COMMENT = "/comment"
MINE, OURS = Annotation(COMMENT, b"mine\0\xff"), Annotation(COMMENT, b"all", True)
HIS = Annotation(COMMENT, b"Bob's")


class AnnotationTests(StoreTestCase):
    async def fill(self) -> SQLiteStore:
        """Messages with annotations that were written, changed, copied, moved and removed."""
        store = await self.make_store(ANN, BOB)
        ann = await store.open_account(name=ANN)
        await ann.create_mailbox(name="Work")
        await ann.create_mailbox(name="Gone")
        inbox: Any = await self.mailbox(store)
        (first,) = appended(message(1))
        notes = [MINE, Annotation("/altsubject", b"x")]
        await inbox.append(messages=[first._replace(annotations=notes)])
        await inbox.append(messages=appended(*[message(number) for number in range(2, 7)]))
        await inbox.store_annotations(uids=[1, 2, 3, 4, 5], annotations=[MINE, OURS])
        await inbox.store_annotations(uids=[4], annotations=[MINE._replace(value=None)])
        await inbox.copy_messages(uids=[1, 3, 4, 5, 6], destination="Work")
        await inbox.copy_messages(uids=[1], destination="Gone")
        await inbox.move_messages(uids=[5], destination="Work")
        await inbox.expunge(uids=[3])
        await ann.delete_mailbox(name="Gone")
        rights = frozenset("lrswiten")
        await ann.set_acl(name="Work", identifier=BOB, rights=rights, op=RightsOp.REPLACE)
        bob = await store.open_account(name=BOB)
        work: Any = await bob.open_mailbox(name=f"{bob.namespaces.other_users}{ANN}/Work")
        await work.store_annotations(uids=[2], annotations=[HIS])
        (new,) = appended(message(7))
        await work.append(messages=[new._replace(annotations=[HIS, OURS])])
        inbox = await bob.open_mailbox(name="INBOX")
        await work.copy_messages(uids=[2], destination="INBOX")
        return store

    async def shown(self, store: SQLiteStore) -> list[Any]:
        ann, bob = [await store.open_account(name=name) for name in (ANN, BOB)]
        found = []
        for account, name in (
            (ann, "INBOX"),
            (ann, "Work"),
            (bob, "INBOX"),
            (bob, f"{bob.namespaces.other_users}{ANN}/Work"),
        ):
            mailbox: Any = await account.open_mailbox(name=name)
            uids = await mailbox.list_uids()
            annotations = await mailbox.get_annotations(uids=uids)
            infos = await mailbox.get_messages(uids=uids)
            found.append((dict(annotations), [info.modseq for info in infos]))
        return found

    async def test_restart(self) -> None:
        store = await self.fill()
        before = await self.shown(store)
        subject = Annotation("/altsubject", b"x")
        self.assertEqual(
            [annotations for annotations, _ in before],
            [
                {1: [subject, MINE, OURS], 2: [MINE, OURS], 4: [OURS]},
                {
                    1: [subject, MINE, OURS],
                    2: [MINE, OURS],
                    3: [OURS],
                    4: [MINE, OURS],
                    6: [MINE, OURS],
                    7: [OURS],
                },
                {1: [HIS, OURS]},
                {1: [OURS], 2: [HIS, OURS], 3: [OURS], 4: [OURS], 6: [OURS], 7: [HIS, OURS]},
            ],
        )
        await self.close_store(store)
        self.check()
        self.assertEqual(await self.shown(self.open_store()), before)

    def lose_index(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            path = os.path.join(self.directory, INDEX_NAME + suffix)
            if os.path.exists(path):
                os.unlink(path)

    async def test_repair_from_the_journal(self) -> None:
        store = await self.fill()
        before = await self.shown(store)
        await self.close_store(store)
        for _ in range(2):
            self.lose_index()
            repair_store(self.directory)
            self.check()
        store = self.open_store()
        self.assertEqual(await self.shown(store), before)
        inbox: Any = await self.mailbox(store)
        result = await inbox.store_annotations(uids=[1], annotations=[Annotation(COMMENT, b"z")])
        self.assertGreater(
            result.messages[0].modseq, max(modseq for _, m in before for modseq in m)
        )

    async def test_repair_of_an_index_that_can_be_read(self) -> None:
        store = await self.fill()
        before = await self.shown(store)
        await self.close_store(store)
        repair_store(self.directory)
        self.check()
        self.assertEqual(await self.shown(self.open_store()), before)

    async def test_repair_from_a_copy_of_the_index(self) -> None:
        store = await self.fill()
        await store.compact()
        inbox: Any = await self.mailbox(store)
        later = [OURS._replace(value=None), Annotation("/altsubject", b"later", True)]
        await inbox.store_annotations(uids=[2], annotations=later)
        before = await self.shown(store)
        await self.close_store(store)
        self.lose_index()
        repair_store(self.directory)
        self.check()
        self.assertEqual(await self.shown(self.open_store()), before)

    async def test_deleted_mailboxes_leave_nothing_behind(self) -> None:
        store = await self.fill()
        ann = await store.open_account(name=ANN)
        await ann.delete_mailbox(name="Work")
        await store.compact()
        rows = store.connection().execute("SELECT DISTINCT mailbox_id FROM annotation").fetchall()
        self.assertEqual(len(rows), 2)
        await store.remove_account(name=ANN)
        await store.compact()
        await store.remove_account(name=BOB)
        await store.compact()
        rows = store.connection().execute("SELECT * FROM annotation").fetchall()
        self.assertEqual(rows, [])
        await self.close_store(store)
        self.check()

    async def test_messages_of_an_unfinished_transaction(self) -> None:
        await self.close_store(await self.fill())
        connection = sqlite3.connect(os.path.join(self.directory, INDEX_NAME))
        (last,) = connection.execute("SELECT max(body_id) FROM message").fetchone()
        sql = "SELECT count(*) FROM annotation"
        (before,) = connection.execute(sql).fetchone()
        drop_bodies(connection, last)
        (after,) = connection.execute(sql).fetchone()
        self.assertEqual(before - after, 2)
        connection.commit()
        connection.close()
        self.check()

    async def test_check(self) -> None:
        await self.close_store(await self.fill())
        connection = sqlite3.connect(os.path.join(self.directory, INDEX_NAME))
        (inbox,) = connection.execute(
            "SELECT b.id FROM mailbox b JOIN account a ON a.id = b.account_id"
            " WHERE a.name = ? AND b.name = 'INBOX'",
            (ANN,),
        ).fetchone()
        for uid, account, modseq in ((99, 0, 1), (1, 98, 1), (2, 0, 12345)):
            connection.execute(
                "INSERT INTO annotation VALUES (?, ?, ?, '/x', x'01', ?)",
                (inbox, uid, account, modseq),
            )
        (modseq,) = connection.execute(
            "SELECT modseq FROM message WHERE mailbox_id = ? AND uid = 2", (inbox,)
        ).fetchone()
        connection.commit()
        connection.close()
        self.assertEqual(
            check_store(self.directory).problems,
            [
                f"message 99 of mailbox {inbox} has annotations, but does not exist",
                f"annotations in mailbox {inbox} belong to account 98, which does not exist",
                f"message 2 of mailbox {inbox} has modification sequence {modseq},"
                " but an annotation has 12345",
            ],
        )
