"""Commands on mailboxes as a whole (RFC 3501 section 6.3)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit import connection
from mailkit.interfaces import IViewableMailbox
from mailkit.model import MailboxView
from tests.imap.fakes import PlainAccount, PlainMailbox, ReadOnlyMailbox
from tests.imap.support import Server, ServerTestCase, now, split_responses

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"


class SelectTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()

    def test_responses(self) -> None:
        self.server.add(MESSAGE, flags="\\Seen")
        self.server.add(MESSAGE, MESSAGE)
        validity = now(self.server.mailbox().get_info()).uid_validity
        self.assertEqual(
            self.server.login().command("SELECT inbox"),
            [
                b"* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft"
                b" $Forwarded $MDNSent $Junk $NotJunk $Phishing $Important Junk NonJunk)",
                b"* OK [PERMANENTFLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft"
                b" $Forwarded $MDNSent $Junk $NotJunk $Phishing $Important Junk NonJunk \\*)]"
                b" Keywords of your own are welcome",
                b"* 3 EXISTS",
                b"* 3 RECENT",
                b"* OK [UNSEEN 2] First unseen message",
                b"* OK [UIDVALIDITY %d] UIDs are valid" % validity,
                b"* OK [UIDNEXT 4] Next UID",
                b"* OK [MAILBOXID (F1)] Its lasting name",
                b"* OK [URLMECH INTERNAL] How URLs are authorized",
                b"* OK [ANNOTATIONS 32768] Annotations of messages",
                b"* OK [HIGHESTMODSEQ 8] Known up to here",
                b"OK [READ-WRITE] SELECT completed",
            ],
        )

    def test_keywords_in_use(self) -> None:
        # RFC 3501 section 7.2.6: the flags that are applicable for this mailbox.
        @implementer(IViewableMailbox)
        class Viewable(PlainMailbox):
            async def get_view(self, claim_recent: bool) -> MailboxView:
                info, uids = await self._mailbox.get_info(), await self._mailbox.list_uids()
                return MailboxView(info, uids, None, {"mine", "Junk", "Yours"})

        server = Server()
        server.realm.account = PlainAccount(server.account, Viewable)
        flags = b"\\Draft $Forwarded $MDNSent $Junk $NotJunk $Phishing $Important Junk NonJunk Yours mine"
        client = server.login()
        lines = client.command("SELECT INBOX")
        self.assertTrue(lines[0].endswith(flags + b")"), lines[0])
        self.assertIn(flags + b" \\*)] ", lines[1])
        closed, told = client.command("EXAMINE INBOX")[:2]
        self.assertTrue(closed.startswith(b"* OK [CLOSED] "), closed)
        self.assertTrue(told.endswith(flags + b")"), told)

    def test_empty_mailbox(self) -> None:
        lines = self.server.login().command("SELECT Sent")
        self.assertIn(b"* 0 EXISTS", lines)
        self.assertIn(b"* 0 RECENT", lines)
        self.assertFalse([line for line in lines if b"UNSEEN" in line])

    def test_examine(self) -> None:
        self.server.add(MESSAGE)
        client = self.server.login()
        lines = client.command("EXAMINE INBOX")
        self.assertEqual(lines[-1], b"OK [READ-ONLY] EXAMINE completed")
        self.assertIn(b"* OK [PERMANENTFLAGS ()] No flags can be changed", lines)
        for command in ("STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "UID EXPUNGE 1", "MOVE 1 Sent"):
            self.assertEqual(
                client.command(command), [b"NO [NOPERM] The mailbox is selected read-only"]
            )
        client.command("FETCH 1 BODY[]")
        self.assertEqual(client.command("FETCH 1 FLAGS")[0], b"* 1 FETCH (FLAGS (\\Recent))")
        self.assertEqual(client.command("COPY 1 Sent")[-1][:14], b"OK [COPYUID 10")
        self.assertEqual(client.command("CLOSE"), [b"OK CLOSE completed"])

    def test_examine_leaves_recent_to_others(self) -> None:
        self.server.add(MESSAGE, MESSAGE)
        for command, recent in [("EXAMINE", 2), ("SELECT", 2), ("SELECT", 0), ("EXAMINE", 0)]:
            lines = self.server.login().command(f"{command} INBOX")
            self.assertIn(b"* %d RECENT" % recent, lines)

    def test_a_backend_that_cannot_write(self) -> None:
        server = Server(PlainAccount(self.server.account, ReadOnlyMailbox))
        self.server.add(MESSAGE)
        client = server.login()
        self.assertEqual(client.command("SELECT INBOX")[-1], b"OK [READ-ONLY] SELECT completed")
        self.assertEqual(client.command("FETCH 1 FLAGS")[0], b"* 1 FETCH (FLAGS (\\Recent))")

    def test_failed_select_leaves_nothing_selected(self) -> None:
        for name in ("Nothing", "&", '""'):
            client = self.server.login("SELECT INBOX")
            self.assertTrue(client.command(f"SELECT {name}")[-1].startswith(b"NO "), name)
            self.assertTrue(client.command("CHECK")[-1].startswith(b"BAD "), name)
        self.assertEqual(len(self.server.mailbox()._watchers), 0)

    def test_select_closes_the_mailbox_before_without_expunging(self) -> None:
        self.server.add(MESSAGE)
        client = self.server.login("SELECT INBOX", "STORE 1 +FLAGS (\\Deleted)", "SELECT Sent")
        self.assertEqual(now(self.server.mailbox().get_info()).messages, 1)
        self.assertEqual(len(self.server.mailbox()._watchers), 0)
        self.assertEqual(client.command("NOOP"), [b"OK NOOP completed"])

    def test_unselect_and_close(self) -> None:
        self.server.add(MESSAGE, MESSAGE, flags="\\Deleted")
        client = self.server.login("SELECT INBOX")
        self.assertEqual(client.command("UNSELECT"), [b"OK UNSELECT completed"])
        self.assertEqual(now(self.server.mailbox().get_info()).messages, 2)
        client.command("SELECT INBOX")
        # RFC 3501 section 6.4.2: no untagged EXPUNGE.
        self.assertEqual(client.command("CLOSE"), [b"OK CLOSE completed"])
        self.assertEqual(now(self.server.mailbox().get_info()).messages, 0)
        self.assertTrue(client.command("CHECK")[-1].startswith(b"BAD "))

    def test_first_unseen(self) -> None:
        self.server.add(*[MESSAGE] * 2000, flags="\\Seen")
        client = self.server.login()

        def unseen() -> list[bytes]:
            return [line for line in client.command("EXAMINE INBOX") if b"[UNSEEN" in line]

        self.assertEqual(unseen(), [])
        self.server.add(MESSAGE, MESSAGE)
        self.assertEqual(unseen(), [b"* OK [UNSEEN 2001] First unseen message"])
        self.server.login("SELECT INBOX", "STORE 700 -FLAGS (\\Seen)")
        self.assertEqual(unseen(), [b"* OK [UNSEEN 700] First unseen message"])
        # Too far from either end: nothing is said, and nothing wrong.
        self.server.login("SELECT INBOX", "STORE 100 -FLAGS (\\Seen)")
        self.assertEqual(unseen(), [])
        self.server.login("SELECT INBOX", "STORE 3 -FLAGS (\\Seen)")
        self.assertEqual(unseen(), [b"* OK [UNSEEN 3] First unseen message"])


class ImportantTests(SynchronousTestCase):
    """RFC 8457"""

    def setUp(self) -> None:
        self.server = Server()
        self.client = self.server.login()

    def test_the_example(self) -> None:
        # Sections 3.2.1, 3.2.2
        self.client.command('CREATE "Important Messages" (USE (\\Important))')
        self.client.command('CREATE "Imported Wine"')
        lines = self.client.command('LIST "" "Imp*" RETURN (SPECIAL-USE)')
        self.assertIn(b'\\Important) "/" "Important Messages"', lines[0])
        self.assertNotIn(b"\\Important)", lines[1])
        self.client.command('SETMETADATA "Imported Wine" (/private/specialuse "\\\\Important")')
        lines = self.client.command('LIST (SPECIAL-USE) "" "Imp*"')
        self.assertEqual(len(lines), 2)
        self.assertIn(b'"Imported Wine"', lines[0])

    def test_keyword(self) -> None:
        self.server.add(b"Subject: x\r\n\r\n", flags="$Important")
        lines = self.client.command("SELECT INBOX")
        (line,) = [line for line in lines if b"PERMANENTFLAGS" in line]
        self.assertIn(b" $Important ", line)
        (line, _) = self.client.command("SEARCH KEYWORD $important")
        self.assertEqual(line, b"* SEARCH 1")


class AdministrationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.client = self.server.login()

    def names(self) -> list[str]:
        return [info.name for info in now(self.server.account.list_mailboxes())]

    def check_created(self, command: str) -> None:
        (line,) = self.client.command(command)
        self.assertRegex(line, rb"\AOK \[MAILBOXID \(F\d+\)\] CREATE completed\Z")

    def test_create(self) -> None:
        for name in ("a", '"b c"', "x/y/z", "&Jjo-!"):
            self.check_created(f"CREATE {name}")
        for name in ("a", "b c", "x", "x/y", "x/y/z", "☺!"):
            self.assertIn(name, self.names())

    def test_create_with_a_separator_at_the_end(self) -> None:
        self.client.command("CREATE owatagusiam/")
        self.client.command("CREATE owatagusiam/blurdybloop")
        self.assertEqual(self.names()[1:2], ["Archive"])
        self.assertIn("owatagusiam/blurdybloop", self.names())

    def test_refusals(self) -> None:
        for command, code in [
            ("CREATE INBOX", "ALREADYEXISTS"),
            ("CREATE inbox", "ALREADYEXISTS"),
            ("CREATE Sent", "ALREADYEXISTS"),
            ('CREATE ""', "CANNOT"),
            ("CREATE /", "CANNOT"),
            ("CREATE a//b", "CANNOT"),
            ("CREATE &", "CANNOT"),
            ("CREATE &AGE-", "CANNOT"),
            ("DELETE INBOX", "CANNOT"),
            ("DELETE Nothing", "NONEXISTENT"),
            ("RENAME Nothing x", "NONEXISTENT"),
            ("RENAME Sent Trash", "ALREADYEXISTS"),
            ("RENAME Sent Sent/x", "CANNOT"),
            ("STATUS Nothing (UIDNEXT)", "NONEXISTENT"),
            ("SUBSCRIBE a//b", "CANNOT"),
        ]:
            (line,) = self.client.command(command)
            self.assertTrue(line.startswith(f"NO [{code}] ".encode()), (command, line))

    def test_8_bit_names_are_refused_without_utf8(self) -> None:
        client = Server(without=["UTF8=ACCEPT"]).login()
        self.assertTrue(client.command('CREATE "ü"')[0].startswith(b"NO [CANNOT] "))
        self.assertTrue(client.command(b"CREATE {2+}\r\n\xc3\xbc")[0].startswith(b"NO [CANNOT]"))

    def test_delete_and_rename(self) -> None:
        for command in ("CREATE a/b", "DELETE a", "RENAME a/b c/d", "DELETE c/d"):
            self.assertTrue(self.client.command(command)[-1].startswith(b"OK "), command)
        self.assertIn("c", self.names())
        self.assertNotIn("c/d", self.names())

    def test_delete_with_mailboxes_below(self) -> None:
        self.client.command("CREATE foo/bar")
        self.client.command("DELETE foo")
        self.assertIn(
            b'* LIST (\\Noselect \\HasChildren) "/" "foo"', self.client.command('LIST "" %')
        )
        self.assertTrue(self.client.command("SELECT foo")[-1].startswith(b"NO [NONEXISTENT]"))

    def test_rename_of_inbox_moves_its_messages(self) -> None:
        self.server.add(MESSAGE, MESSAGE)
        self.client.command("RENAME INBOX old-mail")
        self.assertIn(b"* 2 EXISTS", self.client.command("SELECT old-mail"))
        self.assertIn(b"* 0 EXISTS", self.client.command("SELECT INBOX"))

    def test_new_mailbox_of_an_old_name_has_a_new_uid_validity(self) -> None:
        validities = []
        for _ in range(2):
            self.client.command("CREATE x")
            (line, _) = self.client.command("STATUS x (UIDVALIDITY)")
            validities.append(line)
            self.client.command("DELETE x")
        self.assertNotEqual(*validities)

    def test_special_use(self) -> None:
        self.check_created("CREATE s (USE (\\sent))")
        self.assertIn(b'* LIST (\\HasNoChildren \\Sent) "/" "s"', self.client.command('LIST "" s'))
        self.check_created("CREATE t (USE ())")
        for use in ("\\All", "\\Foo", "\\Sent \\Drafts"):
            (line,) = self.client.command(f"CREATE all (USE ({use}))")
            self.assertTrue(line.startswith(b"NO [USEATTR] "), line)
        self.assertNotIn("all", self.names())
        for command in ("CREATE u (USE)", "CREATE u (FOO (\\Sent))", "CREATE u (USE (Sent))"):
            self.assertTrue(self.client.command(command)[0].startswith(b"BAD "), command)

    def test_accounts_whose_mailboxes_are_fixed(self) -> None:
        client = Server(PlainAccount(self.server.account)).login()
        for command in ("CREATE x", "DELETE Sent", "RENAME Sent x", "SUBSCRIBE x", "UNSUBSCRIBE x"):
            self.assertEqual(
                client.command(command),
                [b"NO [NOPERM] The mailboxes of this account cannot be changed"],
            )
        self.assertNotIn(b"CREATE-SPECIAL-USE", client.command("CAPABILITY")[0])
        self.assertIn(b'* LSUB (\\HasNoChildren) "/" "INBOX"', client.command('LSUB "" *'))


class SelectedTests(ServerTestCase):
    """A session deletes or renames the mailbox that it has selected."""

    def setUp(self) -> None:
        self.server = self.make_server()
        self.client = self.server.login()

    def test_deleting_the_selected_mailbox(self) -> None:
        self.client.command("CREATE x")
        self.client.command("SELECT x")
        self.assertEqual(
            self.client.command("DELETE x"),
            [b"* OK [CLOSED] The selected mailbox is gone", b"OK DELETE completed"],
        )
        self.assertTrue(self.client.command("CHECK")[-1].startswith(b"BAD "))
        self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])

    def test_renaming_the_selected_mailbox(self) -> None:
        self.server.add(MESSAGE, mailbox="Sent")
        for command in ("SELECT Sent", "RENAME Sent Other", "FETCH 1 UID", "DELETE Other"):
            lines = self.client.command(command)
            self.assertTrue(lines[-1].startswith(b"OK "), command)
        self.assertTrue(self.client.command("CHECK")[-1].startswith(b"BAD "))

    def test_renaming_and_deleting_it(self) -> None:
        for command in ("CREATE x", "SELECT x", "RENAME x y", "DELETE y", "NOOP"):
            self.assertTrue(self.client.command(command)[-1].startswith(b"OK "), command)


class SQLiteSelectedTests(SelectedTests):
    sqlite = True


class ListTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.client = self.server.login()

    def list(self, arguments: str) -> list[bytes]:
        lines = self.client.command(arguments)
        self.assertTrue(lines[-1].startswith(b"OK "), lines)
        return lines[:-1]

    def test_patterns_that_are_too_long(self) -> None:
        client = Server().login()
        for command in ('LIST "" %b', 'LSUB "" %b', "LIST %b *"):
            (response,) = client.command(command.replace("%b", "a" * 5000))
            self.assertTrue(response.startswith(b"NO [LIMIT] "), response)

    def test_new_account(self) -> None:
        self.assertEqual(
            self.list('LIST "" "*"'),
            [
                b'* LIST (\\HasNoChildren) "/" "INBOX"',
                b'* LIST (\\HasNoChildren \\Archive) "/" "Archive"',
                b'* LIST (\\HasNoChildren \\Drafts) "/" "Drafts"',
                b'* LIST (\\HasNoChildren \\Junk) "/" "Junk"',
                b'* LIST (\\HasNoChildren \\Sent) "/" "Sent"',
                b'* LIST (\\HasNoChildren \\Trash) "/" "Trash"',
            ],
        )

    def test_separator_and_root(self) -> None:
        for command in ('LIST "" ""', 'LIST "x/" ""'):
            self.assertEqual(self.list(command), [b'* LIST (\\Noselect) "/" ""'])
        self.assertEqual(self.list('LSUB "" ""'), [b'* LSUB (\\Noselect) "/" ""'])

    def test_patterns(self) -> None:
        self.client.command("CREATE a/b/c")
        for arguments, names in [
            ("inbox", ["INBOX"]),
            ("Nothing", []),
            ("S%", ["Sent"]),
            ("a/%", ["a/b"]),
            ("a/*", ["a/b", "a/b/c"]),
            ("%/%/c", ["a/b/c"]),
            ('"*c*"', ["a/b/c", "Archive"]),
        ]:
            found = [line.split(b'"')[3].decode() for line in self.list(f'LIST "" {arguments}')]
            self.assertEqual(found, names, arguments)
        self.assertEqual(len(self.list("LIST a/ %")), 1)
        self.assertEqual(len(self.list("LIST a %")), 1)

    def test_others_have_their_turn_at_each_name(self) -> None:
        # Many names and a pattern of many wildcards would stop the server for minutes.
        self.patch(connection, "SECONDS_A_TURN", -1.0)
        turns: list[float] = []
        call_later = self.server.clock.callLater

        def count(delay: float, *arguments: Any) -> Any:
            turns.append(delay)
            return call_later(delay, *arguments)

        self.patch(self.server.clock, "callLater", count)
        for command in ('LIST "" *Nothing', 'LSUB "" *Nothing'):
            turns.clear()
            self.assertEqual(self.list(command), [])
            self.assertGreaterEqual(turns.count(0), 6)

    def test_names_in_modified_utf7(self) -> None:
        self.client.command("CREATE Entw&APw-rfe/&-co")
        self.assertEqual(
            self.list('LIST "" Entw&APw-rfe/*'),
            [b'* LIST (\\HasNoChildren) "/" "Entw&APw-rfe/&-co"'],
        )

    def test_options(self) -> None:
        # RFC 6154 section 5.2
        self.assertEqual(len(self.list('LIST (SPECIAL-USE) "" "*"')), 5)
        self.client.command("UNSUBSCRIBE Sent")
        self.assertEqual(
            self.list('LIST "" (INBOX Sent) RETURN (SPECIAL-USE CHILDREN SUBSCRIBED)'),
            [
                b'* LIST (\\HasNoChildren \\Subscribed) "/" "INBOX"',
                b'* LIST (\\HasNoChildren \\Sent) "/" "Sent"',
            ],
        )
        for arguments in ('(FOO) "" *', '"" * RETURN (FOO)', '"" * RETURN', '"" * FOO', '"" ()'):
            self.assertTrue(
                self.client.command("LIST " + arguments)[-1].startswith(b"BAD "), arguments
            )

    def test_subscriptions(self) -> None:
        for name in ("Archive", "Drafts", "Junk", "Sent", "Trash"):
            self.client.command(f"UNSUBSCRIBE {name}")
        self.client.command("SUBSCRIBE gone/deep")
        self.assertEqual(
            self.list('LSUB "" *'),
            [
                b'* LSUB (\\HasNoChildren) "/" "INBOX"',
                b'* LSUB (\\Noselect) "/" "gone/deep"',
            ],
        )
        self.assertEqual(
            self.list('LSUB "" %'),
            [b'* LSUB (\\HasNoChildren) "/" "INBOX"', b'* LSUB (\\Noselect) "/" "gone"'],
        )

    def test_long_lists_go_out_in_pieces(self) -> None:
        for number in range(3000):
            now(self.server.account.create_mailbox(name=f"box{number}/sub"))
        self.client.transport.limit = 1000
        data = b""
        self.client.protocol.dataReceived(b'a LIST "" *\r\n')
        for _ in range(20):
            self.assertLess(len(self.client.transport.value()), 150_000)
            data += self.client.read()
        self.assertTrue(data.endswith(b"a OK LIST completed\r\n"))


class StatusTests(SynchronousTestCase):
    def test_items(self) -> None:
        server = Server()
        server.add(MESSAGE, MESSAGE, flags="\\Seen", mailbox="Sent")
        client = server.login("SELECT Sent")
        server.add(MESSAGE, mailbox="Sent")
        validity = now(server.mailbox("Sent").get_info()).uid_validity
        other = server.login()
        self.assertEqual(
            other.command("STATUS Sent (messages RECENT UIDNEXT UIDVALIDITY UNSEEN)"),
            [
                b'* STATUS "Sent" (MESSAGES 3 RECENT 1 UIDNEXT 4 UIDVALIDITY %d UNSEEN 1)'
                % validity,
                b"OK STATUS completed",
            ],
        )
        # RFC 3501 section 6.3.10: STATUS takes no \Recent away.
        self.assertIn(b"RECENT 1", other.command("STATUS Sent (RECENT)")[0])
        self.assertEqual(
            client.command("STATUS INBOX (MESSAGES)")[:1], [b'* STATUS "INBOX" (MESSAGES 0)']
        )

    def test_faults(self) -> None:
        client = Server().login()
        for arguments in ("INBOX", "INBOX ()", "INBOX (FOO)", "INBOX MESSAGES", "(MESSAGES)"):
            self.assertTrue(client.command("STATUS " + arguments)[-1].startswith(b"BAD "))


class AppendTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(max_message_size=100_000)
        self.client = self.server.login()

    def append(self, arguments: bytes, message: bytes = MESSAGE, plus: bytes = b"+") -> list[bytes]:
        return self.client.command(
            b"APPEND %b {%d%b}\r\n%b" % (arguments, len(message), plus, message)
        )

    def test_example_of_the_standard(self) -> None:
        # RFC 3501 section 6.3.11, with RFC 4315.
        self.client.command("CREATE saved-messages")
        self.assertEqual(
            self.client.send(
                b'A003 APPEND saved-messages (\\Seen) "07-Feb-1994 21:52:25 -0800" {20}\r\n'
            ),
            b"+ Ready for the message\r\n",
        )
        validity = now(self.server.mailbox("saved-messages").get_info()).uid_validity
        self.assertEqual(
            self.client.send(MESSAGE + b"\r\n"),
            b"A003 OK [APPENDUID %d 1] APPEND completed\r\n" % validity,
        )
        self.client.command("SELECT saved-messages")
        self.assertEqual(
            self.client.command("FETCH 1 (FLAGS INTERNALDATE BODY.PEEK[])"),
            [
                b'* 1 FETCH (FLAGS (\\Recent \\Seen) INTERNALDATE "08-Feb-1994 05:52:25 +0000"'
                b" BODY[] {20}\r\n" + MESSAGE + b")",
                b"OK FETCH completed",
            ],
        )

    def test_forms(self) -> None:
        for arguments in (
            b"INBOX",
            b"inbox ()",
            b"{5+}\r\nINBOX (\\Seen Junk)",
            b'"INBOX" " 7-Feb-1994 21:52:25 -0800"',
        ):
            (line,) = self.append(arguments)
            self.assertTrue(line.startswith(b"OK [APPENDUID "), (arguments, line))

    def test_missing_mailbox(self) -> None:
        for plus in (b"+", b""):
            lines = split_responses(self.client.send(b"a APPEND x {20%b}\r\n" % plus))
            if plus:
                lines = split_responses(self.client.send(MESSAGE + b"\r\n")) + lines
            self.assertEqual(lines, [b"a NO [TRYCREATE] No such mailbox"])
        self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])

    def test_too_large(self) -> None:
        # Refused before it is sent.
        (line,) = self.client.command(b"APPEND INBOX {100001}")
        self.assertEqual(line, b"NO [TOOBIG] A message has at most 100000 octets here")
        (line,) = self.append(b"INBOX", b"a NOOP\r\n" * 13000)
        self.assertEqual(line, b"NO [TOOBIG] A message has at most 100000 octets here")
        self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])
        (line,) = self.client.command(b"APPEND INBOX {9999999+}")
        self.assertEqual(line, b"* BYE [TOOBIG] That literal is too large")

    def test_faults(self) -> None:
        for arguments in (
            b"INBOX (\\Recent)",
            b"INBOX (\\Foo)",
            b'INBOX "1-Feb-1994"',
            b"INBOX ()()",
            b"INBOX x",
            b"(INBOX)",
        ):
            (line,) = self.append(arguments)
            self.assertTrue(line.startswith(b"BAD "), (arguments, line))
        for command in ("APPEND", "APPEND INBOX", "APPEND INBOX (x)", 'APPEND INBOX "abc"'):
            self.assertTrue(self.client.command(command)[0].startswith(b"BAD "), command)
        self.assertEqual(now(self.server.mailbox().get_info()).messages, 0)

    def test_name_that_is_none(self) -> None:
        (line,) = self.append(b"&")
        self.assertTrue(line.startswith(b"NO [CANNOT] "), line)

    def test_something_behind_the_message(self) -> None:
        for tail in (b" x", b"x", b" (\\Seen)"):
            data = self.client.send(b"a APPEND INBOX {3+}\r\nabc" + tail + b"\r\n")
            self.assertTrue(data.startswith(b"a BAD "), data)
        self.assertEqual(now(self.server.mailbox().get_info()).messages, 0)

    def test_empty_message_and_nul(self) -> None:
        self.assertEqual(self.append(b"INBOX", b""), [b"NO A message is not empty"])
        self.assertEqual(self.append(b"INBOX", b"a\0b"), [b"NO The message contains NUL octets"])

    def test_a_mailbox_that_cannot_be_written(self) -> None:
        client = Server(PlainAccount(self.server.account, ReadOnlyMailbox)).login()
        self.assertEqual(
            client.command(b"APPEND INBOX {3+}\r\nabc"), [b"NO [NOPERM] This mailbox is read-only"]
        )
        self.assertEqual(
            client.command(b"APPEND Nothing {3+}\r\nabc"), [b"NO [NONEXISTENT] No such mailbox"]
        )

    def test_large_messages_go_to_a_file(self) -> None:
        server = Server()
        client = server.login()
        client.send(b"a APPEND INBOX {2000000}\r\n")
        for _ in range(100):
            client.send(b"x" * 19_999)
        pending = client.protocol.append
        assert pending is not None and pending.spool.path is not None
        self.assertIsNone(pending.spool.data)
        self.assertIn(b"a OK [APPENDUID ", client.send(b"y" * 100 + b"\r\n"))
        self.assertEqual(now(server.mailbox().get_info()).size, 2_000_000)
        self.assertIsNone(pending.spool.path)

    def test_disk_is_full(self) -> None:
        self.client.send(b"a APPEND INBOX {30}\r\n")
        pending = self.client.protocol.append
        assert pending is not None

        def write(data: bytes) -> None:
            raise OSError(28, "No space left on device")

        pending.spool.write = write  # type: ignore[method-assign]
        self.assertEqual(
            self.client.send(b"x" * 30 + b"\r\nb NOOP\r\n"),
            b"a NO [UNAVAILABLE] There is no room for the message just now\r\n"
            b"b OK NOOP completed\r\n",
        )

    def test_mailbox_deleted_while_the_message_comes(self) -> None:
        self.client.command("CREATE x")
        self.client.send(b"a APPEND x {3}\r\n")
        now(self.server.account.delete_mailbox(name="x"))
        self.assertEqual(self.client.send(b"abc\r\n"), b"a NO [TRYCREATE] No such mailbox\r\n")
