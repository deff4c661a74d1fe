"""What the figures depend on: processor, disk, versions."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

_VERSIONS = (
    "import importlib.metadata as m\n"
    "for n in 'twisted-mailkit', 'Twisted', 'aiosmtpd', 'pymap':\n"
    "    try: print(n, m.version(n))\n"
    "    except m.PackageNotFoundError: pass\n"
)


def describe(python: str) -> dict[str, str]:
    """Processor, kernel, interpreter and versions of what is installed in it."""
    facts = {
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                facts["cpu"] = line.split(":", 1)[1].strip()
    listed = subprocess.run([python, "-c", _VERSIONS], capture_output=True, text=True, check=True)
    for line in listed.stdout.splitlines():
        name, version = line.split()
        facts[name] = version
    return facts


def probe_disk(directory: Path, count: int = 100) -> float:
    """Median milliseconds to make 4 KiB durable as a new file, as a Maildir would.

    Durable figures are comparable only where this is alike.
    """
    block = os.urandom(4096)
    place = directory / "probe"
    place.mkdir()
    taken = []
    handle = os.open(place, os.O_RDONLY)
    try:
        for number in range(count):
            start = time.perf_counter()
            file = os.open(place / "new", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
            os.write(file, block)
            os.fsync(file)
            os.close(file)
            os.rename(place / "new", place / str(number))
            os.fsync(handle)
            taken.append(time.perf_counter() - start)
    finally:
        os.close(handle)
    for number in range(count):
        (place / str(number)).unlink()
    place.rmdir()
    return statistics.median(taken) * 1e3
