"""Processes beside a server's own: how they are started and replaced, and what becomes of their log.

Each is ``python -m mailkit.tap.worker`` with a plan. One that ends is replaced, the later the sooner it
ended; what it logs is logged here. It ends with its parent, however that ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, globalLogPublisher
from twisted.python.failure import Failure

from mailkit._typing import override
from mailkit.clocks import steady_seconds
from mailkit.tap.child_log import read_event

#: What a process is for: it serves clients, makes the store's changes alone, or sends what is queued.
SERVES, KEEPS, SENDS = "serves", "keeps", "sends"
#: Seconds until a process that ended is replaced: at first, and at most. Each time it is twice as long.
FIRST_DELAY = 0.1
MAX_DELAY = 30.0
#: Seconds of life after which the delay is the first one again.
SETTLED = 60.0
#: Seconds that processes have to end, beyond those that they give to their clients.
STOP_TIMEOUT = 15.0
#: Seconds in which whoever makes the store's changes may be replaced, before another one makes them.
RELUCTANCE = 3.0
#: What a process writes when it is at work.
READY = b"ready"
#: Its descriptor of the first port.
FIRST_PORT = 3
# Octets of a line of its log; a longer one is cut.
_MAX_LINE = 256 * 1024


class Parent(Protocol):
    """Who has processes."""

    @property
    def reactor(self) -> Any:
        """Starts them, and tells the time."""

    def spawn(self, protocol: ProcessProtocol, role: str) -> Any:
        """Start a process for that.

        :raises OSError: it cannot be started.
        """

    def failed_at_first(self, reason: str) -> None:
        """A process that should serve clients has ended before it did."""


def spawn(
    reactor: Any,
    protocol: ProcessProtocol,
    plan: Mapping[str, Any],
    role: str,
    sockets: Sequence[Any] = (),
) -> Any:
    """Start a process; gives its transport.

    :param plan: what it is told: see :mod:`mailkit.tap.worker`.
    :param sockets: those that it inherits.
    :raises OSError: it cannot be started.
    """
    descriptors: dict[int, Any] = {0: "w", 1: "r", 2: "r"}
    for number, each in enumerate(sockets, FIRST_PORT):
        descriptors[number] = each.fileno()
    transport = reactor.spawnProcess(
        protocol,
        sys.executable,
        [sys.executable, "-m", "mailkit.tap.worker"],
        env=os.environ,
        childFDs=descriptors,
    )
    whole = {
        **plan,
        "directory": os.getcwd(),
        "families": [int(each.family) for each in sockets],
        "role": role,
    }
    transport.write(json.dumps(whole).encode("ascii") + b"\n")
    return transport


class Child:
    """A process for one thing, whichever process it is at the moment.

    :param role: what for.
    :param name: for the log.
    :param number: of a worker; 0 for others.
    """

    log = Logger()

    def __init__(self, parent: Parent, role: str, name: str, number: int = 0) -> None:
        self._parent = parent
        self._role = role
        self.name = name
        self.number = number
        #: One of its processes has been ready.
        self.has_served = False
        #: One has ended before it was.
        self.has_failed = False
        self._transport: Any = None
        self._delay = FIRST_DELAY
        self._begun = 0.0
        self._timer: Any = None
        self._stopping = False
        self._ended: Deferred[None] = Deferred()

    def start(self) -> None:
        self._timer = None
        self._begun = steady_seconds(self._parent.reactor)()
        try:
            self._transport = self._parent.spawn(_ChildProcess(self), self._role)
        except OSError as error:
            self.log.error("{name}: {error}", name=self.name, error=error)
            self._start_again()

    def signal(self, number: int) -> None:
        if self._transport is not None:
            self._transport.signalProcess(number)

    def ready(self) -> None:
        self.has_served = True
        text = "{name} serves, process {pid}" if self._role == SERVES else "{name} is process {pid}"
        self.log.info(text, name=self.name, pid=self._transport.pid)

    def ended(self, reason: Failure, was_ready: bool, errors: str) -> None:
        self._transport = None
        if self._stopping:
            self._end()
            return
        self.log.error(
            "{name} has ended: {reason}",
            name=self.name,
            reason=errors or reason.getErrorMessage(),
        )
        if not was_ready and self._role == SERVES:
            self.has_failed = True
            self._parent.failed_at_first(errors or reason.getErrorMessage())
        self._start_again()

    def _start_again(self) -> None:
        reactor = self._parent.reactor
        if steady_seconds(reactor)() - self._begun > SETTLED:
            self._delay = FIRST_DELAY
        self._timer = reactor.callLater(self._delay, self.start)
        self._delay = min(self._delay * 2, MAX_DELAY)

    def stop(self) -> Deferred[None]:
        self._stopping = True
        if self._transport is None:
            self._end()
        else:
            # It ends as if we had ended.
            self._transport.closeStdin()
            self._timer = self._parent.reactor.callLater(STOP_TIMEOUT, self._kill)
        return self._ended

    def _kill(self) -> None:
        self._timer = None
        self.signal(signal.SIGKILL)

    def _end(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if not self._ended.called:
            self._ended.callback(None)


class _ChildProcess(ProcessProtocol):
    """Hears what one process has to say: events of its log by lines, and errors as text."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._buffers = {1: b"", 2: b""}
        self._ready = False
        self._errors: list[str] = []

    @override
    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *lines, rest = (self._buffers[childFD] + data).split(b"\n")
        self._buffers[childFD] = rest[:_MAX_LINE]
        for line in filter(None, lines):
            if childFD == 2:
                self._tell_error(line)
            elif line == READY:
                self._ready = True
                self._child.ready()
            else:
                self._log(line)

    def _tell_error(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        self._errors = [*self._errors[-20:], text]
        self._child.log.error("{name}: {text}", name=self._child.name, text=text)

    def _log(self, line: bytes) -> None:
        try:
            event = read_event(line)
        except (ValueError, KeyError):
            # Whatever code of others may print.
            text = line.decode("utf-8", "replace")
            self._child.log.info("{name}: {text}", name=self._child.name, text=text)
            return
        level = event.get("log_level")
        namespace = event.get("log_namespace", "-")
        event["worker"] = self._child.number
        event["log_system"] = f"{self._child.name} {namespace}#{level and level.name}"
        globalLogPublisher(event)

    @override
    def processEnded(self, reason: Failure) -> None:
        self._child.ended(reason, self._ready, "\n".join(self._errors))
