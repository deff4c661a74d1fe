"""ANNOTATE: FETCH and STORE (RFC 5257), on both stores."""

from __future__ import annotations

from typing import Any
from unittest import mock

from mailkit._typing import override
from mailkit.imap.annotate import MAX_ENTRY, MAX_LEVELS, MAX_NAMED
from mailkit.imap.patterns import MAX_PATTERN
from mailkit.store.annotations import MAX_ANNOTATIONS, MAX_VALUE
from tests.imap.annotate import AnnotateTestCase
from tests.imap.fakes import ReadOnlyMailbox
from tests.imap.messages import PLAIN
from tests.imap.support import ServerTestCase

SIZE = MAX_VALUE


class FetchTests(AnnotateTestCase):
    def test_capability(self) -> None:
        (line, _) = self.client.command("CAPABILITY")
        self.assertIn(b" ANNOTATE-EXPERIMENT-1 ", line)
        self.assertNotIn(b"ANNOTATE", self.server.connect().greeting)

    def test_the_examples(self) -> None:
        # RFC 5257 sections 4.3, 4.4
        self.done('STORE 1 ANNOTATION (/comment (value.priv "My comment"))')
        self.assertEqual(
            self.fetched("/comment value"),
            [b'* 1 FETCH (ANNOTATION (/comment (value.priv "My comment" value.shared NIL)))'],
        )
        self.assertEqual(
            self.fetched("/comment (value size)"),
            [
                b'* 1 FETCH (ANNOTATION (/comment (value.priv "My comment" value.shared NIL'
                b' size.priv "10" size.shared "0")))'
            ],
        )
        self.done('STORE 1 ANNOTATION (/comment (value.shared "Group note"))')
        self.assertEqual(
            self.fetched("/comment value"),
            [
                b'* 1 FETCH (ANNOTATION (/comment (value.priv "My comment"'
                b' value.shared "Group note")))'
            ],
        )
        self.done('STORE 1 ANNOTATION (/altsubject (value.priv "My subject"))')
        self.assertEqual(
            self.fetched("(/comment /altsubject) value"),
            [
                b'* 1 FETCH (ANNOTATION (/comment (value.priv "My comment" value.shared "Group note")'
                b' /altsubject (value.priv "My subject" value.shared NIL)))'
            ],
        )

    def test_the_examples_with_wildcards(self) -> None:
        self.done(
            'STORE 3 ANNOTATION (/comment (value.priv "My comment" value.shared "Patch Mangler")'
            ' /altsubject (value.priv "Rhinoceroses!" value.shared "Patches?")'
            ' /vendor/foobar/label.priv (value.priv "label43")'
            ' /vendor/foobar/personality (value.priv "Tallulah Bankhead")'
            ' /1/comment (value.shared "part"))'
        )
        self.assertEqual(
            self.done("UID FETCH 3 (UID ANNOTATION (/* (value.priv size.priv)))"),
            [
                b'* 3 FETCH (UID 3 ANNOTATION (/altsubject (value.priv "Rhinoceroses!" size.priv'
                b' "13") /comment (value.priv "My comment" size.priv "10")'
                b' /vendor/foobar/label.priv (value.priv "label43" size.priv "7")'
                b' /vendor/foobar/personality (value.priv "Tallulah Bankhead" size.priv "17")))'
            ],
        )
        self.assertEqual(
            self.fetched("/% value.shared", "3"),
            [
                b'* 3 FETCH (ANNOTATION (/altsubject (value.shared "Patches?")'
                b' /comment (value.shared "Patch Mangler")))'
            ],
        )
        self.assertEqual(
            self.fetched('("/1/%" /vendor/%/l* /none) size', "3"),
            [
                b'* 3 FETCH (ANNOTATION (/none (size.priv "0" size.shared "0")'
                b' /1/comment (size.priv "0" size.shared "4")'
                b' /vendor/foobar/label.priv (size.priv "7" size.shared "0")))'
            ],
        )

    def test_what_is_not_there(self) -> None:
        self.assertEqual(
            self.fetched("/comment value.shared", "1:2"),
            [
                b"* 1 FETCH (ANNOTATION (/comment (value.shared NIL)))",
                b"* 2 FETCH (ANNOTATION (/comment (value.shared NIL)))",
            ],
        )
        # RFC 5257 section 5: an entry at least. What tells nothing else is no response at all.
        self.assertEqual(self.fetched("* value"), [])
        self.assertEqual(
            self.done("UID FETCH 1 (ANNOTATION (* value) RFC822.SIZE)"),
            [b"* 1 FETCH (UID 1 RFC822.SIZE %d)" % len(PLAIN)],
        )
        self.assertEqual(
            self.done("FETCH 1 (RFC822.SIZE ANNOTATION (* value) BODY.PEEK[]<0.1>)"),
            [b"* 1 FETCH (RFC822.SIZE %d BODY[]<0> {1}\r\n%b)" % (len(PLAIN), PLAIN[:1])],
        )
        # A part that one of the messages does not have is no reason to refuse them all.
        self.assertEqual(
            self.fetched("/2.1/comment value.priv"),
            [b"* 1 FETCH (ANNOTATION (/2.1/comment (value.priv NIL)))"],
        )

    def test_with_other_items(self) -> None:
        self.done('STORE 1 ANNOTATION (/comment (value.priv "x"))')
        note = b'ANNOTATION (/comment (value.priv "x"))'
        self.assertEqual(
            self.done("FETCH 1 (UID ANNOTATION (/comment value.priv) RFC822.SIZE)"),
            [b"* 1 FETCH (UID 1 %b RFC822.SIZE %d)" % (note, len(PLAIN))],
        )
        (line,) = self.done("FETCH 1 (ANNOTATION (/comment value.priv) BODY[TEXT])")
        self.assertIn(note + b" BODY[TEXT] {", line)
        (line,) = self.done("FETCH 1 (ENVELOPE ANNOTATION (/comment value.priv))")
        self.assertIn(b" " + note + b")", line)
        (line,) = self.done("FETCH 1 ANNOTATION (/comment value.priv)")
        self.assertEqual(line, b"* 1 FETCH (%b)" % note)

    def test_octets_of_every_kind(self) -> None:
        value = bytes(range(256))
        self.done(b"STORE 1 ANNOTATION (/comment (value.priv ~{256+}\r\n%b))" % value)
        (line,) = self.fetched("/comment (value.priv size.priv)")
        self.assertIn(b'(/comment (value.priv ~{256}\r\n%b size.priv "256"))' % value, line)
        self.done('STORE 1 ANNOTATION ("/vendor/x/a \\"b" (VALUE.PRIV ""))')
        self.assertEqual(
            self.fetched('"/vendor/x/a \\"*" (value.priv size)'),
            [
                b'* 1 FETCH (ANNOTATION ("/vendor/x/a \\"b" (value.priv "" size.priv "0"'
                b' size.shared "0")))'
            ],
        )

    def test_bad_arguments(self) -> None:
        many = " ".join(f"/x{number}" for number in range(MAX_NAMED + 1))
        wild = " ".join(f"/{'x' * 200}{number}*" for number in range(MAX_PATTERN // 200))
        for items in (
            "",
            "/comment",
            "/comment ()",
            "() value",
            "/comment value.other",
            "/comment content",
            "/comment value.priv.shared",
            "/comment value.",
            "comment value",
            '"" value',
            "/ value",
            "/comment/ value",
            "//comment value",
            "/a//b* value",
            "/*/ value",
            '"/caf\xe9" value',
            '"/caf\xe9*" value',
            '"/x\x01" value',
            "/0/comment value",
            "/01/comment value",
            "/1./comment value",
            "/1..2/comment value",
            "/1x/comment value",
            "/4294967296/comment value",
            "/1.0/* value",
            "/flags value",
            "/flags/* value",
            f"/{'x' * MAX_ENTRY} value",
            f"{'/x' * (MAX_LEVELS + 1)} value",
            f"({many}) value",
        ):
            self.refused(f"FETCH 1 (ANNOTATION ({items}))".encode("latin-1"), b"BAD ")
            self.done("NOOP")
        self.refused(f"FETCH 1 (ANNOTATION (({wild}) value))", b"NO ")
        self.refused("FETCH 1 (ANNOTATION)", b"BAD ")


class StoreTests(AnnotateTestCase):
    def test_the_examples(self) -> None:
        # RFC 5257 section 4.5
        for values, told in (
            ('(/comment (value.priv "My new comment"))', (b'"My new comment"', b"NIL", b"NIL")),
            ('(/comment (value.shared "x"))', (b'"My new comment"', b'"x"', b"NIL")),
            ("(/comment (value.shared NIL))", (b'"My new comment"', b"NIL", b"NIL")),
            (
                '(/comment (value.priv "Get tix Tuesday") /altsubject (value.priv "Wots On"))',
                (b'"Get tix Tuesday"', b"NIL", b'"Wots On"'),
            ),
            (
                '(/comment (value.priv "My new comment" value.shared "foo\'s bar"))',
                (b'"My new comment"', b'"foo\'s bar"', b'"Wots On"'),
            ),
        ):
            self.assertEqual(self.client.command(f"STORE 1 ANNOTATION {values}"),
                             [b"OK STORE completed"])  # fmt: skip
            self.assertEqual(
                self.fetched("(/comment /altsubject) value"),
                [
                    b"* 1 FETCH (ANNOTATION (/comment (value.priv %b value.shared %b)"
                    b" /altsubject (value.priv %b value.shared NIL)))" % told
                ],
            )

    def test_several_messages(self) -> None:
        self.done('UID STORE 2:* ANNOTATION (/comment (value.shared "x"))')
        self.assertEqual(
            self.fetched("/* value.shared", "1:*"),
            [
                b'* 2 FETCH (ANNOTATION (/comment (value.shared "x")))',
                b'* 3 FETCH (ANNOTATION (/comment (value.shared "x")))',
            ],
        )

    def test_literals(self) -> None:
        lines = self.client.command(
            b"STORE 1 ANNOTATION ({8+}\r\n/comment ({10+}\r\nvalue.priv {4+}\r\na\r\nb))"
        )
        self.assertEqual(lines, [b"OK STORE completed"])
        (line,) = self.fetched("/comment value.priv")
        self.assertEqual(line, b"* 1 FETCH (ANNOTATION (/comment (value.priv {4}\r\na\r\nb)))")

    def test_parts(self) -> None:
        self.done(
            'STORE 2 ANNOTATION (/2.1/comment (value.priv "x") /1/flags/seen (value.shared "1")'
            ' /2/flags/flagged (value.priv "0") /1/vendor/acme/x (value.priv "2"))'
        )
        self.done("STORE 2 ANNOTATION (/2/flags/flagged (value.priv NIL))")
        self.assertEqual(
            self.fetched("/* value", "2"),
            [
                b'* 2 FETCH (ANNOTATION (/1/flags/seen (value.priv NIL value.shared "1")'
                b' /1/vendor/acme/x (value.priv "2" value.shared NIL)'
                b' /2.1/comment (value.priv "x" value.shared NIL)))'
            ],
        )
        for part in ("3", "1.1", "2.3", "2.1.1"):
            self.refused(f'STORE 2 ANNOTATION (/{part}/comment (value.priv "x"))', b"BAD ")
        # One of the messages has no such part.
        self.refused('STORE 1:2 ANNOTATION (/2/comment (value.priv "x"))', b"BAD ")
        self.done("STORE 1:2 ANNOTATION (/2/comment (value.priv NIL))")
        self.done('STORE 1 ANNOTATION (/1/comment (value.priv "whole body"))')

    def test_bad_arguments(self) -> None:
        many = " ".join(f'/vendor/x/{number} (value.priv "x")' for number in range(MAX_NAMED + 1))
        for values in (
            "",
            "()",
            "/comment",
            "(/comment)",
            "(/comment ())",
            "(/comment (value.priv))",
            '(/comment value.priv "x")',
            # RFC 5257 section 3.3
            '(/comment (value "x"))',
            # RFC 5257 section 3.2.2
            '(/comment (size.priv "1"))',
            '(/comment (other.priv "1"))',
            "(/comment (value.priv x))",
            '(/comm* (value.priv "x"))',
            '("/comm%" (value.priv "x"))',
            '(/comment (value.priv "x" value.priv "y"))',
            '(/comment (value.priv "x") /comment (value.priv "y"))',
            '(/flags (value.priv "x"))',
            '(/flags/seen (value.priv "1"))',
            '(/vendor (value.priv "1"))',
            '(/1 (value.priv "1"))',
            '(/1/flags (value.priv "1"))',
            '(/1/vendor (value.priv "1"))',
            '(/0/comment (value.priv "1"))',
            '(/1/flags/seen (value.priv "yes"))',
            '(/1/flags/forwarded (value.shared ""))',
            '(/comment (value.priv "x")) more',
            "(/comment (value.priv {1+}\r\n\0))",
            f"({many})",
        ):
            self.refused(f"STORE 1 ANNOTATION {values}", b"BAD ")
            self.done("NOOP")
        self.refused('STORE 9 ANNOTATION (/comment (value.priv "x"))', b"BAD ")
        self.refused('STORE 1 +ANNOTATION (/comment (value.priv "x"))', b"BAD ")
        self.assertEqual(self.fetched("* value"), [])

    def test_limits(self) -> None:
        large = b"STORE 1:2 ANNOTATION (/comment (value.priv {%d+}\r\n%b))"
        octets = b"x" * (SIZE + 1)
        self.refused(large % (len(octets), octets), b"NO [ANNOTATE TOOBIG] ")
        self.done(large % (SIZE, octets[1:]))
        some = " ".join(f'/vendor/x/{n} (value.priv "x")' for n in range(MAX_ANNOTATIONS - 1))
        self.done(f"STORE 1 ANNOTATION ({some})")
        one = 'STORE {} ANNOTATION (/altsubject (value.{} "x"))'
        self.refused(one.format("1:2", "priv"), b"NO [ANNOTATE TOOMANY] ")
        self.assertEqual(
            self.fetched("/altsubject value.priv", "2"),
            [b"* 2 FETCH (ANNOTATION (/altsubject (value.priv NIL)))"],
        )
        self.done(one.format("2", "priv"))
        self.done(one.format("1", "shared"))

    def test_read_only(self) -> None:
        self.done("EXAMINE INBOX")
        self.refused('STORE 1 ANNOTATION (/comment (value.priv "x"))', b"NO ")
        self.fetched("/comment value")
        self.done("CLOSE")
        self.refused('STORE 1 ANNOTATION (/comment (value.priv "x"))', b"BAD ")

    def test_messages_that_are_gone(self) -> None:
        other = self.server.login("SELECT INBOX", "STORE 2 +FLAGS.SILENT (\\Deleted)")
        self.done("NOOP")
        other.command("EXPUNGE")
        self.done('STORE 1:3 ANNOTATION (/comment (value.priv "x"))')
        self.done("NOOP")
        self.assertEqual(len(self.fetched("/comment value.priv", "1:*")), 2)

    def test_modification_sequences(self) -> None:
        # RFC 5257 section 4.5, RFC 7162 section 3.1.3
        (line,) = self.done("FETCH 3 (MODSEQ)")[-1:]
        before = int(line.partition(b"MODSEQ (")[2].partition(b")")[0])
        (told,) = self.done('STORE 1 ANNOTATION (/comment (value.priv "x"))')
        self.assertRegex(told, rb"\A\* 1 FETCH \(UID 1 MODSEQ \(\d+\)\)\Z")
        after = int(told.partition(b"MODSEQ (")[2].partition(b")")[0])
        self.assertGreater(after, before)
        *told_lines, line = self.client.command(
            f'STORE 1:2 (UNCHANGEDSINCE {before}) ANNOTATION (/comment (value.priv "y"))'
        )
        self.assertTrue(line.startswith(b"OK [MODIFIED 1] "), line)
        self.assertEqual(len(told_lines), 2)
        self.assertRegex(told_lines[0], rb"\A\* 2 FETCH \(UID 2 MODSEQ")
        self.assertIn(b"* 1 FETCH (UID 1 FLAGS (", told_lines[1])
        (line, *_) = self.done(f"FETCH 1:* (FLAGS) (CHANGEDSINCE {after})")
        self.assertIn(b"* 2 FETCH ", line)
        self.assertEqual(
            [b'"x"' in line for line in self.fetched("/comment value.priv", "1:2")], [True, False]
        )
        self.assertEqual(self.done('STORE 1 ANNOTATION (/none (value.priv NIL))')[0][:20],
                         b"* 1 FETCH (UID 1 MOD")  # fmt: skip

    def test_condstore_begins_with_unchangedsince(self) -> None:
        lines = self.done('STORE 1 (UNCHANGEDSINCE 99999) ANNOTATION (/x (value.priv "y"))')
        self.assertIn(b"HIGHESTMODSEQ", lines[0])
        self.assertRegex(lines[1], rb"\A\* 1 FETCH \(UID 1 MODSEQ \(\d+\)\)\Z")


class SwitchTests(ServerTestCase):
    def test_switched_off(self) -> None:
        server = self.make_server(without=frozenset({"ANNOTATE-EXPERIMENT-1"}))
        server.add(PLAIN)
        client = server.login()
        lines = client.command("SELECT INBOX")
        self.assertNotIn(b"ANNOTATIONS", b"".join(lines))
        self.assertNotIn(b"ANNOTATE", b"".join(client.command("CAPABILITY")))
        for command in (
            "FETCH 1 (ANNOTATION (/comment value))",
            'STORE 1 ANNOTATION (/comment (value.priv "x"))',
            "SELECT INBOX (ANNOTATE)",
        ):
            (line,) = client.command(command)
            self.assertTrue(line.startswith(b"BAD "), line)
        (line,) = client.command(
            "NOTIFY SET (PERSONAL (MessageNew MessageExpunge AnnotationChange))"
        )
        self.assertTrue(line.startswith(b"NO [BADEVENT ("), line)
        self.assertNotIn(b"AnnotationChange", line)


class PlainTests(AnnotateTestCase):
    """A mailbox that keeps no annotations, in an account that says it does."""

    @override
    def setUp(self) -> None:
        super().setUp()
        original = type(self.server.account).open_mailbox

        async def open_mailbox(account: Any, name: str) -> Any:
            return ReadOnlyMailbox(await original(account, name))

        patched = mock.patch.object(type(self.server.account), "open_mailbox", open_mailbox)
        patched.start()
        self.addCleanup(patched.stop)

    def test_none(self) -> None:
        lines = self.done("SELECT INBOX")
        self.assertIn(b"* OK [ANNOTATIONS NONE] Annotations of messages", lines)
        self.assertEqual(
            self.fetched("(/comment /*) value"),
            [b"* 1 FETCH (ANNOTATION (/comment (value.priv NIL value.shared NIL)))"],
        )
        self.refused('STORE 1 ANNOTATION (/comment (value.priv "x"))', b"NO ")


class SQLiteFetchTests(FetchTests):
    sqlite = True


class SQLiteStoreTests(StoreTests):
    sqlite = True
