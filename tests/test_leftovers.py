"""What tests must not leave behind is seen, or brought to its end."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from mailkit.pools import DaemonThreadPool
from tests.leftovers import Leftovers
from tests.support import PATIENCE

reactor: Any = _reactor


class LeftoversTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.leftovers = Leftovers()

    def begin(self, work: Any) -> Any:
        """Let a thread of a pool do something."""
        pool = DaemonThreadPool(0, 1)
        pool.start()
        self.addCleanup(pool.stop)
        return deferToThreadPool(reactor, pool, work)

    def test_nothing(self) -> None:
        self.assertEqual(self.leftovers.end(), [])

    def test_a_timer(self) -> None:
        call = reactor.callLater(PATIENCE, print)
        (found,) = self.leftovers.end()
        self.assertIn("timer: ", found)
        self.assertFalse(call.active())

    def test_what_is_due_is_done(self) -> None:
        done: list[int] = []
        reactor.callLater(0, done.append, 1)
        self.assertEqual((self.leftovers.end(), done), ([], [1]))

    def test_work_in_threads_is_waited_for(self) -> None:
        go_on = threading.Event()
        result = self.begin(lambda: go_on.wait(PATIENCE))
        self.assertNoResult(result)
        threading.Timer(0.05, go_on.set).start()
        self.assertEqual(self.leftovers.end(), [])
        self.assertTrue(self.successResultOf(result))

    def test_what_goes_wrong_meanwhile_is_told(self) -> None:
        log = Logger()
        self.begin(lambda: 1 // 0).addErrback(lambda failure: log.failure("no", failure))
        (found,) = self.leftovers.end()
        self.assertIn("ZeroDivisionError", found)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_threads_of_ours(self) -> None:
        ended: list[bool] = []
        thread = threading.Thread(target=lambda: ended.append(True), name="mailkit-test")
        thread.start()
        self.assertEqual(self.leftovers.end(), [])
        self.assertEqual(ended, [True])

    def test_threads_that_wait_for_work_may_stay(self) -> None:
        executor = ThreadPoolExecutor(1, "mailkit-test")
        self.addCleanup(executor.shutdown)
        go_on = threading.Event()
        waiting = executor.submit(go_on.wait, PATIENCE)
        threading.Timer(0.05, go_on.set).start()
        self.assertEqual(self.leftovers.end(), [])
        self.assertTrue(waiting.done())

    def test_threads_that_end_between_two_looks_are_not_blamed(self) -> None:
        ending = threading.Thread(name="mailkit-test")
        looks = iter([[], [ending]])
        self.patch(self.leftovers, "_busy_threads", lambda: next(looks))
        self.assertEqual(self.leftovers.end(), [])

    def test_state_of_the_process(self) -> None:
        place = os.getcwd()
        self.addCleanup(os.chdir, place)
        os.chdir("/")
        self.assertEqual(self.leftovers.end(), ["changed: current directory"])
