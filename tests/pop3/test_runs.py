"""RETR commands behind each other: answered together, and as if each had come alone."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from mailkit.connection import CHUNK, COMMANDS_A_TURN
from mailkit.errors import StoreUnavailable
from mailkit.pop3.retrieval import RUN_OCTETS
from tests.pop3.fakes import Client, FakeBatchMailbox, FakeWritableMailbox, Server, every_split

CONTENTS = (
    b"Subject: one\r\n\r\nHello\r\n",
    b".\r\n..\r\n.dots\r\n",
    b"",
    b"no line end",
    b"\n.bare\r\n",
    b"six\r\n",
)
FIRST = 7


def retrievals(*numbers: int) -> bytes:
    return b"".join(b"RETR %d\r\n" % number for number in numbers)


def reply(data: bytes) -> bytes:
    stuffed = (b"\n" + data).replace(b"\n.", b"\n..")[1:]
    end = b"" if not data or data.endswith(b"\r\n") else b"\r\n"
    return b"+OK %d octets\r\n%b.\r\n" % (len(data) + len(end), stuffed + end)


def replies(contents: Sequence[bytes] = CONTENTS) -> bytes:
    return b"".join(map(reply, contents))


class RunCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.mailbox = FakeBatchMailbox(*CONTENTS)
        self.server = Server(self.mailbox)
        self.client = self.server.login()

    def answer(self, commands: bytes) -> bytes:
        self.client.read()
        self.client.send(commands)
        return self.client.read()


class AnsweredTogetherTests(RunCase):
    def test_one_read_and_one_write(self) -> None:
        self.client.read()
        self.client.send(retrievals(1, 2, 3, 4, 5, 6))
        self.assertEqual(len(self.client.transport.writes), 1)
        self.assertEqual(self.client.read(), replies())
        self.assertEqual(self.mailbox.together, [6])
        self.assertEqual(self.mailbox.open_files, [])

    def test_in_any_order_and_more_than_once(self) -> None:
        wanted = (3, 1, 1, 6, 2)
        self.assertEqual(
            self.answer(retrievals(*wanted)), replies([CONTENTS[number - 1] for number in wanted])
        )
        self.assertEqual(self.mailbox.together, [5])

    def test_a_single_command_is_read_alone(self) -> None:
        self.assertEqual(self.answer(b"RETR 1\r\nNOOP\r\n"), reply(CONTENTS[0]) + b"+OK\r\n")
        self.assertEqual(self.mailbox.together, [])

    def test_as_many_octets_as_are_allowed_together(self) -> None:
        contents = [b"x" * 60_000 + b"\r\n"] * 21
        mailbox = FakeBatchMailbox(*contents)
        client = Server(mailbox).login()
        client.send(retrievals(*range(1, 22)))
        self.assertLess(max(map(len, client.transport.writes)), RUN_OCTETS + CHUNK)
        self.assertEqual(client.read(), replies(contents))
        fit = RUN_OCTETS // 60_000
        self.assertEqual(mailbox.together, [fit, fit, 21 - 2 * fit])

    def test_large_messages_among_them(self) -> None:
        contents = [b"one\r\n", b"x" * RUN_OCTETS + b"\r\n", b"y" * CHUNK + b"\r\n", *CONTENTS]
        client = Server(FakeBatchMailbox(*contents)).login()
        client.send(retrievals(*range(1, 10)))
        self.assertEqual(client.read(), replies(contents))

    def test_others_get_their_turn(self) -> None:
        self.client.read()
        self.client.send(retrievals(6) * 2 * COMMANDS_A_TURN)
        begun = self.client.read()
        # A run that has begun is answered to its end.
        self.assertLess(len(begun), len(reply(CONTENTS[5])) * (COMMANDS_A_TURN + 128))
        self.server.clock.pump([0.0] * 5)
        self.assertEqual(begun + self.client.read(), reply(CONTENTS[5]) * 2 * COMMANDS_A_TURN)

    def test_a_mailbox_that_reads_one_at_a_time(self) -> None:
        client = Server(FakeWritableMailbox(*CONTENTS[:2])).login()
        client.send(retrievals(1, 2, 1))
        self.assertEqual(client.read(), replies([*CONTENTS[:2], CONTENTS[0]]))


class RulesTests(RunCase):
    def test_every_split_of_the_input_gives_the_same_dialogue(self) -> None:
        commands = b"RETR 1\r\nRETR 2\r\nretr 3\r\nRETR 9\r\nRETR 4 \r\nRETR 5\r\nRETR\r\nRETR 6\n"

        def run(pieces: list[bytes]) -> bytes:
            client: Client = Server(FakeBatchMailbox(*CONTENTS)).login()
            for piece in pieces:
                client.send(piece)
            return client.read()

        (dialogue,) = every_split(commands, run)
        self.assertEqual(
            dialogue,
            replies(CONTENTS[:3])
            + b"-ERR No such message, only 6 messages in the maildrop\r\n"
            + replies(CONTENTS[3:5])
            + b"-ERR This command takes one message number\r\n"
            + reply(CONTENTS[5]),
        )

    def test_other_commands_between_them(self) -> None:
        dialogue = self.answer(
            b"RETR 1\r\nRETR 2\r\nDELE 2\r\nRETR 1\r\nRETR 2\r\nRETR 3\r\nRSET\r\nRETR 3\r\nRETR 2\r\n"
        )
        one, two, three = map(reply, CONTENTS[:3])
        self.assertEqual(
            dialogue,
            b"".join(
                (
                    one,
                    two,
                    b"+OK Message 2 deleted\r\n",
                    one,
                    b"-ERR Message 2 is deleted\r\n",
                    three,
                    b"+OK Maildrop has 6 messages (%d octets)\r\n"
                    % sum(int(reply(content).split(b" ")[1]) for content in CONTENTS),
                    three,
                    two,
                )
            ),
        )

    def test_numbers_of_all_lengths(self) -> None:
        missing = b"-ERR No such message, only 6 messages in the maildrop\r\n"
        self.assertEqual(
            self.answer(b"RETR 1\r\nRETR 0\r\nRETR 0000000006\r\nRETR 00000000006\r\nRETR 6\r\n"),
            reply(CONTENTS[0])
            + missing
            + reply(CONTENTS[5])
            + b"-ERR This command takes one message number\r\n"
            + reply(CONTENTS[5]),
        )

    def test_a_run_longer_than_what_is_looked_at(self) -> None:
        self.client.read()
        numbers = [number % 6 + 1 for number in range(300)]
        self.client.send(b"RETR 1 \r\n" + retrievals(*numbers))
        self.server.clock.pump([0.0] * 5)
        self.assertEqual(
            self.client.read(), replies([CONTENTS[0], *(CONTENTS[n - 1] for n in numbers)])
        )

    def test_expunged_by_another_session_meanwhile(self) -> None:
        for gone in (1, 3, 6):
            mailbox = FakeBatchMailbox(*CONTENTS)
            client = Server(mailbox).login()
            del mailbox.messages[FIRST + gone - 1]
            client.send(retrievals(1, 2, 3, 4, 5, 6))
            expected = list(map(reply, CONTENTS))
            expected[gone - 1] = b"-ERR No such message\r\n"
            self.assertEqual(client.read(), b"".join(expected))

    def test_the_backend_refuses(self) -> None:
        refusal = StoreUnavailable("Disk away")
        self.mailbox.trouble = {"read_messages": refusal}
        self.assertEqual(self.answer(retrievals(1, 2, 3)), replies(CONTENTS[:3]))
        self.mailbox.trouble["open_message"] = refusal
        self.assertEqual(self.answer(retrievals(1, 2)), b"-ERR [SYS/TEMP] Disk away\r\n" * 2)

    def test_a_bug_in_the_backend(self) -> None:
        self.mailbox.trouble = {"read_messages": ZeroDivisionError()}
        # The last one is read alone.
        self.assertEqual(
            self.answer(retrievals(1, 2, 3)),
            b"-ERR [SYS/TEMP] Internal error, please try again later\r\n" * 2 + reply(CONTENTS[2]),
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_messages_that_this_client_is_not_to_have(self) -> None:
        # RFC 6856 section 2.1: what needs a look at its header is read by itself.
        content = "Subject: Gr\u00fc\u00dfe\r\n".encode()
        for said, expected in (b"", b"-ERR [UTF8] "), (b"UTF8\r\n", b"+OK 18 octets\r\n"):
            client = Server(FakeBatchMailbox(content, content), refuse_utf8=True).connect()
            client.send(said + b"USER ann\r\nPASS secret\r\n")
            client.read()
            client.send(retrievals(1, 2))
            self.assertEqual(client.read().count(expected), 2)

    def test_errors_in_a_row_are_counted_anew(self) -> None:
        client = Server(self.mailbox, bob=self.mailbox, max_errors=2).connect()
        client.send(
            b"USER bob\r\nPASS hunter2\r\nRETR\r\n" + retrievals(1, 2) + b"RETR\r\nNOOP\r\n"
        )
        self.assertTrue(client.read().endswith(b"one message number\r\n+OK\r\n"))


class WaitingTests(RunCase):
    def test_a_client_that_stops_reading_in_the_middle(self) -> None:
        fit = RUN_OCTETS // 60_000
        contents = [b"x" * 60_000 + b"\r\n"] * (3 * fit + 1)
        mailbox = FakeBatchMailbox(*contents)
        client = Server(mailbox).login()
        client.read()
        original = client.transport.write

        def write(data: bytes) -> None:
            original(data)
            client.connection.pauseProducing()

        self.patch(client.transport, "write", write)
        client.send(retrievals(*range(1, 3 * fit + 2)) + b"NOOP\r\n")
        self.assertEqual(client.transport.value(), replies(contents[:fit]))
        self.assertEqual(mailbox.together, [fit])
        for read in (2, 3):
            client.connection.resumeProducing()
            self.assertEqual(client.transport.value(), replies(contents[: read * fit]))
        client.connection.resumeProducing()
        self.assertEqual(client.read(), replies(contents) + b"+OK\r\n")

    def test_more_commands_while_it_is_read(self) -> None:
        self.mailbox.slow.add("read_messages")
        self.client.read()
        self.client.send(b"RETR 1\r\nRETR 2\r\nRETR 3")
        self.client.send(b"\r\nRETR 4\r\nNOOP\r\n")
        self.assertEqual(self.client.read(), b"")
        self.mailbox.slow.clear()
        self.mailbox.go_on()
        self.assertEqual(self.client.read(), replies(CONTENTS[:4]) + b"+OK\r\n")
        self.assertEqual(self.mailbox.together, [2, 2])

    def test_connection_lost_while_it_is_read(self) -> None:
        self.mailbox.slow.add("read_messages")
        self.client.send(retrievals(1, 2, 3) + b"DELE 1\r\nQUIT\r\n")
        self.client.lose()
        self.assertEqual(len(self.mailbox.messages), 6)
        self.assertTrue(self.server.login().ask(b"STAT").startswith(b"+OK 6 "))

    def test_the_client_has_sent_its_last(self) -> None:
        self.client.read()
        self.mailbox.slow.add("read_messages")
        self.client.send(retrievals(1, 2))
        self.client.connection.readConnectionLost()
        self.mailbox.go_on()
        self.assertEqual(self.client.read(), replies(CONTENTS[:2]))
        self.assertTrue(self.client.closed)
