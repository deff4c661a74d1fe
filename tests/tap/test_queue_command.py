"""``mailkit queue``: what an administrator sees and orders."""

from __future__ import annotations

import os
import time

from click.testing import CliRunner, Result
from twisted.trial.unittest import TestCase

from mailkit.queue.values import Attempt, NewMessage, RecipientState, Update
from mailkit.spool import Spool
from mailkit.store.sqlite import SQLiteStore
from mailkit.tap.command import main
from mailkit.testing.queue import queue_envelope


class QueueCommandTests(TestCase):
    async def setUp(self) -> None:
        self.directory = os.path.abspath(self.mktemp())
        self.store = SQLiteStore(self.directory)
        self.addCleanup(self.store.close)
        now = int(time.time())
        for number, domain in enumerate(("example.net", "example.com"), 1):
            content = Spool.from_bytes(b"Subject: %d\r\n\r\n\xe4\r\n" % number)
            content.prepend(b"Return-Path: <x>\r\n")
            envelope = queue_envelope(f"eve@{domain}", account="ann@example.org")
            new = NewMessage(envelope, now + 60, now + 600, skip=18, prefix=b"X: 1\r\n")
            await self.store.queue.enqueue(message=content, new=[new])
        (eve,) = (await self.store.queue.get_message(id="1")).recipients
        attempt = Attempt(
            now, 1.5, "mx.example.net", "192.0.2.1:25", "TLSv1.3", "", 451, "4.2.1", "busy", "RCPT"
        )
        update = Update(eve.id, RecipientState.DEFERRED, now + 300, attempt)
        await self.store.queue.record(updates=[update])

    def run_command(self, *arguments: str) -> Result:
        return CliRunner().invoke(
            main, ["--store", f"sqlite:{self.directory}", "queue", *arguments]
        )

    def output(self, *arguments: str) -> str:
        result = self.run_command(*arguments)
        self.assertEqual(result.exit_code, 0, result.output)
        return result.output

    def test_list(self) -> None:
        first, second = self.output("list").splitlines()
        self.assertIn("<ann@example.org> to <eve@example.net>: deferred until", first)
        self.assertIn("<eve@example.com>: scheduled until", second)
        self.assertEqual(len(self.output("list", "--domain", "example.COM").splitlines()), 1)

    async def test_an_attempt_of_a_process_that_is_gone(self) -> None:
        for id, name in (("1", "deferred"), ("2", "queued")):
            (recipient,) = (await self.store.queue.get_message(id=id)).recipients
            update = Update(recipient.id, RecipientState.ATTEMPTING)
            await self.store.queue.record(updates=[update])
            release = self.store.try_lock("queue")
            assert release is not None
            self.assertIn(": attempting", self.output("list"))
            self.assertIn(": attempting", self.output("show", id))
            release()
            # Nobody works on the queue.
            self.assertNotIn("attempting", self.output("list"))
            self.assertIn(f": {name}, next attempt", self.output("show", id))

    async def test_flush(self) -> None:
        # The one that was tried; what is scheduled stays so.
        self.assertIn("0 recipients", self.output("flush", "example.com"))
        self.assertIn("1 recipient is", self.output("flush", "EXAMPLE.net"))
        self.assertEqual(await self.store.queue.find_due(int(time.time()), 9), ["example.net"])

    def test_show(self) -> None:
        text = self.output("show", "1")
        self.assertIn("to <eve@example.net>: deferred, next attempt", text)
        self.assertIn(
            "mx.example.net 192.0.2.1:25, TLSv1.3, RCPT after 1.5 s: 451 4.2.1 busy", text
        )

    def test_export(self) -> None:
        result = self.run_command("export", "1")
        self.assertEqual(result.stdout_bytes, b"X: 1\r\nSubject: 1\r\n\r\n\xe4\r\n")

    async def test_orders(self) -> None:
        self.assertEqual(self.output("hold", "1", "2"), "2 recipients are held.\n")
        self.assertEqual(self.output("release", "2"), "1 recipient is released.\n")
        next_time = await self.store.queue.get_next_time()
        assert next_time is not None
        self.assertLessEqual(next_time, time.time())
        self.assertEqual(self.output("cancel", "--all"), "2 recipients are given up.\n")
        self.assertEqual(self.output("list"), "The queue is empty.\n")
        self.assertEqual(len(self.output("list", "--all").splitlines()), 2)
        self.assertEqual(self.output("retry", "1"), "0 recipients are tried again now.\n")

    def test_what_is_not_there(self) -> None:
        for arguments in (("show", "77"), ("export", "x"), ("hold", "77")):
            result = self.run_command(*arguments)
            self.assertEqual(result.exit_code, 1)
            self.assertIn(f"Error: {arguments[1]}: No such message", result.output)

    def test_wrong_use(self) -> None:
        self.assertEqual(self.run_command("hold").exit_code, 2)
        self.assertEqual(self.run_command("hold", "1", "--all").exit_code, 2)
        missing = CliRunner().invoke(main, ["--store", "sqlite:/nowhere/at/all", "queue", "list"])
        self.assertIn("there is no store", missing.output)
        memory = CliRunner().invoke(main, ["--store", "memory:", "queue", "list"])
        self.assertIn("for stores in SQLite", memory.output)
