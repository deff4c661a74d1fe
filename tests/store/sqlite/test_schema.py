"""The index's versions."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path
from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import StoreCorrupt, StoreUnavailable
from mailkit.model import FetchedBefore, Quota
from mailkit.store.sqlite import SQLiteDirectory, SQLiteStore, schema
from mailkit.store.sqlite.check import check_store
from mailkit.store.sqlite.migrations import MIGRATIONS
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.schema import INDEX_NAME, migrate, open_index
from mailkit.store.sqlite.versions import version_of

from .helpers import ANN, StoreTestCase, message


class SourceTests(SynchronousTestCase):
    def test_values_are_bound_by_position_alone(self) -> None:
        # Python 3.12 warns of a sequence for "?1", 3.14 refuses it.
        folder = Path(cast(str, schema.__file__)).parent
        numbered = [
            path.name for path in folder.glob("*.py") if re.search(r"\?\d", path.read_text())
        ]
        self.assertEqual(numbered, [])


class SchemaTests(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        os.mkdir(self.directory)

    @property
    def path(self) -> str:
        return os.path.join(self.directory, INDEX_NAME)

    async def test_a_store_of_each_older_version_opens_and_works(self) -> None:
        for version in range(1, len(MIGRATIONS)):
            self.directory = self.mktemp()
            os.mkdir(self.directory)
            old = open_index(self.directory, migrations=MIGRATIONS[:version])
            self.assertEqual(version_of(old), version)
            old.execute("INSERT INTO account (name, password_hash) VALUES (?, 'x')", (ANN,))
            old.execute("INSERT INTO domain VALUES ('example.org')")
            old.execute(
                "INSERT INTO mailbox (account_id, name, uid_validity) VALUES (1, 'INBOX', 7)"
            )
            if version >= 2:
                # At first all was made at once.
                old.execute("INSERT INTO summary VALUES (99, x'01', x'02', x'03')")
            old.close()
            store = self.open_store()
            kept = store.connection().execute("SELECT * FROM summary").fetchall()
            self.assertEqual(kept, [(99, b"\1", b"\2", b"\3")] if version >= 2 else [])
            self.assertEqual(await store.get_password_hash(account=ANN), "x")
            self.assertEqual(await store.get_quota(account=ANN), Quota(0, 0, mailboxes=1))
            self.assertEqual(await self.deliver(store, message(1)), [1])
            mailbox = await self.mailbox(store)
            (summary,) = await mailbox.get_summaries(uids=[1], structure=False)
            self.assertIn(b"Subject: 1", summary.header)
            (summary,) = await mailbox.get_summaries(uids=[1])
            self.assertIn(b'"text" "plain"', summary.body_structure)
            await store.set_value(kind="k", key="a", value="1", seconds=60)
            self.assertEqual(await store.get_value(kind="k", key="a"), "1")
            self.assertEqual(version_of(store.connection()), len(MIGRATIONS))
            await self.close_store(store)
            self.check()

    def test_what_was_sorted_by_is_kept(self) -> None:
        (before,) = (n for n, step in enumerate(MIGRATIONS) if "TABLE thread_value" in step)
        old = open_index(self.directory, migrations=MIGRATIONS[:before])
        old.execute(
            "INSERT INTO sort_value VALUES"
            " (9, 5, 1, 7, '[1,2]', x'53', x'41', x'42', x'43', x'44', x'45')"
        )
        old.close()
        index = open_index(self.directory)
        self.addCleanup(index.close)
        for table, row in (
            ("thread_value", (9, 5, b"S", 1, 7, "[1,2]")),
            ("sort_address", (9, b"A", b"B", b"C", b"D", b"E")),
        ):
            self.assertEqual(index.execute(f"SELECT * FROM {table}").fetchall(), [row])

    async def test_what_was_fetched_before_there_were_digests_is_known(self) -> None:
        (before,) = (n for n, step in enumerate(MIGRATIONS) if "COLUMN digest TEXT" in step)
        old = open_index(self.directory, migrations=MIGRATIONS[:before])
        old.execute("INSERT INTO account (name, password_hash) VALUES (?, 'x')", (ANN,))
        old.execute("INSERT INTO fetched VALUES (?, 's', 'u', 7)", (ANN,))
        old.close()
        store = self.open_store()
        account = await store.open_account(name=ANN)
        self.assertEqual(await account.list_fetched(source="s"), {"u": FetchedBefore(7, False)})

    def test_texts_that_were_folded_otherwise_are_made_again(self) -> None:
        (before,) = (n for n, step in enumerate(MIGRATIONS) if "FROM field_text" in step)
        old = open_index(self.directory, migrations=MIGRATIONS[:before])
        for body, subject in ((1, b"one two"), (2, b"one\ttwo"), (3, "kap\u0131".encode())):
            old.execute("INSERT INTO field_text (body_id, subject) VALUES (?, ?)", (body, subject))
        old.execute(
            "INSERT INTO thread_value VALUES (1, 5, x'', 0, 1, ''), (2, NULL, x'', 0, 1, '')"
        )
        old.close()
        index = open_index(self.directory)
        self.addCleanup(index.close)
        for table in ("field_text", "thread_value"):
            kept = index.execute(f"SELECT body_id FROM {table}").fetchall()
            self.assertEqual(kept, [(1,)], table)

    def test_a_newer_version_is_refused(self) -> None:
        open_index(self.directory).close()
        connection = sqlite3.connect(self.path)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        connection.close()
        for opener in (lambda: SQLiteStore(self.directory).open(), self.open_directory):
            error = self.assertRaises(StoreCorrupt, opener)
            self.assertIn("made by a newer mailkit", error.text)

    async def test_the_form_before_the_first_release_is_refused_and_repaired(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        await self.close_store(store)
        for version, table, columns in (
            (2, "log_state", ("first_lsn", "closed")),
            (10, "message", ("internal_date",)),
        ):
            connection = sqlite3.connect(self.path)
            for column in columns:
                connection.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO {column}_then")
            connection.execute(f"PRAGMA user_version = {version}")
            connection.close()
            for opener in (
                lambda: SQLiteStore(self.directory).open(),
                self.open_directory,
                lambda: check_store(self.directory),
            ):
                error = self.assertRaises(StoreCorrupt, opener)
                self.assertIn(f"version {version}, made", error.text)
                self.assertIn("before its first release", error.text)
                self.assertIn("mailkit repair", error.text)
        repair_store(self.directory)
        self.assertEqual(await self.contents(self.open_store()), [message(1)])
        self.check()

    def open_directory(self) -> None:
        SQLiteDirectory(self.directory)

    def test_a_step_that_fails_leaves_the_version_before(self) -> None:
        connection = open_index(self.directory, migrations=MIGRATIONS[:1])
        self.addCleanup(connection.close)
        broken = (MIGRATIONS[0], "CREATE TABLE a (b);\nNONSENSE;\n")
        self.assertRaises(sqlite3.OperationalError, migrate, connection, broken)
        self.assertEqual(version_of(connection), 1)
        tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'a'").fetchall()
        self.assertEqual(tables, [])

    def test_a_full_disk_is_told_although_it_has_ended_the_transaction(self) -> None:
        ended = "CREATE TABLE a (b UNIQUE);\nINSERT OR ROLLBACK INTO a VALUES (1), (1);\n"
        connection = open_index(self.directory, migrations=MIGRATIONS[:1])
        self.addCleanup(connection.close)
        error = self.assertRaises(
            sqlite3.IntegrityError, migrate, connection, (MIGRATIONS[0], ended)
        )
        self.assertIn("UNIQUE constraint failed", str(error))
        self.assertEqual(version_of(connection), 1)

    def test_not_a_database(self) -> None:
        with open(self.path, "wb") as file:
            file.write(b"This is not a database, whatever its name says.\n" * 100)
        error = self.assertRaises(StoreCorrupt, open_index, self.directory)
        self.assertIn("mailkit repair", error.text)

    def test_no_store_where_one_is_wanted(self) -> None:
        self.assertRaises(StoreUnavailable, open_index, self.directory, create=False)
