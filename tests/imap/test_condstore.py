"""Modification sequences on the wire: CONDSTORE and QRESYNC (RFC 7162)."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.imap.support import Client, Server, now


class ModseqCase(SynchronousTestCase):
    """Six messages with the UIDs 2 to 7, and two clients."""

    def setUp(self) -> None:
        self.server = Server()
        self.add(7)
        now(self.box.expunge(uids=[1]))
        self.ann = self.server.login("SELECT INBOX")
        self.other = self.server.login("SELECT INBOX")

    def add(self, count: int) -> None:
        self.server.add(*(b"Subject: %d\r\n\r\n" % n for n in range(count)))

    @property
    def box(self) -> object:
        return self.server.mailbox()

    @property
    def modseq(self) -> int:
        return int(now(self.box.get_info()).highest_modseq)

    def of(self, uid: int) -> int:
        (info,) = now(self.box.get_messages(uids=[uid]))
        return int(info.modseq)

    def check(self, command: str, *lines: bytes, client: Client | None = None) -> None:
        self.assertEqual((client or self.ann).command(command), list(lines), command)

    def check_bad(self, *commands: str) -> None:
        for command in commands:
            (line,) = self.ann.command(command)
            self.assertTrue(line.startswith(b"BAD "), (command, line))

    def known(self, modseq: int) -> bytes:
        return b"* OK [HIGHESTMODSEQ %d] Known up to here" % modseq


class CondstoreTests(ModseqCase):
    """RFC 7162 section 3.1"""

    def test_select_tells_it(self) -> None:
        lines = self.server.login().command("SELECT INBOX")
        self.assertIn(self.known(self.modseq), lines)
        self.assertEqual(lines.index(self.known(self.modseq)), len(lines) - 2)

    def test_closed(self) -> None:
        # Section 3.2.11: also to those who have enabled nothing.
        self.assertTrue(self.ann.command("SELECT Trash")[0].startswith(b"* OK [CLOSED] "))
        self.ann.command("UNSELECT")
        self.assertFalse(self.ann.command("SELECT Trash")[0].startswith(b"* OK [CLOSED] "))

    def test_what_enables_it(self) -> None:
        for command in (
            "SELECT INBOX (CONDSTORE)",
            "EXAMINE INBOX (CONDSTORE)",
            "STATUS INBOX (HIGHESTMODSEQ)",
            "FETCH 1 MODSEQ",
            "FETCH 1 UID (CHANGEDSINCE 1)",
            "SEARCH MODSEQ 1",
            "STORE 1 (UNCHANGEDSINCE 1) +FLAGS ()",
            "ENABLE CONDSTORE",
        ):
            client = self.server.login("SELECT INBOX")
            lines = client.command(command)
            self.assertTrue(lines[-1].startswith(b"OK "), (command, lines))
            told = [line for line in lines if line.startswith(b"* OK [HIGHESTMODSEQ ")]
            self.assertEqual(told, [self.known(self.modseq)], command)
            self.assertNotIn(told[0], client.command(command)[:-2], command)
            self.other.command("STORE 2 +FLAGS (\\Seen)")
            (line, _) = client.command("NOOP")
            self.assertRegex(
                line, rb"\A\* 2 FETCH \(UID 3 FLAGS \(.*\) MODSEQ \(%d\)\)\Z" % self.of(3)
            )
            self.other.command("STORE 2 -FLAGS (\\Seen)")

    def test_without_it_nothing_is_told(self) -> None:
        self.other.command("STORE 2 +FLAGS (\\Seen)")
        self.check("NOOP", b"* 2 FETCH (FLAGS (\\Recent \\Seen))", b"OK NOOP completed")

    def test_status(self) -> None:
        lines = self.ann.command("STATUS INBOX (HIGHESTMODSEQ MESSAGES)")
        self.assertIn(b'* STATUS "INBOX" (HIGHESTMODSEQ %d MESSAGES 6)' % self.modseq, lines)

    def test_fetch(self) -> None:
        self.ann.command("ENABLE CONDSTORE")
        self.check(
            "FETCH 2:3 (MODSEQ)",
            b"* 2 FETCH (MODSEQ (%d))" % self.of(3),
            b"* 3 FETCH (MODSEQ (%d))" % self.of(4),
            b"OK FETCH completed",
        )

    def test_changed_since(self) -> None:
        self.ann.command("ENABLE CONDSTORE")
        before = self.modseq
        self.check(f"UID FETCH 1:* FLAGS (CHANGEDSINCE {before})", b"OK FETCH completed")
        self.other.command("STORE 2,5 +FLAGS (\\Seen)")
        self.ann.command("NOOP")
        for command, lines in (
            ("UID FETCH 1:* (FLAGS)", (3, 6)),
            ("UID FETCH 1:5 (FLAGS)", (3,)),
            ("FETCH 5:* (FLAGS)", (6,)),
        ):
            found = self.ann.command(f"{command} (CHANGEDSINCE {before})")
            self.assertEqual(len(found), len(lines) + 1)
            for line, uid in zip(found, lines, strict=False):
                self.assertIn(b"\\Seen) MODSEQ (%d))" % self.of(uid), line)
        # RFC 9394 section 3.4: first the last three, then those of them that changed.
        found = self.ann.command(f"UID FETCH 1:* UID (CHANGEDSINCE {before} PARTIAL -1:-3)")
        self.assertEqual([line.split()[4] for line in found[:-1]], [b"6"])

    def test_reading_tells_it_with_seen(self) -> None:
        self.ann.command("ENABLE CONDSTORE")
        lines = self.ann.command("FETCH 1 BODY[]")
        self.assertIn(b"UID 2 ", lines[0])
        self.assertIn(b"\\Seen)", lines[0])
        self.assertIn(b"MODSEQ (%d)" % self.of(2), lines[0])
        self.assertEqual(len(lines), 2)

    def test_conditional_store(self) -> None:
        self.ann.command("ENABLE CONDSTORE")
        before = self.modseq
        self.other.command("STORE 2 +FLAGS ($Work)")
        lines = self.ann.command(f"STORE 1:3 (UNCHANGEDSINCE {before}) +FLAGS.SILENT (\\Deleted)")
        self.assertEqual(lines[-1], b"OK [MODIFIED 2] STORE completed")
        self.assertIn(b"* 1 FETCH (UID 2 MODSEQ (%d))" % self.of(2), lines)
        self.assertIn(b"* 3 FETCH (UID 4 MODSEQ (%d))" % self.of(4), lines)
        told = [line for line in lines if line.startswith(b"* 2 FETCH")]
        self.assertIn(b"$Work) MODSEQ (%d)" % self.of(3), told[-1])
        self.assertEqual(now(self.box.get_messages(uids=[3]))[0].flags, {"$Work"})
        lines = self.ann.command(f"UID STORE 3:4 (UNCHANGEDSINCE {before}) FLAGS ()")
        self.assertEqual(lines[-1], b"OK [MODIFIED 3:4] STORE completed")

    def test_zero_always_fails(self) -> None:
        lines = self.ann.command("STORE 1 (UNCHANGEDSINCE 0) +FLAGS.SILENT ($MDNSent)")
        self.assertEqual(lines[-1], b"OK [MODIFIED 1] STORE completed")

    def test_silent_store_tells_the_modseq(self) -> None:
        self.ann.command("ENABLE CONDSTORE")
        lines = self.ann.command("STORE 1 +FLAGS.SILENT (\\Seen)")
        self.assertEqual(lines[0], b"* 1 FETCH (UID 2 MODSEQ (%d))" % self.of(2))
        self.assertEqual(len(lines), 2)

    def test_search(self) -> None:
        self.ann.command("ENABLE CONDSTORE")
        before = self.modseq
        self.other.command("STORE 2,5 +FLAGS (\\Seen)")
        self.ann.command("NOOP")
        modseq = self.of(3), self.of(6)
        for command, line in (
            (f"SEARCH MODSEQ {before + 1}", b"* SEARCH 2 5 (MODSEQ %d)" % max(modseq)),
            (f'SEARCH MODSEQ "/flags/\\\\draft" all {before + 1}', b"* SEARCH 2 5 (MODSEQ %d)" % max(modseq)),
            (f"SEARCH MODSEQ {before + 1} 2", b"* SEARCH 2 (MODSEQ %d)" % modseq[0]),
            (f"SEARCH MODSEQ {before + 1} DELETED", b"* SEARCH"),
            (f"SEARCH OR NOT MODSEQ {before + 1} LARGER 9999", b"* SEARCH 1 3 4 6 (MODSEQ %d)" % max(self.of(2), self.of(4), self.of(5), self.of(7))),
        ):  # fmt: skip
            self.assertEqual(self.ann.command(command)[0], line, command)
        for options, result in (
            ("MIN", b"MIN 2 MODSEQ %d" % modseq[0]),
            ("MAX", b"MAX 5 MODSEQ %d" % modseq[1]),
            ("MIN MAX", b"MIN 2 MAX 5 MODSEQ %d" % max(modseq)),
            ("MIN COUNT", b"MIN 2 COUNT 2 MODSEQ %d" % max(modseq)),
            ("ALL", b"ALL 2,5 MODSEQ %d" % max(modseq)),
        ):
            (line, _) = self.ann.command(f"SEARCH RETURN ({options}) MODSEQ {before + 1}")
            self.assertTrue(line.endswith(b") " + result), (options, line))

    def test_the_highest_one_of_many(self) -> None:
        server = Server()
        server.add(*[b"x\r\n"] * 1100)
        server.login("SELECT INBOX", "STORE 3 +FLAGS (\\Seen)")
        (info,) = now(server.mailbox().get_messages(uids=[3]))
        client = server.login("SELECT INBOX (CONDSTORE)")
        for command in ("SEARCH MODSEQ 1", "SORT (ARRIVAL) UTF-8 MODSEQ 1"):
            (found, _) = client.command(command)
            self.assertTrue(found.endswith(b" (MODSEQ %d)" % info.modseq), found[-40:])

    def test_wrong_arguments(self) -> None:
        self.check_bad(
            "SELECT INBOX (CONDSTORE", "SELECT INBOX ()", "SELECT INBOX (FOO)",
            "SELECT INBOX (QRESYNC (1 1))", "FETCH 1 UID (CHANGEDSINCE)",
            "FETCH 1 UID (CHANGEDSINCE x)", "FETCH 1 UID (CHANGEDSINCE 9223372036854775808)",
            "FETCH 1 UID (CHANGEDSINCE 1 CHANGEDSINCE 2)", "FETCH 1 UID ()",
            "UID FETCH 1 UID (VANISHED)", "STORE 1 (UNCHANGEDSINCE) FLAGS ()",
            "STORE 1 (FOO 1) FLAGS ()", "STORE 1 (UNCHANGEDSINCE 1 FLAGS ()",
            "STORE 1 () FLAGS ()", "SEARCH MODSEQ", 'SEARCH MODSEQ "/flags/x" 1',
        )  # fmt: skip
        self.check_bad('SEARCH MODSEQ "x" all 1', 'SEARCH MODSEQ "/flags/x" some 1')

    def test_switched_off(self) -> None:
        client = Server(without=["CONDSTORE"]).login()
        self.assertNotIn(b"QRESYNC", client.command("CAPABILITY")[0])
        self.assertNotIn(b"HIGHESTMODSEQ", b"".join(client.command("SELECT INBOX")))
        self.assertEqual(client.command("ENABLE QRESYNC CONDSTORE")[0], b"* ENABLED")
        for command in ("FETCH 1 MODSEQ", "SELECT INBOX (CONDSTORE)", "SEARCH MODSEQ 1"):
            self.assertTrue(client.command(command)[0].startswith(b"BAD "), command)


class DelayedExpungeTests(ModseqCase):
    """RFC 7162 sections 3.2 and 6: nothing is lost when the connection is."""

    def test_a_modseq_behind_an_expunge_that_was_not_told(self) -> None:
        self.ann.command("ENABLE QRESYNC")
        before = self.modseq
        now(self.box.expunge(uids=[7]))
        lines = self.ann.command("STORE 1 +FLAGS.SILENT (\\Seen)")
        self.assertEqual(lines[0], b"* 1 FETCH (UID 2 MODSEQ (%d))" % self.of(2))
        self.assertEqual(lines[1], self.known(before))
        self.assertEqual(self.ann.command("NOOP")[0], b"* VANISHED 7")
        self.assertNotIn(self.known(before), self.ann.command("STORE 1 -FLAGS.SILENT (\\Seen)"))


class QResyncTests(ModseqCase):
    """RFC 7162 section 3.2"""

    def resync(self, arguments: str) -> tuple[Client, list[bytes]]:
        client = self.server.login("ENABLE QRESYNC")
        return client, client.command(f"SELECT INBOX (QRESYNC ({arguments}))")

    def setUp(self) -> None:
        super().setUp()
        info = now(self.box.get_info())
        self.validity, self.before = info.uid_validity, info.highest_modseq
        now(self.box.expunge(uids=[4, 6]))
        self.other.command("NOOP")
        self.other.command("UID STORE 3 +FLAGS (\\Flagged)")
        self.add(1)

    def test_enable(self) -> None:
        client = self.server.login()
        self.assertEqual(
            client.command("ENABLE QRESYNC CONDSTORE")[0], b"* ENABLED QRESYNC CONDSTORE"
        )
        self.assertEqual(client.command("ENABLE QRESYNC")[0], b"* ENABLED")

    def test_all_that_was_missed(self) -> None:
        _, lines = self.resync(f"{self.validity} {self.before}")
        position = lines.index(b"* VANISHED (EARLIER) 4,6")
        self.assertIn(self.known(self.modseq), lines[:position])
        rest = [
            line.replace(b"\\Recent", b"").replace(b"( ", b"(") for line in lines[position + 1 :]
        ]
        self.assertEqual(
            rest,
            [
                b"* 2 FETCH (UID 3 FLAGS (\\Flagged) MODSEQ (%d))" % self.of(3),
                b"* 5 FETCH (UID 8 FLAGS () MODSEQ (%d))" % self.of(8),
                b"OK [READ-WRITE] SELECT completed",
            ],
        )

    def test_some_uids_alone(self) -> None:
        _, lines = self.resync(f"{self.validity} {self.before} 1:5")
        self.assertIn(b"* VANISHED (EARLIER) 4", lines)
        self.assertNotIn(b"UID 8", b"".join(lines))
        _, lines = self.resync(f"{self.validity} {self.before} 5,7")
        self.assertNotIn(b"VANISHED", b"".join(lines))
        self.assertNotIn(b" FETCH ", b"".join(lines))

    def test_nothing_was_missed(self) -> None:
        _, lines = self.resync(f"{self.validity} {self.modseq}")
        self.assertFalse([line for line in lines if b"VANISHED" in line or b"FETCH" in line])

    def test_another_uid_validity(self) -> None:
        _, lines = self.resync(f"{self.validity + 1} {self.before}")
        self.assertFalse([line for line in lines if b"VANISHED" in line or b"FETCH" in line])
        self.assertTrue(lines[-1].startswith(b"OK "))

    def test_numbers_that_match(self) -> None:
        # Message 3 is UID 5: the client knows that 4 is gone.
        _, lines = self.resync(f"{self.validity} {self.before} 1:7 (2:4 3,5,6)")
        self.assertIn(b"* VANISHED (EARLIER) 6", lines)
        _, lines = self.resync(f"{self.validity} {self.before} (1:2 2:3)")
        self.assertIn(b"* VANISHED (EARLIER) 4,6", lines)
        _, lines = self.resync(f"{self.validity} {self.before} 1:7 (4,900 7,1000)")
        self.assertNotIn(b"VANISHED", b"".join(lines))

    def test_uid_fetch(self) -> None:
        client = self.server.login("ENABLE QRESYNC", "SELECT INBOX")
        lines = client.command(f"UID FETCH 1:6 (FLAGS) (CHANGEDSINCE {self.before} VANISHED)")
        self.assertEqual(lines[0], b"* VANISHED (EARLIER) 4,6")
        self.assertEqual(len(lines), 3)
        self.assertIn(b"UID 3 ", lines[1])

    def test_what_the_client_counts_still_is_told_later(self) -> None:
        client = self.server.login("ENABLE QRESYNC", "SELECT INBOX")
        now(self.box.expunge(uids=[7]))
        lines = client.command(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {self.before} VANISHED)")
        self.assertEqual(lines[0], b"* VANISHED (EARLIER) 4,6")
        self.assertIn(b"* VANISHED 7", lines)

    def test_vanished_in_place_of_expunge(self) -> None:
        client = self.server.login("ENABLE QRESYNC", "SELECT INBOX")
        client.command("UID STORE 2,3,7 +FLAGS.SILENT (\\Deleted)")
        lines = client.command("EXPUNGE")
        code = b"OK [HIGHESTMODSEQ %d] EXPUNGE completed" % self.modseq
        self.assertEqual(lines, [b"* VANISHED 2:3,7", code])
        self.assertEqual(client.command("EXPUNGE"), [b"OK EXPUNGE completed"])
        client.command("UID STORE 5 +FLAGS.SILENT (\\Deleted)")
        self.assertEqual(client.command("UID EXPUNGE 5")[0], b"* VANISHED 5")
        lines = client.command("MOVE 1 Trash")
        self.assertIn(b"* VANISHED 8", lines)
        self.assertEqual(lines[-1], b"OK [HIGHESTMODSEQ %d] MOVE completed" % self.modseq)

    def test_what_is_removed_tells_the_modification_sequence(self) -> None:
        client = self.server.login("SELECT INBOX (CONDSTORE)")
        client.command("UID STORE 2 +FLAGS.SILENT (\\Deleted)")
        for command in ("EXPUNGE", "UID MOVE 3 Trash"):
            done = client.command(command)[-1]
            self.assertTrue(done.startswith(b"OK [HIGHESTMODSEQ %d] " % self.modseq), done)
        # Nothing of that kind for those who do not know it.
        client = self.server.login("SELECT INBOX")
        self.assertEqual(client.command("UID MOVE 5 Trash")[-1], b"OK MOVE completed")

    def test_idle(self) -> None:
        client = self.server.login("ENABLE QRESYNC", "SELECT INBOX")
        client.send(b"i IDLE\r\n")
        now(self.box.expunge(uids=[3]))
        self.server.clock.advance(0)
        self.assertEqual(client.take(), b"* VANISHED 3\r\n")

    def test_a_dialogue_like_that_of_the_standard(self) -> None:
        client, lines = self.resync(f"{self.validity} {self.before} 1:7")
        exists = int(re.search(rb"\* (\d+) EXISTS", b"\r\n".join(lines))[1])  # type: ignore[index]
        self.assertEqual(exists, 5)
        self.assertEqual(client.command("UID SEARCH ALL")[0], b"* SEARCH 2 3 5 7 8")

    def test_wrong_arguments(self) -> None:
        self.ann.command("ENABLE QRESYNC")
        self.ann.command("NOOP")
        self.check_bad(
            "SELECT INBOX (QRESYNC)", "SELECT INBOX (QRESYNC ())", "SELECT INBOX (QRESYNC (1))",
            "SELECT INBOX (QRESYNC (0 1))", "SELECT INBOX (QRESYNC (1 0))",
            "SELECT INBOX (QRESYNC (1 1 *))", "SELECT INBOX (QRESYNC (1 1 1:*))",
            "SELECT INBOX (QRESYNC (1 1 $))", "SELECT INBOX (QRESYNC (1 1 1:2 (1)))",
            "SELECT INBOX (QRESYNC (1 1 1:2 (1:2 1)))", "SELECT INBOX (QRESYNC (1 1 (2,1 1,2)))",
            "SELECT INBOX (QRESYNC (1 1 (1:4294967295 1:4294967295)))",
            "SELECT INBOX (QRESYNC (1 1) QRESYNC (1 1))", "FETCH 1 UID (CHANGEDSINCE 1 VANISHED)",
            "UID FETCH 1 UID (VANISHED)",
        )  # fmt: skip
