"""Input that is made to take long: the time grows with the octets, not with their square."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from mailkit import mime
from mailkit.mime.content import decode_quoted_printable, decode_uuencode
from mailkit.mime.lexical import parse_parameterized, parse_parameters
from mailkit.mime.words import decode_base64

SMALL = 1024
FACTOR = 8
#: With eight times the octets: 8 would be linear, 64 quadratic.
GROWTH = 30
#: Seconds of processor time below which nothing is quadratic at these sizes.
NOTHING = 0.02

MULTIPART = b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n"


def seconds(function: Callable[[bytes], object], data: bytes, runs: int = 3) -> float:
    """Processor time, the least of some runs."""
    found = []
    for _ in range(runs):
        start = time.process_time()
        function(data)
        found.append(time.process_time() - start)
    return min(found)


def read_all(data: bytes) -> None:
    root = mime.parse_message(data)
    mime.envelope_octets(data, root.header)
    mime.body_from_bodystructure(mime.bodystructure_octets(data, root))
    for _ in mime.iter_text(data, root):
        pass


class GrowthTests(SynchronousTestCase):
    def check(self, function: Callable[[bytes], object], make: Callable[[int], bytes]) -> None:
        large = make(SMALL * FACTOR)
        if seconds(function, large, runs=1) > NOTHING:
            small = seconds(function, make(SMALL))
            self.assertLess(seconds(function, large), small * GROWTH, make(60))

    def test_messages(self) -> None:
        makers: list[Callable[[int], bytes]] = [
            lambda n: MULTIPART % b"a" + b"--a\r\n" * (n // 5),
            lambda n: MULTIPART % b"a" + b"--ab\r\n" * (n // 6),
            lambda n: MULTIPART % b"a" + b"--a\nX" * (n // 5),
            lambda n: MULTIPART % (b"-" * 70) + b"-" * n,
            lambda n: MULTIPART % (b"-" * 70) + (b"-" * 71 + b"\n") * (n // 72),
            lambda n: MULTIPART % (b"a" * (n // 3)) + (b"--" + b"a" * (n // 3) + b"\n") * 2,
            lambda n: (MULTIPART % b"a" + b"--a\r\n") * (n // 50),
            lambda n: b"".join(MULTIPART % b"%d" % i + b"--%d\r\n" % i for i in range(n // 56)),
            lambda n: (
                MULTIPART % b"a" + (b"--a\r\n" + MULTIPART % b"b" + b"--b\r\n\r\n") * (n // 60)
            ),
            lambda n: (
                MULTIPART % b"a"
                + (b"--a\r\n" + MULTIPART % b"a" + b"--a\r\n\r\n--a--\r\n") * (n // 70)
            ),
            lambda n: b"Content-Type: message/rfc822\r\n\r\n" * (n // 32),
            lambda n: b"Subject: a\r\n" + b" x\r\n" * (n // 4) + b"\r\n",
            lambda n: b"To: a@b.c\r\n" * (n // 11) + b"\r\n",
            lambda n: b"a b c\r\n" * (n // 7),
            lambda n: b"Content-Language: " + b"," * n + b"\r\n\r\n",
            lambda n: b"Content-Language: " + b"()" * (n // 2) + b"\r\n\r\n",
            *((lambda n, piece=piece: piece * n) for piece in (b"\n", b"\r", b"\0", b" ", b":")),
        ]
        for make in makers:
            self.check(read_all, make)

    def test_values(self) -> None:
        pieces = [
            b"a", b" ", b",", b"<", b">", b"@", b"(", b")", b'"', b'\\"', b'"\\', b"\\", b";", b":",
            b".", b"a@b,", b"a@b ", b"a <a@b>,", b"a: b;", b"<@a,", b"[", b"a[", b"(a", b"a b ",
            b'a="', b"a*0=", b";a*0=b", b"=?", b"=?a?q?", b"=?utf-8?q?a?= ", b"=?utf-8?b?YQ?=",
            b"re:", b"re ", b"re [", b"[a]", b"[fwd:", b"]", b"(fwd)", b'<"', b'<"\\', b'<"\\<', b"%41",
            b"=", b"=\r\n", b" \r\n", b"\t=41", b"1-", b"Mon, ", b'"a"a', b"' ", b"''", b"*", b"\xff",
        ]  # fmt: skip
        functions: list[Callable[[bytes], object]] = [
            mime.parse_addresses,
            mime.decode_text,
            parse_parameters,
            parse_parameterized,
            mime.parse_date,
            mime.parse_message_ids,
            lambda value: mime.base_subject(value.decode("latin-1")),
            decode_base64,
            decode_quoted_printable,
            decode_uuencode,
            mime.imap_string,
        ]
        for piece in pieces:
            for function in functions:
                self.check(function, lambda n, p=piece: p * (n // len(p)) + b"x")
            # In a quoted string that does not end.
            for function in (mime.parse_addresses, parse_parameters):
                self.check(function, lambda n, p=piece: b'"' + p * (n // len(p)))


class CountingOctets(bytes):
    """Counts the octets that its ``find`` looks at."""

    looked_at = 0

    @override
    def find(self, sub: bytes, start: int, end: int) -> int:  # type: ignore[override]
        found = super().find(sub, start, end)
        self.looked_at += (end if found < 0 else found) - start
        return found


class BoundTests(SynchronousTestCase):
    def test_each_level_looks_at_an_octet_twice_at_most(self) -> None:
        for data, levels in (
            (MULTIPART % b"a" + b"--a\r\n\r\nx\r\n" * 1000, 1),
            (MULTIPART % b"a" + b"x\r\n" * 5000, 1),
            (MULTIPART % b"a" + (b"--a\r\n" + MULTIPART % b"b" + b"--b\r\n\r\n") * 100, 2),
            (MULTIPART % b"a" + (b"--a\r\n" + MULTIPART % b"a" + b"--a\r\n\r\n--a--\r\n") * 50, 2),
            (b"".join(MULTIPART % b"%d" % i + b"--%d\r\n" % i for i in range(5000)), 100),
        ):
            octets = CountingOctets(data)
            mime.parse_message(octets)
            self.assertGreater(octets.looked_at, 0)
            self.assertLessEqual(octets.looked_at, 2 * levels * len(data))

    def test_deep_trees_need_no_deep_stack(self) -> None:
        data = b"".join(MULTIPART % b"%d" % i + b"--%d\r\n" % i for i in range(2000))
        root = mime.parse_message(data, limits=mime.Limits(depth=2000))
        self.assertGreater(len(mime.bodystructure_octets(data, root)), 2000)
        self.assertEqual(sum(1 for _ in root.walk()), 2001)


class ImportTests(SynchronousTestCase):
    def test_the_email_package_is_not_used(self) -> None:
        code = (
            "import sys; import mailkit.mime; "
            "print([n for n in sys.modules if n.split('.')[0] in ('email', 'twisted', 'zope')])"
        )
        found = subprocess.run(
            [sys.executable, "-S", "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=mime.__file__.rpartition("/mailkit/")[0],
        )
        self.assertEqual(found.stdout.strip(), "[]")
