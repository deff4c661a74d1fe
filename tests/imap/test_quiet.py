"""STORE with .SILENT: the session that changes flags hears nothing of it, all the others do."""

from __future__ import annotations

from .messages import PLAIN
from .support import Server, ServerTestCase


class SilentStoreTests(ServerTestCase):
    def open(self) -> Server:
        server = self.make_server()
        server.add(*[PLAIN] * 6)
        # The first one, for which they are \\Recent.
        server.login("SELECT INBOX")
        self.ann, self.other = server.login("SELECT INBOX"), server.login("SELECT INBOX")
        self.ann.command("NOOP")
        self.other.command("NOOP")
        return server

    def flags(self, *flags: str) -> list[bytes]:
        return [f"* {n} FETCH (FLAGS ({each}))".encode() for n, each in enumerate(flags, 1)]

    def test_the_session_itself_hears_nothing(self) -> None:
        self.open()
        for command in (
            "STORE 1:* +FLAGS.SILENT (\\Seen)",
            "STORE 1:* +FLAGS.SILENT (\\Seen)",
            "STORE 2,4:5 +FLAGS.SILENT (\\Answered)",
            "STORE 1:4 FLAGS.SILENT (\\Flagged)",
            "STORE 1:* -FLAGS.SILENT (\\Seen)",
            "UID STORE 1:99 +FLAGS.SILENT (\\Seen)",
        ):
            self.assertEqual(self.ann.command(command), [b"OK STORE completed"], command)
            self.assertEqual(self.ann.command("NOOP"), [b"OK NOOP completed"], command)
        told = self.flags(*["\\Seen \\Flagged"] * 4, "\\Seen \\Answered", "\\Seen")
        self.assertEqual(self.other.command("NOOP")[:-1], told)

    def test_a_change_of_nothing_is_none(self) -> None:
        server = self.open()
        self.ann.command("STORE 1:* +FLAGS.SILENT (\\Seen)")
        before = server.login().command("STATUS INBOX (HIGHESTMODSEQ UNSEEN)")
        self.other.command("NOOP")
        self.ann.command("STORE 1:* +FLAGS.SILENT (\\Seen)")
        self.assertEqual(server.login().command("STATUS INBOX (HIGHESTMODSEQ UNSEEN)"), before)
        self.assertEqual(self.other.command("NOOP"), [b"OK NOOP completed"])

    def test_what_another_session_has_changed_before_is_told(self) -> None:
        self.open()
        self.other.command("STORE 2 +FLAGS.SILENT (\\Flagged)")
        lines = self.ann.command("STORE 1:* +FLAGS.SILENT (\\Seen)")
        self.assertIn(b"* 2 FETCH (FLAGS (\\Seen \\Flagged))", lines)
        self.ann.command("STORE 1:* +FLAGS.SILENT (\\Answered)")
        # Both of them, one behind the other, and no session misses the other's.
        self.other.command("STORE 3 +FLAGS.SILENT (\\Draft)")
        told = self.ann.command("NOOP")[:-1]
        self.assertEqual(told, [b"* 3 FETCH (FLAGS (\\Seen \\Answered \\Draft))"])

    def test_a_message_that_is_gone_is_found_missing(self) -> None:
        self.open()
        self.other.command("STORE 4 +FLAGS.SILENT (\\Deleted)")
        self.ann.command("NOOP")
        self.other.command("EXPUNGE")
        lines = self.ann.command("STORE 1:* +FLAGS.SILENT (\\Seen)")
        self.assertEqual(lines[-1], b"OK [EXPUNGEISSUED] STORE completed")
        self.assertEqual(self.ann.command("NOOP")[:-1], [b"* 4 EXPUNGE"])
        self.assertEqual(self.ann.command("SEARCH UNSEEN")[0], b"* SEARCH")

    def test_condstore_is_told_the_modification_sequences(self) -> None:
        self.open()
        self.ann.command("ENABLE CONDSTORE")
        lines = self.ann.command("STORE 1:* +FLAGS.SILENT (\\Seen)")
        self.assertEqual(len([line for line in lines if b"MODSEQ (" in line]), 6)

    def test_without_silence_all_are_told(self) -> None:
        self.open()
        self.other.command("STORE 2 +FLAGS.SILENT (\\Flagged Work)")
        told = ["\\Seen", "\\Seen \\Flagged Work", *["\\Seen"] * 4]
        lines = self.ann.command("STORE 1:* +FLAGS (\\Seen)")
        self.assertEqual(lines[-7:-1], self.flags(*told))
        # Also where nothing changes, and with their UIDs to who names them by these.
        lines = self.ann.command("UID STORE 1:* +FLAGS (\\Seen)")
        with_uids = [
            f"* {n} FETCH (UID {n} FLAGS ({each}))".encode() for n, each in enumerate(told, 1)
        ]
        self.assertEqual(lines[:-1], with_uids)
        self.assertEqual(self.ann.command("NOOP"), [b"OK NOOP completed"])
        self.assertEqual(self.other.command("NOOP")[:-1], self.flags(*told))

    def test_without_silence_a_message_that_is_gone_is_missing(self) -> None:
        self.open()
        self.other.command("STORE 4 +FLAGS.SILENT (\\Deleted)")
        self.ann.command("NOOP")
        self.other.command("EXPUNGE")
        lines = self.ann.command("STORE 3:5 FLAGS (\\Seen)")
        told = [b"* 3 FETCH (FLAGS (\\Seen))", b"* 5 FETCH (FLAGS (\\Seen))"]
        self.assertEqual(lines[:-1], told)
        self.assertTrue(lines[-1].startswith(b"NO [EXPUNGEISSUED]"), lines)
        self.assertEqual(self.ann.command("NOOP")[:-1], [b"* 4 EXPUNGE"])

    def test_without_silence_the_recent_ones_are_told_as_such(self) -> None:
        server = self.make_server()
        server.add(*[PLAIN] * 2)
        first = server.login("SELECT INBOX")
        lines = first.command("STORE 1:* FLAGS (\\Draft)")
        self.assertEqual(lines[:-1], self.flags("\\Recent \\Draft", "\\Recent \\Draft"))


class SQLiteSilentStoreTests(SilentStoreTests):
    sqlite = True
