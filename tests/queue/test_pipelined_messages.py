"""Queued messages right behind each other on one connection, and servers that do not bear it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from mailkit._typing import override
from mailkit.queue.pacing import PaceSettings
from mailkit.queue.relay import RelayTransport
from mailkit.queue.transport import Handover

from .servers import DROP, ScriptedProtocol, ScriptedServer
from .test_scripted import ACCEPTED, PERMANENT, TEMPORARY, ScriptedTestCase

ONE = PaceSettings(max_connections=1, dead_time=0)
#: Instead of a reply: it comes behind that to the next MAIL; the connection ends in order.
HELD, CLOSE = "held", "close"


class HoldingProtocol(ScriptedProtocol):
    """Where the script says so, a reply waits until the next MAIL has come."""

    factory: HoldingServer

    @override
    def step(self, name: str) -> bool:
        if name == "MAIL":
            for reply in self.factory.held:
                self.sendLine(reply.encode())  # type: ignore[no-untyped-call]
            self.factory.held.clear()
        script = self.factory.script.get(name) or [""]
        if script[0] == HELD:
            script.pop(0)
            self.factory.held.append("250 taken at last")
            self.factory.steps.append(HELD)
            return False
        if script[0] == CLOSE:
            script.pop(0)
            self.silent = True
            self.transport.loseConnection()  # type: ignore[union-attr]
            return False
        return super().step(name)


class HoldingServer(ScriptedServer):
    def __init__(self) -> None:
        super().__init__()
        self.held: list[str] = []

    @override
    def buildProtocol(self, addr: Any) -> ScriptedProtocol:
        protocol = HoldingProtocol()
        protocol.factory = self
        return protocol


class PipelinedTestCase(ScriptedTestCase):
    """One connection at a time, so that whoever waits can only follow."""

    pace = ONE

    @override
    def make(self, **settings: Any) -> RelayTransport:
        return super().make(**{"pace": self.pace, **settings})

    @override
    def setUp(self) -> None:
        super().setUp()
        self.server = HoldingServer()
        self.port.factory = self.server

    async def send_some(self, count: int, **script: Any) -> list[Handover]:
        """What becomes of some messages that are queued at the same time."""
        self.server.script = {name.replace("_", " "): each for name, each in script.items()}
        sending = [Deferred.fromCoroutine(self.send()) for _ in range(count)]
        return [result.recipients[0] for result in await gatherResults(sending)]

    def count(self, step: str) -> int:
        return self.server.steps.count(step)


class FollowingTests(PipelinedTestCase):
    async def test_sent_before_the_reply_to_the_one_ahead(self) -> None:
        # The server would wait for ever for a client that waits for it.
        found = await self.send_some(5, end_of_data=[HELD] * 4)
        self.assertEqual([each.status for each in found], [ACCEPTED] * 5)
        self.assertEqual([each.attempt.text for each in found], ["taken at last"] * 4 + ["taken"])
        self.assertEqual((self.count("greeting"), self.count("held")), (1, 4))
        self.assertEqual((self.count("NOOP"), self.count("RSET")), (0, 0))
        self.assertEqual(self.server.messages, 5)

    async def test_each_has_its_own_outcome(self) -> None:
        replies = ["250 sender", "550 not you", "250 sender", "250 sender"]
        found = await self.send_some(
            3, MAIL=replies, end_of_data=["250 taken", "452 full", "250 taken"]
        )
        # The second one is asked again with nothing ahead of it.
        self.assertEqual(self.server.messages, 3)
        self.assertEqual([each.status for each in found].count(ACCEPTED), 2)
        self.assertEqual([each.status for each in found].count(TEMPORARY), 1)

    async def test_refused_for_good_though_nothing_is_ahead(self) -> None:
        found = await self.send_some(2, MAIL=["250 sender", "550 not you", "550 not you"])
        self.assertEqual([each.status for each in found], [ACCEPTED, PERMANENT])
        self.assertEqual(found[1].attempt.text, "not you")
        self.assertEqual(self.server.messages, 1)

    async def test_refused_recipients_are_not_asked_again(self) -> None:
        found = await self.send_some(2, RCPT=["250 fine", "550 5.1.1 nobody"])
        self.assertEqual([each.status for each in found], [ACCEPTED, PERMANENT])
        self.assertEqual(self.count("RCPT"), 2)

    async def test_the_places_are_all_free_in_the_end(self) -> None:
        await self.send_some(5)
        self.assertTrue(all(pace.idle for pace in self.transport._paces._paces.values()))
        (link,) = self.transport._links.values()
        self.assertEqual(link.pool.idle, 1)


class WaryTests(PipelinedTestCase):
    """Where it goes wrong the message that follows is sent again at once, and the host is spared."""

    async def check_spared(self) -> None:
        """From now on each message waits for the reply to the one ahead."""
        self.server.steps.clear()
        await self.send_some(3)
        self.assertNotIn("held", self.server.steps)
        order = [step for step in self.server.steps if step in ("MAIL", "end of data")]
        self.assertEqual(order, ["MAIL", "end of data"] * 3)

    async def test_server_that_goes_behind_each_message(self) -> None:
        found = await self.send_some(2, MAIL=["250 sender", CLOSE])
        self.assertEqual([each.status for each in found], [ACCEPTED] * 2)
        self.assertEqual((self.server.messages, self.count("greeting")), (2, 2))
        self.assertEqual(len(self.transport._lockstep), 1)
        await self.check_spared()

    async def test_server_that_calls_it_an_error(self) -> None:
        found = await self.send_some(2, MAIL=["250 sender", "503 5.5.0 out of step"])
        self.assertEqual([each.status for each in found], [ACCEPTED] * 2)
        self.assertEqual(self.server.messages, 2)
        await self.check_spared()

    async def test_server_that_loses_the_one_ahead(self) -> None:
        # What nobody has answered counts for that one message, and may come twice.
        found = await self.send_some(2, end_of_data=[HELD], MAIL=["250 sender", DROP])
        self.assertEqual(self.server.messages, 2)
        self.assertEqual(found[1].status, ACCEPTED)
        await self.check_spared()

    async def test_farewell_is_no_reason(self) -> None:
        found = await self.send_some(2, MAIL=["250 sender", "421 4.3.2 enough for one connection"])
        self.assertEqual([each.status for each in found], [ACCEPTED] * 2)
        self.assertEqual((self.server.messages, self.count("greeting")), (2, 2))
        self.assertEqual(len(self.transport._lockstep), 0)


class SettingTests(PipelinedTestCase):
    pace = PaceSettings(max_connections=1, dead_time=0, pipelined_messages=False)

    async def test_not_where_it_is_not_wanted(self) -> None:
        await self.send_some(3)
        order = [step for step in self.server.steps if step in ("MAIL", "end of data")]
        self.assertEqual(order, ["MAIL", "end of data"] * 3)
        self.assertEqual(self.transport.max_parallel, 1)
