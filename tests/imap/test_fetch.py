"""What FETCH asks for, and what its items are called."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.fetch import Attribute, Plan, Section, parse_attributes
from mailkit.imap.grammar import Arguments, SyntaxFault
from mailkit.imap.render import literal
from mailkit.model import MessageInfo, MessageSummary


def parse(octets: bytes) -> list[Attribute]:
    arguments = Arguments(octets)
    attributes = parse_attributes(arguments, lambda name: True)
    arguments.end()
    return attributes


def names(octets: bytes) -> list[bytes]:
    return [attribute.name for attribute in parse(octets)]


class ParseTests(SynchronousTestCase):
    def test_macros(self) -> None:
        self.assertEqual(names(b"fast"), [b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE"])
        self.assertEqual(names(b"ALL"), [*names(b"FAST"), b"ENVELOPE"])
        self.assertEqual(names(b"FULL"), [*names(b"ALL"), b"BODY"])
        # RFC 3501 section 6.4.5: a macro stands alone.
        self.assertRaises(SyntaxFault, parse, b"(FAST)")
        self.assertRaises(SyntaxFault, parse, b"FAST FLAGS")

    def test_sections_are_called_as_asked_for(self) -> None:
        for asked, called in [
            (b"BODY[]", b"BODY[]"),
            (b"body.peek[]", b"BODY[]"),
            (b"BODY[HEADER]", b"BODY[HEADER]"),
            (b"BODY[header.fields (Date From)]", b"BODY[HEADER.FIELDS (Date From)]"),
            (b'BODY[HEADER.FIELDS.NOT ("x y")]', b'BODY[HEADER.FIELDS.NOT ("x y")]'),
            (b"BODY[HEADER.FIELDS ({1}\r\n])]", b"BODY[HEADER.FIELDS (])]"),
            (b"BODY[1]", b"BODY[1]"),
            (b"BODY[1.2.3.MIME]", b"BODY[1.2.3.MIME]"),
            (b"BODY[4.2.HEADER.FIELDS (To)]", b"BODY[4.2.HEADER.FIELDS (To)]"),
            (b"BODY.PEEK[TEXT]<5.10>", b"BODY[TEXT]<5>"),
            (b"BODY[]<0.2048>", b"BODY[]<0>"),
            (b"RFC822.HEADER", b"RFC822.HEADER"),
        ]:
            self.assertEqual(names(asked), [called])

    def test_section(self) -> None:
        (attribute,) = parse(b"BODY[1.2.HEADER.FIELDS (To Cc)]<7.9>")
        self.assertEqual(
            attribute.section, Section((1, 2), b"HEADER.FIELDS", (b"To", b"Cc"), (7, 9))
        )

    def test_what_sets_seen(self) -> None:
        for octets, seen in [
            (b"BODY[]", True),
            (b"BODY.PEEK[]", False),
            (b"(BODY.PEEK[] BODY[])", True),
            (b"RFC822", True),
            (b"RFC822.TEXT", True),
            (b"RFC822.HEADER", False),
            (b"BODY", False),
            (b"BODYSTRUCTURE", False),
        ]:
            self.assertEqual(any(a.sets_seen for a in parse(octets)), seen, octets)

    def test_repetitions_are_answered_once(self) -> None:
        self.assertEqual(
            names(b"(FLAGS UID flags BODY[] BODY.PEEK[])"), [b"FLAGS", b"UID", b"BODY[]"]
        )

    def test_faults(self) -> None:
        for octets in (
            b"", b"()", b"( FLAGS)", b"(FLAGS )", b"FLAGS)", b"(FLAGS  UID)", b"FOO", b"BODY[",
            b"BODY[0]", b"BODY[1.]", b"BODY[.1]", b"BODY[1.0]", b"BODY[MIME]", b"BODY[1.FOO]",
            b"BODY[HEADER.FIELDS]", b"BODY[HEADER.FIELDS ()]", b"BODY[TEXT (a)]", b"BODY[]<0>",
            b"BODY[]<0.0>", b"BODY[]<1.2", b"BODY.PEEK", b"RFC822.PEEK", b"BODY []", b"[]",
            b"BODY[1HEADER]", b"BODY[4294967296000]", b"BODY[\x80]", b"BODY[]<99999999999.1>",
        ):  # fmt: skip
            self.assertRaises(SyntaxFault, parse, octets)

    def test_limits(self) -> None:
        many = b" ".join(b"BODY[%d]" % number for number in range(1, 102))
        self.assertRaises(SyntaxFault, parse, b"(" + many + b")")
        deep = b".".join([b"1"] * 101)
        self.assertRaises(SyntaxFault, parse, b"BODY[" + deep + b"]")
        fields = b" ".join(b"f%d" % number for number in range(201))
        self.assertRaises(SyntaxFault, parse, b"BODY[HEADER.FIELDS (" + fields + b")]")


INFOS = [
    MessageInfo(3, frozenset(("\\Seen", "Junk")), 1_000_000_000, 100, 1),
    MessageInfo(9, frozenset(), 0, 5, 2),
]
HEADER = (
    b"From: a@b\r\nSubject: one\r\n two\r\nTo: c\r\nX-From: no\r\nSubject : again\r\n\tfolded\r\n"
)


class PlanTests(SynchronousTestCase):
    def rows(
        self, octets: bytes, summaries: Sequence[MessageSummary] = (), uid: bool = False
    ) -> list[bytes]:
        plan = Plan(parse(octets), bool(summaries), uid)
        self.assertFalse(plan.by_message)
        infos = INFOS if plan.by_info or not summaries else summaries
        numbers = range(1, len(infos) + 1)
        return list(plan.rows(numbers, infos, summaries))

    def summary(self, header: bytes = HEADER) -> list[MessageSummary]:
        return [MessageSummary(3, b"(E)", b"(B)", header)]

    def test_details(self) -> None:
        self.assertEqual(
            self.rows(b"FAST"),
            [
                b'* 1 FETCH (FLAGS (\\Seen Junk) INTERNALDATE "09-Sep-2001 01:46:40 +0000"'
                b" RFC822.SIZE 100)\r\n",
                b'* 2 FETCH (FLAGS () INTERNALDATE "01-Jan-1970 00:00:00 +0000" RFC822.SIZE 5)\r\n',
            ],
        )

    def test_uid_fetch_tells_the_uid_once(self) -> None:
        self.assertEqual(
            self.rows(b"RFC822.SIZE", uid=True)[1], b"* 2 FETCH (UID 9 RFC822.SIZE 5)\r\n"
        )
        self.assertEqual(self.rows(b"(FLAGS UID)", uid=True)[1], b"* 2 FETCH (FLAGS () UID 9)\r\n")

    def test_structures_are_asked_for_when_they_are_told(self) -> None:
        told = {
            octets: Plan(parse(octets), True, False).by_structure
            for octets in (b"ALL", b"FULL", b"BODY", b"BODYSTRUCTURE", b"ENVELOPE")
        }
        fields = Plan(parse(b"(ENVELOPE BODY.PEEK[HEADER.FIELDS (TO)])"), True, False)
        self.assertTrue(fields.by_summary)
        self.assertFalse(fields.by_structure)
        self.assertEqual(
            told,
            {
                b"ALL": False,
                b"FULL": True,
                b"BODY": True,
                b"BODYSTRUCTURE": True,
                b"ENVELOPE": False,
            },
        )

    def test_summaries(self) -> None:
        self.assertEqual(
            self.rows(b"(UID ENVELOPE BODYSTRUCTURE)", self.summary()),
            [b"* 1 FETCH (UID 3 ENVELOPE (E) BODYSTRUCTURE (B))\r\n"],
        )

    def header(self, octets: bytes, header: bytes = HEADER) -> bytes:
        (row,) = self.rows(octets, self.summary(header))
        return row.partition(b"} ")[0].partition(b"\r\n")[2]

    def test_header_fields(self) -> None:
        self.assertEqual(
            self.rows(b"BODY.PEEK[HEADER.FIELDS (to From)]", self.summary()),
            [b"* 1 FETCH (BODY[HEADER.FIELDS (to From)] {20}\r\nFrom: a@b\r\nTo: c\r\n\r\n)\r\n"],
        )

    def test_folded_fields_and_blanks_before_the_colon(self) -> None:
        self.assertEqual(
            self.header(b"BODY[HEADER.FIELDS (SUBJECT)]"),
            b"Subject: one\r\n two\r\nSubject : again\r\n\tfolded\r\n\r\n)\r\n",
        )

    def test_a_field_of_many_lines(self) -> None:
        lines = b"tO: a,\r\n b,\r\n\tc,\r\n  d\r\n"
        self.assertEqual(
            self.header(
                b"BODY[HEADER.FIELDS (To Date)]",
                b"Cc: x\r\n y\r\n z\r\n" + lines + b"date:\r\nToo: e\r\n",
            ),
            lines + b"date:\r\n\r\n)\r\n",
        )

    def test_lines_that_end_in_lf_alone(self) -> None:
        self.assertEqual(
            self.header(b"BODY[HEADER.FIELDS (TO)]", b"From: a\n b\nTo: c\n d\nCc: e\n"),
            b"To: c\n d\n\r\n)\r\n",
        )

    def test_part_of_header_fields(self) -> None:
        self.assertEqual(
            self.rows(b"BODY[HEADER.FIELDS (TO)]<1.3>", self.summary()),
            [b"* 1 FETCH (BODY[HEADER.FIELDS (TO)]<1> {3}\r\no: )\r\n"],
        )
        self.assertEqual(
            self.rows(b"BODY[HEADER.FIELDS (TO)]<100.3>", self.summary()),
            [b"* 1 FETCH (BODY[HEADER.FIELDS (TO)]<100> {0}\r\n)\r\n"],
        )

    def test_other_fields_need_the_message(self) -> None:
        for octets in (
            b"BODY[HEADER.FIELDS (X-Other)]",
            b'BODY[HEADER.FIELDS ("x%dy")]',
            b"BODY[HEADER.FIELDS.NOT (To)]",
            b"BODY[1.HEADER.FIELDS (To)]",
        ):
            self.assertTrue(Plan(parse(octets), True, False).by_message, octets)
        self.assertFalse(Plan(parse(b"FULL"), True, False).by_message)
        self.assertTrue(Plan(parse(b"ENVELOPE"), False, False).by_message)

    def test_recent(self) -> None:
        plan = Plan(parse(b"FLAGS"), False, False)
        rows = list(plan.rows((1, 2), INFOS, (), lambda uid: True))
        self.assertEqual(
            rows,
            [b"* 1 FETCH (FLAGS (\\Recent \\Seen Junk))\r\n", b"* 2 FETCH (FLAGS (\\Recent))\r\n"],
        )

    def test_no_nul_in_a_literal(self) -> None:
        self.assertEqual(literal(b"a\0b"), b"{3}\r\na\x80b")
