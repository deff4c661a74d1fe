"""Files that are mapped to memory: found is what is there, and little of it stays in the process."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailkit.checks.content import has_long_line
from mailkit.mime import mapped, parse_message

MIB = 1 << 20


class MappedCase(SynchronousTestCase):
    @contextmanager
    def map(self, *pieces: bytes) -> Iterator[mmap.mmap]:
        self.path = Path(self.mktemp()).resolve()
        with open(self.path, "wb") as file:
            file.writelines(pieces)
        with (
            open(self.path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            yield data


class SearchTests(MappedCase):
    def test_as_bytes_do(self) -> None:
        self.patch(mapped, "CHUNK", 4)
        whole = b"ab\nabc\n\nabcd\nab"
        with self.map(whole) as data:
            for start in range(len(whole) + 1):
                for end in range(start, len(whole) + 1):
                    place = start, end
                    for needle in (b"a", b"\nab", b"abcd", b"cd\nab", b"x"):
                        self.assertEqual(
                            mapped.find(data, needle, *place), whole.find(needle, *place), place
                        )
                    self.assertEqual(
                        mapped.count(data, b"\n", *place), whole.count(b"\n", *place), place
                    )


class MemoryTests(MappedCase):
    if not sys.platform.startswith("linux"):
        skip = "only Linux tells what of a mapping is in memory"

    def resident(self) -> int:
        """Octets of the file that count as memory of this process."""
        lines = iter(Path("/proc/self/smaps").read_text("utf-8").splitlines())
        for line in lines:
            if line.endswith(str(self.path)):
                rss = next(line for line in lines if line.startswith("Rss:"))
                return int(rss.split()[1]) * 1024
        raise AssertionError("it is not mapped")

    def test_it_is_counted(self) -> None:
        with self.map(b"x" * 20 * MIB) as data:
            self.assertEqual(data.rfind(b"y"), -1)
            self.assertGreater(self.resident(), 15 * MIB)

    def test_lines(self) -> None:
        lines = (b"x" * 998 + b"\r\n") * 20_000
        with self.map(b"Subject: x\r\n\r\n", lines) as data:
            self.assertEqual(parse_message(data).lines(data), 20_000)
            self.assertLess(self.resident(), 4 * MIB)
            self.assertFalse(has_long_line(data))
            self.assertLess(self.resident(), 4 * MIB)

    def test_parts(self) -> None:
        head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
        part = (b"x" * 998 + b"\r\n") * 10_000
        with self.map(head, part, b"--b\r\n\r\n", part, b"--b--\r\n") as data:
            root = parse_message(data)
            self.assertEqual([child.size for child in root.children], [len(part) - 2] * 2)
            self.assertLess(self.resident(), 4 * MIB)
