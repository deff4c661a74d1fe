"""``kill -9`` at every step: each message at least once, and once where that was recorded.

``MAILKIT_KILL_ROUNDS`` says how often each step is the last one; 1 when not set.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as _reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mailkit.queue.transport import Transport

from .crashing import POINTS
from .forking import Forks
from .servers import ScriptedServer

reactor: Any = _reactor
HOST = "127.0.0.1"
ROUNDS = int(os.environ.get("MAILKIT_KILL_ROUNDS", "1"))
#: Messages that are submitted before each death.
MESSAGES = 20


@pytest.mark.slow
class CrashTests(TestCase):
    timeout = 300 + 600 * ROUNDS

    def setUp(self) -> None:
        self.sink = ScriptedServer()
        port = reactor.listenTCP(0, self.sink, interface=HOST)
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        self.store = f"sqlite:{os.path.abspath(self.mktemp())}"
        self.forks = Forks("tests.queue.crashing", Path(self.mktemp()))
        self.addCleanup(self.forks.stop)
        self.accepted: set[str] = set()
        #: Those of which it is recorded, and how often they had arrived then.
        self.recorded: dict[str, int] = {}

    async def run_process(self, point: str, nth: int, first: int, count: int) -> int:
        """Let a process send until it dies or has nothing left; gives how it ended."""
        arguments = (self.store, self.port, point, nth, first, count)
        ended, told = await deferToThread(self.forks.run, *arguments)
        counts = Counter(self.sink.subjects)
        for line in told:
            state, number = line.split()
            self.assertIn(state, ("accepted", "delivered"), told)
            if state == "accepted":
                self.accepted.add(number)
            else:
                self.assertNotIn(number, self.recorded, f"{number} was sent again")
                self.recorded[number] = counts[number]
        self.assertIn(ended, (0, -signal.SIGKILL), self.forks.errors)
        return ended

    async def test_no_loss_and_no_repetition(self) -> None:
        rng = random.Random(5)
        first = 1
        for _ in range(ROUNDS):
            for point in POINTS:
                # There is one connection at least, and each message has its own of the others.
                nth = 1 if point == "before the connection" else rng.randint(1, MESSAGES)
                ended = await self.run_process(point, nth, first, MESSAGES)
                self.assertEqual(ended, -signal.SIGKILL, f"{point} was not reached")
                first += MESSAGES
        self.assertEqual(await self.run_process("nowhere", 1, first, 1), 0)
        counts = Counter(self.sink.subjects)
        self.assertEqual({number for number in self.accepted if not counts[number]}, set())
        again = {n for n, before in self.recorded.items() if counts[n] != before}
        self.assertEqual(again, set(), "sent again though that was recorded")
        # The window in which nobody can know: between the dot and the record. Wherever a process is
        # killed, all that it sends at that moment may be in it.
        repeated = sum(count - 1 for count in counts.values())
        self.assertLessEqual(repeated, 3 * Transport.max_parallel * len(POINTS) * ROUNDS)
