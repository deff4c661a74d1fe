"""``kill -9`` on an event's way to a webhook: each arrives, under one id, and not after it was put down."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from mailkit.queue.webhooks import verify

from .crashing_webhooks import POINTS
from .forking import Forks
from .servers import ScriptedServer

reactor: Any = _reactor
HOST = "127.0.0.1"
SECRET = b"0123456789abcdef01234567"
#: Messages that are submitted before each death.
MESSAGES = 4


class Receiver(Resource):
    """Takes events, and remembers them."""

    isLeaf = True  # noqa: N815

    def __init__(self) -> None:
        super().__init__()
        #: How often each id came, and under which ids each event.
        self.counts: Counter[str] = Counter()
        self.ids: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self.forged = 0

    def render_POST(self, request: Any) -> bytes:  # noqa: N802
        body = request.content.read()
        id, timestamp, signatures = (
            request.getHeader(f"webhook-{name}") for name in ("id", "timestamp", "signature")
        )
        if not verify(SECRET, id, timestamp, signatures, body, time.time(), tolerance=3600):
            self.forged += 1
        event = json.loads(body)
        self.counts[id] += 1
        self.ids[event["type"], event["data"]["recipient"]].add(id)
        request.setResponseCode(204)
        return b""

    def through(self, number: int) -> dict[str, int]:
        """How often each event up to a number came."""
        return {id: n for id, n in self.counts.items() if int(id.split("_")[1]) <= number}


class WebhookCrashTests(TestCase):
    timeout = 600

    def setUp(self) -> None:
        self.sink, self.receiver = ScriptedServer(), Receiver()
        ports = []
        for factory in (self.sink, Site(self.receiver)):
            port = reactor.listenTCP(0, factory, interface=HOST)
            self.addCleanup(port.stopListening)
            ports.append(port.getHost().port)
        self.secret = os.path.abspath(self.mktemp())
        Path(self.secret).write_bytes(SECRET)
        self.store = f"sqlite:{os.path.abspath(self.mktemp())}"
        self.arguments = [
            *(self.store, str(ports[0])),
            *(f"http://{HOST}:{ports[1]}/events", self.secret),
        ]
        self.forks = Forks("tests.queue.crashing_webhooks", Path(self.mktemp()))
        self.addCleanup(self.forks.stop)
        self.accepted: set[str] = set()
        #: What had come of the events that were acknowledged.
        self.acknowledged: dict[str, int] = {}

    async def run_process(self, point: str, nth: int, first: int, count: int) -> int:
        """Let a process send and post until it dies or has nothing left; gives how it ended."""
        more = (point, nth, first, count)
        ended, told = await deferToThread(self.forks.run, *self.arguments, *more)
        self.assertIn(ended, (0, -signal.SIGKILL), self.forks.errors)
        for line in told:
            what, number = line.split()
            if what == "accepted":
                self.accepted.add(f"{number}@example.net")
            else:
                self.acknowledged |= self.receiver.through(int(number))
        return ended

    async def test_each_event_arrives(self) -> None:
        first = 1
        for point in POINTS:
            ended = await self.run_process(point, 2, first, MESSAGES)
            self.assertEqual(ended, -signal.SIGKILL, f"{point} was not reached")
            first += MESSAGES
        self.assertEqual(await self.run_process("nowhere", 1, first, 1), 0)
        received = self.receiver.ids
        for kind in ("message.queued", "message.delivered"):
            missing = {each for each in self.accepted if (kind, each) not in received}
            self.assertEqual(missing, set(), kind)
        self.assertEqual({len(ids) for ids in received.values()}, {1}, received)
        self.assertEqual(self.receiver.forged, 0)
        again = {id for id, n in self.acknowledged.items() if self.receiver.counts[id] != n}
        self.assertEqual(again, set(), "posted again though that was acknowledged")
        # One was answered before its process died, and came again.
        self.assertGreater(max(self.receiver.counts.values()), 1)
