"""What stands between the literals of APPEND."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import LimitExceeded
from mailkit.imap.appending import MAX_MESSAGES, AppendGrammar, NewMessage, Next, PartURL
from mailkit.imap.grammar import Arguments, SyntaxFault

ALL = frozenset((b"MULTIAPPEND", b"CATENATE", b"BINARY", b"ANNOTATE-EXPERIMENT-1"))
DATE = b'"17-Jul-1996 02:44:25 -0700"'
SECONDS = 837_596_665


def read(*pieces: bytes, ended: bool = True) -> list[NewMessage | PartURL]:
    """What the pieces in front of literals say, and nothing behind the last one."""
    grammar = AppendGrammar(ALL, b"APPEND")
    steps: list[NewMessage | PartURL] = []
    for piece in pieces:
        between = grammar.read(Arguments(piece), True)
        assert between.next is Next.MESSAGE
        steps += between.steps
    if ended:
        assert grammar.read(Arguments(b""), False).next is Next.NOTHING
    return steps


class OptionsTest(SynchronousTestCase):
    def test_each_form_of_options(self) -> None:
        seen = frozenset(("\\Seen",))
        none: frozenset[str] = frozenset()
        for octets, flags, date in (
            (b" ", none, None),
            (b" () ", none, None),
            (b" (\\Seen) ", seen, None),
            (b" (\\sEEN \\Seen) ", seen, None),
            (b" (\\Seen Work) ", frozenset(("\\Seen", "Work")), None),
            (b" " + DATE + b" ", none, SECONDS),
            (b" (\\Seen) " + DATE + b" ", seen, SECONDS),
        ):
            self.assertEqual(read(octets), [NewMessage(flags, date)], octets)
            # The other way, that of a literal8, says the same.
            between = AppendGrammar(ALL, b"APPEND").read(Arguments(octets + b"~"), True)
            self.assertEqual((list(between.steps), between.binary), (read(octets), True), octets)

    def test_messages_have_flags_of_their_own(self) -> None:
        steps = read(b" (\\Seen) ", b" (\\Flagged) ", b" ", b" (\\Seen) ")
        flags = [step.flags for step in steps if isinstance(step, NewMessage)]
        self.assertEqual(flags, [{"\\Seen"}, {"\\Flagged"}, set(), {"\\Seen"}])

    def test_what_is_wrong_is_refused(self) -> None:
        for octets in (
            b"",
            b"  ",
            b" (\\Seen)",
            b" (\\Seen)  ",
            b" (\\Recent) ",
            b" (\\Seen ) ",
            b' (a"b) ',
            b" (()) ",
            b' "31-Feb-1996 02:44:25 -0700" ',
            b" " + DATE,
            b" " + DATE + b" (\\Seen) ",
        ):
            with self.assertRaises(SyntaxFault, msg=octets):
                read(octets)
            with self.assertRaises(SyntaxFault, msg=octets):
                read(b" ", octets)

    def test_one_message_where_there_may_be_no_more(self) -> None:
        for grammar in (AppendGrammar(frozenset(), b"APPEND"), AppendGrammar(ALL, b"REPLACE")):
            grammar.read(Arguments(b" (\\Seen) "), True)
            for octets in (b" ", b" (\\Seen) "):
                with self.assertRaises(SyntaxFault):
                    grammar.read(Arguments(octets), True)

    def test_a_command_without_messages(self) -> None:
        for octets in (b"", b" ", b" (\\Seen)"):
            with self.assertRaises(SyntaxFault):
                AppendGrammar(ALL, b"APPEND").read(Arguments(octets), False)

    def test_too_many_messages(self) -> None:
        for octets in (b" ", b" (\\Seen) "):
            with self.assertRaises(LimitExceeded):
                read(*[octets] * (MAX_MESSAGES + 1))
