"""Clients that get something wrong, and how the server gets on with them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.protocol import ClientRule, IMAPFactory
from mailkit.imap.quirks import DEFAULT_QUIRKS, QUIRKS

from .support import USER, Client, Server

MESSAGE = b"Subject: a\r\n\r\nb\r\n"


class ImaplibTests(SynchronousTestCase):
    """Python's imaplib wraps what it sends in the data item of RFC 6855, inside of the literal."""

    MESSAGE = b"Subject: x\r\n\r\nbody (more)"

    def stored(self, client: Client, literal: bytes) -> bytes:
        """What is kept of a message, sent octet by octet."""
        for octet in b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(literal), literal):
            answer = client.send(bytes((octet,)))
        self.assertTrue(answer.startswith(b"a OK "), answer)
        client.command("EXAMINE INBOX")
        (line, *_) = client.command("FETCH * BODY.PEEK[]")
        return line.partition(b"\r\n")[2][:-1]

    def test_the_data_item_is_taken_away(self) -> None:
        client = Server().login("ENABLE UTF8=ACCEPT")
        self.assertEqual(self.stored(client, b"UTF8 (%b)" % self.MESSAGE), self.MESSAGE)
        client.command("UNSELECT")
        client.command(b"APPEND INBOX {32+}\r\nUTF8 (%b)" % self.MESSAGE)
        client.command("EXAMINE INBOX")
        self.assertIn(b"{25}\r\n" + self.MESSAGE, client.command("FETCH 2 BODY.PEEK[]")[0])

    def test_other_messages_stay_as_they_are(self) -> None:
        for message in (self.MESSAGE, b"UTF8", b"x", b"UTF8 : (x)\r\n\r\n)"):
            client = Server().login("ENABLE UTF8=ACCEPT")
            self.assertEqual(self.stored(client, message), message)
        wrapped = b"UTF8 (%b)" % self.MESSAGE
        self.assertEqual(self.stored(Server().login(), wrapped), wrapped)
        off = Server(quirks=()).login("ENABLE UTF8=ACCEPT")
        self.assertEqual(self.stored(off, wrapped), wrapped)


class RuleTests(SynchronousTestCase):
    def test_each_says_what_it_is_for(self) -> None:
        for name, quirk in QUIRKS.items():
            self.assertEqual(name, quirk.name)
            for text in quirk[1:4]:
                self.assertTrue(text, quirk)

    def test_unknown_names(self) -> None:
        error = self.assertRaises(ValueError, IMAPFactory, quirks=["foo"])
        self.assertIn("no quirk foo", str(error))
        rule = ClientRule("x", (("name", "x"),), quirks=frozenset(("foo",)))
        self.assertRaises(ValueError, IMAPFactory, clients=[rule])

    def test_for_one_program_alone(self) -> None:
        rule = ClientRule(
            "oe", (("name", "Outlook Express"),), quirks=frozenset(("delay-newmail",))
        )
        server = Server(clients=[rule])
        told = server.login('ID ("name" "Outlook Express")')
        self.assertEqual(told.protocol.quirks, DEFAULT_QUIRKS | {"delay-newmail"})
        self.assertEqual(server.login().protocol.quirks, DEFAULT_QUIRKS)


class DelayNewmailTests(SynchronousTestCase):
    """``delay-newmail``."""

    def setUp(self) -> None:
        self.server = Server(quirks=["delay-newmail"])
        self.server.add(MESSAGE)
        self.client = self.server.login("SELECT INBOX")

    def numbers(self, client: Client) -> list[bytes]:
        return client.command("FETCH 1:* UID")[:-1]

    def test_told_for_noop_check_and_idle(self) -> None:
        for command in ("NOOP", "CHECK"):
            self.server.add(MESSAGE)
            before = self.numbers(self.client)
            self.assertEqual(self.client.command("UID FETCH 1:* UID")[:-1], before)
            told = self.client.command(command)
            self.assertIn(b"* %d EXISTS" % (len(before) + 1), told)
            self.assertEqual(len(self.numbers(self.client)), len(before) + 1)
        self.server.add(MESSAGE)
        self.numbers(self.client)
        self.assertIn(b"* 4 EXISTS", self.client.send(b"i IDLE\r\n"))
        self.server.add(MESSAGE)
        self.server.clock.advance(0)
        self.assertIn(b"* 5 EXISTS", self.client.take())

    def test_messages_that_went_before_they_were_told(self) -> None:
        uids = self.server.add(MESSAGE, MESSAGE)
        self.numbers(self.client)
        other = self.server.login("SELECT INBOX")
        other.command(f"UID STORE {uids[0]} +FLAGS (\\Deleted)")
        other.command("EXPUNGE")
        self.assertEqual(len(self.numbers(self.client)), 1)
        told = self.client.command("NOOP")
        self.assertIn(b"* 2 EXISTS", told)
        self.assertNotIn(b"EXPUNGE", b"".join(told))
        self.assertEqual(self.numbers(self.client)[1], b"* 2 FETCH (UID %d)" % uids[1])

    def test_other_changes_are_told_at_once(self) -> None:
        other = self.server.login("SELECT INBOX")
        self.server.add(MESSAGE)
        other.command("STORE 1 +FLAGS (\\Deleted)")
        self.assertIn(
            b"* 1 FETCH (FLAGS (\\Recent \\Deleted",
            b"".join(self.client.command("STATUS Sent (UNSEEN)")),
        )
        other.command("EXPUNGE")
        self.assertEqual(self.client.command("STATUS Sent (UNSEEN)")[1], b"* 1 EXPUNGE")
        self.assertEqual(self.client.command("NOOP")[0], b"* 1 EXISTS")

    def test_off(self) -> None:
        server = Server()
        client = server.login("SELECT INBOX")
        server.add(MESSAGE)
        self.assertIn(b"* 1 EXISTS", client.command("STATUS Sent (UNSEEN)"))


class ExtraSeparatorTests(SynchronousTestCase):
    """``extra-separator``."""

    def test_on(self) -> None:
        client = Server().login("CREATE a/b")
        for command in (
            "SELECT a/b/",
            'STATUS "a/b/" (MESSAGES)',
            "SUBSCRIBE a/b/",
            "RENAME a/b/ c/",
        ):
            self.assertTrue(client.command(command)[-1].startswith(b"OK"), command)
        self.assertTrue(client.command("SELECT c")[-1].startswith(b"OK"))
        self.assertTrue(client.command("SELECT /")[-1].startswith(b"NO"))

    def test_off(self) -> None:
        client = Server(quirks=()).login("CREATE a/b")
        self.assertTrue(client.command("SELECT a/b/")[-1].startswith(b"NO [NONEXISTENT]"))


class KeepIdleTests(SynchronousTestCase):
    """``keep-idle``."""

    def test_on(self) -> None:
        server = Server(timeout=1800)
        client = server.login("SELECT INBOX")
        client.send(b"i IDLE\r\n")
        for _ in range(3):
            server.clock.pump([60.0] * 31)
            self.assertEqual(client.take(), b"* OK Still here\r\n")
        server.add(MESSAGE)
        server.clock.advance(0)
        self.assertIn(b"* 1 EXISTS", client.take())
        self.assertTrue(client.send(b"DONE\r\n").startswith(b"i OK"))
        server.clock.pump([60.0] * 31)
        self.assertTrue(client.take().startswith(b"* BYE"))

    def test_off(self) -> None:
        server = Server(timeout=1800, quirks=())
        client = server.login()
        client.send(b"i IDLE\r\n")
        server.clock.pump([60.0] * 31)
        self.assertTrue(client.take().startswith(b"* BYE"))
        self.assertTrue(client.closed)


class WithoutRuleTests(SynchronousTestCase):
    """What known clients need, and what everybody gets."""

    def test_idle_is_announced_before_login(self) -> None:
        # Outlook: https://github.com/emersion/go-imap-idle/pull/20
        self.assertIn(b" IDLE", Server().connect().greeting)

    def test_idle_without_a_mailbox(self) -> None:
        # Outlook: https://github.com/linagora/james-project/issues/5320
        client = Server().login()
        self.assertEqual(client.send(b"i IDLE\r\n"), b"+ idling\r\n")
        self.assertEqual(client.send(b"DONE\r\n"), b"i OK IDLE completed\r\n")

    def test_no_exists_after_expunge(self) -> None:
        # Apple Mail: https://github.com/zone-eu/wildduck/issues/850
        server = Server()
        server.add(MESSAGE, flags="\\Deleted")
        client = server.login("SELECT INBOX")
        self.assertEqual(client.command("EXPUNGE")[:-1], [b"* 1 EXPUNGE", b"* 0 RECENT"])

    def test_names_that_hold_others_are_marked_in_lsub(self) -> None:
        # Thunderbird: Dovecot, imap_client_workarounds, tb-lsub-flags
        client = Server().login("CREATE a/b", "SUBSCRIBE a/b", "SUBSCRIBE a", "DELETE a")
        self.assertIn(b'* LSUB (\\Noselect \\HasChildren) "/" "a"', client.command('LSUB "" *'))

    def test_identification_without_fields(self) -> None:
        # https://github.com/modern-email/defects/issues/13
        self.assertTrue(Server().connect().command("ID ()")[-1].startswith(b"OK"))

    def test_both_parameters_of_select(self) -> None:
        # eM Client 11: https://github.com/Purelymail/purelymail-issues/issues/452
        client = Server().login("ENABLE QRESYNC CONDSTORE")
        answer = client.command("SELECT INBOX (CONDSTORE QRESYNC (1 1))")
        self.assertTrue(answer[-1].startswith(b"OK"), answer)

    def test_identification_before_login(self) -> None:
        # Microsoft Office 365: https://github.com/modern-email/defects/issues/49
        client = Server().connect()
        told = client.command(
            'ID ("name" "Microsoft Office 365" "version" "15.20.9160.4" "vendor" '
            '"Microsoft Corporation" "support-url" "https://support.microsoft.com/")'
        )
        self.assertTrue(told[-1].startswith(b"OK"))
        self.assertTrue(client.command(f"LOGIN {USER} secret")[-1].startswith(b"OK"))
