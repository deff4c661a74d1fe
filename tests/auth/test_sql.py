"""Users in a database."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.auth import sql
from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.passwords import PasswordHasher
from mailkit.auth.sql import Query, SQLUsers, make_query
from mailkit.errors import TemporaryFailure
from mailkit.testing import UserBaseContract
from tests.support import PATIENCE

QUERY = "SELECT password FROM users WHERE name = %u"


class QueryTests(SynchronousTestCase):
    def test_each_style_of_parameters(self) -> None:
        values = {"u": "ann@example.org", "n": "ann", "d": "example.org"}
        for style, text, parameters in (
            ("qmark", "a = ? AND b = ? AND c % 2", ("ann", "example.org")),
            ("numeric", "a = :1 AND b = :2 AND c % 2", ("ann", "example.org")),
            ("named", "a = :n AND b = :d AND c % 2", {"n": "ann", "d": "example.org"}),
            ("format", "a = %s AND b = %s AND c %% 2", ("ann", "example.org")),
            ("pyformat", "a = %(n)s AND b = %(d)s AND c %% 2", {"n": "ann", "d": "example.org"}),
        ):
            query = make_query("a = %n AND b = %d AND c %% 2", style)
            self.assertEqual((query.text, query.parameters(values)), (text, parameters))

    def test_texts_stay_as_they_are(self) -> None:
        self.assertEqual(
            make_query("a LIKE '%%x''%y' AND \"%b\" = %u", "pyformat").text,
            "a LIKE '%%x''%%y' AND \"%%b\" = %(u)s",
        )
        self.assertEqual(
            make_query("a LIKE '%x' AND b = %u", "qmark").text, "a LIKE '%x' AND b = ?"
        )

    def test_what_is_wrong(self) -> None:
        for text, part in (
            ("SELECT 1", "names no user"),
            ("SELECT %x", "%x is none"),
            ("a = '%u'", "without quotes"),
            ("a = '%n@%d' AND b = %u", "without quotes"),
            ("a = %", "none of"),
        ):
            self.assertIn(part, str(self.assertRaises(ValueError, make_query, text, "qmark")))


class DatabaseTestCase(TestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).resolve()
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def fill(self, *rows: tuple[str | None, ...]) -> None:
        database = sqlite3.connect(self.path)
        with database:
            database.execute("CREATE TABLE users (name TEXT, password, account TEXT)")
            filled = [(*row, None)[:3] for row in rows]
            database.executemany("INSERT INTO users VALUES (?, ?, ?)", filled)
        database.close()

    def make(self, query: str = QUERY, **settings: Any) -> SQLUsers:
        base = sql.make(query, str(self.path), **settings)
        self.addCleanup(base.close)
        return base


class SQLiteContractTests(UserBaseContract, DatabaseTestCase):
    async def make_checker(self, users: Mapping[str, str]) -> UserBaseChecker:
        self.fill(*((user, "{PLAIN}" + password) for user, password in users.items()))
        hasher = PasswordHasher()
        self.addCleanup(hasher.close)
        return UserBaseChecker(self.make(), hasher)

    async def break_base(self) -> None:
        database = sqlite3.connect(self.path)
        database.execute("ALTER TABLE users RENAME TO gone")
        database.close()

    async def mend_base(self) -> None:
        database = sqlite3.connect(self.path)
        database.execute("ALTER TABLE gone RENAME TO users")
        database.close()


class SQLUsersTests(DatabaseTestCase):
    async def failure(self, base: SQLUsers) -> str:
        """What is logged of a failure."""
        with capturedLogs() as logs, self.assertRaises(TemporaryFailure):
            await base.find_login(login="ann")
        return formatEvent(logs[-1])

    async def test_columns(self) -> None:
        self.fill(
            ("ann", "secret", "Boss@Example.ORG"),
            ("bob", None),
            ("joe", "{SSHA}x", ""),
            ("eve", b"{SHA}x", b"Eve@example.org"),
        )
        base = self.make("SELECT account, password FROM users WHERE name = %n", scheme="PLAIN")
        found = {name: await base.find_login(login=name) for name in ("ann", "bob", "joe", "eve")}
        self.assertEqual(
            {name: login and login[:2] for name, login in found.items()},
            {
                "ann": ("boss@example.org", "{PLAIN}secret"),
                "bob": ("bob", None),
                "joe": ("joe", "{SSHA}x"),
                "eve": ("eve@example.org", "{SHA}x"),
            },
        )

    async def test_names_without_domain_are_of_the_first(self) -> None:
        self.fill(("ann@example.org", "{PLAIN}x", "ann"))
        query = "SELECT password, account FROM users WHERE name = %u"
        base = self.make(query, domains=("example.org", "example.net"))
        for login in ("ann", "Ann@example.org"):
            found = await base.find_login(login=login)
            self.assertEqual(found and found.account, "ann@example.org")
        self.assertIsNone(await base.find_login(login="ann@example.net"))

    async def test_an_account_whose_name_is_no_text_is_nobodys(self) -> None:
        self.fill(("ann", "x", b"\xff@example.org"))
        base = self.make("SELECT account, password FROM users WHERE name = %n")
        self.assertIn("account", await self.failure(base))

    async def test_several_rows_are_nobody(self) -> None:
        self.fill(("ann", "x"), ("ann", "y"))
        self.assertIn("several rows", await self.failure(self.make()))

    async def test_a_query_that_does_not_say_what_the_password_is(self) -> None:
        self.fill(("ann", "x"))
        base = self.make("SELECT name, account FROM users WHERE name = %u")
        self.assertIn("called password", await self.failure(base))

    async def test_a_database_that_is_gone_is_not_made(self) -> None:
        self.fill()
        base = self.make()
        self.path.unlink()
        self.assertIn("unable to open", await self.failure(base))
        self.assertFalse(self.path.exists())

    async def test_a_connection_that_breaks_is_made_again(self) -> None:
        self.fill(("ann", "{PLAIN}x"))
        made: list[sqlite3.Connection] = []

        def connect() -> sqlite3.Connection:
            made.append(sqlite3.connect(self.path, check_same_thread=False))
            return made[-1]

        base = SQLUsers(connect, make_query(QUERY, "qmark"), threads=1)
        self.addCleanup(base.close)
        self.assertTrue(await base.find_login(login="ann"))
        self.assertTrue(await base.find_login(login="ann"))
        self.assertEqual(len(made), 1)
        made[0].close()
        self.assertTrue(await base.find_login(login="ann"))
        self.assertEqual(len(made), 2)

    async def test_one_that_breaks_at_once_is_not_made_for_ever(self) -> None:
        tries: list[int] = []

        def connect() -> Any:
            tries.append(1)
            raise sqlite3.OperationalError("no\nway")

        base = SQLUsers(connect, make_query(QUERY, "qmark"), threads=1)
        self.addCleanup(base.close)
        self.assertIn("no way", await self.failure(base))
        self.assertEqual(len(tries), 1)

    async def test_a_database_that_does_not_answer(self) -> None:
        base = SQLUsers(lambda: None, Query("", ("u",), False), threads=1, timeout=0.05)
        self.addCleanup(base.close)
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        self.patch(base._sessions, "use", lambda *arguments: go_on.wait(PATIENCE))
        self.assertIn("not answer in time", await self.failure(base))

    async def test_close_closes_the_connections(self) -> None:
        self.fill(("ann", "{PLAIN}x"))
        base = self.make(threads=1)
        await base.find_login(login="ann")
        await base.close()
        # And it can be opened again.
        self.assertTrue(await base.find_login(login="ann"))


class SettingTests(SynchronousTestCase):
    def refuse(self, error: type[Exception], part: str, **settings: Any) -> None:
        raised = self.assertRaises(error, sql.make, **{"query": QUERY, "connect": "x", **settings})
        self.assertIn(part, str(raised))

    def test_what_is_wrong(self) -> None:
        self.refuse(ImportError, "nosuchdriver", driver="nosuchdriver")
        self.refuse(ValueError, "no driver", driver="json")
        self.refuse(ValueError, "connect is missing", connect="")
        self.refuse(ValueError, "{NONE}", scheme="NONE")
        self.refuse(ValueError, "names no user", query="SELECT 1", connect=__file__)
        self.refuse(ValueError, "cannot read nofile", connect="nofile")
        self.refuse(ValueError, "threads", threads=0)

    def test_a_driver_that_is_missing_names_its_extra(self) -> None:
        import sys
        from unittest import mock

        with mock.patch.dict(sys.modules, {"psycopg": None}):
            self.refuse(ImportError, "twisted-mailkit[postgres]", driver="psycopg")

    def test_what_other_drivers_connect_to(self) -> None:
        class Driver:
            made: list[Any] = []

            def connect(self, *arguments: Any, **named: Any) -> None:
                self.made.append((arguments, named))

        driver = Driver()
        sql._connector("pymysql", driver, "host=db.example.org port=3306 password='a b'")()
        sql._connector("pyodbc", driver, "DSN-of-mine")()
        self.assertEqual(
            driver.made,
            [
                ((), {"host": "db.example.org", "port": 3306, "password": "a b"}),
                (("DSN-of-mine",), {}),
            ],
        )
        error = self.assertRaises(ValueError, sql._connector, "pymysql", driver, "host=x s3cr3t")
        self.assertNotIn("s3cr3t", str(error))

    def test_what_libpq_takes(self) -> None:
        try:
            import psycopg
        except ImportError as error:
            self.skipTest(f"psycopg is missing: {error}")
        error = self.assertRaises(ValueError, sql._connector, "psycopg", psycopg, "s3cr3t x=")
        self.assertNotIn("s3cr3t", str(error))
        sql._connector("psycopg", psycopg, "host=x dbname=y")
