"""Threads that don't keep a program from ending."""

from __future__ import annotations

from threading import Thread
from typing import Any

from twisted.python.threadpool import ThreadPool


class _DaemonThread(Thread):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, daemon=True, **kwargs)


class DaemonThreadPool(ThreadPool):
    """A pool for work of which nothing is lost when it is cut off.

    Python waits for all other threads when a program ends: with Twisted's own pools, one that stops
    its reactor and forgets to close what it has opened would hang without a word.
    """

    threadFactory = _DaemonThread  # noqa: N815
