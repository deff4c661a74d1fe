"""Commands put together from lines and literals."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.reader import (
    CommandOctets,
    CommandReader,
    Continue,
    Event,
    Hopeless,
    MessageLine,
    MessageLiteral,
    TooLong,
)
from mailkit.wire.buffer import InputBuffer


class ReaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.buffer = InputBuffer()
        self.reader = CommandReader(self.buffer, max_line=100, max_literal=50, max_swallow=1000)
        self.messages: list[bytes] = []

    def read(self, data: bytes, accept: bool = True) -> list[Event]:
        """Feed octets; messages are accepted or refused as they are announced."""
        self.buffer.feed(data)
        events: list[Event] = []
        while (event := self.reader.read()) is not None:
            events.append(event)
            if isinstance(event, MessageLiteral):
                if accept:
                    self.reader.accept_literal(self.messages.append)
                elif (hopeless := self.reader.refuse_literal()) is not None:
                    events.append(hopeless)
            if isinstance(events[-1], Hopeless):
                break
        return events

    def test_lines(self) -> None:
        # lenient: a bare LF ends a line.
        self.assertEqual(
            self.read(b"a NOOP\r\nb NOOP\nc NO"),
            [CommandOctets(b"a NOOP"), CommandOctets(b"b NOOP")],
        )
        self.assertEqual(self.read(b"OP\r\n"), [CommandOctets(b"c NOOP")])

    def test_synchronizing_literal_waits(self) -> None:
        self.assertEqual(self.read(b"a LOGIN {3}\r\n"), [Continue()])
        self.assertEqual(self.read(b"ann {3}\r\n"), [Continue()])
        self.assertEqual(
            self.read(b"a\r\n\r\n"), [CommandOctets(b"a LOGIN {3}\r\nann {3}\r\na\r\n")]
        )

    def test_non_synchronizing_literals(self) -> None:
        command = b"A001 LOGIN {11+}\r\nFRED FOOBAR {7+}\r\nfat man"
        self.assertEqual(self.read(command + b"\r\n"), [CommandOctets(command)])

    def test_empty_literal(self) -> None:
        self.assertEqual(
            self.read(b"a LOGIN {0+}\r\n x\r\n"), [CommandOctets(b"a LOGIN {0+}\r\n x")]
        )

    def test_literal_that_ends_in_a_literal_announcement(self) -> None:
        command = b"a LOGIN {6+}\r\n{10+}\r x"
        self.assertEqual(self.read(command + b"\r\n"), [CommandOctets(command)])

    def test_braces_that_are_no_literal(self) -> None:
        for line in (b"a X {}", b"a X {+}", b"a X {x}", b"a X {1-}", b"a X {1} ", b"a X {-1}"):
            self.assertEqual(self.read(line + b"\r\n"), [CommandOctets(line)])

    def test_every_split_gives_the_same_events(self) -> None:
        data = (
            b"a LOGIN {3+}\r\nann {0+}\r\n\r\nb NOOP\r\nc APPEND {5+}\r\nINBOX (\\Seen) {7+}\r\n"
            b"x\r\n{9+}\r\nd NOOP\r\n" + b"e " + b"x" * 200 + b"\r\nf NOOP {51+}\r\n" + b"y" * 51
            + b"\r\ng NOOP\r\n"
        )  # fmt: skip
        expected = self.read(data)
        self.assertEqual(b"".join(self.messages), b"x\r\n{9+}")
        self.assertEqual(len(expected), 8)
        for position in range(len(data)):
            self.setUp()
            events = self.read(data[:position]) + self.read(data[position:])
            self.assertEqual(events, expected, position)
            self.assertEqual(b"".join(self.messages), b"x\r\n{9+}")
        self.setUp()
        events = [event for octet in data for event in self.read(bytes((octet,)))]
        self.assertEqual(events, expected)

    def test_line_too_long_is_swallowed(self) -> None:
        self.assertEqual(
            self.read(b"a NOOP " + b"x" * 5000),
            [],
        )
        self.assertEqual(
            self.read(b"x\r\nb NOOP\r\n"),
            [TooLong(b"", "The command line is too long"), CommandOctets(b"b NOOP")],
        )

    def test_answer_to_a_very_long_line_has_its_tag(self) -> None:
        self.reader = CommandReader(self.buffer, 20_000, 50, 1000)
        self.assertEqual(self.read(b"a7 NOOP " + b"x" * 9000), [])
        self.assertEqual(self.read(b"x" * 20_000), [])
        self.assertEqual(self.read(b"\r\n"), [TooLong(b"a7", "The command line is too long")])

    def test_lines_of_one_command_share_the_limit(self) -> None:
        self.read(b"a LOGIN " + b"x" * 60 + b"{1+}\r\ny")
        (event,) = self.read(b"x" * 60 + b"\r\n")
        self.assertEqual(event, TooLong(b"a", "The command line is too long"))

    def test_synchronizing_literal_too_large_is_not_sent(self) -> None:
        self.assertEqual(
            self.read(b"a LOGIN {51}\r\n"), [TooLong(b"a", "The literal is too large")]
        )
        self.assertEqual(self.read(b"b NOOP\r\n"), [CommandOctets(b"b NOOP")])

    def test_non_synchronizing_literal_too_large_is_swallowed(self) -> None:
        events = self.read(b"a LOGIN {51+}\r\n" + b"\r\nz NOOP\r\n".ljust(51) + b" {3+}\r\nabc\r\n")
        self.assertEqual(events, [TooLong(b"a", "The literal is too large")])
        self.assertEqual(self.read(b"b NOOP\r\n"), [CommandOctets(b"b NOOP")])

    def test_many_literals_share_a_limit(self) -> None:
        self.reader.max_literals = 100
        events = self.read(b"a X {50+}\r\n" + b"x" * 50 + b" {50+}\r\n" + b"x" * 50 + b" {1}\r\n")
        self.assertEqual(events, [TooLong(b"a", "The literal is too large")])

    def test_hopeless_literal(self) -> None:
        self.assertEqual(self.read(b"a LOGIN {1001+}\r\n"), [Hopeless(b"a")])

    def test_literal_of_an_absurd_size(self) -> None:
        self.assertEqual(self.read(b"a X {%b+}\r\n" % (b"9" * 80)), [Hopeless(b"a")])

    def test_append_streams_its_message(self) -> None:
        self.assertEqual(
            self.read(b"a append INBOX (\\Seen) {300}\r\n"),
            [MessageLiteral(b"a append INBOX (\\Seen) ", 300, True)],
        )
        self.assertEqual(self.read(b"x" * 299), [])
        self.assertEqual(
            self.read(b"y\r\nb NOOP\r\n"), [MessageLine(b""), CommandOctets(b"b NOOP")]
        )
        self.assertEqual(b"".join(self.messages), b"x" * 299 + b"y")

    def test_mailbox_of_append_as_a_literal(self) -> None:
        self.assertEqual(self.read(b"a APPEND {5}\r\n"), [Continue()])
        self.assertEqual(
            self.read(b"INBOX {3+}\r\n"), [MessageLiteral(b"a APPEND {5}\r\nINBOX ", 3, False)]
        )
        self.assertEqual(self.read(b"abc\r\n"), [MessageLine(b"")])

    def test_refused_message_that_waits_is_not_sent(self) -> None:
        self.read(b"a APPEND INBOX {300}\r\n", accept=False)
        self.assertEqual(self.read(b"b NOOP\r\n"), [CommandOctets(b"b NOOP")])

    def test_refused_message_that_does_not_wait_is_swallowed(self) -> None:
        message = b"b NOOP\r\n" * 30
        self.read(b"a APPEND INBOX {%d+}\r\n" % len(message) + message[:50], accept=False)
        self.assertEqual(self.read(message[50:] + b"\r\nc NOOP\r\n"), [CommandOctets(b"c NOOP")])

    def test_refused_message_too_large_to_swallow(self) -> None:
        events = self.read(b"a APPEND INBOX {1001+}\r\n", accept=False)
        self.assertEqual(events[1], Hopeless(b"a"))

    def test_second_message_is_announced_like_the_first(self) -> None:
        events = self.read(b"a APPEND INBOX {3+}\r\nabc (\\Seen) {8}\r\nz NOOP\r\n\r\nb NOOP\r\n")
        self.assertEqual(
            events[1:],
            [
                MessageLiteral(b" (\\Seen) ", 8, True),
                MessageLine(b""),
                CommandOctets(b"b NOOP"),
            ],
        )
        self.assertEqual(b"".join(self.messages), b"abcz NOOP\r\n")

    def test_second_message_is_refused(self) -> None:
        self.buffer.feed(b"a APPEND INBOX {3+}\r\nabc {8+}\r\nz NOOP\r\n\r\nb NOOP\r\n")
        self.assertIsInstance(self.reader.read(), MessageLiteral)
        self.reader.accept_literal(self.messages.append)
        self.assertEqual(self.reader.read(), MessageLiteral(b" ", 8, False))
        self.assertIsNone(self.reader.refuse_literal())
        self.assertEqual(self.reader.read(), CommandOctets(b"b NOOP"))
