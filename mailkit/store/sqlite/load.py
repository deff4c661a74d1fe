"""How much a thread works, as another one sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def measure_this_thread(otherwise: Callable[[], float]) -> Callable[[], float]:
    """What tells, in any thread, the seconds of a processor that this one has used.

    :param otherwise: a number that grows while it works, where the system does not tell (macOS).
    """
    find_clock = getattr(time, "pthread_getcpuclockid", None)
    if find_clock is None:
        return otherwise
    clock = find_clock(threading.get_ident())
    return lambda: time.clock_gettime(clock)
