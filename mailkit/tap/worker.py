"""A process of ``--workers`` or ``--relay-process``, as its parent starts it: ``python -m mailkit.tap.worker``.

Its first line of input is its plan, as JSON: the class of the options (``options``), their
``arguments``, the directory in which they were read (``origin``) and the one to work in
(``directory``), the module of the ``reactor``, the ``families`` of the sockets, which it inherits,
and its ``role`` (:mod:`mailkit.tap.children`). Afterwards the input only tells, by its end, that
the parent has ended. Each line of the output is an event of the log.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.application.service import IService
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import globalLogBeginner
from twisted.python import usage
from twisted.python.reflect import namedAny
from twisted.python.threadable import isInIOThread
from zope.interface import implementer

from mailkit.tap.child_log import LineObserver
from mailkit.tap.children import FIRST_PORT, KEEPS, READY, RELUCTANCE, SENDS
from mailkit.tap.errors import CannotStart


def main() -> None:
    """Serve until the parent ends, or wants it."""
    plan = json.loads(_read_line())
    install = getattr(importlib.import_module(plan["reactor"]), "install", None)
    if install is not None:
        install()
    from twisted.internet import reactor as installed

    from mailkit.tap.ports import InheritedEndpoint
    from mailkit.tap.twistd import StoreKeeper, TwistdService

    reactor: Any = installed
    os.chdir(plan["origin"])
    options = namedAny(plan["options"])()
    options.inherits = True
    try:
        options.parseOptions(plan["arguments"])
    except usage.UsageError as error:
        sys.exit(f"mailkit: {error}")
    os.chdir(plan["directory"])
    _begin_logging(reactor)
    endpoints = [
        InheritedEndpoint(reactor, descriptor, family)
        for descriptor, family in enumerate(plan["families"], FIRST_PORT)
    ]
    service: IService
    if plan["role"] == KEEPS:
        # It has no certificates to read again, and is not to end for whoever hangs up.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        service = StoreKeeper(options)
    else:
        if plan["role"] == SENDS:
            options.send_alone()
        service = TwistdService(options, endpoints, RELUCTANCE)
    failures: list[str] = []

    def start() -> None:
        try:
            service.privilegedStartService()
            service.startService()
        except CannotStart as error:
            failures.append(str(error))
            reactor.stop()
            return
        reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
        os.write(1, READY + b"\n")

    reactor.callWhenRunning(start)
    reactor.addReader(_Parent(reactor))
    reactor.run()
    if failures:
        sys.exit(failures[0])


def _read_line() -> bytes:
    """The first line of the input, and nothing of what comes after it."""
    line = b""
    while not line.endswith(b"\n"):
        octets = os.read(0, 65_536)
        if not octets:
            sys.exit("mailkit: this is for twistd mailkit --workers and --relay-process")
        line += octets
    return line


def _begin_logging(reactor: Any) -> None:
    """Write events to the output, for the parent."""
    output = open(1, "wb", closefd=False)

    def write(octets: bytes) -> None:
        # Nobody reads it any more when the parent was killed.
        with suppress(BrokenPipeError):
            output.write(octets)
            output.flush()

    def in_turn(function: Callable[[], None]) -> None:
        if isInIOThread():
            reactor.callLater(0, function)
        else:
            reactor.callFromThread(function)

    observer = LineObserver(write, in_turn)
    # What is logged when no turn follows.
    atexit.register(observer.flush)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


@implementer(IReadDescriptor)
class _Parent:
    """Ends the reactor when the parent has ended."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._ended = False

    def fileno(self) -> int:
        return 0

    def logPrefix(self) -> str:
        return "parent"

    def doRead(self) -> None:
        if not os.read(0, 65_536):
            self.connectionLost(None)

    def connectionLost(self, reason: Any) -> None:
        self._reactor.removeReader(self)
        if not self._ended:
            self._ended = True
            # Unless it is about to end anyway.
            with suppress(ReactorNotRunning):
                self._reactor.stop()


if __name__ == "__main__":
    main()
