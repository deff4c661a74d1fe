"""Commands on the messages of the selected mailbox (RFC 3501 section 6.4)."""

from __future__ import annotations

import tempfile
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import NoSuchMessage
from mailkit.imap.handlers import selected as selected_handler
from tests.imap.fakes import PlainAccount
from tests.imap.support import Server, now, split_responses

PLAIN = (
    b"From: Bob <bob@example.net>\r\nTo: ann@example.org\r\nSubject: plain\r\n\r\nHello\r\nyou\r\n"
)
NESTED = (
    b"From: carl@example.com\r\nSubject: nested\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n'
    b"--b\r\nContent-Type: text/plain\r\nX-Part: one\r\n\r\nfirst\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: inner\r\nFrom: dora@example.com\r\n"
    b'Content-Type: multipart/alternative; boundary="c"\r\n\r\n'
    b"--c\r\nContent-Type: text/plain\r\n\r\ninner text\r\n"
    b"--c\r\nContent-Type: text/html\r\n\r\n<p>\r\n--c--\r\n"
    b"\r\n--b--\r\n"
)


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


class StoreTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.add(PLAIN, PLAIN, PLAIN)
        self.client = self.server.login("EXAMINE INBOX", "SELECT INBOX")
        self.client = self.server.login("SELECT INBOX")

    def test_operations(self) -> None:
        for command, lines in [
            ("STORE 2:3 +FLAGS (\\Deleted)",
             [b"* 2 FETCH (FLAGS (\\Deleted))", b"* 3 FETCH (FLAGS (\\Deleted))"]),
            ("STORE 2 +FLAGS \\Seen $Forwarded", [b"* 2 FETCH (FLAGS (\\Seen \\Deleted $Forwarded))"]),
            ("STORE 2 -FLAGS (\\deleted Unknown)", [b"* 2 FETCH (FLAGS (\\Seen $Forwarded))"]),
            ("STORE 2 FLAGS (\\Draft)", [b"* 2 FETCH (FLAGS (\\Draft))"]),
            ("STORE 2 FLAGS ()", [b"* 2 FETCH (FLAGS ())"]),
            ("STORE 1 FLAGS.SILENT (\\Seen)", []),
            ("store 1 +flags.silent (\\Flagged)", []),
            ("STORE 1 -FLAGS.SILENT (\\Seen)", []),
            ("UID STORE 1 +FLAGS (\\Answered)",
             [b"* 1 FETCH (UID 1 FLAGS (\\Answered \\Flagged))"]),
            ("UID STORE 77 +FLAGS (\\Answered)", []),
        ]:  # fmt: skip
            self.assertEqual(self.client.command(command), [*lines, b"OK STORE completed"], command)

    def test_own_silent_changes_are_not_told_later(self) -> None:
        self.client.command("STORE 1:3 +FLAGS.SILENT (\\Seen)")
        self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])

    def test_new_keywords_are_told(self) -> None:
        lines = self.client.command("STORE 1 +FLAGS (mine Junk)")
        self.assertTrue(lines[0].startswith(b"* FLAGS (\\Seen ") and lines[0].endswith(b" mine)"))
        self.assertEqual(len(self.client.command("STORE 2 +FLAGS (MINE)")), 2)

    def test_faults(self) -> None:
        for arguments in (
            "1", "1 FLAGS", "1 FOO (\\Seen)", "1 FLAGS.LOUD (\\Seen)", "1 FLAGS (\\Recent)",
            "1 FLAGS (\\Foo)", "1 FLAGS (\\Seen", "1 *FLAGS ()", "4 FLAGS ()", "1 FLAGS (\\Seen)x",
        ):  # fmt: skip
            self.assertTrue(
                self.client.command("STORE " + arguments)[-1].startswith(b"BAD "), arguments
            )

    def test_in_batches(self) -> None:
        self.patch(selected_handler, "CHANGE_BATCH", 2)
        self.assertEqual(len(self.client.command("STORE 1:3 +FLAGS (\\Seen)")), 4)
        self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])


class ExpungeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.add(*[PLAIN] * 8)
        self.client = self.server.login("SELECT INBOX")

    def left(self) -> list[int]:
        return list(now(self.server.mailbox().list_uids()))

    def test_expunge(self) -> None:
        # RFC 3501 section 6.4.3
        self.client.command("STORE 3,4,7,8 +FLAGS (\\Deleted)")
        lines = self.client.command("EXPUNGE")
        view = list(range(1, 9))
        for line in lines[:-1]:
            del view[int(line.split()[1]) - 1]
        self.assertEqual(view, [1, 2, 5, 6])
        self.assertEqual(self.left(), view)
        self.assertEqual(self.client.command("EXPUNGE"), [b"OK EXPUNGE completed"])

    def test_uid_expunge(self) -> None:
        self.client.command("STORE 2:4 +FLAGS (\\Deleted)")
        self.assertEqual(
            self.client.command("UID EXPUNGE 4:7"), [b"* 4 EXPUNGE", b"OK UID EXPUNGE completed"]
        )
        self.assertEqual(self.left(), [1, 2, 3, 5, 6, 7, 8])

    def test_many(self) -> None:
        self.server.add(*[PLAIN] * 1200, flags="\\Deleted")
        self.client.command("NOOP")
        self.assertEqual(len(self.client.command("EXPUNGE")), 1201)
        self.assertEqual(len(self.left()), 8)

    def test_messages_that_came_later_are_not_touched(self) -> None:
        self.server.add(PLAIN, flags="\\Deleted")
        self.assertEqual(
            self.client.command("EXPUNGE"),
            [b"* 9 EXISTS", b"* 9 RECENT", b"OK EXPUNGE completed"],
        )


class CopyTests(SynchronousTestCase):
    plain = False

    def setUp(self) -> None:
        self.server = Server()
        self.server.add(PLAIN, NESTED, flags="\\Seen Junk")
        self.server.add(PLAIN)
        if self.plain:
            self.server.realm.account = PlainAccount(self.server.account)
        self.client = self.server.login("SELECT INBOX")
        self.validity = now(self.server.mailbox("Sent").get_info()).uid_validity

    def infos(self, name: str) -> list[Any]:
        mailbox = self.server.mailbox(name)
        return list(now(mailbox.get_messages(uids=now(mailbox.list_uids()))))

    def test_copy(self) -> None:
        self.server.add(PLAIN, mailbox="Sent")
        self.assertEqual(
            self.client.command("COPY 1:2 Sent"),
            [b"OK [COPYUID %d 1:2 2:3] COPY completed" % self.validity],
        )
        self.assertEqual(
            self.client.command("UID COPY 3,1 Sent"),
            [b"OK [COPYUID %d 1,3 4:5] COPY completed" % self.validity],
        )
        copies = self.infos("Sent")
        self.assertEqual(copies[1].flags, frozenset(("\\Seen", "Junk")))
        self.assertEqual([info.size for info in copies[1:3]], [len(PLAIN), len(NESTED)])
        self.assertEqual(copies[1].internal_date, self.infos("INBOX")[0].internal_date)
        self.assertEqual(len(self.infos("INBOX")), 3)

    def test_move(self) -> None:
        self.assertEqual(
            self.client.command("MOVE 1,3 Sent"),
            [
                b"* OK [COPYUID %d 1,3 1:2] Moved" % self.validity,
                b"* 3 EXPUNGE",
                b"* 1 EXPUNGE",
                b"OK MOVE completed",
            ],
        )
        self.assertEqual(
            self.client.command("UID MOVE 1:2 Sent"),
            [
                b"* OK [COPYUID %d 2 3] Moved" % self.validity,
                b"* 1 EXPUNGE",
                b"OK MOVE completed",
            ],
        )
        self.assertEqual(self.infos("INBOX"), [])
        self.assertEqual([info.size for info in self.infos("Sent")][2], len(NESTED))

    def test_nothing_matches(self) -> None:
        for command in ("UID COPY 100 Sent", "UID MOVE 100 Sent"):
            self.assertEqual(
                self.client.command(command), [b"OK No messages were there to be copied or moved"]
            )

    def test_missing_destination(self) -> None:
        code = b"NONEXISTENT" if self.plain else b"TRYCREATE"
        for command in ("COPY 1 Nothing", "MOVE 1 Nothing", "UID COPY 1 Nothing"):
            self.assertEqual(self.client.command(command), [b"NO [%b] No such mailbox" % code])
        self.assertEqual(len(self.infos("INBOX")), 3)

    def test_copy_into_the_same_mailbox(self) -> None:
        lines = self.client.command("COPY 1 INBOX")
        self.assertEqual(lines[:2], [b"* 4 EXISTS", b"* 4 RECENT"])

    def test_faults(self) -> None:
        for arguments in ("1", "4 Sent", "1 Sent x", "x Sent"):
            for verb in ("COPY", "MOVE"):
                self.assertTrue(
                    self.client.command(f"{verb} {arguments}")[0].startswith(b"BAD "), arguments
                )
        self.assertTrue(self.client.command("COPY 1 &")[0].startswith(b"NO [CANNOT] "))


class PlainCopyTests(CopyTests):
    """The same for a backend that cannot copy."""

    plain = True

    def test_steps(self) -> None:
        self.patch(selected_handler, "COPY_OCTETS", 100)
        self.assertEqual(
            self.client.command("COPY 1:3 Sent"),
            [b"OK [COPYUID %d 1:3 1:3] COPY completed" % self.validity],
        )


class SearchTests(SynchronousTestCase):
    plain = False

    def setUp(self) -> None:
        self.server = Server()
        self.server.add(PLAIN, flags="\\Seen \\Answered")
        self.server.add(NESTED, b"Subject: caf\xc3\xa9\r\nX-Other: yes\r\n\r\nbody", flags="Junk")
        self.server.add(b"\r\n" + b"x" * 400_000 + b"needle")
        if self.plain:
            self.server.realm.account = PlainAccount(self.server.account)
        self.client = self.server.login("SELECT INBOX", "STORE 1 +FLAGS (\\Deleted)")
        self.server.login("SELECT INBOX", "STORE 1 -FLAGS (\\Deleted)")
        self.client.command("NOOP")

    def search(self, keys: str | bytes) -> list[int]:
        data = keys if isinstance(keys, bytes) else keys.encode("utf-8")
        lines = self.client.command(b"SEARCH " + data)
        self.assertEqual(lines[-1], b"OK SEARCH completed", lines)
        (line,) = lines[:-1]
        self.assertTrue(line.startswith(b"* SEARCH"))
        return [int(number) for number in line.split()[2:]]

    def test_keys(self) -> None:
        for keys, numbers in [
            ("ALL", [1, 2, 3, 4]),
            ("SEEN", [1]),
            ("UNSEEN UNKEYWORD Junk", [4]),
            ("KEYWORD junk", [2, 3]),
            ("2:4 NOT KEYWORD Junk", [4]),
            ("OR SEEN SUBJECT nested", [1, 2]),
            ("FROM bob", [1]),
            ("FROM dora", []),
            ("TO ann@", [1]),
            ("BODY hello", [1]),
            ("BODY plain", []),
            ("TEXT plain", [1, 2]),
            ("TEXT inner", [2]),
            ("BODY needle", [4]),
            ("HEADER X-Other yes", [3]),
            ('HEADER X-Other ""', [3]),
            ('HEADER Subject ""', [1, 2, 3]),
            ("LARGER 1000", [4]),
            ("SMALLER 50", [3]),
            ("SINCE 1-Jan-2001", [1, 2, 3, 4]),
            ("BEFORE 1-Jan-2001", []),
            ("RECENT", [1, 2, 3, 4]),
            ("NEW", [2, 3, 4]),
            ("OLD", []),
            ("UID 2:3", [2, 3]),
            ("*", [4]),
            ("3:100", [3, 4]),
            ("SENTON 1-Jan-2001", []),
        ]:
            self.assertEqual(self.search(keys), numbers, keys)

    def test_charsets(self) -> None:
        self.assertEqual(self.search(b"CHARSET UTF-8 SUBJECT {5+}\r\nCAF\xc3\x89"), [3])
        self.assertEqual(self.search(b"CHARSET ISO-8859-1 SUBJECT {4+}\r\ncaf\xe9"), [3])
        self.assertEqual(
            self.client.command("SEARCH CHARSET X-FOO TEXT x"),
            [b"NO [BADCHARSET (US-ASCII UTF-8)] That charset is not known here"],
        )

    def test_uid_search(self) -> None:
        self.client.command("STORE 1 +FLAGS (\\Deleted)")
        self.client.command("EXPUNGE")
        self.assertEqual(self.client.command("UID SEARCH KEYWORD Junk")[0], b"* SEARCH 2 3")
        self.assertEqual(self.client.command("SEARCH KEYWORD Junk")[0], b"* SEARCH 1 2")
        self.assertEqual(self.client.command("UID SEARCH 1:2")[0], b"* SEARCH 2 3")

    def test_empty_mailbox(self) -> None:
        client = self.server.login("SELECT Trash")
        for keys in ("ALL", "1:*", "*", "RECENT", "BODY x"):
            self.assertEqual(client.command("SEARCH " + keys)[0], b"* SEARCH")

    def test_what_is_not_announced_is_not_found(self) -> None:
        self.server.add(PLAIN)
        self.assertEqual(
            self.client.command("SEARCH SUBJECT plain"),
            [b"* SEARCH 1", b"* 5 EXISTS", b"* 5 RECENT", b"OK SEARCH completed"],
        )
        self.assertEqual(self.search("SUBJECT plain"), [1, 5])

    def test_long_results(self) -> None:
        self.server.add(*[PLAIN] * 12_000)
        self.client.command("NOOP")
        self.assertEqual(self.search("ALL"), list(range(1, 12_005)))


class PlainSearchTests(SearchTests):
    """The same for a backend without summaries."""

    plain = True


class VanishedTests(SynchronousTestCase):
    """Messages that another session has expunged (RFC 2180 section 4)."""

    def setUp(self) -> None:
        self.server = Server()
        self.server.add(PLAIN, NESTED, PLAIN)
        self.client = self.server.login("SELECT INBOX")
        now(self.server.mailbox().expunge(uids=[2]))

    def test_fetch(self) -> None:
        for items in (
            "FLAGS",
            "ENVELOPE",
            "(FLAGS ENVELOPE)",
            "BODY.PEEK[]",
            "BODY[]",
            "(UID BODY)",
        ):
            lines = self.client.command(f"FETCH 1:3 {items}")
            self.assertEqual([line[:5] for line in lines[:-1]], [b"* 1 F", b"* 3 F"], items)
            self.assertTrue(lines[-1].startswith(b"NO [EXPUNGEISSUED] "), lines)

    def test_other_messages_can_be_fetched(self) -> None:
        self.assertEqual(
            self.client.command("FETCH 3 UID"), [b"* 3 FETCH (UID 3)", b"OK FETCH completed"]
        )

    def test_uid_fetch_tells_of_the_expunge(self) -> None:
        self.assertEqual(
            self.client.command("UID FETCH 1:3 RFC822.SIZE"),
            [
                b"* 1 FETCH (UID 1 RFC822.SIZE %d)" % len(PLAIN),
                b"* 3 FETCH (UID 3 RFC822.SIZE %d)" % len(PLAIN),
                b"* 2 EXPUNGE",
                b"OK FETCH completed",
            ],
        )

    def test_store(self) -> None:
        lines = self.client.command("STORE 1:3 +FLAGS (\\Flagged)")
        self.assertEqual([line[:5] for line in lines[:-1]], [b"* 1 F", b"* 3 F"])
        self.assertTrue(lines[-1].startswith(b"NO [EXPUNGEISSUED] "), lines)

    def test_search(self) -> None:
        self.assertEqual(
            self.client.command("SEARCH SUBJECT plain"), [b"* SEARCH 1 3", b"OK SEARCH completed"]
        )

    def test_copy(self) -> None:
        lines = self.client.command("COPY 1:3 Sent")
        self.assertIn(b"COPYUID", lines[-1])
        self.assertIn(b" 1,3 1:2]", lines[-1])
        self.assertEqual(lines[0], b"* 2 EXPUNGE")

    def test_vanished_between_details_and_message(self) -> None:
        client = self.server.login("SELECT INBOX")
        mailbox = self.server.mailbox()
        open_message = mailbox.open_message

        async def opened(uid: int) -> Any:
            if uid == 3:
                raise NoSuchMessage
            return await open_message(uid=uid)

        mailbox.open_message = opened
        lines = client.command("FETCH 1:2 (FLAGS BODY.PEEK[])")
        self.assertEqual(len(lines), 2)
        self.assertTrue(lines[-1].startswith(b"NO [EXPUNGEISSUED] "), lines)


class BatchTests(SynchronousTestCase):
    def test_many_messages(self) -> None:
        server = Server()
        server.add(*[PLAIN] * 1500)
        client = server.login("SELECT INBOX")
        numbers = ",".join(str(number) for number in range(1, 1500, 2))
        for items in ("FLAGS", "ENVELOPE", "BODY.PEEK[TEXT]"):
            lines = client.command(f"FETCH {numbers} {items}")
            self.assertEqual([int(line.split()[1]) for line in lines[:-1]], list(range(1, 1500, 2)))

    def test_others_have_their_turn(self) -> None:
        server = Server()
        server.add(*[PLAIN] * 300)
        client = server.login("SELECT INBOX")
        seconds = iter(range(10**9 + 1000, 10**10))
        self.patch(server.clock, "seconds", lambda: float(next(seconds)))
        data = client.send(b"a FETCH 1:* BODY.PEEK[1]<0.1>\r\n", turn=False)
        # Time flies here: after each message comes somebody else's turn.
        self.assertLess(data.count(b"FETCH"), 10)
