"""Durations that are compared by hand, while somebody sets the clock of the day back."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth import pacing as auth_pacing
from mailkit.auth import passwd_file
from mailkit.auth.pacing import Hold, Refusals
from mailkit.auth.passwd_file import CHECK_SECONDS, PasswdFile
from mailkit.errors import StoreUnavailable
from mailkit.queue import pacing
from mailkit.queue.pacing import Pace, PaceSettings
from mailkit.smtp.client import pool
from mailkit.smtp.client.pool import SessionPool
from mailkit.store.sqlite import guest
from mailkit.store.sqlite.codec import Codec
from mailkit.store.sqlite.guest import Guest
from mailkit.tap import children, outbox, services
from mailkit.tap.children import FIRST_DELAY, SERVES, SETTLED, Child
from mailkit.tap.clock_watch import ClockWatch
from mailkit.tap.outbox import FIRST, TROUBLE_INTERVAL, OutboxMover
from mailkit.tap.services import MailService

from .clocks import DayClock, steady_of

HOUR = 3600.0


class DurationTests(SynchronousTestCase):
    """The clock is set back by an hour, and timers are moved as under twistd."""

    def setUp(self) -> None:
        self.clock: Any = DayClock()

    def use(self, module: Any) -> None:
        self.patch(module, "steady_seconds", steady_of)

    def set_back(self) -> None:
        before = self.clock.seconds()
        self.clock.set_back(HOUR)
        ClockWatch(self.clock).hurry(HOUR, before)
        self.clock.advance(0)

    def test_the_pace_of_a_destination(self) -> None:
        self.use(pacing)
        pace = Pace(PaceSettings(rate=6), self.clock)
        entering = [Deferred.fromCoroutine(pace.enter()) for _ in range(2)]
        self.set_back()
        self.clock.advance(9)
        self.assertEqual([each.called for each in entering], [True, False])
        self.clock.advance(2)
        self.assertTrue(entering[1].called)

    def test_sessions_that_wait(self) -> None:
        self.use(pool)
        told: list[str] = []

        class Session:
            closed = exhausted = False

            async def check(self) -> bool:
                told.append("checked")
                return True

            async def quit(self) -> None:
                told.append("ended")

        async def connect() -> Any:
            return Session()

        sessions = SessionPool(connect, self.clock, idle_time=60.0, fresh_time=2.0)
        session: Any = Session()
        sessions.give_back(session)
        self.set_back()
        self.clock.advance(10)
        # It is fresh no more.
        taken = self.successResultOf(Deferred.fromCoroutine(sessions.take()))
        self.assertEqual(told, ["checked"])
        sessions.give_back(taken)
        self.set_back()
        self.clock.pump([1] * 70)
        self.assertEqual(told, ["checked", "ended"])

    def test_a_worker_that_ends_after_a_long_time(self) -> None:
        self.use(children)
        protocols: list[Any] = []

        class Parent:
            reactor = self.clock

            def spawn(self, protocol: Any, role: str) -> Any:
                protocols.append(protocol)
                return None

            def failed_at_first(self, reason: str) -> None:
                pass

        def end() -> None:
            protocols[-1].processEnded(Failure(ProcessTerminated(None, 9, 9)))

        child = Child(cast(Any, Parent()), SERVES, "worker")
        child.start()
        for number in range(6):
            end()
            self.clock.advance(FIRST_DELAY * 2**number)
        self.set_back()
        self.clock.advance(SETTLED + 1)
        count = len(protocols)
        end()
        self.clock.advance(FIRST_DELAY)
        self.assertEqual(len(protocols), count + 1)

    def test_a_server_that_stops(self) -> None:
        self.use(services)
        cut: list[float] = []
        clock = self.clock

        class Connection:
            def shut_down(self) -> None:
                pass

            def abort(self) -> None:
                cut.append(clock.steady.seconds())

        service: Any = MailService.__new__(MailService)
        service._reactor, service.stop_timeout = clock, 5.0
        self.patch(service, "_connections", lambda: [Connection()])
        self.patch(service, "_hook_sets", list)
        begun = clock.steady.seconds()
        Deferred.fromCoroutine(service._end_connections())
        self.set_back()
        clock.pump([0.02] * 300)
        (ended,) = cut
        self.assertTrue(5.0 <= ended - begun < 5.1, ended)

    def test_rows_that_are_tried_again(self) -> None:
        self.use(outbox)
        asked: list[int] = []

        class Source:
            name = "x"
            errors = ()

            def list_ids(self, after: int) -> Sequence[int]:
                asked.append(after)
                return []

            def wait(self) -> None:
                pass

        async def in_thread(work: Any, *arguments: Any) -> Any:
            return work(*arguments)

        mover: Any = OutboxMover(cast(Any, Source()), cast(Any, None), self.clock)
        self.patch(mover, "_in_thread", in_thread)
        mover._after = 7
        failure = Failure(StoreUnavailable())
        self.successResultOf(Deferred.fromCoroutine(mover._note([outbox._Failed(1, failure)])))
        self.set_back()
        for seconds in TROUBLE_INTERVAL - 1, 2:
            self.clock.advance(seconds)
            self.successResultOf(Deferred.fromCoroutine(mover._move_some()))
        self.assertEqual(asked, [7, FIRST])

    def test_who_leaves_the_store_to_others(self) -> None:
        self.use(guest)
        took: list[float] = []
        clock = self.clock
        links: list[Any] = []

        def adopt(descriptor: int, family: int, factory: Any) -> None:
            links.append(factory.buildProtocol(None))
            links[-1].makeConnection(StringTransport())

        def take_over() -> bool:
            took.append(clock.steady.seconds())
            return True

        clock.adoptStreamConnection = adopt
        host: Any = SimpleNamespace(
            directory=self.mktemp(),
            reactor=clock,
            codec=Codec("spools"),
            owner_changed=lambda: None,
            take_over=take_over,
        )
        Guest(host, socket.socket(socket.AF_UNIX), reluctance=3.0)
        links[0].connectionLost()
        self.set_back()
        clock.pump([0.1] * 50)
        (when,) = took
        self.assertTrue(3.0 <= when < 3.5, when)

    def test_refusals_that_tell_nothing(self) -> None:
        self.use(auth_pacing)
        refusals = Refusals(self.clock)
        question = refusals.ask()
        self.set_back()
        self.clock.advance(0.2)
        told = Deferred.fromCoroutine(self.wait(refusals.hold(question)))
        self.clock.advance(0.2)
        self.assertNoResult(told)
        self.clock.advance(0.2)
        self.successResultOf(told)

    async def wait(self, hold: Hold) -> None:
        await hold()

    def test_a_file_of_users_that_changes(self) -> None:
        self.use(passwd_file)
        read: list[float] = []
        users = PasswdFile(self.mktemp(), reactor=self.clock)

        async def run(work: Any) -> None:
            read.append(self.clock.steady.seconds())

        self.patch(users._workers, "run", run)
        for seconds in CHECK_SECONDS - 1, 2, CHECK_SECONDS:
            self.successResultOf(Deferred.fromCoroutine(users.find_login("ann")))
            self.set_back()
            self.clock.advance(seconds)
        self.assertEqual(read, [0.0, CHECK_SECONDS + 1])
