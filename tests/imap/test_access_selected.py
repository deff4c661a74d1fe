"""A mailbox of somebody else that is selected: flags, rights that change, two sessions (RFC 4314)."""

from __future__ import annotations

from tests.imap.access import MESSAGE, OTHERS, AccessTestCase
from tests.imap.support import now


class SelectedTests(AccessTestCase):
    """A mailbox of somebody else that is selected."""

    def test_flags_that_can_be_changed(self) -> None:
        # RFC 4314 section 5.1.1
        self.start()
        for rights, flags, code in (
            ("lrs", b"\\Seen", b"READ-WRITE"),
            ("lrt", b"\\Deleted", b"READ-WRITE"),
            ("lrw", b"\\Answered \\Flagged \\Draft $Forwarded", b"READ-WRITE"),
            ("lri", b"", b"READ-WRITE"),
            ("lre", b"", b"READ-WRITE"),
            ("lrkxap", b"", b"READ-ONLY"),
        ):
            self.grant(rights)
            lines = self.bob().command(f'SELECT "{OTHERS}/Plans"')
            self.assertEqual(lines[-1], b"OK [%b] SELECT completed" % code)
            (line,) = [line for line in lines if b"PERMANENTFLAGS" in line]
            begin = b"* OK [PERMANENTFLAGS (%b" % flags
            self.assertTrue(line.startswith(begin), line)
            self.assertEqual(b"\\*" in line, "w" in rights)

    def test_examine_changes_nothing(self) -> None:
        self.start()
        self.grant("lrswite")
        bob = self.bob(f'EXAMINE "{OTHERS}/Plans"')
        for command in ("STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "MOVE 1 INBOX"):
            self.assertEqual(
                bob.command(command), [b"NO [NOPERM] The mailbox is selected read-only"]
            )
        bob.command("FETCH 1 BODY[]")
        bob.command("CLOSE")
        self.assertEqual(self.flags(), [set(), set(), {"\\Deleted", "\\Seen", "Mine"}])

    def test_fetch_sets_seen_only_with_the_right(self) -> None:
        self.start()
        self.grant("lrwte")
        bob = self.bob(f'SELECT "{OTHERS}/Plans"')
        self.assertNotIn(b"\\Seen", bob.command("FETCH 1 (BODY[])")[0])
        self.assertEqual(self.flags()[0], set())
        self.grant("lrs")
        self.assertIn(b"\\Seen", bob.command("FETCH 2 (BODY[])")[0])
        self.assertEqual(self.flags()[1], {"\\Seen"})

    def test_close_expunges_only_with_the_right(self) -> None:
        self.start()
        self.grant("lrswit")
        bob = self.bob(f'SELECT "{OTHERS}/Plans"')
        self.assertEqual(bob.command("CLOSE"), [b"OK CLOSE completed"])
        self.assertEqual(len(self.flags()), 3)
        self.grant("lre")
        bob = self.bob(f'SELECT "{OTHERS}/Plans"')
        self.assertEqual(bob.command("CLOSE"), [b"OK CLOSE completed"])
        self.assertEqual(len(self.flags()), 2)

    def test_part_of_a_store(self) -> None:
        # RFC 4314 section 4: not refused where some may be changed; the client is told which were.
        self.start()
        self.grant("lrs")
        bob = self.bob(f'SELECT "{OTHERS}/Plans"')
        for command, answer in (
            ("STORE 1 +FLAGS.SILENT (\\Seen \\Flagged New)", [b"* 1 FETCH (FLAGS (\\Seen))"]),
            ("STORE 1 FLAGS.SILENT ()", [b"* 1 FETCH (FLAGS ())"]),
            ("STORE 3 FLAGS (\\Flagged \\Seen)",
             [b"* 3 FETCH (FLAGS (\\Seen \\Deleted Mine))"]),
            ("STORE 1 +FLAGS.SILENT (\\Seen)", []),
        ):  # fmt: skip
            lines = [line for line in bob.command(command) if not line.startswith(b"* FLAGS ")]
            self.assertEqual(lines, [*answer, b"OK STORE completed"], command)

    def test_copied_flags(self) -> None:
        # The example of RFC 4314 section 4: what "rwis" and "rsti" keep.
        self.start()
        now(self.server.account.create_mailbox(name="Target"))
        bob = self.bob("CREATE Own")
        for flags in ("\\Draft \\Deleted", "\\Answered", "$Forwarded \\Seen"):
            bob.command(f"APPEND Own ({flags}) {{3+}}\r\nabc")
        bob.command("SELECT Own")
        self.grant("rwis", "Target")
        bob.command(f'COPY 1:3 "{OTHERS}/Target"')
        self.grant("rsti", "Target")
        bob.command(f'COPY 1:3 "{OTHERS}/Target"')
        self.assertEqual(
            self.flags("Target"),
            [{"\\Draft"}, {"\\Answered"}, {"$Forwarded", "\\Seen"},
             {"\\Deleted"}, set(), {"\\Seen"}],
        )  # fmt: skip

    def test_rights_that_change_meanwhile(self) -> None:
        self.start()
        self.grant("lrsw")
        bob = self.bob(f'SELECT "{OTHERS}/Plans"')
        self.grant("lrs")
        lines = bob.command("NOOP")
        self.assertIn(b"* OK [PERMANENTFLAGS (\\Seen)] You may change these", lines)
        (line,) = bob.command("STORE 1 +FLAGS (\\Flagged)")
        self.assertTrue(line.startswith(b"NO [NOPERM] "), line)
        self.grant("lr")
        lines = bob.command("NOOP")
        self.assertIn(b"* OK [READ-ONLY] You may not change this mailbox any more", lines)
        self.assertEqual(
            bob.command("STORE 1 +FLAGS (\\Seen)"),
            [b"NO [NOPERM] The mailbox is selected read-only"],
        )
        # Other things go on.
        self.assertEqual(bob.command("FETCH 1 UID")[0], b"* 1 FETCH (UID 1)")

    def test_the_right_to_read_is_lost(self) -> None:
        self.start()
        for rights, text in (
            ("l", b"You may not read the selected mailbox any more"),
            ("", b"The selected mailbox has been deleted"),
        ):
            for command in ("NOOP", "FETCH 1 FLAGS", "FETCH 1 BODY.PEEK[]",
                            "STORE 1 +FLAGS (\\Seen)", "SEARCH ALL", "COPY 1 INBOX",
                            "EXPUNGE"):  # fmt: skip
                self.grant("lrswite")
                bob = self.bob(f'SELECT "{OTHERS}/Plans"')
                self.grant(rights)
                lines = bob.command(command)
                self.assertFalse([line for line in lines if b"FETCH (" in line], lines)
                if not bob.closed:
                    lines = bob.command("NOOP")
                self.assertEqual(lines[-1], b"* BYE " + text, command)
                self.assertTrue(bob.closed)

    def test_an_idling_client_loses_the_right(self) -> None:
        self.start()
        self.grant("lr")
        bob = self.bob(f'SELECT "{OTHERS}/Plans"')
        bob.send(b"a IDLE\r\n")
        self.server.add(MESSAGE, mailbox="Plans")
        self.server.clock.advance(0)
        self.assertIn(b"* 4 EXISTS", bob.take())
        self.grant("")
        self.server.clock.advance(0)
        self.assertIn(b"* BYE ", bob.take())

    def test_two_sessions(self) -> None:
        self.start()
        self.grant("lrswite")
        ann = self.server.login("SELECT Plans")
        bob = self.bob(f'SELECT "{OTHERS}/Plans"')
        bob.command("STORE 1 +FLAGS (\\Flagged Bobs)")
        self.assertIn(b"* 1 FETCH (FLAGS (\\Flagged Bobs))", ann.command("NOOP"))
        ann.command("STORE 2 +FLAGS (\\Deleted)")
        self.assertIn(b"* 2 FETCH (FLAGS (\\Deleted))", bob.command("NOOP"))
        # Both move one message: one of them has it then.
        (moved, *_) = bob.command("MOVE 1 INBOX")
        self.assertTrue(moved.startswith(b"* OK [COPYUID "), moved)
        lines = ann.command("UID MOVE 1 Trash")
        self.assertTrue(lines[-1].startswith(b"OK No messages were there"), lines)
        self.assertEqual(
            self.bob("EXAMINE INBOX").command("FETCH 1 FLAGS")[0],
            rb"* 1 FETCH (FLAGS (\Recent \Flagged Bobs))",
        )
        bob.command("EXPUNGE")
        self.assertIn(b"* 1 EXPUNGE", ann.command("NOOP"))

    def test_renamed_and_deleted_by_the_owner(self) -> None:
        self.start()
        self.grant("lr")
        bob = self.bob(f'SELECT "{OTHERS}/Plans"')
        now(self.server.account.rename_mailbox(name="Plans", new_name="New"))
        self.assertEqual(bob.command("FETCH 1 UID")[0], b"* 1 FETCH (UID 1)")
        now(self.server.account.delete_mailbox(name="New"))
        self.assertEqual(bob.command("NOOP")[-1], b"* BYE The selected mailbox has been deleted")

    def test_the_selected_mailbox_is_deleted_by_the_client(self) -> None:
        self.start()
        self.grant("lrx")
        bob = self.bob(f'SELECT "{OTHERS}/Plans"')
        self.assertEqual(
            bob.command(f'DELETE "{OTHERS}/Plans"'),
            [b"* OK [CLOSED] The selected mailbox is gone", b"OK DELETE completed"],
        )


class SQLiteSelectedTests(SelectedTests):
    sqlite = True
