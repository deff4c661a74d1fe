"""FETCH on the wire (RFC 3501 section 6.4.5)."""

from __future__ import annotations

import tempfile
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit import connection
from mailkit.errors import NoSuchMessage
from tests.imap.fakes import PlainAccount
from tests.imap.messages import NESTED, PLAIN
from tests.imap.support import Server, now, split_responses


class FetchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.add(PLAIN, NESTED)
        self.client = self.server.login("SELECT INBOX")

    def fetch(self, items: str, number: int = 1) -> bytes:
        """The value of one item."""
        lines = self.client.command(f"FETCH {number} {items}")
        self.assertEqual(lines[-1], b"OK FETCH completed", lines)
        self.assertEqual(len(lines), 2)
        return lines[0]

    def value(self, item: str, number: int = 1) -> bytes | None:
        """The literal that answers one item; None for NIL."""
        line = self.fetch(item.replace("BODY[", "BODY.PEEK["), number)
        name = item.replace("BODY.PEEK", "BODY").encode()
        name = name.partition(b"<")[0] + (
            b"<%b>" % item.partition("<")[2].partition(".")[0].encode() if "<" in item else b""
        )
        prefix = b"* %d FETCH (%b " % (number, name)
        self.assertEqual(line[: len(prefix)], prefix)
        rest = line[len(prefix) : -1]
        if rest == b"NIL":
            return None
        size, _, octets = rest.partition(b"\r\n")
        self.assertEqual(size, b"{%d}" % len(octets))
        return octets

    def test_sections_of_a_plain_message(self) -> None:
        header, _, body = PLAIN.partition(b"\r\n\r\n")
        for item, expected in [
            ("BODY[]", PLAIN),
            ("BODY[HEADER]", header + b"\r\n\r\n"),
            ("BODY[TEXT]", body),
            ("BODY[1]", body),
            ("BODY[1.MIME]", header + b"\r\n\r\n"),
            ("BODY[2]", None),
            ("BODY[1.1]", None),
            ("BODY[1.HEADER]", None),
            ("BODY[HEADER.FIELDS (SUBJECT x)]", b"Subject: plain\r\n\r\n"),
            ("BODY[HEADER.FIELDS (Nothing)]", b"\r\n"),
            (
                "BODY[HEADER.FIELDS.NOT (From To)]",
                b"Subject: plain\r\n\r\n",
            ),
            ("BODY[]<0.5>", PLAIN[:5]),
            ("BODY[]<5.10>", PLAIN[5:15]),
            ("BODY[]<70.1000>", PLAIN[70:]),
            ("BODY[]<1000.5>", b""),
            ("BODY[TEXT]<3.4>", body[3:7]),
            ("BODY[HEADER.FIELDS.NOT (From)]<4.3>", b"ann"),
            ("RFC822.HEADER", header + b"\r\n\r\n"),
        ]:
            self.assertEqual(self.value(item), expected, item)

    def test_sections_of_a_nested_message(self) -> None:
        for item, expected in [
            ("BODY[1]", b"first"),
            ("BODY[1.MIME]", b"Content-Type: text/plain\r\nX-Part: one\r\n\r\n"),
            ("BODY[2.HEADER.FIELDS (From)]", b"From: dora@example.com\r\n\r\n"),
            ("BODY[2.HEADER.FIELDS.NOT (Content-Type From)]", b"Subject: inner\r\n\r\n"),
            ("BODY[2.1]", b"inner text"),
            ("BODY[2.2]", b"<p>"),
            ("BODY[2.2.MIME]", b"Content-Type: text/html\r\n\r\n"),
            ("BODY[2.3]", None),
            ("BODY[3]", None),
            ("BODY[1.HEADER.FIELDS (From)]", None),
            ("BODY[2.1]<2.4>", b"ner "),
        ]:
            self.assertEqual(self.value(item, 2), expected, item)
        inner = self.value("BODY[2]", 2)
        assert inner is not None
        header = self.value("BODY[2.HEADER]", 2)
        text = self.value("BODY[2.TEXT]", 2)
        assert header is not None and text is not None
        self.assertTrue(header.startswith(b"Subject: inner\r\n") and header.endswith(b"\r\n\r\n"))
        self.assertEqual(header + text, inner)

    def test_envelope_and_structure(self) -> None:
        self.assertEqual(
            self.fetch("ENVELOPE"),
            b'* 1 FETCH (ENVELOPE (NIL "plain" (("Bob" NIL "bob" "example.net"))'
            b' (("Bob" NIL "bob" "example.net")) (("Bob" NIL "bob" "example.net"))'
            b' ((NIL NIL "ann" "example.org")) NIL NIL NIL NIL))',
        )
        self.assertEqual(
            self.fetch("BODY"),
            b'* 1 FETCH (BODY ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 12 2))',
        )
        self.assertTrue(
            self.fetch("BODYSTRUCTURE", 2).startswith(b'* 2 FETCH (BODYSTRUCTURE (("text" "plain"')
        )

    def test_backends_without_summaries_answer_the_same(self) -> None:
        plain = Server(PlainAccount(self.server.account)).login("EXAMINE INBOX")
        for items in (
            "(UID ENVELOPE BODYSTRUCTURE)",
            "(BODY.PEEK[HEADER.FIELDS (from TO x)] FLAGS)",
            "(BODY.PEEK[HEADER.FIELDS (content-type)]<3.20>)",
            "FULL",
        ):
            self.assertEqual(
                plain.command(f"FETCH 1:2 {items}"),
                self.server.login("EXAMINE INBOX").command(f"FETCH 1:2 {items}"),
            )

    def test_many_items_in_the_order_asked_for(self) -> None:
        self.client.command("STORE 1 +FLAGS (\\Seen)")
        line = self.fetch("(BODY[1] UID ENVELOPE FLAGS BODY.PEEK[HEADER.FIELDS (To)] RFC822.SIZE)")
        positions = [
            line.index(name)
            for name in (
                b"BODY[1] {",
                b"UID 1",
                b"ENVELOPE (",
                b"FLAGS (\\",
                b"BODY[HEADER.F",
                b"RFC822.SIZE 8",
            )
        ]
        self.assertEqual(positions, sorted(positions))

    def test_reading_sets_seen_and_tells_it(self) -> None:
        for number, item in enumerate(("BODY[]", "RFC822", "RFC822.TEXT", "BODY[TEXT]<0.1>"), 1):
            client = self.server.login("SELECT INBOX", "STORE 1 FLAGS (\\Answered)")
            (line, _) = client.command(f"FETCH 1 {item}")
            self.assertTrue(line.endswith(b" FLAGS (\\Seen \\Answered))"), (number, line))
            (line, _) = client.command(f"FETCH 1 {item}")
            self.assertNotIn(b"FLAGS", line)

    def test_flags_asked_for_show_seen_once(self) -> None:
        line = self.fetch("(FLAGS BODY[])")
        self.assertTrue(line.startswith(b"* 1 FETCH (FLAGS (\\Recent \\Seen) BODY[] {"))
        self.assertEqual(line.count(b"FLAGS"), 1)

    def test_peeking_does_not_set_seen(self) -> None:
        self.fetch("(BODY.PEEK[] RFC822.HEADER BODY.PEEK[1])")
        self.assertEqual(self.fetch("FLAGS"), b"* 1 FETCH (FLAGS (\\Recent))")

    def test_uid_fetch(self) -> None:
        self.server.mailbox()
        self.client.command("STORE 1 +FLAGS (\\Deleted)")
        self.client.command("EXPUNGE")
        self.assertEqual(
            self.client.command("UID FETCH 1:* RFC822.SIZE"),
            [b"* 1 FETCH (UID 2 RFC822.SIZE %d)" % len(NESTED), b"OK FETCH completed"],
        )
        (line, _) = self.client.command("UID FETCH 2 BODY.PEEK[1]")
        self.assertEqual(line, b"* 1 FETCH (UID 2 BODY[1] {5}\r\nfirst)")
        self.assertEqual(self.client.command("UID FETCH 1 FLAGS"), [b"OK FETCH completed"])
        self.assertEqual(len(self.client.command("UID FETCH 999:* FLAGS")), 2)

    def test_numbers_that_do_not_exist(self) -> None:
        for numbers in ("3", "1:3", "0", "3:*", "1,3"):
            lines = self.client.command(f"FETCH {numbers} FLAGS")
            self.assertEqual(len(lines), 1)
            self.assertTrue(lines[0].startswith(b"BAD "), numbers)
        empty = self.server.login("SELECT Sent")
        self.assertTrue(empty.command("FETCH * FLAGS")[0].startswith(b"BAD "))
        self.assertEqual(empty.command("UID FETCH 1:* FLAGS"), [b"OK FETCH completed"])

    def test_nul_is_never_sent(self) -> None:
        self.server.add(b"Subject: a\0b\r\n\r\nx\0y")
        self.client.command("NOOP")
        for items in ("BODY[]", "ENVELOPE", "BODY[HEADER.FIELDS (SUBJECT)]", "BODY[HEADER]"):
            (line, _) = self.client.command(f"FETCH 3 {items}")
            self.assertNotIn(b"\0", line)
        self.assertEqual(self.value("BODY[TEXT]", 3), b"x\x80y")

    def test_messages_of_any_octets(self) -> None:
        for number, message in enumerate(
            (b"\n", b"\r", b"x", b"\xff" * 100, b":\r\n\r\n", b"\r\n\r\n"), 3
        ):
            self.server.add(message)
            self.client.command("NOOP")
            lines = self.client.command(
                f"FETCH {number} (BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[1]"
                " ENVELOPE BODY BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (FROM)])"
            )
            self.assertEqual(len(lines), 2)
            self.assertIn(b"BODY[] {%d}\r\n%b BODY[HEADER]" % (len(message), message), lines[0])


class LargeMessageTests(SynchronousTestCase):
    """Messages that are not read into memory."""

    def setUp(self) -> None:
        self.server = Server()
        self.attachment = b"".join(b"%07d\r\n" % number for number in range(70_000))
        self.message = (
            b"Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
            b"\r\n--b\r\n\r\nsmall\r\n--b\r\nContent-Type: application/x\r\n\r\n"
            + self.attachment
            + b"\r\n--b--\r\n"
        )
        self.server.add(self.message)
        self.client = self.server.login("SELECT INBOX")

    def fetch(self, items: str) -> bytes:
        data = self.client.send(b"a FETCH 1 " + items.encode() + b"\r\n")
        for _ in range(50):
            if data.endswith(b"a OK FETCH completed\r\n"):
                break
            self.server.clock.advance(0.01)
            data += self.client.take()
        (line, _) = split_responses(data)
        return line

    def test_whole_message(self) -> None:
        line = self.fetch("BODY.PEEK[]")
        self.assertEqual(line, b"* 1 FETCH (BODY[] {%d}\r\n%b)" % (len(self.message), self.message))

    def test_sections(self) -> None:
        size = len(self.attachment)
        for items, expected in [
            ("BODY.PEEK[2]", b"BODY[2] {%d}\r\n%b" % (size, self.attachment)),
            ("BODY.PEEK[1]", b"BODY[1] {5}\r\nsmall"),
            ("BODY.PEEK[2]<90000.9>", b"BODY[2]<90000> {9}\r\n0010000\r\n"),
            ("BODY.PEEK[HEADER.FIELDS (Subject)]",
             b"BODY[HEADER.FIELDS (Subject)] {18}\r\nSubject: large\r\n\r\n"),
            ("BODY.PEEK[HEADER.FIELDS (X)]", b"BODY[HEADER.FIELDS (X)] {2}\r\n\r\n"),
            ("BODY.PEEK[HEADER.FIELDS.NOT (Subject MIME-Version Content-Type)]<0.1>",
             b"BODY[HEADER.FIELDS.NOT (Subject MIME-Version Content-Type)]<0> {1}\r\n\r"),
            ("BODY.PEEK[]<0.8>", b"BODY[]<0> {8}\r\nSubject:"),
            ("(RFC822.SIZE BODY.PEEK[2.MIME])",
             b"RFC822.SIZE %d BODY[2.MIME] {31}\r\nContent-Type: application/x\r\n\r\n"
             % len(self.message)),
        ]:  # fmt: skip
            self.assertEqual(self.fetch(items), b"* 1 FETCH (" + expected + b")", items)

    def test_structure(self) -> None:
        line = self.fetch("(BODY ENVELOPE)")
        self.assertIn(b'("application" "x" NIL NIL NIL "7bit" %d)' % len(self.attachment), line)
        self.assertIn(b'ENVELOPE (NIL "large"', line)

    def test_others_have_their_turn_while_the_structure_is_read(self) -> None:
        self.patch(connection, "SECONDS_A_TURN", -1.0)
        turns: list[float] = []
        call_later = self.server.clock.callLater

        def count(delay: float, *arguments: Any) -> Any:
            turns.append(delay)
            return call_later(delay, *arguments)

        self.patch(self.server.clock, "callLater", count)
        counts = []
        for parts in (2, 42):
            self.server.add(
                b"Content-Type: multipart/mixed; boundary=b\r\n"
                + b"\r\n--b\r\n\r\nsmall\r\n" * parts
                + self.attachment
            )
            turns.clear()
            self.client.command("NOOP")
            data = self.client.send(b"a FETCH * BODY.PEEK[1]\r\n")
            self.assertIn(b"small", data)
            counts.append(turns.count(0))
        self.assertGreaterEqual(counts[1] - counts[0], 40)

    def test_a_large_part_is_not_parsed_again_for_each_piece(self) -> None:
        self.fetch("BODY.PEEK[2]<0.100>")

        def fail(*arguments: object, **options: object) -> None:
            raise AssertionError("copied again")

        self.patch(tempfile, "TemporaryFile", fail)
        self.assertIn(b"{100}", self.fetch("BODY.PEEK[2]<100.100>"))

    def test_header_larger_than_what_is_read_at_once(self) -> None:
        header = b"".join(b"X-%d: %b\r\n" % (number, b"x" * 900) for number in range(500))
        self.server.add(header + b"\r\nbody")
        self.client.command("NOOP")
        data = self.client.send(b"a FETCH 2 (BODY.PEEK[TEXT] BODY.PEEK[HEADER]<0.3>)\r\n")
        self.assertIn(b"(BODY[TEXT] {4}\r\nbody BODY[HEADER]<0> {3}\r\nX-0)", data)

    def test_never_whole_in_memory(self) -> None:
        reads: list[int] = []
        mailbox = self.server.mailbox()
        open_message = mailbox.open_message

        async def opened(uid: int) -> Any:
            # From now on the client does not read.
            self.client.transport.limit = 1000
            file = await open_message(uid=uid)
            read = file.read

            class Watched:
                seek, close = file.seek, file.close

                def read(self, count: int) -> bytes:
                    reads.append(count)
                    return read(count)

            return Watched()

        mailbox.open_message = opened
        self.client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
        # 256 KiB to find out that it is large, then what one chunk needs.
        self.assertEqual(reads, [256 * 1024 + 1, 64 * 1024])

    def test_message_that_became_shorter(self) -> None:
        mailbox = self.server.mailbox()
        open_message = mailbox.open_message

        async def opened(uid: int) -> Any:
            file = await open_message(uid=uid)
            read = file.read
            file.reads = 0

            class Short:
                seek, close = file.seek, file.close
                reads = 0

                def read(self, count: int) -> bytes:
                    self.reads += 1
                    return b"" if self.reads > 3 else read(count)

            return Short()

        mailbox.open_message = opened
        self.client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
        self.assertTrue(self.client.closed)

    def test_message_that_cannot_be_read_to_its_end(self) -> None:
        """What follows would be taken for a part of it: the connection ends."""
        mailbox = self.server.mailbox()
        open_message = mailbox.open_message

        async def opened(uid: int) -> Any:
            file = await open_message(uid=uid)

            class Broken:
                seek, close = file.seek, file.close
                reads = 0

                def read(self, count: int) -> bytes:
                    self.reads += 1
                    if self.reads > 3:
                        raise error
                    data: bytes = file.read(count)
                    return data

            return Broken()

        mailbox.open_message = opened
        for error in (OSError(5, "I/O error"), NoSuchMessage()):
            client = self.server.login("SELECT INBOX")
            received = client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
            self.assertTrue(client.closed)
            self.assertTrue(received.startswith(b"* 1 FETCH (BODY[] {"))
            self.assertNotIn(b"a NO", received)
            self.assertEqual(len(self.flushLoggedErrors(type(error))), 1)

    def test_seen_is_set_in_groups_by_size(self) -> None:
        for _ in range(3):
            self.server.add(self.message)
        self.client.command("NOOP")
        mailbox = self.server.mailbox()
        open_message = mailbox.open_message

        async def opened(uid: int) -> Any:
            # From now on the client does not read.
            self.client.transport.limit = 1000
            return await open_message(uid=uid)

        mailbox.open_message = opened
        self.client.send(b"a FETCH 1:* BODY[]\r\n")
        flags = now(self.server.mailbox().get_messages(uids=[1, 2, 3, 4]))
        # Only what is being sent is marked: the client may never get the rest.
        self.assertEqual([len(info.flags) for info in flags], [1, 0, 0, 0])
