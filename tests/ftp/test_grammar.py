"""Commands, paths, addresses and listings."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.files import FILE_RIGHTS, FileEntry
from mailkit.ftp.grammar import (
    FACTS,
    MAX_DEPTH,
    CommandError,
    facts_line,
    list_line,
    parse_command,
    parse_extended_port,
    parse_path,
    parse_port,
    parse_time,
    quoted,
    same_host,
    time_value,
    without_options,
)


class CommandTests(SynchronousTestCase):
    def test_verb_and_argument(self) -> None:
        self.assertEqual(parse_command(b"retr a b "), ("RETR", b"a b "))
        self.assertEqual(parse_command(b"CWD  x"), ("CWD", b" x"))
        self.assertEqual(parse_command(b"\xff\xf4\xff\xf2ABOR"), ("ABOR", b""))
        self.assertEqual(parse_command(b"\xf2ABOR"), ("ABOR", b""))

    def test_no_octet_makes_another_verb(self) -> None:
        for octet in range(256):
            line = b"NO" + bytes([octet]) + b"P"
            if bytes([octet]).isalpha():
                self.assertEqual(parse_command(line)[0], line.decode().upper())
            elif octet != 32:
                self.assertEqual(self.assertRaises(CommandError, parse_command, line).code, 500)

    def test_what_is_no_command(self) -> None:
        for line in (b"", b" NOOP", b"NO", b"NOOPS", b"__class__", b"\xff\xf4"):
            self.assertRaises(CommandError, parse_command, line)


class PathTests(SynchronousTestCase):
    def test_above_the_home_there_is_nothing(self) -> None:
        for path in (b"..", b"../..", b"/..", b"dir/../..", b"/../../", b"./.././/.."):
            self.assertEqual(parse_path(path, ()), (), path)
        self.assertEqual(parse_path(b"/../etc/passwd", ("a", "b")), ("etc", "passwd"))
        self.assertEqual(parse_path(b"../../../c", ("a", "b")), ("c",))

    def test_nul_and_control_characters(self) -> None:
        for path in (b"a\0b", b"\0", b"a\rb", b"a\nb", b"\x7f", b"a/\x1b"):
            self.assertEqual(self.assertRaises(CommandError, parse_path, path, ()).code, 501)

    def test_odd_encodings_of_dots_and_slashes_are_no_utf_8(self) -> None:
        for path in (
            b"\xc0\xae\xc0\xae",
            b"..\xc0\xaf..",
            b"\xe0\x80\xae",
            b"\xff",
            b"\xed\xa0\x80",
        ):
            self.assertRaises(CommandError, parse_path, path, ())
        # Names like any others.
        for text in ("%2e%2e%2fetc", "..\\..", "\uff0e\uff0e", "...", "~root", "\u2215etc"):
            self.assertEqual(parse_path(text.encode(), ()), (text,))

    def test_depth_and_emptiness(self) -> None:
        self.assertRaises(CommandError, parse_path, b"a/" * (MAX_DEPTH + 1), ())
        self.assertEqual(len(parse_path(b"a/" * MAX_DEPTH, ())), MAX_DEPTH)
        self.assertRaises(CommandError, parse_path, b"", ())

    def test_options_of_ls(self) -> None:
        for argument in (b"", b"-a", b"-la", b"-a -l "):
            self.assertEqual(without_options(argument), b"")
        self.assertEqual(without_options(b"-la a b"), b"a b")


class AddressTests(SynchronousTestCase):
    def test_port(self) -> None:
        self.assertEqual(parse_port(b"192,0,2,1,200,10"), ("192.0.2.1", 51210))
        for argument in (b"", b"1,2,3,4,5", b"256,0,2,1,1,1", b"1,2,3,4,5,6,7", b"a,b,c,d,e,f"):
            self.assertRaises(CommandError, parse_port, argument)

    def test_extended_port(self) -> None:
        # RFC 2428 section 2
        self.assertEqual(parse_extended_port(b"|1|132.235.1.2|6275|"), ("132.235.1.2", 6275))
        host = "1080::8:800:200c:417a"
        found = parse_extended_port(b"|2|1080::8:800:200C:417A|5282|")
        self.assertEqual(found, (host, 5282))
        for argument in (b"", b"|1|::1|1|", b"|2|1.2.3.4|1|", b"|1|x|1|", b"|1|1.2.3.4|99999|"):
            self.assertRaises(CommandError, parse_extended_port, argument)
        self.assertEqual(self.assertRaises(CommandError, parse_extended_port, b"|3|x|1|").code, 522)

    def test_same_host(self) -> None:
        self.assertTrue(same_host("192.0.2.1", "::ffff:192.0.2.1"))
        self.assertTrue(same_host("2001:db8::1", "2001:db8:0::0:1"))
        self.assertFalse(same_host("192.0.2.1", "192.0.2.2"))
        self.assertFalse(same_host("192.0.2.1", ""))


class ListingTests(SynchronousTestCase):
    entry = FileEntry("a b", False, 12, 1_000_000_000, "1g2", FILE_RIGHTS)

    def test_facts(self) -> None:
        line = facts_line(self.entry, FACTS, "a b")
        wanted = "type=file;size=12;modify=20010909014640;perm=adfrw;unique=1g2; a b"
        self.assertEqual(line, wanted)
        self.assertEqual(facts_line(self.entry, (), "a b"), " a b")
        folder = self.entry._replace(is_directory=True)
        self.assertEqual(facts_line(folder, ("type", "size"), "x"), "type=dir; x")

    def test_list_shows_the_time_of_new_files_and_the_year_of_old_ones(self) -> None:
        self.assertTrue(list_line(self.entry, 1_000_000_100).endswith("Sep  9 01:46 a b"))
        self.assertTrue(list_line(self.entry, 1_100_000_000).endswith("Sep  9  2001 a b"))

    def test_every_year_has_four_digits(self) -> None:
        for value in ("00010101000000", "08650228235959", "20261123010203", "99991231235959"):
            self.assertEqual(time_value(parse_time(value.encode())), value)

    def test_quotes_are_doubled(self) -> None:
        self.assertEqual(quoted(('a"b',)), '"/a""b"')
