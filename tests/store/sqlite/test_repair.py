"""The repair makes an index from what is left of it, and of the log."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, gatherResults

from mailkit.errors import StoreCorrupt, StoreUnavailable
from mailkit.identity import AppPassword, SecondFactor
from mailkit.model import INBOX, AppendMessage, FetchedMessage, FlagOp, LocalDelivery, MessageInfo
from mailkit.rights import RightsOp
from mailkit.spool import Spool
from mailkit.store.sqlite import SQLiteDirectory, SQLiteStore, StoreSettings
from mailkit.store.sqlite.check import check_store
from mailkit.store.sqlite.marking import find_marking
from mailkit.store.sqlite.migrations import MIGRATIONS
from mailkit.store.sqlite.records import BODY, MAX_META, encode_header
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.schema import INDEX_NAME
from mailkit.store.sqlite.segments import scan_segment
from mailkit.wire.scram import derive_keys

from .helpers import ANN, BOB, QUIET, StoreTestCase, message

#: What a mailbox shows: everything but modification sequences.
Shown = list[tuple[int, frozenset[str], int, int, str | None, bytes]]


class RepairTests(StoreTestCase):
    async def shown(self, store: SQLiteStore) -> dict[tuple[str, str], Shown]:
        """Everything in a store."""
        everything: dict[tuple[str, str], Shown] = {}
        for name in await store.list_accounts():
            account = await store.open_account(name=name)
            for info in await account.list_mailboxes():
                mailbox = await account.open_mailbox(name=info.name)
                found: list[MessageInfo] = list(
                    await mailbox.get_messages(uids=await mailbox.list_uids())
                )
                everything[name, f"{info.name} {info.uid_validity} {info.special_use}"] = [
                    (
                        m.uid,
                        m.flags,
                        m.internal_date,
                        m.size,
                        m.email_id,
                        await self.read(mailbox, m.uid),
                    )
                    for m in found
                ]
        return everything

    async def fill(self, store: SQLiteStore) -> None:
        """Some of everything that can happen."""
        for number in range(1, 21):
            await self.deliver(store, message(number, 3000), ANN, BOB)
        inbox = await self.mailbox(store)
        account = await store.open_account(name=ANN)
        await account.create_mailbox(name="Work/Old", special_use="\\Archive")
        await account.create_mailbox(name="Gone")
        await inbox.store_flags(uids=range(1, 6), op=FlagOp.ADD, flags=frozenset({"\\Seen", "Me"}))
        await inbox.store_flags(uids=[2], op=FlagOp.REMOVE, flags=frozenset({"Me"}))
        await inbox.copy_messages(uids=range(1, 9), destination="Work/Old")
        await inbox.copy_messages(uids=[10], destination="Gone")
        await inbox.move_messages(uids=[4, 5], destination="Trash")
        starred, none = frozenset({"\\Flagged"}), frozenset[str]()
        names = ["Labels/New", "Work/Old"]
        await inbox.change_labels(uids=[8, 9], op=FlagOp.ADD, names=names, flags=starred)
        await inbox.change_labels(uids=[8], op=FlagOp.REMOVE, names=["Work/Old"], flags=none)
        await inbox.expunge(uids=[1, 2, 7, 20])
        await account.delete_mailbox(name="Gone")
        await account.rename_mailbox(name="Work/Old", new_name="Play")
        await account.subscribe(name="Play")
        await account.unsubscribe(name="Junk")
        await account.set_acl(
            name="Play", identifier=BOB, rights=frozenset("lrkswite"), op=RightsOp.REPLACE
        )
        await account.set_acl(
            name="Play", identifier=BOB, rights=frozenset("w"), op=RightsOp.REMOVE
        )
        for name, identifier in (("Drafts", BOB), ("INBOX", "anyone"), ("Sent", BOB)):
            await store.set_acl(
                account=ANN,
                mailbox=name,
                identifier=identifier,
                rights=frozenset("lr"),
                op=RightsOp.ADD,
            )
        await account.delete_acl(name="Drafts", identifier=BOB)
        await store.set_public(account=ANN, public=True)
        other = await store.open_account(name=BOB)
        shared = f"Shared/{ANN}/Play"
        await other.create_mailbox(name=shared + "/New")
        await (await other.open_mailbox(name=INBOX)).store_flags(
            uids=[2], op=FlagOp.ADD, flags=frozenset({"\\Seen", "Mine"})
        )
        await (await other.open_mailbox(name=INBOX)).move_messages(uids=[2, 3], destination=shared)
        await (await other.open_mailbox(name=shared)).copy_messages(uids=[1, 2], destination=INBOX)
        await store.deliver(
            message=self.spool(store, b"flagged"),
            deliveries=[LocalDelivery(ANN, "Play", frozenset({"\\Flagged", "You"}))],
        )

    def spool(self, store: SQLiteStore, content: bytes) -> Any:
        spool = store.new_spool()
        spool.write(content)
        return spool

    def lose_index(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(os.path.join(self.directory, INDEX_NAME + suffix)):
                os.unlink(os.path.join(self.directory, INDEX_NAME + suffix))

    async def repaired(self, settings: StoreSettings = QUIET) -> SQLiteStore:
        self.report = repair_store(self.directory)
        self.check()
        return self.open_store(settings)

    async def test_a_lost_index_is_made_from_journal_and_log(self) -> None:
        store = await self.make_store(ANN, BOB)
        await self.fill(store)
        await store.set_password_hash(account=ANN, password_hash="secret")
        before = await self.shown(store)
        next_uid = (await (await self.mailbox(store)).get_info()).uid_next
        await self.close_store(store)
        self.lose_index()
        store = await self.repaired()
        self.assertEqual(await self.shown(store), before)
        self.assertIsNone(await store.get_password_hash(account=ANN))
        account = await store.open_account(name=ANN)
        self.assertIn("Play", await account.list_subscriptions())
        self.assertNotIn("Junk", await account.list_subscriptions())
        (uid,) = await self.deliver(store, message(99))
        self.assertGreater(uid, next_uid)
        await self.close_store(store)
        self.check()

    async def test_copies_that_nobody_looked_at_one_by_one(self) -> None:
        store = await self.make_store(ANN)
        for number in range(1, 8):
            await self.deliver(store, message(number, 100 * number))
        inbox = await self.mailbox(store)
        await inbox.store_flags(uids=[2, 6], op=FlagOp.ADD, flags=frozenset({"\\Seen"}))
        await inbox.expunge(uids=[4])
        await inbox.copy_messages(uids=[1, 2, 3, 5, 6], destination="Sent")
        await inbox.copy_messages(uids=[7], destination="Sent")
        await inbox.move_messages(uids=[1, 2, 3, 5, 6], destination="Archive")

        async def rows(store: SQLiteStore) -> list[list[Any]]:
            names = "INBOX", "Sent", "Archive"
            mailboxes = [await self.mailbox(store, name=name) for name in names]
            return [list(await m.get_messages(uids=await m.list_uids())) for m in mailboxes]

        before = await rows(store)
        self.assertEqual([len(each) for each in before], [1, 6, 5])
        await self.close_store(store)
        self.lose_index()
        store = await self.repaired()
        self.assertEqual(await rows(store), before)
        await self.close_store(store)

    async def test_a_lost_index_is_made_from_its_copy(self) -> None:
        store = await self.make_store(ANN, BOB)
        await store.set_password_hash(account=ANN, password_hash="secret")
        await store.add_alias(alias="team@example.org", targets=[ANN])
        await self.fill(store)
        await store.compact()
        self.assertEqual(len(self.log_files(".index")), 1)
        # What comes later stands in the journal and the log.
        await self.deliver(store, message(50), BOB)
        inbox = await self.mailbox(store)
        await inbox.expunge(uids=[9])
        await inbox.store_flags(uids=[10], op=FlagOp.ADD, flags=frozenset({"Late"}))
        before = await self.shown(store)
        await self.close_store(store)
        self.lose_index()
        store = await self.repaired()
        self.assertEqual(await self.shown(store), before)
        self.assertEqual(await store.get_password_hash(account=ANN), "secret")
        self.assertEqual(await store.list_aliases(), [("team@example.org", (ANN,))])

    async def test_an_empty_index_is_a_lost_one(self) -> None:
        store = await self.make_store()
        await store.set_password_hash(account=ANN, password_hash="secret")
        for number in (1, 2, 3):
            await self.deliver(store, message(number))
        await (await self.mailbox(store)).expunge(uids=[2])
        await store.compact()
        await self.close_store(store)
        self.lose_index()
        Path(self.directory, INDEX_NAME).touch()
        store = await self.repaired()
        self.assertEqual(await self.contents(store), [message(1), message(3)])
        self.assertEqual(await store.get_password_hash(account=ANN), "secret")

    async def test_damage_that_sqlite_cannot_tell_of_in_text(self) -> None:
        store = await self.make_store()
        await store.set_password_hash(account=ANN, password_hash="secret")
        await self.deliver(store, message(1))
        await store.compact()
        await self.close_store(store)
        path = Path(self.directory, INDEX_NAME)
        path.write_bytes(path.read_bytes().replace(b"text_map", b"te\xf8t_map", 1))
        self.assertIn("cannot be read", check_store(self.directory).problems[0])
        error = self.assertRaises(StoreCorrupt, self.open_store)
        self.assertIn("mailkit repair", error.text)
        store = await self.repaired()
        self.assertEqual(await self.contents(store), [message(1)])
        self.assertEqual(await store.get_password_hash(account=ANN), "secret")

    async def test_an_index_without_the_marker(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        await self.close_store(store)
        with closing(sqlite3.connect(os.path.join(self.directory, INDEX_NAME))) as index, index:
            index.execute("DELETE FROM setting WHERE name = 'log_marker'")
        error = self.assertRaises(StoreCorrupt, self.open_store)
        self.assertIn("mailkit repair", error.text)
        self.assertIn("marker", check_store(self.directory).problems[0])
        self.assertEqual(await self.contents(await self.repaired()), [message(1)])

    async def test_after_a_repair_everything_goes_on_and_can_be_repaired_again(self) -> None:
        store = await self.make_store(ANN, BOB)
        await self.fill(store)
        for _ in range(2):
            await self.close_store(store)
            self.lose_index()
            store = await self.repaired()
            inbox = await self.mailbox(store)
            uid = (await inbox.list_uids())[0]
            await inbox.expunge(uids=[uid])
            await self.deliver(store, message(70), ANN)
        before = await self.shown(store)
        await store.compact()
        await self.close_store(store)
        self.lose_index()
        self.assertEqual(await self.shown(await self.repaired()), before)

    async def test_an_index_from_a_backup_is_brought_up_to_date(self) -> None:
        store = await self.make_store(ANN, BOB)
        await store.set_password_hash(account=ANN, password_hash="secret")
        await self.deliver(store, message(200), BOB)
        await self.close_store(store)
        index = os.path.join(self.directory, INDEX_NAME)
        shutil.copy(index, index + ".backup")
        store = self.open_store()
        await self.fill(store)
        before = await self.shown(store)
        await self.close_store(store)
        os.replace(index + ".backup", index)
        store = await self.repaired()
        self.assertEqual(await self.shown(store), before)
        self.assertEqual(await store.get_password_hash(account=ANN), "secret")

    async def test_a_damaged_index_gives_its_passwords(self) -> None:
        store = await self.make_store(ANN, BOB)
        await store.set_password_hash(account=BOB, password_hash="secret")
        await store.set_file_quota(account=BOB, max_octets=500, max_files=5)
        await store.set_quota(account=BOB, max_octets=10**9, max_messages=0)
        app_password = AppPassword("abcd", "salt$digest", frozenset({"imap"}), 1000, 2000, "phone")
        await store.add_app_password(account=BOB, password=app_password)
        await self.fetch(store, "one", "two")
        await store.set_password_scopes(account=BOB, scopes=["web"])
        factor = SecondFactor("JBSWY3DPEHPK3PXP", 2, 7, frozenset({"s$one"}))
        await store.set_second_factor(account=BOB, factor=factor)
        await store.set_scram_policy(mechanisms=["SCRAM-SHA-256"])
        keys = derive_keys("SCRAM-SHA-256", "secret", iterations=1)
        await store.set_password(account=ANN, password_hash="hash", scram_keys=[keys])
        await self.fill(store)
        before = await self.shown(store)
        await self.close_store(store)
        path = os.path.join(self.directory, INDEX_NAME)
        connection = sqlite3.connect(path)
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'message'"
        ).fetchone()
        connection.close()
        with open(path, "r+b") as file:
            file.seek((root - 1) * 4096)
            file.write(b"\xff" * 4096)
        self.assertNotEqual(check_store(self.directory).problems, [])
        store = await self.repaired()
        self.assertEqual(await self.shown(store), before)
        self.assertEqual(await store.get_password_hash(account=BOB), "secret")
        self.assertEqual(await store.get_file_quota(account=BOB), (500, 5))
        quota = await store.get_quota(account=BOB)
        self.assertEqual((quota.max_octets, quota.max_messages), (10**9, None))
        self.assertEqual(list(await store.list_app_passwords(account=BOB)), [app_password])
        found = await store.find_scram_keys(login=ANN, mechanism="SCRAM-SHA-256")
        self.assertEqual(found, (ANN, keys))
        self.assertEqual(await store.get_password_scopes(account=BOB), {"web"})
        bob = await store.open_account(name=BOB)
        self.assertEqual(sorted(await bob.list_fetched(source="s")), ["one", "two"])
        self.assertEqual(await store.get_second_factor(account=BOB), factor)
        self.assertTrue(os.path.exists(path + ".broken-1"))

    async def test_a_damaged_table_gives_what_can_be_read(self) -> None:
        store = await self.make_store(ANN, BOB)
        aliases = [f"alias-{number:03}@example.org" for number in range(300)]
        await gatherResults(
            [Deferred.fromCoroutine(store.add_alias(alias=each, targets=[ANN])) for each in aliases]
        )
        await self.deliver(store, message(1))
        await self.close_store(store)
        path = os.path.join(self.directory, INDEX_NAME)
        with closing(sqlite3.connect(path)) as connection:
            # Such rows are read where octets of a page are zeros.
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(
                "UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '')"
                " WHERE name IN ('account', 'alias')"
            )
            connection.commit()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("INSERT INTO account (name) VALUES (NULL), (x'ff')")
            connection.execute("INSERT INTO alias VALUES ('late@example.org', NULL)")
            connection.commit()
        self.spoil_page(path, aliases[150].encode())
        store = await self.repaired()
        self.assertEqual(sorted(await store.list_accounts()), [ANN, BOB])
        left = {alias for alias, _ in await store.list_aliases()}
        self.assertLessEqual({aliases[0], aliases[-1]}, left)
        self.assertGreater(len(left), 150)
        self.assertEqual(await self.contents(store), [message(1)])

    async def test_an_index_that_lacks_a_row_of_its_table(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        await self.close_store(store)
        path = os.path.join(self.directory, INDEX_NAME)
        hidden = "name = 'message_body'"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            rows = connection.execute(f"SELECT * FROM sqlite_master WHERE {hidden}").fetchall()
            connection.execute(f"DELETE FROM sqlite_master WHERE {hidden}")
            connection.commit()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE message SET body_id = body_id + 1")
            connection.execute("UPDATE message SET body_id = body_id - 1, uid = 2")
            connection.execute("PRAGMA writable_schema = ON")
            connection.executemany("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", rows)
            connection.commit()
        self.assertIn("missing from index", "".join(check_store(self.directory).problems))
        store = await self.repaired()
        self.assertEqual(await self.contents(store), [message(1)])

    def spoil_page(self, path: str, text: bytes) -> None:
        """Overwrite the first page of a file that has a text."""
        with open(path, "r+b") as file:
            file.seek(file.read().index(text) // 4096 * 4096)
            file.write(b"\xff" * 4096)

    async def test_what_a_newer_mailkit_has_made_is_left_alone(self) -> None:
        # Else its queue, passwords and whatever only it knows would be gone.
        store = await self.make_store(ANN, BOB)
        await self.fill(store)
        await store.compact()
        await self.close_store(store)
        path = os.path.join(self.directory, INDEX_NAME)
        newer = len(MIGRATIONS) + 1
        index = sqlite3.connect(path, isolation_level=None)
        index.execute(f"PRAGMA user_version = {newer}")
        index.close()
        before = sorted(os.listdir(self.directory))
        error = self.assertRaises(StoreCorrupt, repair_store, self.directory)
        self.assertIn(f"version {newer}, made by a newer mailkit", error.text)
        self.assertEqual(sorted(os.listdir(self.directory)), before)
        self.lose_index()
        (copy,) = self.log_files(".index")[-1:]
        index = sqlite3.connect(os.path.join(self.directory, "log", copy), isolation_level=None)
        index.execute(f"PRAGMA user_version = {newer}")
        index.close()
        self.assertRaises(StoreCorrupt, repair_store, self.directory)

    async def test_a_store_that_has_had_no_mail(self) -> None:
        directory = self.mktemp()
        SQLiteDirectory(directory).close()
        with self.assertRaisesRegex(StoreUnavailable, "no mail in .* to make an index of"):
            repair_store(directory)

    async def test_the_log_alone(self) -> None:
        store = await self.make_store(ANN, BOB)
        for number in range(5):
            await self.deliver(store, message(number), ANN, BOB)
        await self.close_store(store)
        self.lose_index()
        for suffix in (".notes", ".index"):
            for name in self.log_files(suffix):
                os.unlink(os.path.join(self.directory, "log", name))
        store = await self.repaired()
        self.assertEqual(await self.contents(store, BOB), [message(number) for number in range(5)])
        account = await store.open_account(name=ANN)
        names = [info.name for info in await account.list_mailboxes()]
        self.assertEqual(names, ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"])
        self.assertEqual(sorted(await account.list_subscriptions()), sorted(names))

    async def fetch(self, store: Any, *unique_ids: str) -> None:
        messages = [
            FetchedMessage(unique_id, AppendMessage(Spool.from_bytes(unique_id.encode())), "d")
            for unique_id in unique_ids
        ]
        bob = await store.open_account(name=BOB)
        await bob.append_fetched(mailbox="INBOX", source="s", messages=messages)

    async def test_what_was_fetched_is_known(self) -> None:
        store = await self.make_store(ANN, BOB)
        await self.fetch(store, "one", "two", "three", "four")
        bob = await store.open_account(name=BOB)
        await bob.forget_fetched(source="s", unique_ids=["two"])
        await bob.mark_gone(source="s", unique_ids=["three", "four"])
        # It is there again.
        await self.fetch(store, "four")
        # What is left of two has the place of the other.
        messages = [
            FetchedMessage(unique_id, AppendMessage(Spool.from_bytes(b"x")), digest, others)
            for unique_id, digest, others in (
                ("five", "d", []),
                ("six", "e", []),
                ("five", "e", ["six"]),
            )
        ]
        await bob.append_fetched(mailbox="INBOX", source="s", messages=messages[:2])
        await bob.mark_gone(source="s", unique_ids=["five", "six"])
        await bob.append_fetched(mailbox="INBOX", source="s", messages=messages[2:])
        before = await bob.list_fetched(source="s")
        await self.close_store(store)
        self.lose_index()
        store = await self.repaired()
        bob = await store.open_account(name=BOB)
        self.assertEqual(await bob.list_fetched(source="s"), before)
        self.assertEqual(
            {unique_id: each.gone for unique_id, each in before.items()},
            {"one": False, "three": True, "four": False, "five": False, "six": True},
        )
        # The same message is known, another one is not.
        count = len(await self.contents(store, BOB))
        await self.fetch(store, "three")
        self.assertEqual(len(await self.contents(store, BOB)), count)
        await store.remove_account(name=BOB)
        await store.add_account(name=BOB)
        bob = await store.open_account(name=BOB)
        self.assertEqual(await bob.list_fetched(source="s"), {})

    async def test_access_keys_are_kept(self) -> None:
        store = await self.make_store(ANN, BOB)
        ann, bob = [await store.open_account(name=name) for name in (ANN, BOB)]
        await ann.create_mailbox(name="Work")
        key = await ann.get_access_key(mailbox="INBOX")
        await ann.get_access_key(mailbox="Work")
        await ann.delete_mailbox(name="Work")
        await bob.get_access_key(mailbox="INBOX")
        await bob.remove_access_keys()
        await self.close_store(store)
        self.lose_index()
        store = await self.repaired()
        ann, bob = [await store.open_account(name=name) for name in (ANN, BOB)]
        self.assertEqual(await ann.find_access_key(mailbox="INBOX"), key)
        self.assertIsNone(await bob.find_access_key(mailbox="INBOX"))
        await self.close_store(store)
        self.check()

    async def test_lost_and_damaged_bodies(self) -> None:
        store = await self.make_store(ANN)
        for number in range(1, 4):
            await self.deliver(store, message(number))
        known = (await (await self.mailbox(store)).get_info()).highest_modseq
        await self.close_store(store)
        path = os.path.join(self.directory, "log", self.log_files()[0])
        with open(path, "r+b") as file:
            file.seek(file.read().index(b"line of message 2"))
            file.write(b"L")
        store = await self.repaired()
        self.assertEqual(self.report.lost, 1)
        self.assertEqual(await self.contents(store), [message(1), message(3)])
        # Clients that keep a copy are told that it is gone (RFC 7162 section 3.2).
        changes = await (await self.mailbox(store)).get_changes(since=known)
        self.assertIn(2, list(changes.vanished))

    async def test_what_stands_where_a_damaged_body_should_be(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1, 5000))
        for number in (2, 3):
            await self.deliver(store, message(number))
        await self.close_store(store)
        path = os.path.join(self.directory, "log", "00000001.seg")
        log = os.path.dirname(path)
        records = scan_segment(log, 1, find_marking(log))
        first, second, _ = (record.position for record in records)
        octets = Path(path).read_bytes()
        # The disk has put a block where another one should be, or not put it there.
        Path(path).write_bytes(octets[: first + 300] + octets[second:] + bytes(6000))
        store = await self.repaired()
        self.assertEqual(await self.contents(store), [message(2), message(3)])

    async def test_a_record_that_a_sender_has_made_is_not_taken_for_one(self) -> None:
        # At the end of the segment, or before another message; with zeros behind it, or without.
        for last, crashed in itertools.product((True, False), repeat=2):
            self.directory = self.mktemp()
            store = await self.make_store(ANN, BOB)
            box = (await self.mailbox(store, BOB))._id
            meta = json.dumps([[box, 1, 9, 0, [], 0, 0, BOB, "INBOX", 1]]).encode()
            forged = encode_header(BODY, meta, 6, zlib.crc32(b"forged"), 1000, 1) + meta + b"forged"
            await self.deliver(store, message(1) + forged + b"\r\n")
            if not last:
                await self.deliver(store, message(2))
            live = self.mktemp()
            shutil.copytree(self.directory, live, ignore=shutil.ignore_patterns("socket"))
            await self.close_store(store)
            if crashed:
                self.directory = live
            path = os.path.join(self.directory, "log", self.log_files()[0])
            with open(path, "r+b") as file:
                file.seek(file.read().index(b"line of message 1"))
                file.write(b"L")
            self.lose_index()
            store = await self.repaired()
            self.assertEqual(await self.contents(store), [] if last else [message(2)])
            self.assertEqual(await self.contents(store, BOB), [])
            await self.close_store(store)

    async def test_the_rest_of_a_lost_index(self) -> None:
        store = await self.make_store()
        for number in (1, 2):
            await self.deliver(store, message(number))
        wal = os.path.join(self.directory, INDEX_NAME + "-wal")
        octets = Path(wal).read_bytes()
        await self.close_store(store)
        self.lose_index()
        # The server was killed, and somebody has removed the index alone.
        Path(wal).write_bytes(octets)
        store = await self.repaired()
        self.assertEqual(await self.contents(store), [message(1), message(2)])
        inbox = await self.mailbox(store)
        self.assertGreater((await inbox.get_info()).uid_next, 1000)
        kept = Path(self.directory, INDEX_NAME + ".broken-1-wal")
        self.assertEqual(kept.read_bytes(), octets)
        self.assertIn(f"What is left of the old index is kept as {kept}", self.report.lines)

    async def test_nobody_gets_what_came_after_a_refused_message(self) -> None:
        store = await self.make_store(ANN, BOB)
        failing = mock.Mock(side_effect=OSError(errno.EIO, "Input/output error"))
        finish = "mailkit.store.sqlite.transaction.Transaction.finish"
        with (
            mock.patch(finish, failing),
            mock.patch("os.ftruncate", failing),
            mock.patch("os.truncate", failing),
            mock.patch("os.unlink", failing),
            self.assertRaises(StoreUnavailable),
        ):
            await self.deliver(store, message(1), BOB)
        await self.deliver(store, message(2), ANN)
        await self.close_store(store)
        self.lose_index()
        store = await self.repaired()
        self.assertEqual(await self.contents(store), [message(2)])
        # The log knows nothing of a refusal.
        self.assertEqual(await self.contents(store, BOB), [message(1)])

    async def test_more_recipients_than_a_record_has_room_for(self) -> None:
        names = [f"{'x' * 50}{number}@{'y' * 60}.example.org" for number in range(150)]
        self.assertGreater(sum(map(len, names)), MAX_META)
        command = SQLiteDirectory(self.directory)
        for name in names:
            await command.add_account(name=name)
        command.close()
        store = self.open_store()
        await self.deliver(store, message(1), *names)
        await self.close_store(store)
        self.lose_index()
        store = await self.repaired()
        self.assertEqual(await self.contents(store, names[-1]), [message(1)])
        self.assertEqual(self.report.messages, len(names))

    async def test_not_beside_a_server(self) -> None:
        await self.make_store()
        error = self.assertRaises(StoreUnavailable, repair_store, self.directory)
        self.assertIn(str(os.getpid()), error.text)
