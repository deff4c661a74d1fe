"""What a backend tells that has no name in IMAP stays out of responses, which stay in step."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap import render
from mailkit.model import SEEN, SYSTEM_FLAGS
from tests.imap.messages import PLAIN
from tests.imap.support import Server

#: RFC 3501 section 9: an atom has none of these.
SPECIALS = frozenset({"a]b", "c%d", "e*", "\\*", "\\a]", "gr\u00fcn"})
ODD = SPECIALS | {SEEN, "$Work", "not done", "x)\r\n* BYE", 'a"b', "{3}", "", "\\", "a\\b", "a\0b"}


class OddBackendTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.add(PLAIN)
        self.client = self.server.login("SELECT INBOX")

    def test_keywords_that_are_no_atoms(self) -> None:
        mailbox = self.server.mailbox()
        get_messages = mailbox.get_messages

        async def odd(uids: Any) -> Any:
            return [each._replace(flags=ODD) for each in await get_messages(uids)]

        self.patch(mailbox, "get_messages", odd)
        self.patch(mailbox, "read_fields", lambda uids, fields: None)
        lines = self.client.command("FETCH 1 FLAGS")
        self.assertEqual(lines[-1], b"OK FETCH completed")
        (fetched,) = (line for line in lines if b"FETCH (" in line)
        self.assertEqual(fetched, b"* 1 FETCH (FLAGS (\\Recent \\Seen $Work))")
        for line in lines[:-1]:
            self.assertTrue(line.startswith((b"* FLAGS (", b"* 1 FETCH (")), line)
            self.assertNotIn(b"BYE", line)

    def test_keywords_of_a_whole_mailbox(self) -> None:
        line = render.flag_line(sorted(ODD - {SEEN}))
        self.assertEqual(line, b"* FLAGS (%b $Work)\r\n" % " ".join(SYSTEM_FLAGS).encode())
        selected = render.selected_flags(sorted(ODD - {SEEN}), writable=True)
        self.assertEqual(selected.count(b"\r\n"), 2)
        self.assertNotIn(b"not done", selected)
        # Nor is a space left where they were.
        nothing = render.selected_flags([], writable=True)
        for odd in (["not done"], sorted(SPECIALS)):
            self.assertEqual(render.selected_flags(odd, writable=True), nothing)
            self.assertEqual(render.render_flags(frozenset(odd)), b"")
        self.assertEqual(render.render_recent_flags(frozenset({"not done"})), b"\\Recent")

    def test_new_keywords_with_some_rights(self) -> None:
        """``\\*`` is no flag, but told where flags are."""
        for rights, told in (("lrw", b"\\*)]"), ("lrs", b"(\\Seen)]")):
            selected = render.selected_flags(["a]b"], True, frozenset(rights))
            self.assertIn(told, selected)
            self.assertNotIn(b"a]b", selected)

    def test_special_uses_that_are_no_attributes(self) -> None:
        account = self.server.account
        list_mailboxes = account.list_mailboxes

        async def odd() -> Any:
            return [i._replace(special_use="Sent)\r\n* BYE") for i in await list_mailboxes()]

        self.patch(account, "list_mailboxes", odd)
        lines = self.client.command('LIST "" INBOX')
        self.assertEqual(lines, [b'* LIST (\\HasNoChildren) "/" "INBOX"', b"OK LIST completed"])
