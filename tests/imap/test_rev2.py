"""IMAP4rev2 beside IMAP4rev1 (RFC 9051, mostly its appendices A and E)."""

from __future__ import annotations

from mailkit.imap.handlers.rev2 import CAPABILITIES
from tests.imap.fakes import PlainAccount
from tests.imap.support import Server, ServerTestCase

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
NFC, NFD = "Entw\u00fcrfe", "Entwu\u0308rfe"


class Rev2TestCase(ServerTestCase):
    def setUp(self) -> None:
        self.server = self.make_server()
        self.server.add(MESSAGE, MESSAGE, MESSAGE)
        self.client = self.server.login("ENABLE IMAP4rev2")


class EnableTests(Rev2TestCase):
    def test_announced_with_what_it_needs(self) -> None:
        greeting = self.server.connect().greeting
        (words, _) = self.server.login().command("CAPABILITY")
        (capability,) = (each for each in CAPABILITIES if each.name == b"IMAP4rev2")
        self.assertLess(set(capability.needs), {*words.split(), *greeting.split()})
        for names in (greeting, words):
            self.assertIn(b" IMAP4rev1 IMAP4rev2 ", names)

    def test_enable_tells_its_name_once_in_any_case(self) -> None:
        client = self.server.login()
        self.assertEqual(client.command("ENABLE imap4REV2 FOO")[0], b"* ENABLED IMAP4rev2")
        self.assertEqual(client.command("ENABLE IMAP4rev2")[0], b"* ENABLED")
        before = self.server.login().command("CAPABILITY")
        self.assertEqual(client.command("CAPABILITY")[0], before[0])

    def test_switched_off(self) -> None:
        for name in ("IMAP4rev2", "MOVE", "LIST-STATUS", "LIST-EXTENDED", "BINARY"):
            client = Server(without=[name]).login()
            self.assertNotIn(b"IMAP4rev2", client.command("CAPABILITY")[0])
            self.assertEqual(client.command("ENABLE IMAP4rev2")[0], b"* ENABLED")

    def test_wrong_state(self) -> None:
        lines = self.server.connect().command("ENABLE IMAP4rev2")
        self.assertTrue(lines[-1].startswith(b"BAD "), lines)


class SelectTests(Rev2TestCase):
    def test_select(self) -> None:
        # RFC 9051 section 6.3.2: LIST is required; appendix E: UNSEEN and RECENT are gone.
        lines = self.client.command("SELECT INBOX")
        self.assertEqual(lines[-1], b"OK [READ-WRITE] SELECT completed")
        self.assertIn(b'* LIST (\\Subscribed) "/" "INBOX"', lines)
        self.assertIn(b"* 3 EXISTS", lines)
        for line in lines:
            self.assertNotIn(b"RECENT", line)
            self.assertNotIn(b"UNSEEN", line)
        lines = self.client.command("EXAMINE Sent")
        self.assertEqual(lines[0], b"* OK [CLOSED] The mailbox before is closed")
        self.assertIn(b'* LIST (\\Sent \\Subscribed) "/" "Sent"', lines)

    def test_closed_comes_with_condstore_or_without(self) -> None:
        self.server.factory.without = self.server.factory.without | {"CONDSTORE"}
        client = self.server.login("ENABLE IMAP4rev2", "SELECT INBOX")
        lines = client.command("SELECT Nothing")
        self.assertEqual(lines[0], b"* OK [CLOSED] The mailbox before is closed")
        self.assertTrue(client.command("CHECK")[-1].startswith(b"BAD "))

    def test_no_recent_anywhere(self) -> None:
        self.client.command("SELECT INBOX")
        self.assertEqual(
            self.client.command("FETCH 1 (FLAGS UID)")[0], b"* 1 FETCH (FLAGS () UID 1)"
        )
        self.server.add(MESSAGE)
        self.assertEqual(self.client.command("NOOP"), [b"* 4 EXISTS", b"OK NOOP completed"])
        self.assertEqual(self.client.command("FETCH 4 FLAGS")[0], b"* 4 FETCH (FLAGS ())")
        self.server.login("SELECT INBOX", "STORE 1 +FLAGS (\\Deleted)", "EXPUNGE")
        self.assertEqual(self.client.command("NOOP"), [b"* 1 EXPUNGE", b"OK NOOP completed"])

    def test_messages_are_taken_from_the_recent_ones_of_others(self) -> None:
        self.client.command("SELECT INBOX")
        self.assertIn(b"* 0 RECENT", self.server.login().command("SELECT INBOX"))

    def test_unsolicited_fetch_tells_the_uid(self) -> None:
        self.client.command("SELECT INBOX")
        self.server.login("SELECT INBOX", "STORE 2 +FLAGS (\\Flagged)")
        self.assertEqual(
            self.client.command("NOOP"),
            [b"* 2 FETCH (UID 2 FLAGS (\\Flagged))", b"OK NOOP completed"],
        )

    def test_enabled_while_selected(self) -> None:
        client = self.server.login("SELECT INBOX")
        self.assertIn(b"\\Recent", client.command("FETCH 1 FLAGS")[0])
        client.command("ENABLE IMAP4rev2")
        self.assertNotIn(b"\\Recent", client.command("FETCH 1 FLAGS")[0])

    def test_rev1_stays_as_it_is(self) -> None:
        lines = self.server.login().command("SELECT INBOX")
        self.assertIn(b"* 3 RECENT", lines)
        self.assertFalse([line for line in lines if line.startswith(b"* LIST")])


class SQLiteSelectTests(SelectTests):
    sqlite = True


class SearchTests(Rev2TestCase):
    def test_esearch_without_being_asked_for(self) -> None:
        # RFC 9051 section 6.4.4, the examples
        self.client.command("SELECT INBOX")
        self.client.command("STORE 2:3 +FLAGS (\\Flagged)")
        search = {
            "SEARCH FLAGGED": b" ALL 2:3",
            "UID SEARCH FLAGGED": b" UID ALL 2:3",
            "SEARCH RETURN () FLAGGED": b" ALL 2:3",
            "SEARCH RETURN (MIN COUNT) FLAGGED": b" MIN 2 COUNT 2",
            'SEARCH TEXT "string not in mailbox"': b"",
            "SEARCH CHARSET UTF-8 SUBJECT x": b" ALL 1:3",
            'SEARCH SUBJECT "\u043e\u0442\u043f\u0443\u0441\u043a"': b"",
        }
        for command, expected in search.items():
            (line, done) = self.client.command(command)
            tag = b"t%d" % self.client._tags
            self.assertEqual(line, b'* ESEARCH (TAG "%b")%b' % (tag, expected), command)
            self.assertTrue(done.startswith(b"OK "))
        self.assertEqual(self.client.command("SEARCH CHARSET X-NO ALL")[0][:15], b"NO [BADCHARSET ")

    def test_a_search_that_saves_says_nothing(self) -> None:
        self.client.command("SELECT INBOX")
        lines = self.client.command("SEARCH RETURN (SAVE) ALL")
        self.assertEqual(lines, [b"OK SEARCH completed"])
        self.assertEqual(len(self.client.command("FETCH $ UID")), 4)


class NameTests(Rev2TestCase):
    def test_names_are_utf8(self) -> None:
        self.client.command(f'CREATE "{NFC}"')
        expected = f'* LIST (\\HasNoChildren) "/" "{NFC}"'.encode()
        self.assertEqual(self.client.command(f'LIST "" "{NFC[:5]}%"')[0], expected)
        self.assertEqual(self.client.command('LIST "" "Entw*"')[0], expected)
        self.assertEqual(
            self.client.command(f'STATUS "{NFC}" (MESSAGES)')[0],
            f'* STATUS "{NFC}" (MESSAGES 0)'.encode(),
        )
        self.assertIn(f'* LIST () "/" "{NFC}"'.encode(), self.client.command(f'SELECT "{NFC}"'))
        self.assertTrue(self.client.command(f'SUBSCRIBE "{NFC}"')[-1].startswith(b"OK "))
        self.assertIn(
            f'* LSUB (\\HasNoChildren) "/" "{NFC}"'.encode(), self.client.command('LSUB "" *')
        )
        # To a client of RFC 3501 it has its name in modified UTF-7.
        self.assertIn(
            b'* LIST (\\HasNoChildren) "/" "Entw&APw-rfe"', self.server.login().command('LIST "" *')
        )

    def test_an_ampersand_is_one(self) -> None:
        self.client.command('CREATE "R&D"')
        self.assertIn(b'* LIST () "/" "R&D"', self.client.command('SELECT "R&D"'))
        self.assertIn(
            b'* LIST (\\HasNoChildren) "/" "R&-D"', self.server.login().command('LIST "" *')
        )

    def test_quotes_and_literals(self) -> None:
        name = f'{NFC} "\\x'
        octets = name.encode()
        self.client.command(b"CREATE {%d+}\r\n%b" % (len(octets), octets))
        quoted = octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        self.assertIn(
            b'* LIST (\\HasNoChildren) "/" "%b"' % quoted, self.client.command('LIST "" *')
        )
        self.assertTrue(self.client.command(b'SELECT "%b"' % quoted)[-1].startswith(b"OK "))

    def test_octets_that_are_not_utf8(self) -> None:
        for argument in (b'"\xff"', b'"a\xc3"', b'"\xed\xa0\x80"', b"{1+}\r\n\xff"):
            for command in (b"SELECT %b", b"CREATE %b", b'LIST "" %b', b"LIST %b *"):
                (line,) = self.client.command(command % argument)
                self.assertTrue(line.startswith(b"BAD "), (command, argument, line))
                # A right one between: many faults in a row end a connection.
                self.client.command("NOOP")

    def test_control_characters(self) -> None:
        for name in ("a\u0085b", "a\u2028b", "a\u2029b", "a\x7fb"):
            (line,) = self.client.command(f'CREATE "{name}"')
            self.assertTrue(line.startswith(b"NO [CANNOT] "), line)


class SQLiteNameTests(NameTests):
    sqlite = True


class OldNameTests(Rev2TestCase):
    """RFC 9051 section 6.3.9.7: the server tells the name that it has made of another."""

    def test_create_select_rename_delete(self) -> None:
        self.assertEqual(
            self.client.command(f'CREATE "{NFD}"')[0],
            f'* LIST () "/" "{NFC}" ("OLDNAME" ("{NFD}"))'.encode(),
        )
        self.assertIn(
            f'* LIST () "/" "{NFC}" ("OLDNAME" ("{NFD}"))'.encode(),
            self.client.command(f'SELECT "{NFD}"'),
        )
        self.assertEqual(
            self.client.command(f'RENAME "{NFD}" Drafts2')[0],
            f'* LIST () "/" "Drafts2" ("OLDNAME" ("{NFD}"))'.encode(),
        )
        self.assertEqual(
            self.client.command(f'RENAME Drafts2 "{NFD}"')[0],
            f'* LIST () "/" "{NFC}" ("OLDNAME" ("Drafts2"))'.encode(),
        )
        lines = self.client.command(f'DELETE "{NFD}"')
        self.assertEqual(
            lines[0], f'* LIST (\\NonExistent) "/" "{NFC}" ("OLDNAME" ("{NFD}"))'.encode()
        )
        # It was the selected one.
        self.assertTrue(lines[1].startswith(b"* OK [CLOSED] "), lines)

    def test_nothing_is_told_of_names_that_stay(self) -> None:
        for command in (f'CREATE "{NFC}"', f'RENAME "{NFC}" x', "DELETE x"):
            self.assertEqual(len(self.client.command(command)), 1, command)

    def test_patterns_match_in_any_form(self) -> None:
        self.client.command(f'CREATE "{NFC}"')
        self.assertEqual(len(self.client.command(f'LIST "" "{NFD}"')), 2)

    def test_rev1_clients_see_no_extended_data(self) -> None:
        client = self.server.login()
        # Entwu\u0308rfe in modified UTF-7.
        (line,) = client.command("CREATE Entwu&Awg-rfe")
        self.assertTrue(line.startswith(b"OK "), line)
        self.assertTrue(client.command("SELECT Entw&APw-rfe")[-1].startswith(b"OK "))


class SQLiteOldNameTests(OldNameTests):
    sqlite = True


class StructureTests(Rev2TestCase):
    def test_what_is_inside_of_message_global(self) -> None:
        # RFC 9051 section 9, media-message; RFC 3501 has message/rfc822 alone.
        message = (
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
            "Content-Type: message/global\r\n\r\n"
            "Subject: Gr\u00fc\u00dfe\r\n\r\nHallo\r\n\r\n--b--\r\n"
        ).encode()
        self.server.add(message)
        self.client.command("SELECT INBOX")
        inner = b'"text" "plain"'
        for item in ("BODYSTRUCTURE", "BODY", "(BODYSTRUCTURE BODY.PEEK[HEADER])"):
            (told, _) = self.client.command(f"FETCH 4 {item}")
            self.assertIn(b'"message" "global"', told)
            self.assertIn(inner, told)
            self.assertIn("Gr\u00fc\u00dfe".encode(), told)
            (told, _) = self.server.login("SELECT INBOX").command(f"FETCH 4 {item}")
            self.assertNotIn(inner, told)
        plain = Server(PlainAccount(self.server.account)).login("ENABLE IMAP4rev2", "SELECT INBOX")
        self.assertIn(inner, plain.command("FETCH 4 BODYSTRUCTURE")[0])


class SQLiteStructureTests(StructureTests):
    sqlite = True


class DeleteTests(Rev2TestCase):
    def test_a_name_with_others_below(self) -> None:
        # RFC 9051 section 6.3.5, the first example
        self.client.command("CREATE foo/bar")
        self.assertEqual(self.client.command("DELETE foo"), [b"OK DELETE completed"])
        (line,) = self.client.command("DELETE foo")
        self.assertTrue(line.startswith(b"NO [HASCHILDREN] "), line)


class SQLiteDeleteTests(DeleteTests):
    sqlite = True


class StatusTests(Rev2TestCase):
    def test_deleted_and_size(self) -> None:
        self.server.login("SELECT INBOX", "STORE 2:3 +FLAGS (\\Deleted)")
        size = 3 * len(MESSAGE)
        expected = b'* STATUS "INBOX" (DELETED 2 SIZE %d MESSAGES 3)' % size
        command = "STATUS INBOX (DELETED SIZE MESSAGES)"
        self.assertEqual(self.client.command(command)[0], expected)
        lines = self.client.command('LIST "" INBOX RETURN (STATUS (DELETED SIZE MESSAGES))')
        self.assertEqual(lines[1], expected)
        plain = Server(PlainAccount(self.server.account)).login()
        self.assertEqual(plain.command(command)[0], expected)


class SQLiteStatusTests(StatusTests):
    sqlite = True


class ItemTests(Rev2TestCase):
    def test_keywords_that_servers_should_know(self) -> None:
        # RFC 9051 section 2.3.2
        lines = self.client.command("SELECT INBOX")
        for keyword in (b"$MDNSent", b"$Forwarded", b"$Junk", b"$NotJunk", b"$Phishing"):
            self.assertIn(keyword, lines[0])

    def test_numbers_of_63_bits(self) -> None:
        # RFC 9051 appendix D
        self.client.command("SELECT INBOX")
        lines = self.client.command("FETCH 1 BODY.PEEK[]<9223372036854775807.9223372036854775807>")
        self.assertEqual(lines[0], b"* 1 FETCH (BODY[]<9223372036854775807> {0}\r\n)")
        (line, _) = self.client.command("SEARCH SMALLER 9223372036854775807")
        self.assertTrue(line.endswith(b" ALL 1:3"), line)
        for command in (
            "FETCH 1 BODY.PEEK[]<9223372036854775808.1>",
            "SEARCH SMALLER 9223372036854775808",
        ):
            self.assertTrue(self.client.command(command)[-1].startswith(b"BAD "), command)
