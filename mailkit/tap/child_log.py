"""The log of a process beside a server's own: events as lines, which the server makes events of again.

Most events have nothing but texts and numbers in them and go as they are. Twisted's form for events
of any kind takes twice as long, and is for the others: those with a failure, for example.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    eventAsJSON,
    eventFromJSON,
)
from zope.interface import implementer

# What an event has of the place where it was made; of no use elsewhere.
_LEFT_OUT = ("log_logger", "log_source")
_PLAIN = (str, int, float, type(None))
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def event_line(event: LogEvent) -> str:
    """An event as a line, without its end."""
    level = event.get("log_level")
    if level is None:
        return eventAsJSON(event)
    plain: dict[str, Any] = {}
    for key, value in event.items():
        if isinstance(value, _PLAIN):
            plain[key] = value
        elif key not in _LEFT_OUT and value is not level:
            return eventAsJSON(event)
    plain["log_level"] = level.name
    return _encode(plain)


def read_event(line: bytes) -> LogEvent:
    """The event that a line stands for.

    :raises ValueError: or KeyError: it stands for none.
    """
    event = json.loads(line)
    if not isinstance(event, dict):
        raise ValueError("no event")
    level = event.get("log_level")
    if not isinstance(level, str):
        return eventFromJSON(line.decode("utf-8"))
    event["log_level"] = LogLevel.lookupByName(level)
    return event


@implementer(ILogObserver)
class LineObserver:
    """Writes events as lines, those of one turn of the reactor together; none for debugging.

    :param write: takes octets, all of them.
    :param in_turn: calls a function in the reactor's next turn, from whatever thread.
    """

    def __init__(
        self, write: Callable[[bytes], object], in_turn: Callable[[Callable[[], None]], object]
    ) -> None:
        self._write = write
        self._in_turn = in_turn
        # Any thread logs.
        self._lock = threading.Lock()
        self._lines: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_level") is LogLevel.debug:
            return
        line = event_line(event)
        with self._lock:
            self._lines.append(line)
            is_first = len(self._lines) == 1
        if is_first:
            self._in_turn(self.flush)

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            lines, self._lines = self._lines, []
        if lines:
            self._write("\n".join([*lines, ""]).encode("ascii"))
