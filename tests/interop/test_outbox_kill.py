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
from tests.test_examples import environment

#: Rows, and how often the program is killed while it moves them.
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
        with connection:
            for number in range(ROWS):
                envelope = make_envelope("shop@example.org", f"{number}@example.net")
                outbox.add(connection, envelope, b"Subject: hi\r\n\r\n%d\r\n" % number)

        def left() -> int:
            sql = f"SELECT count(*) FROM {outbox.TABLE}"
            return int(connection.execute(sql).fetchone()[0])

        draw = random.Random(17)
        kills = 0
        deadline = time.monotonic() + 120
        while left() and time.monotonic() < deadline:
            before = left()
            program = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, database, queue],
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                while left() > before - ROWS // (KILLS + 1) and time.monotonic() < deadline:
                    if not left():
                        break
                    time.sleep(draw.random() * 0.01)
            finally:
                program.kill()
                program.wait()
            kills += 1
        self.assertEqual(left(), 0)
        self.assertGreater(kills, 1)
        index = sqlite3.connect(os.path.join(queue, "index.sqlite"))
        self.addCleanup(index.close)
        addresses = index.execute("SELECT recipient FROM queue_recipient").fetchall()
        self.assertEqual(len(addresses), ROWS)
        self.assertEqual(len(set(addresses)), ROWS)
