"""Time-outs while somebody sets the clock of the day."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mailkit import deadlines
from mailkit.client import protocol
from mailkit.client.errors import TimedOut
from mailkit.client.protocol import TwistedChannel
from mailkit.clocks import steady_seconds
from mailkit.deadlines import Deadlines
from mailkit.tap.clock_watch import ClockWatch

from .clocks import DayClock, steady_of
from .line_protocol import LineFactory, Transport

HOUR = 3600.0


class SteadyTests(SynchronousTestCase):
    def test_a_reactor_is_not_believed(self) -> None:
        reactor: Any = SelectReactor()
        self.addCleanup(reactor.removeAll)
        self.assertIs(steady_seconds(reactor), time.monotonic)

    def test_another_clock_is(self) -> None:
        clock = Clock()
        clock.advance(7)
        self.assertEqual(steady_seconds(clock)(), 7)


class SetClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = DayClock()
        self.patch(deadlines, "steady_seconds", steady_of)
        self.patch(protocol, "steady_seconds", steady_of)

    def set_back(self, seconds: float) -> None:
        before = self.clock.seconds()
        self.clock.set_back(seconds)
        if seconds > 0:
            ClockWatch(self.clock).hurry(seconds, before)

    def advance(self, seconds: int) -> None:
        self.clock.pump([1] * seconds)

    def test_deadlines(self) -> None:
        for seconds in HOUR, -HOUR:
            reached: list[float] = []
            waiting = Deadlines(self.clock)
            begun = waiting.seconds()

            class Member:
                def deadline_reached(self) -> None:
                    reached.append(waiting.seconds() - begun)  # noqa: B023

            waiting.add(Member(), begun + 10)
            waiting.add(Member(), begun + 300)
            self.set_back(seconds)
            self.advance(400)
            self.assertEqual(reached, [10, 300])

    def test_a_silent_client(self) -> None:
        for seconds in HOUR, -HOUR:
            factory = LineFactory(self.clock)
            connection = factory.buildProtocol(None)
            transport = Transport()
            connection.makeConnection(transport)
            self.advance(5)
            # Whoever looks after the first time-out finds that this one is not over.
            connection.dataReceived(b"ECHO 1\n")
            self.set_back(seconds)
            self.advance(int(factory.timeout) - 1)
            self.assertFalse(connection.closing)
            self.advance(2)
            self.assertTrue(connection.closing)

    def test_a_silent_server(self) -> None:
        for seconds in HOUR, -HOUR:
            channel = TwistedChannel(self.clock)
            transport: Any = StringTransport()
            transport.setTcpNoDelay = lambda enabled: None
            channel.makeConnection(transport)
            reading = Deferred.fromCoroutine(channel.read(300.0))
            self.advance(5)
            self.set_back(seconds)
            self.advance(294)
            self.assertNoResult(reading)
            self.advance(2)
            self.failureResultOf(reading, TimedOut)
            self.assertAlmostEqual(channel.now(), self.clock.seconds())

    def test_a_server_that_ends_no_login(self) -> None:
        for seconds in HOUR, -HOUR:
            channel = TwistedChannel(self.clock)
            waiting = Deferred.fromCoroutine(channel.waiter().wait(300.0))
            self.advance(5)
            self.set_back(seconds)
            self.advance(294)
            self.assertNoResult(waiting)
            self.advance(2)
            self.failureResultOf(waiting, TimedOut)
            self.assertEqual(self.clock.getDelayedCalls(), [])


class UnwatchedClockTests(SynchronousTestCase):
    """The clock of the day is set back, and nobody hurries the timers."""

    def setUp(self) -> None:
        self.clock = DayClock()
        self.patch(deadlines, "steady_seconds", steady_of)
        self.patch(protocol, "steady_seconds", steady_of)

    def test_the_next_member_mends_the_deadlines(self) -> None:
        told: list[str] = []
        waiting = Deadlines(self.clock)

        class Member:
            def __init__(self, name: str) -> None:
                self.name = name

            def deadline_reached(self) -> None:
                told.append(self.name)

        waiting.add(Member("old"), waiting.seconds() + 10)
        self.clock.set_back(HOUR)
        self.clock.pump([1] * 5)
        waiting.add(Member("new"), waiting.seconds() + 60)
        self.clock.pump([1] * 5)
        self.assertEqual(told, ["old"])
        self.clock.pump([1] * 54)
        self.assertEqual(told, ["old"])
        self.clock.pump([1] * 2)
        self.assertEqual(told, ["old", "new"])

    def test_the_next_reply_mends_the_channel(self) -> None:
        channel = TwistedChannel(self.clock)
        transport: Any = StringTransport()
        transport.setTcpNoDelay = lambda enabled: None
        channel.makeConnection(transport)
        first = Deferred.fromCoroutine(channel.read(30.0))
        self.clock.set_back(HOUR)
        channel.dataReceived(b"reply")
        self.successResultOf(first)
        second = Deferred.fromCoroutine(channel.read(60.0))
        self.clock.pump([1] * 59)
        self.assertNoResult(second)
        self.clock.pump([1] * 2)
        self.failureResultOf(second, TimedOut)
