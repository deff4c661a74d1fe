"""Nothing of a test may reach the next one: no work in threads, no timers, no state of the process.

A test that fails because of the one before it fails now and then, and does not say who did it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.threadpool import ThreadPool
from twisted.trial._synctest import _logObserver

from tests.support import PATIENCE


class Leftovers:
    """What a test leaves: brought to its end where it ends by itself, told where it does not.

    To be made before the test.
    """

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._state = _state()
        self._logged: list[str] = []

    def end(self) -> list[str]:
        """What was not there before the test, for people to read."""
        found = [f"changed: {what}" for what, now in _state().items() if self._state[what] != now]
        globalLogPublisher.addObserver(self._observe)
        try:
            found += self._finish()
        finally:
            globalLogPublisher.removeObserver(self._observe)
        for call in _timers():
            found.append(f"timer: {call}")
            call.cancel()
        return found + self._logged

    def _observe(self, event: LogEvent) -> None:
        if "log_failure" in event:
            self._logged.append(f"logged: {event['log_failure'].getTraceback()}")

    def _finish(self) -> list[str]:
        """Let threads and the reactor do what they are about to do; what goes on for ever."""
        reactor = _reactor()
        give_up = time.monotonic() + PATIENCE
        while True:
            # Asked first: what they have come to is in the queue when they are no longer at work.
            # And once: a thread that waited may be ending by the next time, as its pool is dropped.
            at_work = [f"work in a thread: {what}" for what in _work.copy().values()]
            at_work += [f"thread: {thread.name}" for thread in self._busy_threads()]
            if time.monotonic() >= give_up:
                return at_work
            if reactor is not None and (
                reactor.threadCallQueue
                or any(call.getTime() <= reactor.seconds() for call in _timers())
            ):
                reactor.iterate(0)
            elif at_work:
                time.sleep(0.001)
            else:
                return []

    def _busy_threads(self) -> list[threading.Thread]:
        """New ones of ours; those of Twisted's pools stay, and only their work counts."""
        return [
            thread
            for thread in threading.enumerate()
            if thread not in self._threads
            and thread.name.startswith("mailkit-")
            and "PoolThread" not in thread.name
            and not _waits_for_work(thread)
        ]


def _waits_for_work(thread: threading.Thread) -> bool:
    """Whether it is one of several that do what comes, and nothing has come.

    Of user bases (:class:`~mailkit.auth.workers.Workers`) and of the standard library's executors:
    they keep nothing but memory, until somebody drops them.
    """
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None and frame.f_code.co_filename == threading.__file__:
        frame = frame.f_back
    return frame is not None and frame.f_code.co_name in ("_worker", "_next")


def _reactor() -> Any:
    """The running one, if anybody has asked for it."""
    return sys.modules.get("twisted.internet.reactor")


def _timers() -> list[Any]:
    reactor = _reactor()
    return [] if reactor is None else reactor.getDelayedCalls()


def _state() -> dict[str, Any]:
    """Of the whole process."""
    environment = dict(os.environ)
    # Set by pytest.
    environment.pop("PYTEST_CURRENT_TEST", None)
    return {
        "current directory": os.getcwd(),
        "environment": environment,
        "observers of the log": [
            observer for observer in globalLogPublisher._observers if not _is_of_trial(observer)
        ],
    }


def _is_of_trial(observer: Any) -> bool:
    """Whether trial listens by it: it goes on after a test whose ``setUp`` skips it."""
    return bool(getattr(observer, "legacyObserver", None) == _logObserver.gotEvent)


#: What was given to thread pools and has not ended.
_work: dict[object, str] = {}


def watch_pools() -> None:
    """Keep account of what is given to Twisted's thread pools from now on."""
    give = ThreadPool.callInThreadWithCallback

    def give_on_account(
        self: ThreadPool, on_result: Any, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        key = object()

        def tell(success: bool, result: Any) -> None:
            try:
                on_result(success, result)
            finally:
                del _work[key]

        # One that was stopped takes nothing; without a callback nobody waits for the end.
        if self.joined or on_result is None:
            give(self, on_result, function, *args, **kwargs)
        else:
            _work[key] = repr(function)
            give(self, tell, function, *args, **kwargs)

    ThreadPool.callInThreadWithCallback = give_on_account  # type: ignore[method-assign]
