"""What commands look like on the wire, and what cannot be written."""

from __future__ import annotations

import datetime
import io
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.client import ClientSettings, NotOffered, TLSPolicy, WrongState
from mailkit.imap.client.commands import (
    Literal,
    Part,
    astring,
    fetch_items,
    flag_list,
    label_list,
    mailbox,
    pattern,
    quoted,
)
from mailkit.imap.client.criteria import search_keys
from mailkit.imap.client.fetching import expected_items
from mailkit.imap.client.sets import Numbers, RangeSet, covered, format_sets, merged, to_ranges
from mailkit.query import (
    All,
    And,
    ArrivedSince,
    BodyContains,
    Comparison,
    HasFlag,
    HasObjectID,
    HeaderContains,
    InternalDate,
    Larger,
    ModifiedSince,
    Not,
    Or,
    Query,
    SaveDate,
    SentDate,
    Smaller,
    TextContains,
    UIDs,
)
from mailkit.spool import Spool
from tests.imap.client.test_pipelining import Manual


def written(parts: list[Part] | Part) -> bytes:
    """As one, literals with their announcement."""
    parts = parts if isinstance(parts, list) else [parts]
    return b"".join(
        part if isinstance(part, bytes) else b"{%d}\r\n%b" % (part.size, b"".join(part.pieces()))
        for part in parts
    )


class StringTests(SynchronousTestCase):
    def test_astrings(self) -> None:
        for text, wanted in (
            ("plain]", b"plain]"),
            ("", b'""'),
            ("a b", b'"a b"'),
            ('a"\\', b'"a\\"\\\\"'),
            ("NIL", b'"NIL"'),
            ("nil", b'"nil"'),
            ("ü", b"{2}\r\n\xc3\xbc"),
            ("a\r\nb", b"{4}\r\na\r\nb"),
            ("x" * 1001 + " ", b"{1002}\r\n" + b"x" * 1001 + b" "),
        ):
            self.assertEqual(written(astring(text)), wanted)

    def test_no_nul(self) -> None:
        self.assertRaises(ValueError, quoted, b"a\0")

    def test_all_octets(self) -> None:
        for octet in range(1, 256):
            value = bytes((octet,))
            found = written(astring(value))
            if found.startswith(b"{"):
                self.assertEqual(found, b"{1}\r\n" + value)
            elif found.startswith(b'"'):
                self.assertEqual(
                    found[1:-1].replace(b"\\", b"", found.count(b"\\") - (octet == 92)), value
                )
            else:
                self.assertEqual(found, value)

    def test_mailboxes(self) -> None:
        self.assertEqual(written(mailbox("Entwürfe")), b"Entw&APw-rfe")
        self.assertEqual(written(mailbox("Entwürfe", True)), '"Entwürfe"'.encode())
        self.assertEqual(written(mailbox('ü"', True)), b'{3}\r\n\xc3\xbc"')
        self.assertEqual(written(mailbox("a b", True)), b'"a b"')
        self.assertEqual(written(mailbox("a%")), b'"a%"')
        self.assertEqual(written(pattern("Ü/%")), b'"&ANw-/%"')

    def test_flags(self) -> None:
        self.assertEqual(flag_list(["\\Seen", "$Junk"]), b"(\\Seen $Junk)")
        # And not one for each letter.
        self.assertEqual(flag_list("Work"), b"(Work)")
        self.assertEqual(written(label_list("Work")), b"(Work)")
        for wrong in ("", "\\", "a b", "a\r\nb", "ü", "(", "\\*"):
            self.assertRaises(ValueError, flag_list, [wrong])

    def test_literals(self) -> None:
        spool = Spool.from_bytes(b"spool")
        file = io.BytesIO(b"xxfile")
        file.seek(2)
        for source, wanted in ((b"octets", b"octets"), (spool, b"spool"), (file, b"file")):
            literal = Literal(source)
            self.assertEqual(literal.size, len(wanted))
            self.assertEqual(b"".join(literal.pieces()), wanted)
        self.assertRaises(TypeError, Literal, "text")


class FetchItemTests(SynchronousTestCase):
    def test_good_ones(self) -> None:
        good = [
            "FLAGS",
            "rfc822.size",
            "BODY[]",
            "BODY.PEEK[1.2.HEADER]",
            "BINARY.PEEK[1]<0.100>",
            "BINARY.SIZE[2]",
            "X-GM-LABELS",
            "BODY[TEXT]<5.7>",
        ]
        good += ["BODY.PEEK[HEADER.FIELDS (FROM X-Spam)]", "PREVIEW (LAZY)"]
        self.assertEqual(fetch_items(good), tuple(good))
        self.assertEqual(fetch_items("FLAGS"), ("FLAGS",))

    def test_others(self) -> None:
        for wrong in ("", "FLAGS UID", "BODY[", "BODY[]]", "BODY[\r\n]", "FLAGS)", "X[1]"):
            self.assertRaises(ValueError, fetch_items, wrong)

    def test_what_they_are_called_in_the_answer(self) -> None:
        items = ["body.peek[text]<5.7>", "FAST", "BINARY.PEEK[1]", "PREVIEW (LAZY)", "Flags"]
        items.append("BODY.PEEK[HEADER.FIELDS (Date)]")
        self.assertEqual(
            expected_items(items),
            {
                *("BODY[TEXT]<5>", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "BINARY[1]", "PREVIEW"),
                "BODY[HEADER.FIELDS (DATE)]",
            },
        )


class SetTests(SynchronousTestCase):
    def test_forms(self) -> None:
        self.assertEqual(format_sets([9, 3, 1, 2, 2]), (["1:3,9"], True))
        self.assertEqual(format_sets(5), (["5"], True))
        self.assertEqual(format_sets("5:*,1"), (["5:*,1"], True))
        self.assertEqual(format_sets("$"), (["$"], True))
        self.assertEqual(format_sets(Numbers("1:*")), (["1:*"], False))
        self.assertEqual(format_sets([]), ([], True))
        for wrong in ("", "1:", "a", "1\r\n", "1 2", [0], [-1], [2**32]):
            if wrong:
                self.assertRaises(ValueError, format_sets, wrong)

    def test_long_ones_are_parted(self) -> None:
        numbers = list(range(1, 40_000, 2))
        sets, _ = format_sets(numbers)
        self.assertGreater(len(sets), 10)
        self.assertLess(max(map(len, sets)), 8000)
        self.assertEqual([int(each) for text in sets for each in text.split(",")], numbers)

    def test_range_sets(self) -> None:
        self.assertEqual(to_ranges([5, 1, 2]), ((1, 2), (5, 5)))
        self.assertEqual(merged([(5, 9), (1, 4), (20, 30), (25, 26)]), ((1, 9), (20, 30)))
        found = RangeSet([(3, 5), (9, 9)])
        self.assertEqual([each for each in range(12) if each in found], [3, 4, 5, 9])
        for other, wanted in (("5", True), ("6:8", False), ("1:2,9", True), ("*", True)):
            self.assertEqual(found.overlaps(covered(other)), wanted, other)
            self.assertEqual(covered(other).overlaps(found), wanted, other)


class SearchTests(SynchronousTestCase):
    def check(self, query: Query | str, wanted: bytes, utf8: bool = False) -> None:
        self.assertEqual(written(search_keys(query, utf8)), wanted)

    def test_keys(self) -> None:
        day = datetime.date(2026, 2, 1)
        for query, wanted in (
            (All(), b"ALL"),
            (And([]), b"ALL"),
            (Or([]), b"NOT ALL"),
            (UIDs([(5, 9), (1, 1)]), b"UID 1,5:9"),
            (UIDs([]), b"NOT ALL"),
            (HasFlag("\\Seen"), b"SEEN"),
            (Not(HasFlag("$Junk")), b"NOT KEYWORD $Junk"),
            (InternalDate(Comparison.BEFORE, day), b"BEFORE 1-Feb-2026"),
            (SentDate(Comparison.ON, day), b"SENTON 1-Feb-2026"),
            (SaveDate(Comparison.SINCE, day), b"SAVEDSINCE 1-Feb-2026"),
            (HasObjectID("M1"), b"EMAILID M1"),
            (HasObjectID("T1", thread=True), b"THREADID T1"),
            (Larger(5), b"LARGER 5"),
            (Smaller(6), b"SMALLER 6"),
            (ModifiedSince(7), b"MODSEQ 7"),
            (HeaderContains("From", "a b"), b'FROM "a b"'),
            (HeaderContains("List-Id", ""), b'HEADER List-Id ""'),
            (BodyContains("x"), b"BODY x"),
            (TextContains("ü"), b"CHARSET UTF-8 TEXT {2}\r\n\xc3\xbc"),
            (And([HasFlag("a"), HasFlag("b")]), b"KEYWORD a KEYWORD b"),
            (
                Or([HasFlag("a"), And([Larger(1), Smaller(9)]), HasFlag("c")]),
                b"OR KEYWORD a OR (LARGER 1 SMALLER 9) KEYWORD c",
            ),
            ("UNSEEN SINCE 1-Feb-2026", b"UNSEEN SINCE 1-Feb-2026"),
        ):
            self.check(query, wanted)

    def test_no_charset_where_all_is_utf8(self) -> None:
        self.check(TextContains("ü"), b"TEXT {2}\r\n\xc3\xbc", True)

    def test_what_cannot_be_asked(self) -> None:
        deep: Query = All()
        for _ in range(200):
            deep = Not(deep)
        wrong: list[Any] = [ArrivedSince(5), deep, "TEXT ü", "ALL\r\nx NOOP", HasFlag("a b")]
        for query in wrong:
            self.assertRaises(ValueError, search_keys, query)


class WireTests(SynchronousTestCase):
    """Commands with parameters of extensions."""

    def wire(self, capabilities: bytes) -> Manual:
        settings = ClientSettings(tls=TLSPolicy.none())
        greeting = b"* OK [CAPABILITY IMAP4rev1 " + capabilities + b"] x\r\n"
        return Manual(greeting, settings)

    def test_list_extended(self) -> None:
        wire = self.wire(b"LIST-EXTENDED")
        wire.start(wire.session.list(["a%", "b"], selection=["SUBSCRIBED"], options=["CHILDREN"]))
        self.assertEqual(wire.take(), [b'm1 LIST (SUBSCRIBED) "" ("a%" "b") RETURN (CHILDREN)'])

    def test_create_special_use(self) -> None:
        wire = self.wire(b"CREATE-SPECIAL-USE")
        wire.start(wire.session.create("Old mail", special_use="\\Archive"))
        self.assertEqual(wire.take(), [b'm1 CREATE "Old mail" (USE (\\Archive))'])

    def test_multiappend(self) -> None:
        wire = self.wire(b"MULTIAPPEND LITERAL+")
        wire.start(wire.session.append("x", b"1", b"22"))
        self.assertEqual(wire.take(), [b"m1 APPEND x {1+}", b"1 {2+}", b"22"])

    def test_what_is_not_offered_is_not_sent(self) -> None:
        wire = self.wire(b"IDLE")
        for work in (
            wire.session.list(options=["CHILDREN"]),
            wire.session.create("x", special_use="\\Sent"),
            wire.session.enable("CONDSTORE"),
            wire.session.namespaces(),
            wire.session.identify(),
            wire.session.select("x", condstore=True),
        ):
            wire.start(work)[0].trap(NotOffered)
        self.assertEqual(wire.take(), [b""])

    def test_what_imap4rev2_has_in_it(self) -> None:
        wire = Manual(b"* OK [CAPABILITY IMAP4rev2] x\r\n")
        self.assertTrue(wire.session.has("MOVE", "ESEARCH"))
        wire = Manual(b"* OK [CAPABILITY IMAP4rev1 IMAP4rev2 ENABLE] x\r\n")
        self.assertFalse(wire.session.has("MOVE"))
        wire.start(wire.session.enable("IMAP4rev2"))
        self.assertEqual(wire.take(), [b"m1 ENABLE IMAP4REV2"])
        wire.say(b"* ENABLED IMAP4rev2\r\nm1 OK x\r\n")
        self.assertTrue(wire.session.has("MOVE"))
        wire.start(wire.session.create("ü"))
        self.assertEqual(wire.take(), ['m2 CREATE "ü"'.encode()])

    def test_move_without_move(self) -> None:
        wire = self.wire(b"UIDPLUS")
        wire.start(wire.session.select("INBOX"))
        wire.say(b"* 3 EXISTS\r\nm1 OK x\r\n")
        wire.take()
        results = wire.start(wire.session.move("5:*", "x"))
        # The same messages in all three, whatever comes meanwhile (RFC 6851 section 3.3).
        self.assertEqual(wire.take(), [b"m2 UID SEARCH UID 5:*"])
        wire.say(b"* SEARCH 5 6 9\r\nm2 OK x\r\n")
        self.assertEqual(wire.take(), [b"m3 UID COPY 5:6,9 x"])
        wire.say(b"* 4 EXISTS\r\nm3 OK [COPYUID 1 5:6,9 7:9] x\r\n")
        self.assertEqual(wire.take(), [b"m4 UID STORE 5:6,9 +FLAGS.SILENT (\\Deleted)"])
        wire.say(b"m4 OK x\r\n")
        self.assertEqual(wire.take(), [b"m5 UID EXPUNGE 5:6,9"])
        wire.say(b"* 2 EXPUNGE\r\nm5 OK x\r\n")
        self.assertEqual(results[0].destination_uids, [7, 8, 9])

    def test_move_of_nothing_without_move(self) -> None:
        wire = self.wire(b"UIDPLUS")
        wire.start(wire.session.select("INBOX"))
        wire.say(b"* 3 EXISTS\r\nm1 OK x\r\n")
        results = wire.start(wire.session.move("5:7", "x"))
        wire.say(b"* SEARCH\r\nm2 OK x\r\n")
        self.assertEqual((wire.take()[-1], results), (b"m2 UID SEARCH UID 5:7", [None]))

    def test_move_without_move_while_another_mailbox_is_selected(self) -> None:
        wire = self.wire(b"UIDPLUS")
        wire.start(wire.session.select("INBOX"))
        wire.say(b"* 3 EXISTS\r\nm1 OK x\r\n")
        results = wire.start(wire.session.move([5], "x"))
        wire.say(b"* SEARCH 5\r\nm2 OK x\r\n")
        wire.start(wire.session.select("Other"))
        wire.say(b"m3 OK [COPYUID 1 5 7] x\r\n* 9 EXISTS\r\nm4 OK x\r\n")
        self.assertEqual(wire.take()[-1], b"m4 SELECT Other")
        results[0].trap(WrongState)
