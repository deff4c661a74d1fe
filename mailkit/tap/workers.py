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

import json
import os
import re
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import Logger, eventFromJSON, globalLogPublisher
from twisted.python.failure import Failure

from mailkit._typing import override
from mailkit.tap.errors import SettingError
from mailkit.tap.ports import Port, parse_endpoint
from mailkit.tap.signals import reload_at_hangup
from mailkit.tap.stores import sqlite_directory

#: Processes.
MAX_WORKERS = 64
#: Seconds until a worker that ended is replaced: at first, and at most. Each time it is twice as long.
FIRST_DELAY = 0.1
MAX_DELAY = 30.0
#: Seconds of life after which the delay is the first one again.
SETTLED = 60.0
#: Seconds that workers have to end, beyond those that they give to their clients.
STOP_TIMEOUT = 15.0
#: Seconds in which a keeper that died may be replaced, before a worker makes the store's changes.
RELUCTANCE = 3.0
#: What a worker writes when it serves.
READY = b"ready"
#: The worker's descriptor of the first port.
FIRST_PORT = 3
# Octets of a line of its log; a longer one is cut.
_MAX_LINE = 256 * 1024
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
    """

    log = Logger()

    def __init__(
        self,
        workers: int,
        plan: Mapping[str, Any],
        endpoints: Sequence[tuple[str, str]],
        reactor: Any = None,
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
        self._keeper = _Worker(self, 0)
        self._workers = [_Worker(self, number) for number in range(1, workers + 1)]
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
        for worker in (self._keeper, *self._workers):
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
        await DeferredList([worker.stop() for worker in self._workers])
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

    def spawn(self, protocol: ProcessProtocol, serves: bool) -> Any:
        """Start a process.

        :param serves: it is for clients.
        :raises OSError: it cannot be started.
        """
        ports = self._ports if serves else []
        sockets = [port._waitingForPort.result.socket for port in ports]
        descriptors: dict[int, Any] = {0: "w", 1: "r", 2: "r"}
        for number, each in enumerate(sockets, FIRST_PORT):
            descriptors[number] = each.fileno()
        transport = self._reactor.spawnProcess(
            protocol,
            sys.executable,
            [sys.executable, "-m", "mailkit.tap.worker"],
            env=os.environ,
            childFDs=descriptors,
        )
        plan = {
            **self._plan,
            "directory": os.getcwd(),
            "families": [int(each.family) for each in sockets],
            "serves": serves,
        }
        transport.write(json.dumps(plan).encode("ascii") + b"\n")
        return transport

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


class _Worker:
    """One of the workers, whichever process it is at the moment.

    :param number: 0 for the keeper.
    """

    log = Logger()

    def __init__(self, service: WorkersService, number: int) -> None:
        self._service = service
        self.number = number
        #: For the log.
        self.name = f"worker {number}" if number else "the store's keeper"
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
        self._begun = self._service.reactor.seconds()
        try:
            self._transport = self._service.spawn(_WorkerProcess(self), self.number > 0)
        except OSError as error:
            self.log.error("{name}: {error}", name=self.name, error=error)
            self._start_again()

    def signal(self, number: int) -> None:
        if self._transport is not None:
            self._transport.signalProcess(number)

    def ready(self) -> None:
        self.has_served = True
        text = "{name} serves, process {pid}" if self.number else "{name} is process {pid}"
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
        if not was_ready and self.number:
            self.has_failed = True
            self._service.failed_at_first(errors or reason.getErrorMessage())
        self._start_again()

    def _start_again(self) -> None:
        reactor = self._service.reactor
        if reactor.seconds() - self._begun > SETTLED:
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
            self._timer = self._service.reactor.callLater(STOP_TIMEOUT, self._kill)
        return self._ended

    def _kill(self) -> None:
        self._timer = None
        self.signal(signal.SIGKILL)

    def _end(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if not self._ended.called:
            self._ended.callback(None)


class _WorkerProcess(ProcessProtocol):
    """Hears what one process has to say: events of its log by lines, and errors as text."""

    def __init__(self, worker: _Worker) -> None:
        self._worker = worker
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
                self._worker.ready()
            else:
                self._log(line)

    def _tell_error(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        self._errors = [*self._errors[-20:], text]
        self._worker.log.error("{name}: {text}", name=self._worker.name, text=text)

    def _log(self, line: bytes) -> None:
        try:
            event = eventFromJSON(line.decode("utf-8"))
            if not isinstance(event, dict):
                raise ValueError("no event")
        except (ValueError, KeyError):
            # Whatever code of others may print.
            text = line.decode("utf-8", "replace")
            self._worker.log.info("{name}: {text}", name=self._worker.name, text=text)
            return
        level = event.get("log_level")
        namespace = event.get("log_namespace", "-")
        event["worker"] = self._worker.number
        event["log_system"] = f"{self._worker.name} {namespace}#{level and level.name}"
        globalLogPublisher(event)

    @override
    def processEnded(self, reason: Failure) -> None:
        self._worker.ended(reason, self._ready, "\n".join(self._errors))
