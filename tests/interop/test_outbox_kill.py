"""The outbox under kill -9: each row becomes one message of the queue, never two, never none."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time

from twisted.trial.unittest import SynchronousTestCase

from mailkit import outbox
from mailkit.smtp.client import make_envelope
from tests.support import PATIENCE
from tests.test_examples import environment

#: Rows that are there at least, and how often the program is killed while it moves them.
ROWS = 240
KILLS = 2

# Nobody listens at that port: what is queued stays.
PROGRAM = """
import sys
from twisted.internet import reactor
from mailkit.tap import outbox
from mailkit.tap.outbound import Relay
from mailkit.tap.sending import SendingService
outbox.LOOK_INTERVAL = 0.01
database, queue = sys.argv[1:]
relay = Relay("127.0.0.1:1", None, {"outbox": "sqlite:" + database})
sending = SendingService("sqlite:" + queue, relay, hostname="shop.example.org")
reactor.callWhenRunning(sending.startService)
reactor.run()
"""


class KillTests(SynchronousTestCase):
    def test_killed_while_it_moves(self) -> None:
        directory = os.path.abspath(self.mktemp())
        os.makedirs(directory)
        database, queue = os.path.join(directory, "shop"), os.path.join(directory, "queue")
        connection = sqlite3.connect(database)
        self.addCleanup(connection.close)
        outbox.create_table(connection)
        rows = 0

        def add_rows() -> None:
            nonlocal rows
            with connection:
                for number in range(rows, rows + ROWS):
                    envelope = make_envelope("shop@example.org", f"{number}@example.net")
                    outbox.add(connection, envelope, b"Subject: hi\r\n\r\n%d\r\n" % number)
            rows += ROWS

        def left() -> int:
            sql = f"SELECT count(*) FROM {outbox.TABLE}"
            return int(connection.execute(sql).fetchone()[0])

        draw = random.Random(17)

        def move(enough: int) -> None:
            """Kill the program when it has left no more than that."""
            program = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, database, queue],
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                while left() > enough and time.monotonic() < deadline:
                    time.sleep(draw.random() * 0.01)
            finally:
                program.kill()
                program.wait()

        interrupted = 0
        deadline = time.monotonic() + 5 * PATIENCE
        while interrupted < KILLS and time.monotonic() < deadline:
            before = left()
            if before < ROWS:
                add_rows()
                before += ROWS
            move(before - ROWS // 3)
            # On a busy machine it may have moved all before we looked.
            interrupted += left() > 0
        self.assertEqual(interrupted, KILLS)
        move(0)
        self.assertEqual(left(), 0)
        index = sqlite3.connect(os.path.join(queue, "index.sqlite"))
        self.addCleanup(index.close)
        addresses = index.execute("SELECT recipient FROM queue_recipient").fetchall()
        self.assertEqual(len(addresses), rows)
        self.assertEqual(len(set(addresses)), rows)
