"""What a sender writes is not taken for a record of the log; and logs from before the marker."""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

from mailkit.errors import StoreCorrupt
from mailkit.store.sqlite import SQLiteStore, compact
from mailkit.store.sqlite.marking import find_marking, find_since, read_marking
from mailkit.store.sqlite.migrations import MARKED, MIGRATIONS
from mailkit.store.sqlite.records import BODY, encode_header
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.schema import INDEX_NAME, open_index
from mailkit.store.sqlite.segments import SEGMENT_HEAD_SIZE, scan_segment
from mailkit.store.sqlite.snapshot import snapshot_name

from .helpers import ANN, BOB, StoreTestCase, message

#: Some sender's guess.
GUESS = b"sixteen octets.."


class MarkingTestCase(StoreTestCase):
    def segment(self, number: int = 1) -> Path:
        return Path(self.directory, "log", f"{number:08x}.seg")

    def lose_index(self, name: str = INDEX_NAME) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(self.directory, name + suffix).unlink(missing_ok=True)

    def damage_index(self, *statements: str) -> None:
        """Destroy its table of messages, and change it as told."""
        index = Path(self.directory, INDEX_NAME)
        with closing(sqlite3.connect(index, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (page,) = connection.execute(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'message'"
            ).fetchone()
            (size,) = connection.execute("PRAGMA page_size").fetchone()
        with index.open("r+b") as file:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)

    def spoil(self, octets: bytes, segment: int = 1) -> None:
        """Damage the first place where there are such octets."""
        found = self.segment(segment).read_bytes()
        start = found.index(octets)
        self.segment(segment).write_bytes(
            found[:start] + bytes(len(octets)) + found[start + len(octets) :]
        )

    def repaired(self) -> SQLiteStore:
        repair_store(self.directory)
        self.check()
        return self.open_store()


class ForgeryTests(MarkingTestCase):
    def forge(self, box: int, batch: int = 1) -> bytes:
        """Records for BOB's mailbox, of each form."""
        meta = json.dumps([[box, 1, 9, 0, [], 0, 0, BOB, "INBOX", 1]]).encode()
        crc = zlib.crc32(b"forged")
        return b"".join(
            encode_header(BODY, meta, 6, crc, lsn, batch, marker) + meta + b"forged"
            for lsn, marker in ((1000, b""), (1001, GUESS))
        )

    async def fill(self, batch: int = 1) -> bytes:
        """Deliver a message with forged records between two others; gives it."""
        store = await self.make_store(ANN, BOB)
        box = (await self.mailbox(store, BOB))._id
        await self.deliver(store, message(1))
        forged = message(2) + self.forge(box, batch) + b"\r\n" + message(2)
        await self.deliver(store, forged)
        await self.deliver(store, message(3))
        await self.close_store(store)
        return forged

    async def test_the_marker_is_read_out_of_a_damaged_index(self) -> None:
        await self.fill()
        log = os.path.dirname(self.segment())
        _, second, _ = scan_segment(log, 1, find_marking(log))
        octets = bytearray(self.segment().read_bytes())
        octets[second.position + 20] ^= 1
        octets[:SEGMENT_HEAD_SIZE] = bytes(SEGMENT_HEAD_SIZE)
        self.segment().write_bytes(octets)
        self.damage_index()
        store = self.repaired()
        self.assertEqual(await self.contents(store), [message(1), message(3)])
        self.assertEqual(await self.contents(store, BOB), [])

    async def look(self, *expected: bytes) -> None:
        for lost in (False, True):
            if lost:
                self.lose_index()
            store = self.repaired()
            self.assertEqual(await self.contents(store), list(expected))
            self.assertEqual(await self.contents(store, BOB), [])
            await self.close_store(store)

    async def test_behind_a_damaged_header(self) -> None:
        await self.fill()
        log = os.path.dirname(self.segment())
        _, second, _ = scan_segment(log, 1, find_marking(log))
        octets = bytearray(self.segment().read_bytes())
        octets[second.position + 20] ^= 1
        self.segment().write_bytes(octets)
        await self.look(message(1), message(3))

    async def test_behind_damaged_meta_data(self) -> None:
        await self.fill()
        log = os.path.dirname(self.segment())
        _, second, _ = scan_segment(log, 1, find_marking(log))
        self.spoil(second.meta)
        await self.look(message(1), message(3))

    async def test_in_a_body_behind_which_there_is_no_record(self) -> None:
        await self.fill()
        self.spoil(b"line of message 2")
        log = os.path.dirname(self.segment())
        *_, third = scan_segment(log, 1, find_marking(log))
        os.truncate(self.segment(), third.position + 20)
        await self.look(message(1))

    async def test_in_a_torn_tail(self) -> None:
        forged = await self.fill(batch=10**6)
        # The record that it was part of has come to the disk without its beginning.
        for rest in (bytes(100) + forged, forged[len(message(2)) :]):
            with self.segment().open("ab") as file:
                file.write(rest)
            self.check()
            store = self.open_store()
            self.assertEqual(len(await self.contents(store)), 3)
            await self.close_store(store)

    async def test_in_a_torn_segment(self) -> None:
        forged = await self.fill(batch=10**6)
        self.segment(9).write_bytes(bytes(SEGMENT_HEAD_SIZE) + forged)
        self.check()
        store = self.open_store()
        self.assertFalse(self.segment(9).exists())
        await self.close_store(store)

    async def test_each_store_has_its_own_marker(self) -> None:
        seen = set()
        for _ in range(2):
            self.directory = self.mktemp()
            store = await self.make_store()
            await self.deliver(store, message(1))
            marking = read_marking(store.connection())
            self.assertEqual(marking, find_marking(store.core.log_directory))
            self.assertEqual((len(marking.marker), marking.since), (16, 1))
            seen.add(marking.marker)
            await self.close_store(store)
        self.assertEqual(len(seen), 2)


class DamagedHeadTests(MarkingTestCase):
    async def fill(self) -> None:
        store = await self.make_store()
        for number in (1, 2):
            await self.deliver(store, message(number))
        await self.close_store(store)
        with self.segment().open("r+b") as file:
            file.write(bytes(SEGMENT_HEAD_SIZE))

    async def test_the_index_tells_the_marker(self) -> None:
        await self.fill()
        store = self.open_store()
        # Nothing more is written to a file that is damaged.
        await self.deliver(store, message(3))
        self.assertEqual(len(self.log_files()), 2)
        await self.close_store(store)
        self.check()
        self.assertEqual(await self.contents(self.repaired()), [message(n) for n in (1, 2, 3)])

    async def test_another_segment_tells_it(self) -> None:
        await self.fill()
        store = self.open_store()
        await self.deliver(store, message(3))
        await self.close_store(store)
        self.lose_index()
        self.assertEqual(await self.contents(self.repaired()), [message(n) for n in (1, 2, 3)])

    async def test_nothing_tells_it(self) -> None:
        await self.fill()
        self.lose_index()
        store = self.repaired()
        self.assertEqual(await self.contents(store), [message(1), message(2)])
        await self.deliver(store, message(3))
        await self.close_store(store)
        for _ in range(2):
            self.assertEqual(
                await self.contents(store := self.repaired()), [message(n) for n in (1, 2, 3)]
            )
            await self.close_store(store)

    async def test_it_was_told_by_nothing_before(self) -> None:
        await self.fill()
        self.lose_index()
        store = self.repaired()
        # In a segment with the new index's marker, which the first has not.
        await self.deliver(store, message(3))
        await self.close_store(store)
        self.lose_index()
        self.assertEqual(await self.contents(self.repaired()), [message(n) for n in (1, 2, 3)])

    async def test_no_mail_is_lost_for_what_a_damaged_index_tells(self) -> None:
        await self.fill()
        for wrong in ("randomblob(16)", "randomblob(15)", "'text of 16 octets'", "16"):
            self.damage_index(f"UPDATE setting SET value = {wrong} WHERE name = 'log_marker'")
            store = self.repaired()
            self.assertEqual(await self.contents(store), [message(1), message(2)])
            await self.close_store(store)
        self.damage_index("DROP TABLE setting", "CREATE TABLE setting (name TEXT)")
        self.assertEqual(await self.contents(self.repaired()), [message(1), message(2)])


class OldLogTests(MarkingTestCase):
    """Logs whose records have no marker."""

    def make_old_store(self) -> None:
        """With two messages, the log as it was then."""
        Path(self.directory, "log").mkdir(parents=True)
        head = b"MKLOG1\r\n" + (16).to_bytes(8, "little")
        rows = []
        with closing(open_index(self.directory, migrations=MIGRATIONS[: MARKED - 1])) as index:
            run = index.execute
            run("INSERT INTO account (name) VALUES (?)", (ANN,))
            run("INSERT INTO domain VALUES ('example.org')")
            run(
                "INSERT INTO mailbox (account_id, name, uid_validity, uid_next, messages, unseen,"
                " size, highest_modseq) VALUES (1, 'INBOX', 7, 3, 2, 2, ?, 3)",
                (2 * len(message(1)),),
            )
            run("UPDATE account SET modseq = 3")
            octets = head
            for number in (1, 2):
                body = message(number)
                place = [[1, number, number + 1, 0, [], 0, 0, ANN, "INBOX", 7]]
                meta = json.dumps(place).encode()
                start = len(octets) + 48 + len(meta)
                rows.append((number, 1, len(octets), start, len(body), 1))
                octets += encode_header(BODY, meta, len(body), zlib.crc32(body), number, number)
                octets += meta + body
                run(
                    "INSERT INTO message VALUES (1, ?, 0, 0, ?, ?, ?, ?, 0, NULL)",
                    (number, len(body), number + 1, number + 1, number),
                )
            index.executemany("INSERT INTO body VALUES (?, ?, ?, ?, ?, ?)", rows)
            run("INSERT INTO segment VALUES (1, ?, 0)", (len(octets),))
            run("UPDATE log_state SET batch = 2, first_lsn = 2, lsn = 3, segment = 1")
            run("DELETE FROM setting WHERE name = 'ends_known_from'")
        self.segment().write_bytes(octets)

    async def test_it_opens_and_its_next_records_have_the_marker(self) -> None:
        self.make_old_store()
        # Of a crash.
        size = self.segment().stat().st_size
        with self.segment().open("ab") as file:
            file.write(b"torn")
        store = self.open_store()
        self.assertEqual(self.segment().stat().st_size, size)
        self.assertEqual(await self.deliver(store, message(3)), [3])
        expected = [message(number) for number in (1, 2, 3)]
        self.assertEqual(await self.contents(store), expected)
        marking = read_marking(store.connection())
        self.assertEqual(marking.since, 2)
        self.assertEqual(marking, find_marking(store.core.log_directory))
        await self.close_store(store)
        self.check()
        for lose in (False, True):
            if lose:
                self.lose_index()
            store = self.repaired()
            self.assertEqual(await self.contents(store), expected)
            await self.close_store(store)

    async def test_compaction_moves_its_bodies_behind_the_marker(self) -> None:
        self.patch(compact, "MIN_GARBAGE", 1)
        self.make_old_store()
        store = self.open_store()
        await (await self.mailbox(store)).expunge(uids=[1])
        await store.compact()
        self.assertEqual(self.log_files(), ["00000002.seg"])
        self.assertEqual(await self.contents(store), [message(2)])
        (record,) = scan_segment(store.core.log_directory, 2, read_marking(store.connection()))
        self.assertEqual((record.header.lsn, record.header.batch), (2, 2))
        self.assertEqual(record.header.marker, read_marking(store.connection()).marker)
        await self.close_store(store)
        self.check()
        self.lose_index()
        self.assertEqual(await self.contents(self.repaired()), [message(2)])

    async def test_without_an_index_and_never_opened_since(self) -> None:
        self.make_old_store()
        self.lose_index()
        store = self.repaired()
        self.assertEqual(await self.contents(store), [message(1), message(2)])
        await self.deliver(store, message(3))
        await self.close_store(store)
        self.check()

    async def test_a_damaged_head(self) -> None:
        self.make_old_store()
        with self.segment().open("r+b") as file:
            file.write(bytes(16))
        store = self.open_store()
        await self.deliver(store, message(3))
        await self.close_store(store)
        # The index knows which segments are older.
        self.assertEqual(await self.contents(self.repaired()), [message(n) for n in (1, 2, 3)])

    async def test_a_damaged_head_without_an_index(self) -> None:
        self.make_old_store()
        store = self.open_store()
        await self.deliver(store, message(3))
        await self.close_store(store)
        with self.segment().open("r+b") as file:
            file.write(bytes(16))
        self.lose_index()
        store = self.repaired()
        self.assertEqual(await self.contents(store), [message(n) for n in (1, 2, 3)])
        # The new index knows it, too.
        self.assertEqual(read_marking(store.connection()).since, 2)

    async def test_a_marked_segment_with_a_damaged_head_is_none_from_before(self) -> None:
        self.make_old_store()
        store = self.open_store()
        await self.deliver(store, message(3))
        marker = read_marking(store.connection()).marker
        await self.close_store(store)
        marked = self.segment(2).read_bytes()
        self.segment(3).write_bytes(marked)
        for number in (1, 2):
            with self.segment(number).open("r+b") as file:
                file.write(bytes(SEGMENT_HEAD_SIZE if number == 2 else 16))
        self.assertEqual(find_since(os.path.dirname(self.segment()), marker), 2)

    async def test_a_copy_from_before_the_marker_tells_nothing(self) -> None:
        self.make_old_store()
        index = Path(self.directory, INDEX_NAME)
        with closing(sqlite3.connect(index)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        copy = Path(self.directory, "log", snapshot_name(1))
        copy.write_bytes(index.read_bytes())
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        store = self.open_store()
        for number in (3, 4):
            await self.deliver(store, message(number))
        await self.close_store(store)
        with self.segment(2).open("r+b") as file:
            file.write(bytes(SEGMENT_HEAD_SIZE))
        self.lose_index()
        self.assertEqual(await self.contents(self.repaired()), [message(n) for n in range(1, 5)])

    async def test_an_index_from_before_the_marker_beside_a_newer_log(self) -> None:
        self.make_old_store()
        index = Path(self.directory, INDEX_NAME)
        with closing(sqlite3.connect(index)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        old = index.read_bytes()
        store = self.open_store()
        for number in (3, 4, 5):
            await self.deliver(store, message(number))
        marking = read_marking(store.connection())
        await self.close_store(store)
        self.lose_index()
        index.write_bytes(old)
        error = self.assertRaises(StoreCorrupt, self.open_store)
        self.assertIn("mailkit repair", error.text)
        store = self.repaired()
        self.assertEqual(await self.contents(store), [message(n) for n in range(1, 6)])
        self.assertEqual(read_marking(store.connection()), marking)
