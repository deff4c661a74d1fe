"""Signals: SIGHUP lets a daemon read its certificates again, others end the demonstration."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any, Protocol


class Reloader(Protocol):
    """Knows what to read again."""

    def reload(self) -> object:
        """Read it again."""


def reload_at_hangup(reloader: Reloader, reactor: Any = None) -> Callable[[], None]:
    """Read certificates again at each SIGHUP; a function that ends that.

    Does nothing where the signal means something else: to a program that handles it already, and
    at a terminal, which sends it when it is closed.
    """
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = signal.getsignal(hangup)
    # Ignored: by nohup.
    if before not in (signal.SIG_DFL, signal.SIG_IGN) or _at_terminal():
        return lambda: None
    if reactor is None:
        from twisted.internet import reactor

    def handle(*_: object) -> None:
        # The reactor is at work, somewhere.
        reactor.callFromThread(reloader.reload)

    def end() -> None:
        if signal.getsignal(hangup) is handle:
            signal.signal(hangup, before)

    signal.signal(hangup, handle)
    return end


def stop_at_first_signal(reactor: Any) -> None:
    """Let Ctrl-C or SIGTERM stop the reactor, once.

    Those that impatience adds are ignored, as is what was ignored before (by a background job).
    """
    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]

    def stop(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        reactor.callFromThread(reactor.stop)

    for number in numbers:
        signal.signal(number, stop)


def _at_terminal() -> bool:
    try:
        return os.isatty(0)
    except OSError:
        return False
