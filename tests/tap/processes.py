"""Processes that a reactor in memory starts."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase


class Process:
    """What ``spawnProcess`` gives."""

    pid = 17

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.signals: list[object] = []
        self.input = b""

    def write(self, data: bytes) -> None:
        self.input += data

    def closeStdin(self) -> None:
        self.signals.append("end")

    def signalProcess(self, number: int) -> None:
        self.signals.append(number)


class ProcessTestCase(SynchronousTestCase):
    """Notes the processes that are started."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.processes: list[Process] = []

        def spawn(protocol: Any, *_: object, **settings: object) -> Process:
            self.processes.append(Process(protocol))
            return self.processes[-1]

        self.reactor.spawnProcess = spawn
