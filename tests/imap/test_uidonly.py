"""UIDONLY (RFC 9586): a session without sequence numbers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from .support import Server, ServerTestCase

MESSAGE = b"Subject: a\r\n\r\nb\r\n"
REFUSED = b"BAD [UIDREQUIRED] "


class DialogueTests(ServerTestCase):
    def setUp(self) -> None:
        self.server = self.make_server()
        self.server.add(*[MESSAGE] * 4)
        self.other = self.server.login("SELECT INBOX", "UID STORE 1 +FLAGS (\\Deleted)", "EXPUNGE")
        self.client = self.server.login()
        answer = self.client.command("ENABLE UIDONLY")
        self.assertEqual(answer, [b"* ENABLED UIDONLY", b"OK ENABLE completed"])
        self.selected = self.client.command("SELECT INBOX")

    def test_numbers_are_refused(self) -> None:
        for command in (
            "FETCH 1 FLAGS", "FETCH * FLAGS", "STORE 1 +FLAGS (a)", "COPY 1 Trash", "MOVE 1 Trash",
            "SEARCH ALL", "UID SEARCH 1", "UID SEARCH OR SEEN 1:*", "UID SEARCH NOT (SEEN 1)",
            "SORT (DATE) UTF-8 ALL", "UID SORT (DATE) UTF-8 1:2", "THREAD REFERENCES UTF-8 ALL",
            'ESEARCH IN (mailboxes "Trash") 1:2',
        ):  # fmt: skip
            answer = self.client.command(command)
            self.assertEqual(len(answer), 1, answer)
            self.assertTrue(answer[0].startswith(REFUSED), (command, answer))
            self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])

    def test_numbers_are_refused_before_a_message_comes(self) -> None:
        answer = self.client.send(b"a REPLACE 1 INBOX {3}\r\n")
        self.assertTrue(answer.startswith(b"a " + REFUSED), answer)
        self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])

    def test_select_tells_no_number(self) -> None:
        self.assertNotIn(b"[UNSEEN", b"".join(self.selected))
        self.assertIn(b"* 3 EXISTS", self.selected)
        self.client.command("ENABLE QRESYNC")
        answer = self.client.command("SELECT INBOX (QRESYNC (1 1 1:3 (1 1)))")
        self.assertTrue(answer[-1].startswith(REFUSED), answer)
        self.assertTrue(self.client.command("SELECT INBOX (QRESYNC (1 1 1:3))")[-1][:2], b"OK")

    def test_fetch(self) -> None:
        self.assertEqual(
            self.client.command("UID FETCH 2:3 RFC822.SIZE"),
            [
                b"* 2 UIDFETCH (RFC822.SIZE 17)",
                b"* 3 UIDFETCH (RFC822.SIZE 17)",
                b"OK FETCH completed",
            ],
        )
        (line, _) = self.client.command("UID FETCH 4 (UID BODY.PEEK[TEXT])")
        self.assertEqual(line, b"* 4 UIDFETCH (UID 4 BODY[TEXT] {3}\r\nb\r\n)")
        (line, _) = self.client.command("UID FETCH 4 BODY[TEXT]")
        self.assertTrue(line.startswith(b"* 4 UIDFETCH (BODY[TEXT] {3}"), line)
        self.assertIn(b"\\Seen", line)
        self.client.command("UID SEARCH RETURN (SAVE) UID 3")
        self.assertEqual(self.client.command("UID FETCH $ UID")[0], b"* 3 UIDFETCH (UID 3)")
        self.assertEqual(self.client.command("UID SEARCH $")[0], b"* SEARCH 3")

    def test_store(self) -> None:
        answer = self.client.command("UID STORE 3 FLAGS.SILENT (\\Seen)")
        self.assertEqual(answer, [b"OK STORE completed"])
        told = self.client.command("UID STORE 3 FLAGS (\\Seen)")
        self.assertIn(b"* 3 UIDFETCH (FLAGS (\\Seen))", told)
        self.client.command("ENABLE CONDSTORE")
        (line, done) = self.client.command("UID STORE 3 (UNCHANGEDSINCE 1) -FLAGS (\\Seen)")
        self.assertRegex(line, rb"^\* 3 UIDFETCH \(FLAGS \(\\Seen\) MODSEQ \(\d+\)\)$")
        self.assertTrue(done.startswith(b"OK [MODIFIED 3]"), done)
        (line, _) = self.client.command("UID STORE 3 -FLAGS.SILENT (\\Seen)")
        self.assertRegex(line, rb"^\* 3 UIDFETCH \(MODSEQ \(\d+\)\)$")

    def test_changes_of_others(self) -> None:
        self.other.command("UID STORE 3 +FLAGS (\\Deleted)")
        told = self.client.command("NOOP")
        self.assertIn(b"* 3 UIDFETCH (FLAGS (\\Deleted))", told)
        self.other.command("EXPUNGE")
        told = self.client.command("NOOP")
        self.assertIn(b"* VANISHED 3", told)
        self.assertNotIn(b"EXPUNGE", b"".join(told))
        self.client.send(b"i IDLE\r\n")
        self.other.command("UID STORE 4 +FLAGS (\\Deleted)")
        self.assertIn(b"* 4 UIDFETCH (FLAGS (\\Deleted))\r\n", self.client.read())

    def test_own_removals(self) -> None:
        self.client.command("UID STORE 2:3 +FLAGS.SILENT (\\Deleted)")
        self.assertIn(b"* VANISHED 2", self.client.command("UID EXPUNGE 2"))
        self.assertIn(b"* VANISHED 3", self.client.command("EXPUNGE"))
        told = self.client.command("UID MOVE 4 Trash")
        self.assertIn(b"* VANISHED 4", told)

    def test_enabled_in_a_mailbox(self) -> None:
        client = self.server.login("SELECT INBOX")
        self.assertTrue(client.command("FETCH 1 UID")[-1].startswith(b"OK"))
        client.command("ENABLE UIDONLY")
        self.assertTrue(client.command("FETCH 1 UID")[-1].startswith(REFUSED))
        self.assertEqual(client.command("UID FETCH 2 UID")[0], b"* 2 UIDFETCH (UID 2)")

    def test_others_keep_their_numbers(self) -> None:
        self.assertEqual(self.other.command("FETCH 1 UID")[0], b"* 1 FETCH (UID 2)")


class SQLiteDialogueTests(DialogueTests):
    sqlite = True


class SwitchTests(SynchronousTestCase):
    def test_off(self) -> None:
        client = Server(without=["UIDONLY"]).login("SELECT INBOX")
        self.assertNotIn(b"UIDONLY", client.command("CAPABILITY")[0])
        self.assertEqual(client.command("ENABLE UIDONLY")[0], b"* ENABLED")
        self.assertTrue(client.command("SEARCH ALL")[-1].startswith(b"OK"))

    def test_for_a_program_that_gets_it_wrong(self) -> None:
        # https://github.com/modern-email/defects/issues/49
        from mailkit.imap.protocol import ClientRule

        fields = (("name", "Microsoft Office 365"),)
        rule = ClientRule("office", fields, without=frozenset(("UIDONLY",)))
        client = Server(clients=[rule]).login('ID ("name" "Microsoft Office 365")')
        self.assertEqual(client.command("ENABLE UIDONLY")[0], b"* ENABLED")
