"""The outbox in PostgreSQL, on a server of our own in a private directory."""

from __future__ import annotations

import os
import signal
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.threads import deferToThread

from mailkit import outbox
from mailkit.model import Envelope
from mailkit.smtp.client import make_envelope
from mailkit.tap import outbox as moving
from mailkit.tap.outbox import OutboxMover, parse_outbox
from tests.interop.postgres import PostgresCase
from tests.tap.test_outbox import MESSAGE, until

reactor: Any = _reactor


class PostgresTests(PostgresCase):
    def setUp(self) -> None:
        super().setUp()
        self.submitted: list[tuple[str, bytes, str]] = []

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

    async def test_a_row_that_is_too_large(self) -> None:
        with self.connection.transaction():
            outbox.create_table(self.connection)
        self.add("eve@example.net")
        self.patch(outbox, "MAX_MESSAGE", len(MESSAGE) - 1)
        mover = OutboxMover(parse_outbox(f"postgres:{self.dsn}"), self.submit, reactor)
        mover.start()
        self.addCleanup(mover.stop)

        def find() -> str | None:
            with self.connection.transaction():
                row = self.connection.execute(f"SELECT problem FROM {outbox.TABLE}").fetchone()
                problem: str | None = row[0]
                return problem

        await until(lambda: find() is not None)
        self.assertIn(f"at most {len(MESSAGE) - 1} octets", str(find()))
        self.assertEqual(self.submitted, [])

    async def test_whoever_moves_rows_need_not_make_tables(self) -> None:
        with self.connection.transaction():
            outbox.create_table(self.connection)
            for sql in (
                "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
                "CREATE ROLE mover LOGIN",
                f"GRANT SELECT, UPDATE, DELETE ON {outbox.TABLE} TO mover",
            ):
                self.connection.execute(sql)
        self.add("eve@example.net")
        dsn = self.dsn.replace("user=shop", "user=mover")
        mover = OutboxMover(parse_outbox(f"postgres:{dsn}"), self.submit, reactor)
        mover.start()
        self.addCleanup(mover.stop)
        await until(lambda: len(self.submitted) == 1)

    async def test_a_server_that_hangs_keeps_nobody_from_stopping(self) -> None:
        with self.connection.transaction():
            outbox.create_table(self.connection)
            self.connection.execute("CREATE ROLE mover SUPERUSER LOGIN")
        self.add("eve@example.net")
        dsn = self.dsn.replace("user=shop", "user=mover")
        mover = OutboxMover(parse_outbox(f"postgres:{dsn}"), self.submit, reactor)
        mover.start()
        await until(lambda: len(self.submitted) == 1)
        with self.connection.transaction():
            found = self.connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE usename = 'mover'"
            ).fetchone()
        os.kill(found[0], signal.SIGSTOP)
        self.addCleanup(os.kill, found[0], signal.SIGCONT)
        self.patch(moving, "STOP_TIME", 0.2)
        await mover.stop()
