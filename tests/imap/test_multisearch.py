"""MULTISEARCH (RFC 7377)."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import PermissionDenied, StoreUnavailable
from mailkit.imap.handlers import multisearch
from mailkit.store.memory_mailbox import MemoryMailbox
from tests.imap.support import Server, now


class MultiSearchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        for name in ("folder1", "folder2/banana/split", "folder2/peach", "folder2salmon"):
            now(self.server.account.create_mailbox(name=name))
        now(self.server.account.subscribe(name="folder2"))
        self.server.add(
            b"Subject: chad\r\n\r\n", b"\r\n", b"Subject: chad\r\n\r\n", mailbox="folder1"
        )
        for name in ("INBOX", "folder2", "folder2/banana/split", "folder2/peach", "folder2salmon"):
            self.server.add(b"Subject: chad\r\n\r\n", mailbox=name)
        self.client = self.server.login()

    def search(self, command: str) -> dict[str, str]:
        """Results by mailbox."""
        *lines, done = self.client.command(f"ESEARCH {command}")
        self.assertTrue(done.startswith(b"OK "), done)
        found = {}
        for line in lines:
            match = re.fullmatch(
                r'\* ESEARCH \(TAG "t(\d+)" MAILBOX "([^"]*)" UIDVALIDITY (\d+)\) UID (.*)',
                line.decode(),
            )
            assert match is not None, line
            self.assertEqual(int(match[1]), self.client._tags)
            info = now(self.server.mailbox(match[2]).get_info())
            self.assertEqual(int(match[3]), info.uid_validity)
            self.assertNotIn(match[2], found)
            found[match[2]] = match[4]
        return found

    def check_bad(self, command: str) -> None:
        (line,) = self.client.command(command)
        self.assertTrue(line.startswith(b"BAD "), (command, line))

    def test_sources(self) -> None:
        below = {"folder2", "folder2/banana/split", "folder2/peach"}
        everything = {"INBOX", "folder1", "folder2salmon", *below}
        for sources, expected in (
            ("mailboxes folder1", {"folder1"}),
            ('mailboxes "folder1" subtree "folder2"', {"folder1", *below}),
            ('mailboxes ("folder1" inbox nowhere Trash)', {"folder1", "INBOX"}),
            ("subtree-one folder2", {"folder2", "folder2/peach"}),
            ("subtree (folder2 folder2/banana)", below),
            ("subtree nowhere", set()),
            ("personal", everything),
            ("inboxes", everything),
            ("PERSONAL subscribed mailboxes folder1", everything),
            ("subscribed", {"INBOX", "folder2"}),
        ):
            found = self.search(f"IN ({sources}) subject chad")
            self.assertEqual(set(found), expected, sources)
        self.assertEqual(self.search("IN (mailboxes folder1) subject chad"), {"folder1": "ALL 1,3"})

    def test_results(self) -> None:
        found = self.search(
            "IN (mailboxes (folder1 folder2)) RETURN (MIN MAX COUNT) CHARSET UTF-8 SUBJECT chad"
        )
        self.assertEqual(
            found, {"folder1": "MIN 1 MAX 3 COUNT 2", "folder2": "MIN 1 MAX 1 COUNT 1"}
        )
        self.assertEqual(
            self.search("IN (mailboxes folder1) RETURN (PARTIAL 2:2) SUBJECT chad"),
            {"folder1": "PARTIAL (2:2 3)"},
        )
        # Section 2.1: no response where nothing is found.
        self.assertEqual(self.search("IN (personal) RETURN (COUNT) SUBJECT nothing"), {})

    def test_numbers_are_those_of_each_mailbox(self) -> None:
        now(self.server.mailbox("folder1").expunge(uids=[1]))
        self.assertEqual(self.search("IN (mailboxes folder1) 2:*"), {"folder1": "ALL 3"})

    def test_selected(self) -> None:
        self.check_bad("ESEARCH SUBJECT chad")
        self.check_bad("ESEARCH IN (selected) SUBJECT chad")
        self.check_bad("ESEARCH IN (personal) RETURN (UPDATE) SUBJECT chad")
        self.client.command("SELECT folder1")
        self.assertEqual(self.search("SUBJECT chad"), {"folder1": "ALL 1,3"})
        self.assertEqual(self.search("RETURN (COUNT) ALL"), {"folder1": "COUNT 3"})
        found = self.search("IN (selected mailboxes (folder1 folder2)) SUBJECT chad")
        self.assertEqual(found, {"folder1": "ALL 1,3", "folder2": "ALL 1"})
        self.assertEqual(self.search("IN (personal) SUBJECT chad")["folder1"], "ALL 1,3")
        # The selected mailbox stays selected.
        self.assertEqual(len(self.client.command("FETCH 1:* UID")), 4)

    def test_saved(self) -> None:
        self.client.command("SELECT folder1")
        self.assertEqual(self.search("RETURN (SAVE) SUBJECT chad"), {})
        self.assertEqual(self.client.command("SEARCH $")[0], b"* SEARCH 1 3")
        self.check_bad("ESEARCH IN (personal) RETURN (SAVE) SUBJECT chad")
        self.check_bad("ESEARCH IN (selected personal) RETURN (SAVE) SUBJECT chad")

    def test_kept_up_to_date(self) -> None:
        self.client.command("SELECT folder1")
        self.search("IN (personal) RETURN (UPDATE COUNT) FLAGGED")
        tag = self.client._tags
        lines = self.client.command("STORE 2 +FLAGS.SILENT (\\Flagged)")
        # Section 2.1: each response has all correlators.
        self.assertRegex(
            lines[0],
            rb'\A\* ESEARCH \(TAG "t%d" MAILBOX "folder1" UIDVALIDITY \d+\) UID ADDTO \(0 2\)\Z'
            % tag,
        )

    def test_modification_sequences(self) -> None:
        found = self.search("IN (mailboxes folder1) MODSEQ 1")
        self.assertRegex(found["folder1"], r"\AALL 1:3 MODSEQ \d+\Z")

    def test_names_of_all_kinds(self) -> None:
        now(self.server.account.create_mailbox(name="Entwürfe"))
        self.server.add(b"\r\n", mailbox="Entwürfe")
        (line, _) = self.client.command('ESEARCH IN (mailboxes "Entw&APw-rfe") ALL')
        self.assertIn(b' MAILBOX "Entw&APw-rfe" UIDVALIDITY ', line)

    def test_what_may_not_be_read(self) -> None:
        works = MemoryMailbox.list_uids

        async def refuse(mailbox: MemoryMailbox) -> object:
            if mailbox.name == "folder2":
                raise PermissionDenied
            return await works(mailbox)

        self.patch(MemoryMailbox, "list_uids", refuse)
        found = self.search("IN (subtree folder2) ALL")
        self.assertEqual(set(found), {"folder2/banana/split", "folder2/peach"})

    def test_a_store_that_fails(self) -> None:
        async def fail(mailbox: MemoryMailbox) -> object:
            raise StoreUnavailable

        self.patch(MemoryMailbox, "list_uids", fail)
        self.assertTrue(self.client.command("ESEARCH IN (personal) ALL")[-1].startswith(b"NO "))

    def test_too_many(self) -> None:
        self.patch(multisearch, "MAX_MAILBOXES", 3)
        (line,) = self.client.command("ESEARCH IN (personal) ALL")
        self.assertTrue(line.startswith(b"NO [LIMIT] "), line)

    def test_wrong_commands(self) -> None:
        for arguments in (
            "", "IN ALL", "IN () ALL", "IN (personal)", "IN (selected-delayed) ALL", "IN (foo) ALL",
            "IN (mailboxes) ALL", "IN (mailboxes ()) ALL", "IN (subtree) ALL", "IN (personal ALL",
            "IN (personal) RETURN (FOO) ALL", "IN (personal) NONSENSE", "IN (personal (foo bar)) ALL",
            "IN (personal)", "IN (personal) ALL IN (personal)", "IN (mailboxes nowhere) NONSENSE",
            f"IN (mailboxes ({'x ' * 1000}x)) ALL", f"IN ({'personal ' * 1000}personal) ALL",
        ):  # fmt: skip
            self.check_bad(f"ESEARCH {arguments}")
        (line,) = self.client.command("ESEARCH IN (personal) CHARSET X-NONE ALL")
        self.assertTrue(line.startswith(b"NO [BADCHARSET"), line)

    def test_without(self) -> None:
        for without in ("MULTISEARCH", "ESEARCH"):
            client = Server(without=[without]).login()
            self.assertNotIn(b"MULTISEARCH", client.command("CAPABILITY")[0].split())
            self.assertTrue(client.command("ESEARCH IN (personal) ALL")[0].startswith(b"BAD "))
