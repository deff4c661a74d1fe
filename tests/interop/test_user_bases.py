"""User bases with the real programs beside them: log in, and get mail, as a user of each."""

from __future__ import annotations

import imaplib
import shutil
import smtplib
import sqlite3
import subprocess
from collections.abc import Mapping

from twisted.internet.threads import deferToThread

from mailkit.auth import sql
from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.passwords import PasswordHasher
from mailkit.errors import TemporaryFailure
from mailkit.testing import UserBaseContract
from tests.interop.postgres import PostgresCase
from tests.interop.support import ServerTestCase, message
from tests.support import HOST, PATIENCE, free_ports

JOE = "joe@example.test"
QUERY = "SELECT password, address AS account FROM users WHERE address = lower(%u)"


class UserBaseServerCase(ServerTestCase):
    """``twistd mailkit`` with a base that knows Joe, whom the store does not know yet."""

    def serve_base(self, *auth: str) -> None:
        ports = free_ports(2)
        self.smtp_port, self.imap_port = ports
        options = [word for each in auth for word in ("--auth", each)]
        self.server = self.serve(
            "mailkit",
            *("--smtp", f"tcp:{self.smtp_port}:interface={HOST}"),
            *("--imap", f"tcp:{self.imap_port}:interface={HOST}"),
            *options,
            ports=ports,
        )

    def log_in(self, user: str, password: str) -> str:
        """``OK``, or the response code and text of the refusal."""
        with imaplib.IMAP4(HOST, self.imap_port, timeout=PATIENCE) as client:
            try:
                client.login(user, password)
            except imaplib.IMAP4.error as error:
                return str(error)
            return "OK"

    def send_to(self, address: str) -> int:
        with smtplib.SMTP(HOST, self.smtp_port, timeout=PATIENCE) as client:
            client.ehlo()
            client.mail("me@example.net")
            code = client.rcpt(address)[0]
            if code == 250:
                client.data(message("hello"))
            return code

    def check_joe(self, password: str, others: bool = False) -> None:
        """Joe gets mail and then reads it; a wrong password is refused, and passwords stay unsaid.

        :param others: compare with what somebody unknown is told, which takes some seconds.
        """
        self.assertEqual(self.send_to(JOE), 250)
        self.assertEqual(self.send_to("nobody@example.test"), 550)
        with imaplib.IMAP4(HOST, self.imap_port, timeout=PATIENCE) as client:
            client.login(JOE, password)
            self.assertEqual(client.select()[1], [b"1"])
        wrong = self.log_in(JOE, "w-r-o-n-g")
        self.assertIn("AUTHENTICATIONFAILED", wrong)
        if others:
            self.assertEqual(self.log_in("nobody@example.test", "w-r-o-n-g"), wrong)
        self.stop(self.server)
        for secret in (password, "w-r-o-n-g"):
            self.assertNotIn(secret, self.server.log)


class PasswdFileServerTests(UserBaseServerCase):
    def test_a_file_that_dovecot_made(self) -> None:
        if shutil.which("doveadm") is None:
            self.skipTest("dovecot-core is not installed")
        done = subprocess.run(
            ["doveadm", "pw", "-s", "ARGON2ID", "-p", "s3cr3t"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        users = self.directory / "users"
        users.write_text(f"joe:{done.stdout.strip()}:1000:1000::/home/joe::\n")
        self.serve_base(f"example.test=passwd-file:{users}")
        self.check_joe("s3cr3t", others=True)

    def test_a_file_that_is_gone_is_no_wrong_password(self) -> None:
        users = self.directory / "users"
        users.write_text(f"{JOE}:{{PLAIN}}x\n")
        self.serve_base(f"passwd-file:{users}")
        users.unlink()
        self.assertIn("UNAVAILABLE", self.log_in(JOE, "x"))
        self.assertEqual(self.send_to(JOE), 451)
        self.stop(self.server)


class SQLiteServerTests(UserBaseServerCase):
    def test_a_database(self) -> None:
        path = self.directory / "users.db"
        database = sqlite3.connect(path)
        with database:
            database.execute("CREATE TABLE users (address, password)")
            # "secret"
            row = (JOE, "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=")
            database.execute("INSERT INTO users VALUES (?, ?)", row)
        database.close()
        self.serve_base(f"sql:{QUERY}:connect={path}")
        self.check_joe("secret")


#: The contract's tests.
CONTRACT = [name for name in dir(UserBaseContract) if name.startswith("test_")]


class PostgresUserTests(UserBaseContract, PostgresCase):
    """A database that is stopped and started under the connections.

    One server for all, as to make one takes seconds.
    """

    locals().update(dict.fromkeys(CONTRACT))

    async def test_everything(self) -> None:
        # Last, as it stops the server.
        for name in sorted(CONTRACT, key=lambda name: "trouble" in name):
            await getattr(UserBaseContract, name)(self)

    def make(self, query: str = QUERY) -> sql.SQLUsers:
        base = sql.make(query, self.dsn, "psycopg")
        self.addCleanup(base.close)
        return base

    async def make_checker(self, users: Mapping[str, str]) -> UserBaseChecker:
        with self.connection.transaction():
            self.connection.execute("DROP TABLE IF EXISTS users")
            self.connection.execute("CREATE TABLE users (address text, password text)")
            for address, password in users.items():
                row = (address, "{PLAIN}" + password)
                self.connection.execute("INSERT INTO users VALUES (%s, %s)", row)
        hasher = PasswordHasher()
        self.addCleanup(hasher.close)
        return UserBaseChecker(self.make(), hasher)

    async def break_base(self) -> None:
        await deferToThread(self.stop_server)

    async def mend_base(self) -> None:
        await deferToThread(self.start_server)

    async def test_queries_that_take_too_long_are_ended_and_so_are_transactions(self) -> None:
        self.patch(sql, "QUERY_TIMEOUT", 1)
        base = self.make("SELECT 'x' AS password FROM pg_sleep(3600) WHERE '' <> %u")
        with self.assertRaises(TemporaryFailure):
            await base.find_login(login=JOE)
        base = self.make("SELECT 'x' AS password WHERE %u <> ''")
        self.assertTrue(await base.find_login(login=JOE))
        row = self.connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%' AND pid <> pg_backend_pid()"
        ).fetchone()
        self.assertEqual(row, (0,))
