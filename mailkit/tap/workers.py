"""``--workers``: several processes that serve the same ports over one store.

The parent binds the ports and starts the workers, each of which is a whole server with the parent's
settings that inherits the ports; no mail passes through the parent. The system gives each client to
one of them. They share the store as any servers do (see :mod:`mailkit.store.sqlite.guest`); one process
more, the keeper, has no clients and makes its changes, so that these never wait for a command and
all workers are alike. A worker takes its place where it cannot be had for some seconds. A process
that ends is replaced, the later the sooner it ended; what it logs is logged by the parent. Workers end
with their parent, however it ends.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import Logger

from mailkit._typing import override
from mailkit.tap.children import KEEPS, SENDS, SERVES, Child, spawn
from mailkit.tap.errors import SettingError
from mailkit.tap.ports import Port, parse_endpoint
from mailkit.tap.signals import reload_at_hangup
from mailkit.tap.stores import sqlite_directory

#: Processes.
MAX_WORKERS = 64
_INHERITABLE = re.compile(r"(?:tcp|tcp4|tcp6|unix|systemd):|\d+\Z")


def check_workers(workers: int, store: str, endpoints: Iterable[str]) -> None:
    """:raises SettingError: that many cannot serve this."""
    if workers > MAX_WORKERS:
        raise SettingError(f"{workers} is too many; at most {MAX_WORKERS}")
    if sqlite_directory(store) is None:
        raise SettingError(f"{store} is a store of one process; several can serve sqlite:DIR")
    for each in endpoints:
        if not _INHERITABLE.match(each):
            raise SettingError(
                f"{each} cannot be inherited by workers; tcp:, tcp6:, unix: and systemd: can"
            )


class WorkersService(MultiService):
    """Binds the ports and looks after the workers.

    :param plan: what each worker is told: see :mod:`mailkit.tap.worker`.
    :param endpoints: as the workers know them, in their order.
    :param sends: one process more sends what is queued.
    """

    log = Logger()

    def __init__(
        self,
        workers: int,
        plan: Mapping[str, Any],
        endpoints: Sequence[tuple[str, str]],
        reactor: Any = None,
        sends: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if reactor is None:
            from twisted.internet import reactor
        self._reactor = reactor
        self._plan = plan
        self._ports: list[Any] = []
        factory: Any = Factory()
        for name, endpoint in endpoints:
            port: Any = Port(name, endpoint, parse_endpoint(endpoint, reactor), factory)
            port.setServiceParent(self)
            self._ports.append(port)
        # It begins first, and ends last.
        self._keeper = Child(self, KEEPS, "the store's keeper")
        self._workers = [
            Child(self, SERVES, f"worker {number}", number) for number in range(1, workers + 1)
        ]
        self._senders = [Child(self, SENDS, "the sender")] if sends else []
        self._hangups: Any = None
        #: No worker could start.
        self.has_failed = False

    @override
    def privilegedStartService(self) -> None:
        """Bind the ports.

        :raises StartError: one of them is taken, or not ours to use.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._leave_clients_to_workers()

    @override
    def startService(self) -> None:
        """Start the workers."""
        super().startService()  # type: ignore[no-untyped-call]
        self._leave_clients_to_workers()
        for worker in (self._keeper, *self._workers, *self._senders):
            worker.start()
        self._hangups = reload_at_hangup(self)

    def _leave_clients_to_workers(self) -> None:
        for each in self._ports:
            port = getattr(each._waitingForPort, "result", None)
            if port is not None:
                port.stopReading()

    @override
    def stopService(self) -> Deferred[None]:
        """Let the workers end as a single server does."""
        if self._hangups is not None:
            self._hangups()
        ports_closed = super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop(ports_closed))

    async def _stop(self, ports_closed: Deferred[Any]) -> None:
        await DeferredList([each.stop() for each in (*self._workers, *self._senders)])
        await self._keeper.stop()
        await ports_closed

    def reload(self) -> None:
        """Let the workers read certificates again."""
        for worker in self._workers:
            worker.signal(signal.SIGHUP)

    # What workers ask.

    @property
    def reactor(self) -> Any:
        return self._reactor

    def spawn(self, protocol: ProcessProtocol, role: str) -> Any:
        """Start a process.

        :raises OSError: it cannot be started.
        """
        ports = self._ports if role == SERVES else []
        sockets = [port._waitingForPort.result.socket for port in ports]
        return spawn(self._reactor, protocol, self._plan, role, sockets)

    def failed_at_first(self, reason: str) -> None:
        """A worker could not start: there is nothing to be hoped for if none could."""
        if any(worker.has_served or not worker.has_failed for worker in self._workers):
            return
        self.has_failed = True
        self.log.critical("no worker can start: {reason}", reason=reason)
        if self._reactor.running:
            self._reactor.stop()

    def exit_if_failed(self) -> None:
        """Let the process end with exit code 1 when no worker could start, and it ends anyway.

        Whoever runs the reactor, as twistd does, ends with 0 when that was stopped.
        """
        if self.has_failed:
            sys.stderr.flush()
            os._exit(1)
