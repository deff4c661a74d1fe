"""CPU time and memory of whole process trees, from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")


class Memory(NamedTuple):
    """Memory of a process tree; ``pss`` counts shared pages once, ``own`` no pages of files."""

    pss_kib: int
    rss_kib: int
    own_kib: int
    processes: int


def _processes() -> dict[int, tuple[int, float]]:
    """Process id to (parent, CPU seconds with those of reaped children)."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                stat = file.read()
        except OSError:
            continue
        fields = stat[stat.rindex(b")") + 2 :].split()
        found[int(name)] = (int(fields[1]), sum(map(int, fields[11:15])) / _TICKS)
    return found


def tree(roots: Sequence[int]) -> list[int]:
    """The processes below ``roots``, those included."""
    return _tree(roots, _processes())


def _tree(roots: Sequence[int], processes: dict[int, tuple[int, float]]) -> list[int]:
    children: dict[int, list[int]] = {}
    for process, (parent, _) in processes.items():
        children.setdefault(parent, []).append(process)
    waiting = [process for process in roots if process in processes]
    seen = []
    while waiting:
        process = waiting.pop()
        seen.append(process)
        waiting += children.get(process, [])
    return seen


def cpu(roots: Sequence[int]) -> float:
    """User and system seconds of the trees."""
    processes = _processes()
    return sum(processes[process][1] for process in _tree(roots, processes))


def memory(roots: Sequence[int]) -> Memory:
    """Memory of the trees now."""
    return memory_of(tree(roots))


def memory_of(processes: Sequence[int]) -> Memory:
    """Memory of these processes alone; much cheaper than to look for all others of the machine."""
    totals = {b"Pss:": 0, b"Rss:": 0, b"Anonymous:": 0}
    count = 0
    for process in processes:
        try:
            with open(f"/proc/{process}/smaps_rollup", "rb") as file:
                for line in file:
                    name, *rest = line.split()
                    if name in totals:
                        totals[name] += int(rest[0])
        except OSError:
            continue
        count += 1
    return Memory(totals[b"Pss:"], totals[b"Rss:"], totals[b"Anonymous:"], count)


class Meter:
    """Wall time of a ``with`` block, and the CPU (in cores) of this process and of the server."""

    def __init__(self, roots: Sequence[int]) -> None:
        self._roots = roots
        self.wall = self.client = self.server = 0.0

    def __enter__(self) -> Meter:
        self._server = cpu(self._roots)
        self._client = time.process_time()
        self._start = time.perf_counter()
        return self

    def split(self) -> float:
        """Seconds since the block began."""
        return time.perf_counter() - self._start

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.wall = self.split()
        self.client = (time.process_time() - self._client) / self.wall
        self.server = (cpu(self._roots) - self._server) / self.wall
