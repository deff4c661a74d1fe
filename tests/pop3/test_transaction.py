"""STAT, LIST, UIDL, RETR, TOP, DELE, NOOP, RSET and QUIT."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, cast

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import ReadOnly, StoreCorrupt, StoreUnavailable, TemporaryFailure
from tests.pop3.fakes import (
    Client,
    FakeMailbox,
    FakeUnendedMailbox,
    FakeWritableMailbox,
    Server,
    every_split,
)

ONE = b"Subject: one\r\n\r\nHello\r\n".ljust(118, b"x") + b"\r\n"
TWO = b"Subject: two\r\n\r\n.\r\n..\r\n.dots\r\n".ljust(198, b"y") + b"\r\n"
NO_THIRD = b"-ERR No such message, only 2 messages in the maildrop\r\n"


class TransactionCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.mailbox = FakeWritableMailbox(ONE, TWO)
        self.server = Server(self.mailbox)
        self.client = self.server.login()

    def ask(self, line: bytes) -> bytes:
        return self.client.ask(line)

    def remaining(self) -> list[int]:
        return sorted(self.mailbox.messages)


class ListingTests(TransactionCase):
    def test_stat(self) -> None:
        self.assertEqual(self.ask(b"STAT"), b"+OK 2 320\r\n")
        self.assertEqual(self.ask(b"stat "), b"+OK 2 320\r\n")

    def test_list(self) -> None:
        self.assertEqual(
            self.ask(b"LIST"), b"+OK 2 messages (320 octets)\r\n1 120\r\n2 200\r\n.\r\n"
        )
        self.assertEqual(self.ask(b"LIST 2"), b"+OK 2 200\r\n")
        self.assertEqual(self.ask(b"LIST 3"), NO_THIRD)
        self.assertEqual(self.ask(b"LIST 0"), NO_THIRD)

    def test_uidl(self) -> None:
        self.assertEqual(self.ask(b"UIDL"), b"+OK\r\n1 42.7\r\n2 42.8\r\n.\r\n")
        self.assertEqual(self.ask(b"UIDL 2"), b"+OK 2 42.8\r\n")
        self.assertEqual(self.ask(b"UIDL 3"), NO_THIRD)

    def test_unique_ids_stay_from_session_to_session(self) -> None:
        before = self.ask(b"UIDL 2")
        self.ask(b"DELE 1")
        self.ask(b"QUIT")
        self.assertEqual(self.server.login().ask(b"UIDL"), b"+OK\r\n1 42.8\r\n.\r\n")
        self.assertEqual(before, b"+OK 2 42.8\r\n")

    def test_an_empty_maildrop(self) -> None:
        client = Server(FakeWritableMailbox()).login()
        self.assertEqual(client.ask(b"STAT"), b"+OK 0 0\r\n")
        self.assertEqual(client.ask(b"LIST"), b"+OK 0 messages (0 octets)\r\n.\r\n")
        self.assertEqual(client.ask(b"UIDL"), b"+OK\r\n.\r\n")
        self.assertTrue(client.ask(b"RETR 1").startswith(b"-ERR No such message"))

    def test_deleted_messages_are_in_no_listing(self) -> None:
        # twisted.mail lists them.
        self.assertEqual(self.ask(b"DELE 1"), b"+OK Message 1 deleted\r\n")
        self.assertEqual(self.ask(b"STAT"), b"+OK 1 200\r\n")
        self.assertEqual(self.ask(b"LIST"), b"+OK 1 message (200 octets)\r\n2 200\r\n.\r\n")
        self.assertEqual(self.ask(b"UIDL"), b"+OK\r\n2 42.8\r\n.\r\n")
        for line in (b"LIST 1", b"UIDL 1", b"RETR 1", b"TOP 1 0", b"DELE 1"):
            self.assertEqual(self.ask(line), b"-ERR Message 1 is deleted\r\n")

    def test_new_mail_is_not_shown_before_the_next_login(self) -> None:
        self.mailbox.messages[9] = b"new"
        self.assertEqual(self.ask(b"STAT"), b"+OK 2 320\r\n")
        self.assertEqual(self.ask(b"LIST 3"), NO_THIRD)
        self.ask(b"QUIT")
        self.assertEqual(self.server.login().ask(b"STAT"), b"+OK 3 323\r\n")

    def test_a_hundred_thousand_messages(self) -> None:
        mailbox = FakeWritableMailbox(*[b"x"] * 100_000, first_uid=1)
        client = Server(mailbox).login()
        self.assertLessEqual(max(mailbox.asked), 500)
        for line, entry in ((b"LIST", b"%d 1\r\n"), (b"UIDL", b"%d 42.%d\r\n")):
            client.read()
            client.send(line + b"\r\n")
            # The reactor serves others in between.
            client.connection.factory.clock.pump([0.001] * 100)  # type: ignore[attr-defined]
            self.assertLessEqual(max(map(len, client.transport.writes)), 2 * 65536)
            lines = client.read().splitlines(True)
            self.assertEqual(len(lines), 100_002)
            self.assertEqual(lines[-1], b".\r\n")
            last = entry % ((100_000,) * entry.count(b"%d"))
            self.assertEqual(lines[-2], last)

    def test_a_long_listing_waits_for_the_client(self) -> None:
        client = Server(FakeWritableMailbox(*[b"x"] * 10_000)).login()
        client.connection.pauseProducing()
        client.send(b"UIDL\r\nNOOP\r\n")
        self.assertLess(len(client.transport.value()), 100)
        client.connection.resumeProducing()
        reply = client.read()
        self.assertTrue(reply.endswith(b"\r\n.\r\n+OK\r\n"))
        self.assertEqual(reply.count(b"\r\n"), 10_003)


class SizeTests(SynchronousTestCase):
    """RFC 1939 section 11."""

    def test_sizes_are_those_of_what_is_sent(self) -> None:
        contents = (ONE, b"a", b"a\n", b"a\r", b"\r\n", b".\r\n.", b"b" * 100_000, ONE * 1000)
        client = Server(FakeUnendedMailbox(*contents)).login()
        sizes = []
        for number in range(1, len(contents) + 1):
            status, _, sent = client.ask(b"RETR %d" % number).partition(b"\r\n")
            self.assertTrue(sent.endswith(b"\r\n.\r\n"))
            # Dots that were doubled do not count.
            size = len(sent[:-3]) - sent[:-3].count(b"\r\n.") - sent.startswith(b".")
            self.assertEqual(status, b"+OK %d octets" % size)
            self.assertEqual(client.ask(b"LIST %d" % number), b"+OK %d %d\r\n" % (number, size))
            sizes.append(size)
        self.assertEqual(
            [size - len(c) for size, c in zip(sizes, contents, strict=True)],
            [0, 2, 2, 2, 0, 2, 2, 0],
        )
        self.assertEqual(client.ask(b"STAT"), b"+OK 8 %d\r\n" % sum(sizes))
        listed = b"".join(b"%d %d\r\n" % entry for entry in enumerate(sizes, 1))
        self.assertTrue(client.ask(b"LIST").endswith(b" octets)\r\n" + listed + b".\r\n"))
        client.ask(b"DELE 2")
        self.assertEqual(client.ask(b"STAT"), b"+OK 7 %d\r\n" % (sum(sizes) - 3))

    def test_of_a_mailbox_that_does_not_know(self) -> None:
        client = Server(FakeWritableMailbox(b"a", ONE)).login()
        self.assertEqual(client.ask(b"LIST 1"), b"+OK 1 1\r\n")
        self.assertEqual(client.ask(b"RETR 1"), b"+OK 1 octets\r\na\r\n.\r\n")

    def test_a_mailbox_that_cannot_tell_refuses_the_login(self) -> None:
        mailbox = FakeUnendedMailbox(ONE)
        mailbox.trouble["list_unended"] = StoreUnavailable()
        server = Server(mailbox)
        client = server.connect()
        client.ask(b"USER ann")
        self.assertTrue(client.ask(b"PASS secret").startswith(b"-ERR [SYS/TEMP]"))


class RetrTests(TransactionCase):
    def test_a_message_and_its_size(self) -> None:
        self.assertEqual(self.ask(b"RETR 1"), b"+OK 120 octets\r\n" + ONE + b".\r\n")

    def test_dots_are_stuffed(self) -> None:
        stuffed = TWO.replace(b"\r\n.", b"\r\n..")
        self.assertEqual(self.ask(b"RETR 2"), b"+OK 200 octets\r\n" + stuffed + b".\r\n")

    def test_numbers(self) -> None:
        self.assertEqual(self.ask(b"RETR 3"), NO_THIRD)
        for argument in (b"", b" x", b" 1 2", b" -1"):
            self.assertEqual(
                self.ask(b"RETR" + argument), b"-ERR This command takes one message number\r\n"
            )

    def test_a_reply_is_one_write(self) -> None:
        # twisted.mail writes it in two, and delayed ACKs cost 40 ms each.
        for line in (b"RETR 1", b"TOP 1 1", b"TOP 1 999", b"LIST", b"UIDL", b"CAPA", b"STAT"):
            self.client.read()
            self.client.send(line + b"\r\n")
            self.assertEqual(len(self.client.transport.writes), 1, line)

    def test_replies_to_pipelined_commands_are_one_write(self) -> None:
        self.client.read()
        self.client.send(b"RETR 1\r\nRETR 2\r\nDELE 1\r\nSTAT\r\n")
        self.assertEqual(len(self.client.transport.writes), 1)

    def test_without_final_line_end(self) -> None:
        client = Server(FakeWritableMailbox(b"A: b\r\n\r\nend", b"", b"x\r")).login()
        # The size is that of the message; the line end belongs to the reply.
        self.assertEqual(client.ask(b"RETR 1"), b"+OK 11 octets\r\nA: b\r\n\r\nend\r\n.\r\n")
        self.assertEqual(client.ask(b"RETR 2"), b"+OK 0 octets\r\n.\r\n")
        self.assertEqual(client.ask(b"RETR 3"), b"+OK 2 octets\r\nx\r\r\n.\r\n")

    def test_each_octet_arrives(self) -> None:
        content = bytes(range(256)) * 3 + b"\r\n"
        client = Server(FakeWritableMailbox(content)).login()
        reply = client.ask(b"RETR 1")
        self.assertEqual(reply, b"+OK %d octets\r\n%b.\r\n" % (len(content), content))

    def test_large_messages_are_streamed(self) -> None:
        for size in (65535, 65536, 65537, 1_000_000):
            content = (b".line\r\n" * (size // 7 + 1))[:size]
            mailbox = FakeWritableMailbox(content)
            client = Server(mailbox).login()
            client.send(b"RETR 1\r\n")
            self.assertLess(max(map(len, client.transport.writes)), 3 * 65536)
            first, rest = client.read().split(b"\r\n", 1)
            self.assertEqual(first, b"+OK %d octets" % size)
            end = b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n"
            self.assertTrue(rest.endswith(end))
            body = rest[: -len(end)]
            self.assertEqual((b"\n" + body).replace(b"\n..", b"\n.")[1:], content)
            self.assertTrue(mailbox.open_files[0].closed)

    def test_a_file_that_gives_a_little_at_a_time(self) -> None:
        class Slow(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                return super().read(7)

        class SlowMailbox(FakeWritableMailbox):
            def make_file(self, content: bytes) -> BinaryIO:
                return cast(BinaryIO, Slow(content))

        client = Server(SlowMailbox(ONE, TWO)).login()
        self.assertEqual(client.ask(b"RETR 1"), self.ask(b"RETR 1"))
        self.assertEqual(client.ask(b"RETR 2"), self.ask(b"RETR 2"))
        self.assertEqual(client.ask(b"TOP 2 2"), self.ask(b"TOP 2 2"))

    def test_a_client_that_does_not_read_holds_back_the_rest(self) -> None:
        mailbox = FakeWritableMailbox(b"x" * 1_000_000)
        client = Server(mailbox).login()
        client.connection.pauseProducing()
        client.send(b"RETR 1\r\nRETR 1\r\n")
        self.assertEqual(client.read(), b"")
        client.connection.resumeProducing()
        self.assertEqual(
            len(client.read()), 2 * (1_000_000 + len(b"+OK 1000000 octets\r\n\r\n.\r\n"))
        )

    def test_small_messages_are_held_back_too(self) -> None:
        self.client.connection.pauseProducing()
        self.client.send(b"RETR 1\r\n" * 50)
        self.assertEqual(self.client.read(), b"")
        self.assertEqual(self.mailbox.open_files, [])
        self.client.connection.resumeProducing()
        self.assertEqual(self.client.read().count(b"+OK 120 octets"), 50)

    def test_flags_are_left_alone(self) -> None:
        called: list[object] = []
        self.patch(self.mailbox, "store_flags", lambda **arguments: called.append(arguments))
        self.ask(b"RETR 1")
        self.ask(b"QUIT")
        self.assertEqual(called, [])

    def test_expunged_by_another_session_meanwhile(self) -> None:
        del self.mailbox.messages[7]
        self.assertEqual(self.ask(b"RETR 1"), b"-ERR No such message\r\n")
        self.assertEqual(self.ask(b"TOP 1 1"), b"-ERR No such message\r\n")
        self.assertTrue(self.ask(b"RETR 2").startswith(b"+OK"))
        self.assertEqual(self.ask(b"DELE 1"), b"+OK Message 1 deleted\r\n")
        self.assertEqual(self.ask(b"QUIT"), b"+OK Goodbye (1 message left)\r\n")

    def test_the_backend_refuses(self) -> None:
        for error, reply in (
            (StoreUnavailable("Disk away"), b"-ERR [SYS/TEMP] Disk away\r\n"),
            (StoreCorrupt(), b"-ERR [SYS/PERM] The stored data is damaged\r\n"),
            (
                TemporaryFailure("[AUTH] two\r\nlines \u00fc"),
                b"-ERR [SYS/TEMP] AUTH] two??lines ?\r\n",
            ),
        ):
            self.mailbox.trouble = {"open_message": error}
            self.assertEqual(self.ask(b"RETR 1"), reply)
        self.mailbox.trouble = {}
        self.assertTrue(self.ask(b"RETR 1").startswith(b"+OK"))

    def test_a_bug_in_the_backend(self) -> None:
        self.mailbox.trouble = {"open_message": ZeroDivisionError()}
        self.assertEqual(
            self.ask(b"RETR 1"), b"-ERR [SYS/TEMP] Internal error, please try again later\r\n"
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.ask(b"STAT"), b"+OK 2 320\r\n")

    def test_slow_backend_with_commands_behind_it(self) -> None:
        self.mailbox.slow.add("open_message")
        self.client.read()
        self.client.send(b"RETR 1\r\nSTAT\r\nRETR 2\r\nNOOP\r\n")
        self.assertEqual(self.client.read(), b"")
        self.mailbox.go_on()
        self.assertEqual(self.client.read(), b"+OK 120 octets\r\n" + ONE + b".\r\n+OK 2 320\r\n")
        self.mailbox.go_on()
        self.assertTrue(self.client.read().endswith(b"\r\n.\r\n+OK\r\n"))

    def test_connection_lost_while_it_opens(self) -> None:
        self.mailbox.slow.add("open_message")
        self.client.send(b"RETR 1\r\nDELE 1\r\nQUIT\r\n")
        self.client.lose()
        self.assertEqual(self.remaining(), [7, 8])
        self.assertEqual(self.server.login().ask(b"STAT"), b"+OK 2 320\r\n")

    def test_connection_lost_half_way(self) -> None:
        mailbox = FakeWritableMailbox(b"x" * 1_000_000)
        server = Server(mailbox)
        client = server.login()
        original = client.transport.write

        def write(data: bytes) -> None:
            original(data)
            client.connection.pauseProducing()

        self.patch(client.transport, "write", write)
        client.send(b"RETR 1\r\n")
        self.assertFalse(mailbox.open_files[0].closed)
        client.lose()
        self.assertTrue(mailbox.open_files[0].closed)
        self.assertEqual(server.login().ask(b"STAT"), b"+OK 1 1000000\r\n")

    def test_a_message_that_breaks_off_is_never_shown_as_whole(self) -> None:
        class Broken(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                if self.tell():
                    raise StoreCorrupt
                return super().read(size)

        class BrokenMailbox(FakeWritableMailbox):
            def make_file(self, content: bytes) -> BinaryIO:
                return cast(BinaryIO, Broken(content))

        client = Server(BrokenMailbox(b"x" * 200_000)).login()
        client.send(b"RETR 1\r\nSTAT\r\n")
        reply = client.read()
        self.assertTrue(reply.startswith(b"+OK 200000 octets\r\nxxx"))
        self.assertFalse(reply.endswith(b"\r\n"))
        self.assertTrue(client.transport.disconnected)
        self.assertEqual(len(self.flushLoggedErrors(StoreCorrupt)), 1)


class TopTests(TransactionCase):
    HEADER = b"+OK Top of message follows\r\nSubject: two\r\n\r\n"

    def test_header_and_lines(self) -> None:
        self.assertEqual(self.ask(b"TOP 2 0"), self.HEADER + b".\r\n")
        self.assertEqual(self.ask(b"TOP 2 1"), self.HEADER + b"..\r\n.\r\n")
        self.assertEqual(self.ask(b"TOP 2 2"), self.HEADER + b"..\r\n...\r\n.\r\n")

    def test_more_lines_than_there_are(self) -> None:
        stuffed = TWO.replace(b"\r\n.", b"\r\n..")
        whole = b"+OK Top of message follows\r\n" + stuffed + b".\r\n"
        self.assertEqual(self.ask(b"TOP 2 9999999999"), whole)
        self.assertEqual(self.ask(b"TOP 2 " + b"9" * 400), whole)

    def test_arguments(self) -> None:
        self.assertEqual(self.ask(b"TOP 3 1"), NO_THIRD)
        for argument in (b"", b" 1", b" 1 x", b" 1 -1", b" 1 2 3"):
            self.assertEqual(
                self.ask(b"TOP" + argument),
                b"-ERR TOP takes a message number and a number of lines\r\n",
            )

    def test_a_large_message_is_read_only_as_far_as_wanted(self) -> None:
        mailbox = FakeWritableMailbox(b"A: b\r\n\r\n" + b"0123456789\r\n" * 100_000)
        client = Server(mailbox).login()
        reads: list[int] = []

        class Counting(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                reads.append(1)
                return super().read(size)

        self.patch(mailbox, "make_file", Counting)
        reply = client.ask(b"TOP 1 10000")
        self.assertEqual(reply.count(b"0123456789\r\n"), 10_000)
        self.assertTrue(reply.endswith(b"9\r\n.\r\n"))
        self.assertEqual(len(reads), 2)


class DeletionTests(TransactionCase):
    def test_nothing_is_removed_before_quit(self) -> None:
        self.ask(b"DELE 1")
        self.assertEqual(self.remaining(), [7, 8])
        self.assertEqual(self.ask(b"QUIT"), b"+OK Goodbye (1 message left)\r\n")
        self.assertEqual(self.remaining(), [8])
        self.assertEqual(self.mailbox.expunged, [[7]])
        self.assertTrue(self.client.closed)

    def test_all_removed(self) -> None:
        self.ask(b"DELE 2")
        self.ask(b"DELE 1")
        self.assertEqual(self.ask(b"QUIT"), b"+OK Goodbye (maildrop empty)\r\n")
        self.assertEqual(self.mailbox.expunged, [[7, 8]])

    def test_read_and_keep(self) -> None:
        self.ask(b"RETR 1")
        self.assertEqual(self.ask(b"QUIT"), b"+OK Goodbye (2 messages left)\r\n")
        self.assertEqual(self.mailbox.expunged, [])
        self.assertEqual(self.server.login().ask(b"STAT"), b"+OK 2 320\r\n")

    def test_rset_unmarks(self) -> None:
        self.ask(b"DELE 1")
        self.ask(b"DELE 2")
        self.assertEqual(self.ask(b"RSET"), b"+OK Maildrop has 2 messages (320 octets)\r\n")
        self.assertTrue(self.ask(b"RETR 1").startswith(b"+OK"))
        self.ask(b"QUIT")
        self.assertEqual(self.mailbox.expunged, [])

    def test_numbers(self) -> None:
        self.assertEqual(self.ask(b"DELE 3"), NO_THIRD)
        self.assertEqual(self.ask(b"DELE 1 2"), b"-ERR This command takes one message number\r\n")

    def test_connection_lost_removes_nothing(self) -> None:
        self.client.send(b"DELE 1\r\nDELE 2\r\n")
        self.client.lose()
        self.assertEqual(self.remaining(), [7, 8])

    def test_half_close_removes_nothing(self) -> None:
        self.client.send(b"DELE 1\r\n")
        self.client.connection.readConnectionLost()
        self.assertTrue(self.client.closed)
        self.assertEqual(self.remaining(), [7, 8])

    def test_a_stopping_server_removes_nothing(self) -> None:
        self.client.send(b"DELE 1\r\n")
        self.client.connection.shut_down()
        self.assertTrue(self.client.closed)
        self.assertEqual(self.remaining(), [7, 8])

    def test_commands_after_quit_are_not_run(self) -> None:
        self.client.read()
        self.mailbox.slow.add("expunge")
        self.client.send(b"DELE 1\r\nQUIT\r\nSTAT\r\nQUIT\r\n")
        self.mailbox.go_on()
        self.assertEqual(
            self.client.read(), b"+OK Message 1 deleted\r\n+OK Goodbye (1 message left)\r\n"
        )

    def test_only_what_was_marked_is_removed(self) -> None:
        self.mailbox.messages[9] = b"new"
        self.ask(b"DELE 2")
        self.ask(b"QUIT")
        self.assertEqual(self.remaining(), [7, 9])

    def test_the_backend_fails(self) -> None:
        for error, reply in (
            (
                StoreUnavailable("Disk full"),
                b"-ERR [SYS/TEMP] Some deleted messages were not removed: Disk full\r\n",
            ),
            (
                ReadOnly(),
                b"-ERR Some deleted messages were not removed: This mailbox is read-only\r\n",
            ),
        ):
            client = Server(self.mailbox).login()
            client.ask(b"DELE 1")
            self.mailbox.trouble = {"expunge": error}
            self.assertEqual(client.ask(b"QUIT"), reply)
            self.assertTrue(client.closed)
        self.assertEqual(self.remaining(), [7, 8])

    def test_a_bug_while_removing(self) -> None:
        self.ask(b"DELE 1")
        self.mailbox.trouble = {"expunge": ZeroDivisionError()}
        self.assertEqual(
            self.ask(b"QUIT"),
            b"-ERR [SYS/TEMP] Some deleted messages were not removed: internal error\r\n",
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(self.client.closed)
        # The lock is free, although the connection still lingers.
        self.assertEqual(self.server.login().ask(b"STAT"), b"+OK 2 320\r\n")

    def test_connection_lost_while_removing(self) -> None:
        self.mailbox.slow.add("expunge")
        self.client.send(b"DELE 1\r\nQUIT\r\n")
        self.client.lose()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.mailbox.slow.clear()
        self.assertTrue(self.server.login().ask(b"STAT").startswith(b"+OK"))

    def test_a_read_only_mailbox(self) -> None:
        client = Server(FakeMailbox(ONE, TWO)).login()
        self.assertEqual(client.ask(b"DELE 1"), b"-ERR This mailbox is read-only\r\n")
        self.assertEqual(client.ask(b"DELE 3"), NO_THIRD)
        self.assertEqual(client.ask(b"STAT"), b"+OK 2 320\r\n")
        self.assertTrue(client.ask(b"RETR 1").startswith(b"+OK"))
        self.assertEqual(client.ask(b"QUIT"), b"+OK Goodbye (2 messages left)\r\n")


class SnapshotTests(SynchronousTestCase):
    def test_expunged_between_the_list_and_its_details(self) -> None:
        mailbox = FakeWritableMailbox(ONE, TWO)
        mailbox.slow.add("get_messages")
        client = Server(mailbox).connect()
        client.send(b"USER ann\r\nPASS secret\r\n")
        del mailbox.messages[7]
        mailbox.go_on()
        self.assertEqual(client.ask(b"UIDL"), b"+OK\r\n1 42.8\r\n.\r\n")


class DialogueTests(SynchronousTestCase):
    COMMANDS = (
        b"CAPA\r\nUSER ann\r\nPASS secret\r\nSTAT\r\nLIST\r\nRETR 1\r\nDELE 1\r\n"
        b"UIDL\nRETR 2\r\nTOP 2 1\r\nNONSENSE\r\nDELE 2\r\nRSET\r\nDELE 2\r\nQUIT\r\n"
    )

    def run_pieces(self, pieces: list[bytes]) -> bytes:
        client: Client = Server(FakeWritableMailbox(ONE, TWO)).connect()
        for piece in pieces:
            client.send(piece)
        return client.read()

    def test_every_split_of_the_input_gives_the_same_dialogue(self) -> None:
        (dialogue,) = every_split(self.COMMANDS, self.run_pieces)
        self.assertTrue(dialogue.endswith(b"+OK Goodbye (1 message left)\r\n"))

    def test_an_overlong_line_in_every_split(self) -> None:
        commands = b"NOOP " + b"x" * 600 + b"\r\nUSER ann\r\nPASS secret\r\nSTAT\r\n"
        (dialogue,) = every_split(commands, self.run_pieces)
        self.assertEqual(dialogue.count(b"-ERR That line is too long\r\n"), 1)
        self.assertTrue(dialogue.endswith(b"+OK 2 320\r\n"))

    def test_the_session_of_rfc_1939_section_10(self) -> None:
        client = Server(FakeWritableMailbox(ONE, TWO)).connect()
        exchanges: list[tuple[bytes, bytes]] = [
            (b"USER ann", b"+OK"),
            (b"PASS secret", b"+OK"),
            (b"STAT", b"+OK 2 320\r\n"),
            (b"LIST", b"+OK 2 messages (320 octets)\r\n1 120\r\n2 200\r\n.\r\n"),
            (b"RETR 1", b"+OK 120 octets\r\n"),
            (b"DELE 1", b"+OK Message 1 deleted\r\n"),
            (b"RETR 2", b"+OK 200 octets\r\n"),
            (b"DELE 2", b"+OK Message 2 deleted\r\n"),
            (b"QUIT", b"+OK Goodbye (maildrop empty)\r\n"),
        ]
        for line, reply in exchanges:
            self.assertTrue(client.ask(line).startswith(reply), line)
        self.assertTrue(client.closed)

    def test_many_pipelined_commands(self) -> None:
        server = Server(FakeWritableMailbox(ONE))
        client = server.login()
        client.send(b"RETR 1\r\n" * 5000)
        server.clock.pump([0.0] * 50)
        self.assertEqual(client.read(), (b"+OK 120 octets\r\n" + ONE + b".\r\n") * 5000)

    def test_arguments_where_there_are_none(self) -> None:
        client: Any = Server(FakeWritableMailbox(ONE)).login()
        for verb in (b"STAT", b"NOOP", b"RSET", b"QUIT"):
            self.assertEqual(client.ask(verb + b" 1"), b"-ERR This command takes no argument\r\n")
        self.assertFalse(client.closed)
