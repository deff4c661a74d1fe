"""One of the processes of ``--workers``, as its parent starts it: ``python -m mailkit.tap.worker``.

Its first line of input is its plan, as JSON: the class of the options (``options``), their
``arguments``, the directory in which they were read (``origin``) and the one to work in (``directory``), the
module of the ``reactor``, the ``families`` of the sockets, which it inherits, and whether it
``serves`` clients or makes the store's changes alone. Afterwards the input only tells, by its end, that
the parent has ended. Each line of the output is an event of the log.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

from twisted.application.service import IService
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    jsonFileLogObserver,
)
from twisted.python import usage
from twisted.python.reflect import namedAny
from zope.interface import implementer

from mailkit.tap.errors import CannotStart
from mailkit.tap.workers import FIRST_PORT, READY, RELUCTANCE


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
    _begin_logging()
    endpoints = [
        InheritedEndpoint(reactor, descriptor, family)
        for descriptor, family in enumerate(plan["families"], FIRST_PORT)
    ]
    service: IService
    if plan["serves"]:
        service = TwistdService(options, endpoints, RELUCTANCE)
    else:
        # It has no certificates to read again, and is not to end for whoever hangs up.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        service = StoreKeeper(options)
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
            sys.exit("mailkit: this is for the workers of twistd mailkit --workers")
        line += octets
    return line


def _begin_logging() -> None:
    """Write events to the output, for the parent."""
    observer = jsonFileLogObserver(open(1, "w", encoding="utf-8", closefd=False), "")
    informative = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
    globalLogBeginner.beginLoggingTo(
        [FilteringLogObserver(observer, [informative])], redirectStandardIO=False
    )


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
