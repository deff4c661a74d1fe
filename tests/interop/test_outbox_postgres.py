"""The outbox in PostgreSQL, on a server of our own in a private directory."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mailkit import outbox
from mailkit.model import Envelope
from mailkit.smtp.client import make_envelope
from mailkit.tap.outbox import OutboxMover, parse_outbox
from tests.tap.test_outbox import MESSAGE, until

reactor: Any = _reactor


def _programs() -> str | None:
    """Where initdb and pg_ctl are, of the newest version."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    return os.path.dirname(found[-1]) if found else None


def _user() -> str | None:
    """PostgreSQL does not run as root."""
    if os.getuid():
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


class PostgresTests(TestCase):
    timeout = 60
    if _programs() is None:
        skip = "postgresql is not installed"

    def setUp(self) -> None:
        try:
            import psycopg
        except ImportError as error:
            self.skipTest(f"psycopg is missing: {error}")
        self.psycopg: Any = psycopg
        # A UNIX socket's path must be short.
        self.directory = tempfile.mkdtemp(prefix="mailkit-pg-")
        self.addCleanup(shutil.rmtree, self.directory, True)
        user = _user()
        if user is not None:
            os.chown(self.directory, pwd.getpwnam(user).pw_uid, -1)
        data = os.path.join(self.directory, "data")
        self.run_as(user, "initdb", "-D", data, "-A", "trust", "-U", "shop", "--no-sync")
        options = f"-k {self.directory} -c listen_addresses= -F"
        log = os.path.join(self.directory, "log")
        self.addCleanup(self.run_as, user, "pg_ctl", "-D", data, "-m", "immediate", "stop")
        self.run_as(user, "pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start")
        self.dsn = f"host={self.directory} user=shop dbname=postgres"
        self.connection = psycopg.connect(self.dsn)
        self.addCleanup(self.connection.close)
        self.submitted: list[tuple[str, bytes, str]] = []

    def run_as(self, user: str | None, name: str, *arguments: str) -> None:
        directory = _programs()
        assert directory is not None
        done = subprocess.run(
            [os.path.join(directory, name), *arguments],
            user=user,
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            timeout=50,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    async def submit(self, envelope: Envelope, octets: bytes, key: str) -> None:
        self.submitted.append((str(envelope.recipients[0].path), octets, key))

    def add(self, address: str) -> str:
        with self.connection.transaction():
            return outbox.add(self.connection, make_envelope("a@example.org", address), MESSAGE)

    async def left(self) -> int:
        def count() -> int:
            with self.connection.transaction():
                row = self.connection.execute(f"SELECT count(*) FROM {outbox.TABLE}").fetchone()
                return int(row[0])

        return await deferToThread(count)

    async def test_committed_rows_are_moved(self) -> None:
        with self.connection.transaction():
            outbox.create_table(self.connection)
        key = self.add("eve@example.net")
        mover = OutboxMover(parse_outbox(f"postgres:{self.dsn}"), self.submit, reactor)
        mover.start()
        self.addCleanup(mover.stop)
        await until(lambda: len(self.submitted) == 1)
        self.assertEqual(self.submitted, [("eve@example.net", MESSAGE, key)])
        # While it listens.
        await deferToThread(self.add, "joe@example.net")
        await until(lambda: len(self.submitted) == 2)
        try:
            with self.connection.transaction():
                outbox.add(self.connection, make_envelope("a@example.org", "no@b.example"), MESSAGE)
                raise RuntimeError
        except RuntimeError:
            pass
        await deferToThread(self.add, "sue@example.net")
        await until(lambda: len(self.submitted) == 3)
        for _ in range(500):
            if not await self.left():
                break
        self.assertEqual(await self.left(), 0)
        self.assertEqual(
            [to for to, _, _ in self.submitted],
            ["eve@example.net", "joe@example.net", "sue@example.net"],
        )
