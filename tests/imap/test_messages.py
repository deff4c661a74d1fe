"""STORE, COPY, MOVE, EXPUNGE, SEARCH on the wire (RFC 3501 section 6.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import NoSuchMessage
from mailkit.imap.handlers import selected as selected_handler
from mailkit.model import FlagOp
from tests.imap.fakes import PlainAccount, Slow
from tests.imap.messages import NESTED, PLAIN
from tests.imap.support import Server, now, split_responses


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
        self.assertEqual(lines[-2], b"* 4 RECENT")
        for line in lines[:-2]:
            del view[int(line.split()[1]) - 1]
        self.assertEqual(view, [1, 2, 5, 6])
        self.assertEqual(self.left(), view)
        self.assertEqual(self.client.command("EXPUNGE"), [b"OK EXPUNGE completed"])

    def test_uid_expunge(self) -> None:
        self.client.command("STORE 2:4 +FLAGS (\\Deleted)")
        self.assertEqual(
            self.client.command("UID EXPUNGE 4:7"),
            [b"* 4 EXPUNGE", b"* 7 RECENT", b"OK UID EXPUNGE completed"],
        )
        self.assertEqual(self.left(), [1, 2, 3, 5, 6, 7, 8])

    def test_many(self) -> None:
        self.server.add(*[PLAIN] * 1200, flags="\\Deleted")
        self.client.command("NOOP")
        self.assertEqual(len(self.client.command("EXPUNGE")), 1202)
        self.assertEqual(len(self.left()), 8)

    def test_messages_that_came_later_are_not_touched(self) -> None:
        self.server.add(PLAIN, flags="\\Deleted")
        self.assertEqual(
            self.client.command("EXPUNGE"),
            [b"* 9 EXISTS", b"* 9 RECENT", b"OK EXPUNGE completed"],
        )


class SilentStoreTests(SynchronousTestCase):
    def test_what_another_session_did_meanwhile_is_told(self) -> None:
        # Or the client, which works the flags out itself, would never know.
        server = Server()
        slow = Slow(server.account)
        server.realm.account = slow
        server.add(b"x", b"y")
        client = server.login("SELECT INBOX")
        slow.slow = True
        client.send(b"a STORE 1:2 +FLAGS.SILENT (\\Seen)\r\n")
        self.assertEqual(slow.calls, ["store_flags"])
        mailbox = server.mailbox()
        now(mailbox.store_flags(uids=[2], op=FlagOp.ADD, flags=frozenset(("\\Flagged",))))
        slow.release_all()
        server.clock.advance(0)
        self.assertEqual(
            split_responses(client.take()),
            [b"* 2 FETCH (FLAGS (\\Recent \\Seen \\Flagged))", b"a OK STORE completed"],
        )
        self.assertEqual(client.command("NOOP"), [b"OK NOOP completed"])


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
                b"* 1 RECENT",
                b"OK MOVE completed",
            ],
        )
        self.assertEqual(
            self.client.command("UID MOVE 1:2 Sent"),
            [
                b"* OK [COPYUID %d 2 3] Moved" % self.validity,
                b"* 1 EXPUNGE",
                b"* 0 RECENT",
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
            self.client.command("FETCH 3 UID"),
            [b"* 3 FETCH (UID 3)", b"OK [EXPUNGEISSUED] FETCH completed"],
        )

    def test_uid_fetch_tells_of_the_expunge(self) -> None:
        self.assertEqual(
            self.client.command("UID FETCH 1:3 RFC822.SIZE"),
            [
                b"* 1 FETCH (UID 1 RFC822.SIZE %d)" % len(PLAIN),
                b"* 3 FETCH (UID 3 RFC822.SIZE %d)" % len(PLAIN),
                b"* 2 EXPUNGE",
                b"* 2 RECENT",
                b"OK FETCH completed",
            ],
        )

    def test_store(self) -> None:
        lines = self.client.command("STORE 1:3 +FLAGS (\\Flagged)")
        self.assertEqual([line[:5] for line in lines[:-1]], [b"* 1 F", b"* 3 F"])
        self.assertTrue(lines[-1].startswith(b"NO [EXPUNGEISSUED] "), lines)

    def test_search(self) -> None:
        self.assertEqual(
            self.client.command("SEARCH SUBJECT plain"),
            [b"* SEARCH 1 3", b"OK [EXPUNGEISSUED] SEARCH completed"],
        )

    def test_copy(self) -> None:
        lines = self.client.command("UID COPY 1:3 Sent")
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

        async def read(uids: Sequence[int], octets: int) -> Sequence[bytes]:
            return ()

        mailbox.open_message = opened
        mailbox.read_messages = read
        lines = client.command("FETCH 1:2 (FLAGS BODY.PEEK[])")
        self.assertEqual(len(lines), 2)
        self.assertTrue(lines[-1].startswith(b"NO [EXPUNGEISSUED] "), lines)

    def test_vanished_between_details_and_messages_read_together(self) -> None:
        client = self.server.login("SELECT INBOX")
        mailbox = self.server.mailbox()
        read_messages = mailbox.read_messages

        async def read(uids: Sequence[int], octets: int) -> Any:
            await mailbox.expunge(uids=[3])
            return await read_messages(uids=uids, octets=octets)

        mailbox.read_messages = read
        lines = client.command("FETCH 1:2 (FLAGS BODY.PEEK[])")
        self.assertEqual(len(lines), 2)
        self.assertTrue(lines[0].startswith(b"* 1 FETCH (FLAGS () BODY[] {"), lines)
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
        self.patch(server.factory.deadlines, "seconds", lambda: float(next(seconds)))
        data = client.send(b"a FETCH 1:* BODY.PEEK[1]<0.1>\r\n", turn=False)
        # Time flies here: after each message comes somebody else's turn.
        self.assertLess(data.count(b"FETCH"), 10)
