"""In which processes somebody looks at the clock, and for how long."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from mailkit.tap import mail, twistd
from mailkit.tap.clock_watch import ClockWatch
from mailkit.tap.services import MailService
from mailkit.tap.twistd import StoreKeeper, TwistdService, TwistdWorkers

from .processes import Process


class WatchedClockTests(TestCase):
    def setUp(self) -> None:
        self.watching: list[Any] = []
        self.patch(ClockWatch, "start", lambda watch: self.watching.append(watch._reactor))
        self.patch(ClockWatch, "stop", lambda watch: self.watching.remove(watch._reactor))
        for each in "raise_open_files_limit", "use_large_pages":
            self.patch(twistd, each, lambda: None)
        self.reactor: Any = MemoryReactorClock()

    def options(self, *arguments: str) -> mail.Options:
        options = mail.Options()
        store = f"sqlite:{self.mktemp()}"
        options.parseOptions(["--imap", "tcp:0", "--store", store, *arguments])
        # Nobody comes.
        self.patch(options, "list_endpoints", list)
        return options

    def test_the_parent_of_workers_until_they_have_ended(self) -> None:
        processes: list[Process] = []

        def spawn(protocol: Any, *_: object, **settings: object) -> Process:
            processes.append(Process(protocol))
            return processes[-1]

        self.reactor.spawnProcess = spawn
        service = TwistdWorkers(self.options("--workers", "2"), self.reactor)
        service.privilegedStartService()
        service.startService()
        self.assertEqual(self.watching, [self.reactor])
        stopped = service.stopService()
        # One that does not end is killed when its time has come.
        self.assertEqual(self.watching, [self.reactor])
        for process in reversed(processes):
            process.protocol.processEnded(Failure(ProcessDone(0)))
        self.successResultOf(stopped)
        self.assertEqual(self.watching, [])

    async def test_the_keeper_of_the_store(self) -> None:
        service = StoreKeeper(self.options(), self.reactor)
        service.startService()
        self.assertEqual(self.watching, [self.reactor])
        await service.stopService()
        self.assertEqual(self.watching, [])

    def test_a_server_until_it_has_stopped(self) -> None:
        stopping: Deferred[None] = Deferred()
        self.patch(MailService, "startService", lambda service: None)
        self.patch(MailService, "stopService", lambda service: stopping)
        service = TwistdService(self.options())
        service.startService()
        stopped = service.stopService()
        self.assertEqual(len(self.watching), 1)
        stopping.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.watching, [])
