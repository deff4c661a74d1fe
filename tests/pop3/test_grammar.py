"""Which octets are commands, and what TOP lets pass."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.pop3.grammar import (
    Command,
    CommandError,
    TopFilter,
    parse_auth,
    parse_command,
    parse_nothing,
    parse_number,
    parse_optional_number,
    parse_password,
    parse_top,
    parse_user,
)

LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class CommandTests(SynchronousTestCase):
    def test_verb_and_argument(self) -> None:
        self.assertEqual(parse_command(b"STAT"), Command(b"STAT", b""))
        self.assertEqual(parse_command(b"retr 12"), Command(b"RETR", b"12"))
        self.assertEqual(parse_command(b"TOP 1 10"), Command(b"TOP", b"1 10"))
        self.assertEqual(parse_command(b"PASS  a b "), Command(b"PASS", b" a b "))

    def test_keywords_have_three_or_four_letters(self) -> None:
        for line in (b"", b" ", b"ST", b"STATS", b" STAT", b"STAT\t1", b"\xff\xfe\xfd"):
            self.assertRaises(CommandError, parse_command, line)

    def test_each_octet_in_a_keyword(self) -> None:
        for octet in range(256):
            line = b"STA" + bytes((octet,))
            # "STA " is a keyword of three letters and an empty argument.
            if octet in LETTERS or octet in b" 0123456789":
                parse_command(line)
            else:
                self.assertRaises(CommandError, parse_command, line)

    def test_each_octet_in_an_argument(self) -> None:
        for octet in range(256):
            line = b"PASS a" + bytes((octet,))
            if octet in b"\0\r":
                self.assertRaises(CommandError, parse_command, line)
            else:
                self.assertEqual(parse_command(line).argument, line[5:])


class ArgumentTests(SynchronousTestCase):
    def test_nothing(self) -> None:
        parse_nothing(b"")
        parse_nothing(b"  ")
        self.assertRaises(CommandError, parse_nothing, b"1")

    def test_number(self) -> None:
        self.assertEqual(parse_number(b"1"), 1)
        self.assertEqual(parse_number(b"0012 "), 12)
        self.assertEqual(parse_number(b"4294967295"), 4294967295)
        for argument in (b"", b" ", b" 1", b"1 2", b"-1", b"+1", b"1.5", b"x", b"12345678901"):
            self.assertRaises(CommandError, parse_number, argument)

    def test_each_octet_as_a_number(self) -> None:
        for octet in range(256):
            argument = bytes((octet,))
            if argument.isdigit():
                self.assertEqual(parse_number(argument), int(argument))
            else:
                self.assertRaises(CommandError, parse_number, argument)

    def test_optional_number(self) -> None:
        self.assertIsNone(parse_optional_number(b""))
        self.assertIsNone(parse_optional_number(b" "))
        self.assertEqual(parse_optional_number(b"3"), 3)
        self.assertRaises(CommandError, parse_optional_number, b"3 4")

    def test_top(self) -> None:
        self.assertEqual(parse_top(b"1 0"), (1, 0))
        self.assertEqual(parse_top(b"12 345 "), (12, 345))
        for argument in (b"", b"1", b"1 ", b"1  2", b"1 -2", b"1 2 3", b"x 1"):
            self.assertRaises(CommandError, parse_top, argument)

    def test_user(self) -> None:
        self.assertEqual(parse_user(b"ann@example.org "), "ann@example.org")
        self.assertEqual(parse_user("j\u00f6rg".encode()), "j\u00f6rg")
        # RFC 6856 section 2.2: a query, which may have characters that SASLprep does not know.
        self.assertEqual(parse_user("j\u00f6rg\U0001f600".encode()), "j\u00f6rg\U0001f600")
        for argument in (b"", b"  ", b"\xff", "a\u0007".encode(), "\ue000".encode()):
            self.assertRaises(CommandError, parse_user, argument)

    def test_password(self) -> None:
        self.assertEqual(parse_password(b" a b "), b" a b ")
        self.assertRaises(CommandError, parse_password, b"")

    def test_auth(self) -> None:
        self.assertEqual(parse_auth(b""), ("", None))
        self.assertEqual(parse_auth(b"plain"), ("PLAIN", None))
        self.assertEqual(parse_auth(b"PLAIN ="), ("PLAIN", b"="))
        self.assertEqual(parse_auth(b"PLAIN AGEAYg=="), ("PLAIN", b"AGEAYg=="))
        for argument in (b"PL/AIN", b"PLAIN a b", b"\xff", b"X" * 21):
            self.assertRaises(CommandError, parse_auth, argument)


class TopFilterTests(SynchronousTestCase):
    MESSAGE = b"Subject: x\r\n folded\r\nTo: y\r\n\r\none\r\n\r\nthree\r\nfour"

    def top(self, message: bytes, lines: int, *cuts: int) -> bytes:
        wanted = TopFilter(lines)
        passed = b""
        for start, end in zip((0, *cuts), (*cuts, len(message)), strict=True):
            if not wanted.finished:
                passed += wanted.feed(message[start:end])
        return passed

    def expected(self, lines: int) -> bytes:
        header, body = self.MESSAGE.split(b"\r\n\r\n", 1)
        return header + b"\r\n\r\n" + b"".join(body.splitlines(True)[:lines])

    def test_header_empty_line_and_lines(self) -> None:
        for lines in range(6):
            self.assertEqual(self.top(self.MESSAGE, lines), self.expected(lines))
        self.assertEqual(self.top(self.MESSAGE, 10**9), self.MESSAGE)

    def test_wherever_the_chunks_end(self) -> None:
        for lines in range(5):
            for cut in range(1, len(self.MESSAGE)):
                self.assertEqual(self.top(self.MESSAGE, lines, cut), self.expected(lines))
            each = range(1, len(self.MESSAGE))
            self.assertEqual(self.top(self.MESSAGE, lines, *each), self.expected(lines))

    def test_without_header_or_body(self) -> None:
        self.assertEqual(self.top(b"\r\nbody\r\nmore\r\n", 1), b"\r\nbody\r\n")
        self.assertEqual(self.top(b"Subject: x\r\n", 5), b"Subject: x\r\n")
        self.assertEqual(self.top(b"", 5), b"")

    def test_bare_line_feeds(self) -> None:
        self.assertEqual(self.top(b"A: b\n\none\ntwo\n", 1), b"A: b\n\none\n")

    def test_a_bare_carriage_return_is_no_empty_line(self) -> None:
        self.assertEqual(self.top(b"A: b\r\n\r\r\n\r\none\r\n", 0), b"A: b\r\n\r\r\n\r\n")
