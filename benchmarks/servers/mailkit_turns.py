"""``twistd`` that measures the turns of its reactor.

A turn is what is done between two polls, while nobody else is served; counted is its thread's own
processor time. Whoever connects to the port that is the first argument is told the longest turn
since the last one who did, all of them together, and the longest garbage collection in one of them, in
milliseconds. The other arguments are twistd's.

    python mailkit_turns.py PORT -n mailkit --store sqlite:DIR ...
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from typing import Any

from twisted.internet import epollreactor
from twisted.internet.protocol import Factory, Protocol


class _Turns:
    """Stands in for the reactor's poll object."""

    def __init__(self, poller: Any) -> None:
        self._poller = poller
        self._began = time.thread_time()
        self.longest = self.total = self.garbage = 0.0
        self._collecting = 0.0
        self._thread = threading.get_ident()
        gc.callbacks.append(self._collect)

    def _collect(self, phase: str, _: dict[str, int]) -> None:
        if threading.get_ident() == self._thread:
            now = time.thread_time()
            if phase == "stop":
                self.garbage = max(self.garbage, now - self._collecting)
            self._collecting = now

    def poll(self, *values: Any) -> Any:
        took = time.thread_time() - self._began
        self.longest = max(self.longest, took)
        self.total += took
        found = self._poller.poll(*values)
        self._began = time.thread_time()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)


class _Teller(Protocol):
    """Tells, and begins anew."""

    def connectionMade(self) -> None:
        turns = self.factory.turns  # type: ignore[union-attr]
        assert self.transport is not None
        told = turns.longest, turns.total, turns.garbage
        self.transport.write(b"%.2f %.2f %.2f\n" % tuple(each * 1e3 for each in told))
        self.transport.loseConnection()
        turns.longest = turns.total = turns.garbage = 0.0


def main() -> None:
    epollreactor.install()  # type: ignore[no-untyped-call]
    from twisted.internet import reactor
    from twisted.scripts.twistd import run

    factory = Factory.forProtocol(_Teller)
    factory.turns = reactor._poller = _Turns(reactor._poller)  # type: ignore[attr-defined]
    port = int(sys.argv.pop(1))
    reactor.listenTCP(port, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
    run()


if __name__ == "__main__":
    main()
