"""SEARCH and SORT by annotations (RFC 5257 sections 4.8, 4.9), on both stores."""

from __future__ import annotations

from unittest import mock

from mailkit._typing import override
from mailkit.imap.handlers import finding, ordering
from mailkit.imap.search import MAX_STRING
from tests.imap.annotate import AnnotateTestCase
from tests.imap.messages import PLAIN


class SearchTestCase(AnnotateTestCase):
    """Messages 1 to 6; the last has no annotations."""

    @override
    def setUp(self) -> None:
        super().setUp()
        self.server.add(PLAIN, PLAIN, PLAIN)
        self.done("NOOP")
        for number, values in enumerate(
            (
                '(/comment (value.priv "About IMAP4" value.shared "banana"))',
                '(/comment (value.shared "imap4rev2") /altsubject (value.priv "Apple"))',
                '(/altsubject (value.priv "IMAP4"))',
                '(/1/comment (value.priv "imap4") /comment (value.shared "Cherry"))',
                '(/vendor/x/y (value.shared "") /comment (value.priv "apple" value.shared "apple"))',
            ),
            1,
        ):
            self.done(f"STORE {number} ANNOTATION {values}")

    def found(self, keys: str | bytes) -> list[int]:
        command = keys if isinstance(keys, bytes) else keys.encode()
        (line,) = self.done(b"SEARCH " + command)
        return [int(number) for number in line.split()[2:]]

    def sorted(self, criteria: str, keys: str = "UTF-8 ALL") -> list[int]:
        (line,) = self.done(f"SORT ({criteria}) {keys}")
        return [int(number) for number in line.split()[2:]]


class SearchTests(SearchTestCase):
    def test_the_examples(self) -> None:
        # RFC 5257 section 4.8
        self.assertEqual(self.found('ANNOTATION /comment value "IMAP4"'), [1, 2])
        self.assertEqual(self.found('ANNOTATION * value.priv "IMAP4"'), [1, 3, 4])

    def test_keys(self) -> None:
        for keys, found in (
            ('ANNOTATION /comment value.priv "imap4"', [1]),
            ('ANNOTATION /comment value.shared "imap4"', [2]),
            ('ANNOTATION /% value "imap4"', [1, 2, 3]),
            ('ANNOTATION "/*/comment" value "imap4"', [4]),
            ('ANNOTATION /none value "imap4"', []),
            ("ANNOTATION /comment value.shared CHERRY", [4]),
            ('ANNOTATION /comment value.shared "nil"', []),
            ('NOT ANNOTATION * value.priv "imap4"', [2, 5, 6]),
            ('OR ANNOTATION /comment value "cherry" ANNOTATION /altsubject value "app"', [2, 4]),
            ('2:4 ANNOTATION * value "imap4" NOT ANNOTATION /comment value.shared "rev2"', [3, 4]),
            ('UID 1:3 (ANNOTATION * value.priv "imap4")', [1, 3]),
            # An empty text stands in every value.
            ('ANNOTATION * value.shared ""', [1, 2, 4, 5]),
            ('ANNOTATION /vendor/% value ""', []),
            # NIL: those that have no value.
            ("ANNOTATION /comment value NIL", [3, 6]),
            ("ANNOTATION * value.priv NIL", [6]),
            ("NOT ANNOTATION /comment value.shared NIL", [1, 2, 4, 5]),
            ('FUZZY ANNOTATION /comment value "imap4"', [1, 2]),
            ('FUZZY (SUBJECT plains ANNOTATION /comment value.priv "imap4")', [1]),
        ):
            self.assertEqual(self.found(keys), found, keys)

    def test_charsets_and_literals(self) -> None:
        self.done("STORE 6 ANNOTATION (/comment (value.priv {9+}\r\nGR\u00dc\u00dfe a))")
        for keys in (
            "CHARSET UTF-8 ANNOTATION /comment value {7+}\r\ngr\u00fc\u00dfe".encode(),
            b"CHARSET ISO-8859-1 ANNOTATION /comment value {5+}\r\ngr\xfc\xdfe",
            b"CHARSET ISO-8859-1 ANNOTATION {8+}\r\n/comment {5+}\r\nvalue ~{3+}\r\n\xdcss",
        ):
            self.assertEqual(self.found(keys), [6])
        self.refused(b"SEARCH CHARSET UTF-8 ANNOTATION /comment value {1+}\r\n\xff", b"NO [BADCHA")
        self.done(b"STORE 6 ANNOTATION (/comment (value.priv ~{3+}\r\n\xff\0x))")
        self.assertEqual(self.found(b"ANNOTATION /comment value ~{2+}\r\n\0X"), [6])

    def test_bad_arguments(self) -> None:
        for keys in (
            "ANNOTATION",
            "ANNOTATION /comment",
            "ANNOTATION /comment value",
            'ANNOTATION /comment "x"',
            'ANNOTATION /comment size "1"',
            'ANNOTATION /comment size.priv "1"',
            'ANNOTATION /comment other "1"',
            'ANNOTATION (/comment) value "1"',
            'ANNOTATION /flags value "1"',
            'ANNOTATION /0/comment value "1"',
            'ANNOTATION // value "1"',
            f'ANNOTATION /comment value "{"x" * (MAX_STRING + 1)}"',
        ):
            self.refused(f"SEARCH {keys}", b"BAD ")
            self.done("NOOP")

    def test_many_messages(self) -> None:
        with mock.patch.object(finding, "BATCH", 2):
            self.assertEqual(self.found('ANNOTATION * value.priv "IMAP4"'), [1, 3, 4])
            self.assertEqual(self.found("ANNOTATION * value.priv NIL"), [6])

    def test_results_are_kept_up_to_date(self) -> None:
        # RFC 5267 section 4.3
        watching = self.server.login("SELECT INBOX")
        (line, _) = watching.command(
            'SEARCH RETURN (UPDATE COUNT) ANNOTATION /comment value.shared "a"'
        )
        self.assertIn(b"COUNT 3", line)
        self.done('STORE 3 ANNOTATION (/comment (value.shared "a"))')
        self.done("STORE 1 ANNOTATION (/comment (value.shared NIL))")
        lines = [line for line in watching.command("NOOP") if b"ESEARCH" in line]
        self.assertEqual(
            [line.partition(b") ")[2] for line in lines],
            [b"REMOVEFROM (0 1)", b"ADDTO (0 3)"],
        )

    def test_many_mailboxes(self) -> None:
        self.done("CREATE Work")
        self.done("COPY 1:3 Work")
        lines = self.done('ESEARCH IN (personal) RETURN (ALL) ANNOTATION /comment value "imap4"')
        self.assertEqual(len(lines), 2, lines)
        self.assertTrue(all(line.endswith(b"UID ALL 1:2") for line in lines), lines)

    def test_a_filter(self) -> None:
        self.done(
            'SETMETADATA "" (/private/filters/values/mine "ANNOTATION /comment value \\"imap4\\"")'
        )
        self.assertEqual(self.found("FILTER mine"), [1, 2])


class SortTests(SearchTestCase):
    def test_criteria(self) -> None:
        for criteria, order in (
            ("ANNOTATION /comment value.shared", [3, 6, 5, 1, 4, 2]),
            ("REVERSE ANNOTATION /comment value.shared", [2, 4, 1, 5, 3, 6]),
            ("ANNOTATION /comment VALUE.PRIV", [2, 3, 4, 6, 1, 5]),
            ("ANNOTATION /altsubject value.priv", [1, 4, 5, 6, 2, 3]),
            ("ANNOTATION /altsubject value.priv REVERSE ARRIVAL", [1, 4, 5, 6, 2, 3]),
            ("ANNOTATION /altsubject value.priv REVERSE SIZE", [1, 4, 5, 6, 2, 3]),
            ("SIZE ANNOTATION /comment value.shared", [3, 6, 5, 1, 4, 2]),
            ("REVERSE SIZE ANNOTATION /comment value.shared", [2, 3, 6, 5, 1, 4]),
        ):
            self.assertEqual(self.sorted(criteria), order, criteria)

    def test_texts_of_the_messages_too(self) -> None:
        # Subjects: "nested" of message 2, "plain" of the others.
        self.assertEqual(
            self.sorted("SUBJECT REVERSE ANNOTATION /comment value.shared SIZE"),
            [2, 4, 1, 5, 3, 6],
        )
        self.assertEqual(
            self.sorted("ANNOTATION /none value.priv REVERSE SUBJECT"), [1, 3, 4, 5, 6, 2]
        )

    def test_some_messages(self) -> None:
        keys = 'UTF-8 NOT ANNOTATION /comment value "imap4"'
        self.assertEqual(self.sorted("ANNOTATION /comment value.shared", keys), [3, 6, 5, 4])
        (line,) = self.done("UID SORT RETURN (COUNT) (ANNOTATION /comment value.priv) UTF-8 2:4")
        self.assertIn(b"COUNT 3", line)

    def test_many_messages(self) -> None:
        with mock.patch.object(ordering, "BATCH", 2):
            self.assertEqual(
                self.sorted("ANNOTATION /comment value.shared SIZE"), [3, 6, 5, 1, 4, 2]
            )

    def test_collations(self) -> None:
        self.done("COMPARATOR i;octet")
        self.assertEqual(self.sorted("ANNOTATION /comment value.shared"), [3, 6, 4, 5, 1, 2])
        self.assertEqual(self.found('ANNOTATION /altsubject value "a"'), [])
        self.assertEqual(self.found('ANNOTATION /altsubject value "A"'), [2, 3])
        self.done("COMPARATOR i;ascii-casemap")
        self.assertEqual(self.found('ANNOTATION /altsubject value "a"'), [2, 3])

    def test_results_are_kept_up_to_date(self) -> None:
        watching = self.server.login("SELECT INBOX")
        (line, _) = watching.command(
            "SORT RETURN (UPDATE ALL) (ANNOTATION /comment value.shared) UTF-8"
            ' ANNOTATION /comment value.shared ""'
        )
        self.assertIn(b"ALL 5,1,4,2", line)
        self.done('STORE 3 ANNOTATION (/comment (value.shared "blue"))')
        lines = [line for line in watching.command("NOOP") if b"ESEARCH" in line]
        self.assertEqual([line.partition(b") ")[2] for line in lines], [b"ADDTO (3 3)"])

    def test_bad_arguments(self) -> None:
        for criteria in (
            "ANNOTATION",
            "ANNOTATION /comment",
            # RFC 5257 section 4.9
            "ANNOTATION /comment value",
            "ANNOTATION /comment size.priv",
            "ANNOTATION /comm* value.priv",
            "ANNOTATION (/comment) value.priv",
            "ANNOTATION /flags/x value.priv",
        ):
            self.refused(f"SORT ({criteria}) UTF-8 ALL", b"BAD ")
            self.done("NOOP")


class SQLiteSearchTests(SearchTests):
    sqlite = True


class SQLiteSortTests(SortTests):
    sqlite = True
