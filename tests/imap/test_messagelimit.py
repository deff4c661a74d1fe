"""MESSAGELIMIT (RFC 9738), with a limit of three messages."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from mailkit._typing import override
from mailkit.imap.messagelimit import candidates, last_of, narrow
from mailkit.imap.protocol import IMAPFactory
from mailkit.query import All, And, HasFlag, Or, UIDs
from tests.imap.fakes import PlainAccount
from tests.imap.support import Client, Server, ServerTestCase

MESSAGE = b"Subject: a\r\n\r\nb\r\n"
SEVEN = 7


class PartTests(SynchronousTestCase):
    def test_last_positions(self) -> None:
        spans = [(0, 2), (4, 5), (7, 9)]
        for limit, kept in (
            (0, []),
            (1, [(8, 9)]),
            (3, [(4, 5), (7, 9)]),
            (4, [(1, 2), (4, 5), (7, 9)]),
            (9, spans),
        ):
            self.assertEqual(last_of(spans, limit), kept, limit)

    def test_what_a_search_looks_at(self) -> None:
        view = [2, 3, 5, 8, 13]
        some = UIDs(((1, 3), (8, 8)))
        for query, uids in (
            (All(), view),
            (some, [2, 3, 8]),
            (And((HasFlag("x"), And((some, UIDs(((3, 13),)))))), [3, 8]),
            (Or((some, All())), view),
            (UIDs(()), []),
        ):
            self.assertEqual(list(candidates(query, view)), uids, query)
        self.assertEqual(narrow(some, view, 3), (some, 0))
        self.assertEqual(narrow(some, view, 2), (And((UIDs(((3, 8),)), some)), 3))
        self.assertEqual(narrow(All(), view, 0), (All(), 0))


class DialogueTests(ServerTestCase):
    @override
    def setUp(self) -> None:
        self.server = self.make_server(message_limit=3)
        self.server.add(*[MESSAGE] * SEVEN)
        self.client = self.server.login("SELECT INBOX")

    def ask(self, text: str, client: Client | None = None) -> list[str]:
        return [line.decode() for line in (client or self.client).command(text)]

    def test_fetch_from_the_highest(self) -> None:
        for command in ("FETCH 2:6 FLAGS", "UID FETCH 2:6 FLAGS", "FETCH 2:6 (BODY.PEEK[])"):
            lines = self.ask(command)
            told = [int(line.split()[1]) for line in lines[:-1]]
            self.assertEqual(told, [6, 5, 4], command)
            self.assertEqual(lines[-1], "OK [MESSAGELIMIT 3 4] FETCH completed")
        lines = self.ask("UID FETCH 1,3,7 FLAGS")
        self.assertEqual(len(lines), 4)
        self.assertEqual(lines[-1], "OK FETCH completed")
        self.assertEqual([line.split()[1] for line in lines[:-1]], ["1", "3", "7"])

    def test_fetch_of_many_batches(self) -> None:
        lines = self.ask("FETCH 1:* ENVELOPE")
        self.assertEqual([line.split()[1] for line in lines[:-1]], ["7", "6", "5"])

    def test_partial_is_all_or_none(self) -> None:
        lines = self.ask("UID FETCH 1:* FLAGS (PARTIAL -1:-4)")
        self.assertEqual(lines, ["NO [MESSAGELIMIT 3] These are too many messages for one command"])
        self.assertEqual(len(self.ask("UID FETCH 1:* FLAGS (PARTIAL -1:-3)")), 4)

    def test_store(self) -> None:
        lines = self.ask("UID STORE 1:* +FLAGS (Mine)")
        self.assertEqual(lines[-1], "OK [MESSAGELIMIT 3 5] STORE completed")
        self.assertEqual(self.ask("UID STORE 1:4 +FLAGS (Mine)")[-1].split()[3], "2]")
        self.assertEqual(self.ask("UID STORE 1 +FLAGS (Mine)")[-1], "OK STORE completed")
        self.assertEqual(self.ask("UID SEARCH KEYWORD Mine UID 1:3")[0], "* SEARCH 1 2 3")

    def test_store_that_was_too_late(self) -> None:
        self.client.command("UID STORE 6 +FLAGS (Mine)")
        lines = self.ask("UID STORE 1:* (UNCHANGEDSINCE 1) +FLAGS (Other)")
        told = "* NO [MESSAGELIMIT 3 5] These are too many messages for one command"
        self.assertIn(told, lines)
        self.assertTrue(lines[-1].startswith("OK [MODIFIED "), lines)

    def test_search(self) -> None:
        for command, found, lowest in (
            ("SEARCH ALL", "5 6 7", "5"),
            ("SEARCH UNSEEN", "5 6 7", "5"),
            ("UID SEARCH UID 1:6 UNDELETED", "4 5 6", "4"),
            ("SEARCH 1:6 (UID 2:5 2:4)", "2 3 4", ""),
            ("SEARCH NOT 1:6", "7", "5"),
        ):
            code = f"[MESSAGELIMIT 3 {lowest}] " if lowest else ""
            self.assertEqual(
                self.ask(command), [f"* SEARCH {found}", f"OK {code}SEARCH completed"], command
            )

    def test_saved_result(self) -> None:
        # RFC 9738 section 3.4
        lines = self.ask("UID SEARCH RETURN (SAVE COUNT) ALL")
        self.assertIn(" COUNT 3", lines[0])
        self.assertEqual([line.split()[1] for line in self.ask("FETCH $ UID")[:-1]], list("567"))

    def test_no_updates_of_part(self) -> None:
        lines = self.ask("SEARCH RETURN (UPDATE ALL) ALL")
        self.assertTrue(any(line.startswith("* NO [NOUPDATE ") for line in lines), lines)
        self.assertTrue(lines[-1].startswith("OK [MESSAGELIMIT 3 5] "))

    def test_search_beside_a_uid(self) -> None:
        for key, found in (("UIDAFTER 4", " 5 6 7"), ("UIDBEFORE 3", " 1 2")):
            self.assertEqual(self.ask(f"UID SEARCH {key}")[0], f"* SEARCH{found}")
        for key in ("UIDBEFORE 1", "UIDAFTER 4294967295", "UIDAFTER 7"):
            self.assertEqual(self.ask(f"UID SEARCH {key}")[0], "* SEARCH")
        for key in ("UIDAFTER", "UIDAFTER 0", "UIDAFTER 1:2", "UIDBEFORE *"):
            self.assertTrue(self.ask(f"UID SEARCH {key}")[-1].startswith("BAD "), key)

    def test_copy_is_all_or_none(self) -> None:
        lines = self.ask("UID COPY 1:6 Trash")
        self.assertTrue(lines[-1].startswith("NO [MESSAGELIMIT 3 4] "), lines)
        self.assertEqual(self.ask("STATUS Trash (MESSAGES)")[0], '* STATUS "Trash" (MESSAGES 0)')
        self.assertIn("OK [COPYUID", self.ask("UID COPY 1:3 Trash")[-1])

    def test_move_until_nothing_is_left(self) -> None:
        lines = self.ask("UID MOVE 1:* Trash")
        self.assertRegex(lines[0], r"\* OK \[COPYUID \d+ 5:7 1:3\]")
        self.assertEqual(lines[-1], "OK [MESSAGELIMIT 3 5] MOVE completed")
        self.assertEqual(self.ask("UID MOVE 1:* Trash")[-1].split()[3], "2]")
        self.assertEqual(self.ask("UID MOVE 1:* Trash")[-1], "OK MOVE completed")
        self.assertEqual(self.ask("STATUS Trash (MESSAGES)")[0], '* STATUS "Trash" (MESSAGES 7)')

    def test_expunging(self) -> None:
        for uids in ("1:3", "4:6"):
            self.client.command(f"UID STORE {uids} +FLAGS.SILENT (\\Deleted)")
        lines = self.ask("UID EXPUNGE 1:*")
        self.assertEqual(lines[-1], "OK [MESSAGELIMIT 3 4] UID EXPUNGE completed")
        self.assertEqual(sum(line.endswith(" EXPUNGE") for line in lines), 3)
        self.client.command("UID STORE 7 +FLAGS.SILENT (\\Deleted)")
        # RFC 9738 section 3.1: no limit here.
        lines = self.ask("EXPUNGE")
        self.assertEqual(lines[-1], "OK EXPUNGE completed")
        self.assertEqual(sum(line.endswith(" EXPUNGE") for line in lines), 4)

    def test_code_beside_another(self) -> None:
        other = self.server.login("SELECT INBOX")
        other.command("UID STORE 7 +FLAGS.SILENT (\\Deleted)")
        self.ask("NOOP")
        other.command("UID EXPUNGE 7")
        lines = self.ask("FETCH 1:7 FLAGS")
        text = "\n".join(lines)
        self.assertRegex(text, r"\* NO \[MESSAGELIMIT 3 5\]")
        self.assertRegex(lines[-1], r"^(OK|NO) \[EXPUNGEISSUED\]")

    def test_append(self) -> None:
        client = self.server.login()
        message = "{3+}\r\nabc"
        lines = self.ask(f"APPEND Trash {message} {message} {message}", client)
        self.assertIn("OK [APPENDUID ", lines[-1])
        lines = self.ask(f"APPEND Trash {message} {message} {message} {message}", client)
        self.assertTrue(lines[-1].startswith("NO [MESSAGELIMIT 3] "), lines)
        self.assertIn("MESSAGES 3", self.ask("STATUS Trash (MESSAGES)", client)[0])


class SQLiteDialogueTests(DialogueTests):
    sqlite = True


class SettingTests(SynchronousTestCase):
    def offered(self, client: Client) -> bytes:
        return client.command("CAPABILITY")[0]

    def test_only_where_there_is_a_limit(self) -> None:
        client = Server().login("SELECT INBOX")
        self.assertNotIn(b"MESSAGELIMIT", self.offered(client))
        self.assertTrue(client.command("SEARCH UIDAFTER 1")[-1].startswith(b"BAD "))
        client = Server(message_limit=1000).connect()
        self.assertNotIn(b"MESSAGELIMIT", client.greeting)
        client.command("LOGIN ann@example.org secret")
        self.assertTrue(re.search(rb" MESSAGELIMIT=1000\b", self.offered(client)))
        self.assertRaises(ValueError, IMAPFactory, message_limit=0)

    def test_off(self) -> None:
        server = Server(message_limit=1, without=["MESSAGELIMIT"])
        server.add(MESSAGE, MESSAGE)
        client = server.login("SELECT INBOX")
        self.assertNotIn(b"MESSAGELIMIT", self.offered(client))
        self.assertEqual(len(client.command("FETCH 1:2 FLAGS")), 3)

    def test_backends_that_do_little(self) -> None:
        store = Server()
        store.add(*[MESSAGE] * SEVEN)
        client = Server(PlainAccount(store.account), message_limit=3).login("SELECT INBOX")
        lines = client.command("FETCH 1:* (FLAGS ENVELOPE)")
        self.assertEqual([line.split()[1] for line in lines[:-1]], [b"7", b"6", b"5"])
        self.assertEqual(lines[-1], b"OK [MESSAGELIMIT 3 5] FETCH completed")
        self.assertEqual(client.command("SEARCH SUBJECT a")[0], b"* SEARCH 5 6 7")
