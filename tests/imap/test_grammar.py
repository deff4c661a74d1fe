"""Octets of one command to values."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import InvalidMailboxName
from mailkit.imap.grammar import (
    STAR,
    Arguments,
    CommandFault,
    SyntaxFault,
    parse_command,
)
from mailkit.imap.render import astring

ALL_OCTETS = [bytes((octet,)) for octet in range(256)]
CONTROLS = {bytes((octet,)) for octet in (*range(0x20), 0x7F)}
EIGHT_BIT = {bytes((octet,)) for octet in range(0x80, 0x100)}
ATOM_SPECIALS = {b"(", b")", b"{", b" ", b"%", b"*", b'"', b"\\", b"]"} | CONTROLS


def accepts(read: Callable[[Arguments], object], octets: bytes) -> bool:
    arguments = Arguments(octets)
    try:
        read(arguments)
        arguments.end()
    except SyntaxFault:
        return False
    # Blanks at the end are forgiven by end(), and are no part of the value.
    return arguments.position == len(octets)


class OctetTests(SynchronousTestCase):
    """Every octet in every kind of word (RFC 3501 section 9)."""

    def refused(self, read: Callable[[Arguments], object], form: bytes) -> set[bytes]:
        return {octet for octet in ALL_OCTETS if not accepts(read, form % octet)}

    def test_atom(self) -> None:
        self.assertEqual(self.refused(Arguments.atom, b"a%bb"), ATOM_SPECIALS | EIGHT_BIT)

    def test_astring_may_hold_a_closing_bracket(self) -> None:
        self.assertEqual(
            self.refused(Arguments.astring, b"a%bb"), (ATOM_SPECIALS | EIGHT_BIT) - {b"]"}
        )

    def test_tag_holds_no_plus(self) -> None:
        self.assertEqual(
            self.refused(Arguments.tag, b"a%bb"),
            (ATOM_SPECIALS | EIGHT_BIT | {b"+"}) - {b"]"},
        )

    def test_quoted_string(self) -> None:
        self.assertEqual(
            # 8-bit octets are forgiven.
            self.refused(Arguments.string, b'"a%bb"'),
            {b"\0", b"\r", b"\n", b'"', b"\\"},
        )

    def test_escape_in_a_quoted_string(self) -> None:
        self.assertEqual(
            self.refused(Arguments.string, b'"a\\%bb"'), set(ALL_OCTETS) - {b'"', b"\\"}
        )

    def test_literal_holds_anything_but_nul(self) -> None:
        self.assertEqual(self.refused(Arguments.string, b"{3}\r\na%bb"), {b"\0"})

    def test_list_pattern_may_hold_wildcards(self) -> None:
        refused = {
            octet
            for octet in ALL_OCTETS
            # "&" alone is no modified UTF-7.
            if octet != b"&" and not accepts(Arguments.list_pattern, b"a%bb" % octet)
        }
        self.assertEqual(refused, (ATOM_SPECIALS | EIGHT_BIT) - {b"]", b"%", b"*"})

    def test_keyword(self) -> None:
        self.assertEqual(self.refused(Arguments.flag, b"a%bb"), ATOM_SPECIALS | EIGHT_BIT)

    def test_sequence_set(self) -> None:
        accepted = set(ALL_OCTETS) - self.refused(Arguments.sequence_set, b"1%b2")
        self.assertEqual(accepted, {b":", b",", *(b"%d" % digit for digit in range(10))})

    def test_commands_of_any_octets_never_break_the_reader(self) -> None:
        for octet in ALL_OCTETS:
            for form in (b"%b", b"a %b", b"%b NOOP", b"a NO%bOP", b"a UID%bFETCH"):
                try:
                    command = parse_command(form % octet)
                except SyntaxFault:
                    continue
                self.assertTrue(command.tag)


class StringTests(SynchronousTestCase):
    def test_quotes_and_backslashes_are_escaped(self) -> None:
        self.assertEqual(Arguments(rb'"pa\"s\\s"').astring(), rb'pa"s\s')

    def test_empty_strings(self) -> None:
        self.assertEqual(Arguments(b'""').astring(), b"")
        self.assertEqual(Arguments(b"{0}\r\n").astring(), b"")

    def test_literals_with_and_without_plus(self) -> None:
        arguments = Arguments(b'{3}\r\na"b {2+}\r\n\r\n x')
        self.assertEqual(arguments.astring(), b'a"b')
        arguments.space()
        self.assertEqual(arguments.astring(), b"\r\n")
        arguments.space()
        self.assertEqual(arguments.astring(), b"x")
        arguments.end()

    def test_a_literal_shorter_than_announced_is_refused(self) -> None:
        self.assertFalse(accepts(Arguments.string, b"{4}\r\nabc"))

    def test_a_quoted_string_without_end_takes_linear_time(self) -> None:
        self.assertFalse(accepts(Arguments.string, b'"' + b"a" * 60000))
        self.assertFalse(accepts(Arguments.string, b'"' + b'\\"a' * 20000))

    def test_nil_is_no_string_for_nstring_alone(self) -> None:
        self.assertIsNone(Arguments(b"nil").nstring())
        self.assertEqual(Arguments(b'"nil"').nstring(), b"nil")
        self.assertEqual(Arguments(b"nil").astring(), b"nil")

    @given(st.binary(max_size=40).filter(lambda octets: b"\0" not in octets))
    def test_what_render_writes_is_read_again(self, octets: bytes) -> None:
        arguments = Arguments(astring(octets))
        self.assertEqual(arguments.astring(), octets)
        arguments.end()


class NumberTests(SynchronousTestCase):
    def test_range_of_numbers(self) -> None:
        self.assertEqual(Arguments(b"4294967295").number(), 4294967295)
        self.assertFalse(accepts(Arguments.number, b"4294967296"))
        self.assertFalse(accepts(Arguments.nonzero_number, b"0"))

    def test_sequence_set(self) -> None:
        self.assertEqual(
            Arguments(b"1,3:5,*,7:*,*:2").sequence_set(),
            ((1, 1), (3, 5), (STAR, STAR), (7, STAR), (STAR, 2)),
        )

    def test_sequence_sets_that_are_none(self) -> None:
        for octets in (
            b"0",
            b"1,",
            b",1",
            b"1:",
            b":1",
            b"1:2:3",
            b"a",
            b"4294967296",
            b"1:0",
            b"01",
        ):
            self.assertFalse(accepts(Arguments.sequence_set, octets), octets)

    def test_dates(self) -> None:
        for octets in (b"1-Feb-1994", b'"1-Feb-1994"', b"01-feb-1994"):
            self.assertEqual(Arguments(octets).date(), datetime.date(1994, 2, 1))
        self.assertFalse(accepts(Arguments.date, b"31-Feb-1994"))

    def test_date_time(self) -> None:
        self.assertEqual(Arguments(b'"17-Jul-1996 02:44:25 -0700"').date_time(), 837596665)
        self.assertFalse(accepts(Arguments.date_time, b'"17-Jul-1996"'))


class MailboxTests(SynchronousTestCase):
    def test_inbox_in_any_case(self) -> None:
        for octets in (b"inbox", b'"INBOX"', b"iNbOx", b"{5}\r\nInbox"):
            self.assertEqual(Arguments(octets).mailbox(), "INBOX")

    def test_level_below_inbox(self) -> None:
        self.assertEqual(Arguments(b"inbox/Inbox").mailbox(), "INBOX/Inbox")

    def test_modified_utf7(self) -> None:
        # RFC 3501 section 5.1.3
        self.assertEqual(
            Arguments(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-").mailbox(), "~peter/mail/台北/日本語"
        )

    def test_names_that_are_none(self) -> None:
        for octets in (b"&", b'""', b"&AGE-", b"{2}\r\n\xc3\xa9", b"{3}\r\na\tb"):
            self.assertRaises(InvalidMailboxName, Arguments(octets).mailbox)

    def test_patterns(self) -> None:
        self.assertEqual(Arguments(b"*%").list_pattern(), "*%")
        self.assertEqual(Arguments(b'""').list_pattern(), "")
        self.assertEqual(Arguments(b'"a b*"').list_pattern(), "a b*")


class FlagTests(SynchronousTestCase):
    def test_system_flags_in_any_case(self) -> None:
        self.assertEqual(
            Arguments(b"(\\SEEN \\answered $Forwarded)").flag_list(),
            frozenset(("\\Seen", "\\Answered", "$Forwarded")),
        )

    def test_store_takes_flags_without_parentheses(self) -> None:
        self.assertEqual(Arguments(b"\\Seen Junk").store_flags(), frozenset(("\\Seen", "Junk")))
        self.assertEqual(Arguments(b"()").store_flags(), frozenset())

    def test_recent_and_unknown_system_flags_cannot_be_set(self) -> None:
        for octets in (b"\\Recent", b"\\recent", b"\\Foo", b"\\*", b"\\"):
            self.assertFalse(accepts(Arguments.flag, octets), octets)

    def test_keywords_that_differ_in_case_are_one(self) -> None:
        self.assertEqual(Arguments(b"(Junk JUNK)").flag_list(), frozenset(("Junk",)))

    def test_limits(self) -> None:
        self.assertFalse(accepts(Arguments.flag, b"a" * 256))
        self.assertFalse(
            accepts(Arguments.flag_list, b"(%b)" % b" ".join(b"k%d" % n for n in range(501)))
        )


class CommandTests(SynchronousTestCase):
    def test_tag_and_name(self) -> None:
        command = parse_command(b"A1 fetch 1 FLAGS")
        self.assertEqual((command.tag, command.verb), (b"A1", b"FETCH"))
        command.arguments.space()
        self.assertEqual(command.arguments.sequence_set(), ((1, 1),))

    def test_uid_commands_have_two_words(self) -> None:
        self.assertEqual(parse_command(b"1 uid Fetch 1 FLAGS").verb, b"UID FETCH")

    def test_fault_behind_a_good_tag_knows_the_tag(self) -> None:
        for octets in (b"a1", b"a1 ", b"a1  NOOP", b"a1 (", b"a1 UID", b"a1 UID "):
            fault = self.assertRaises(CommandFault, parse_command, octets)
            self.assertEqual(fault.tag, b"a1")

    def test_no_tag(self) -> None:
        for octets in (
            b"", b" NOOP", b"+ NOOP", b"* NOOP", b"\x80 NOOP", b"\x7f\xff", b"a+ NOOP", b"a* NOOP",
            b"a\x80 NOOP", b"a\tNOOP", b"a{ NOOP", b'a" NOOP', b"a\0",
        ):  # fmt: skip
            fault = self.assertRaises(SyntaxFault, parse_command, octets)
            self.assertNotIsInstance(fault, CommandFault)

    def test_long_commands_take_linear_time(self) -> None:
        began = time.process_time()
        arguments = Arguments(b" a" * 30_000)
        while not arguments.at_end():
            arguments.space()
            arguments.atom()
        Arguments(b"1," * 30_000 + b"1").sequence_set()
        self.assertLess(time.process_time() - began, 8)
