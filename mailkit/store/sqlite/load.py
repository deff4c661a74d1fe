"""How much a thread works, as another one sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class ThreadLoad:
    """Seconds of a processor that the thread has used that makes this, and sleeps in between.

    :param otherwise: a number that grows while it works, where the system does not tell (macOS).
    """

    def __init__(self, otherwise: Callable[[], float]) -> None:
        self.used: Callable[[], float] = otherwise
        find_clock = getattr(time, "pthread_getcpuclockid", None)
        if find_clock is not None:
            clock = find_clock(threading.get_ident())
            self.used = lambda: time.clock_gettime(clock)
