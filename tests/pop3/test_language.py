"""LANG and UTF8: texts in the client's language, names and messages in UTF-8 (RFC 6856)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from mailkit.errors import TemporaryFailure
from mailkit.interfaces import IReadyMessages
from tests.pop3.fakes import FakeWritableMailbox, Server


class LangTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.mailbox = FakeWritableMailbox(b"x" * 120, b"y" * 200)
        self.client = Server(self.mailbox).connect()
        self.client.read()

    def test_listing(self) -> None:
        # RFC 6856 section 3.2: a language listing is in UTF-8 whatever the language is.
        self.assertEqual(
            self.client.ask(b"LANG"),
            "+OK Language listing follows\r\nen English\r\nde Deutsch\r\nru Русский\r\n"
            "i-default English\r\n.\r\n".encode(),
        )

    def test_texts_are_in_the_language_from_its_own_reply_on(self) -> None:
        for command, reply in (
            (b"LANG de-AT", "+OK de Ab jetzt auf Deutsch"),
            (b"STLS", "-ERR TLS gibt es hier nicht"),
            (b"USER ann", "+OK Jetzt PASS senden"),
            (b"AUTH KERBEROS", "-ERR Dieser Mechanismus ist hier nicht bekannt; siehe CAPA"),
            (b"USER ann", "+OK Jetzt PASS senden"),
            (b"PASS secret", "+OK Angemeldet, 2 Nachrichten (320 Oktette)"),
            (b"DELE 1", "+OK Nachricht 1 gelöscht"),
            (b"LANG ru", "+OK ru Теперь по-русски"),
            (b"RSET", "+OK Сообщений в ящике: 2 (октетов: 320)"),
            (b"LANG EN", "+OK en Now speaking English"),
            (b"QUIT", "+OK Goodbye (2 messages left)"),
        ):
            self.assertEqual(self.client.ask(command), reply.encode() + b"\r\n")

    def test_what_is_wrong_with_a_command_is_told_in_the_language_too(self) -> None:
        # RFC 6856 section 3.2: texts of all responses that follow.
        for command, reply in (
            (b"LANG de", "+OK de Ab jetzt auf Deutsch"),
            (b"STAT", "-ERR Melden Sie sich zuerst an"),
            (b"XYZ", "-ERR Dieser Befehl ist hier nicht bekannt"),
            (b"x", "-ERR Das ist kein Befehl von POP3"),
            (b"USER", "-ERR USER braucht einen Benutzernamen"),
            (b"USER ann", "+OK Jetzt PASS senden"),
            (b"PASS secret", "+OK Angemeldet, 2 Nachrichten (320 Oktette)"),
            (b"AUTH PLAIN", "-ERR Sie sind schon angemeldet"),
            (b"TOP 1", "-ERR TOP braucht die Nummer einer Nachricht und eine Zahl von Zeilen"),
            (b"DELE 1", "+OK Nachricht 1 gelöscht"),
            (b"RETR 1", "-ERR Nachricht 1 ist gelöscht"),
            (b"LANG ru", "+OK ru Теперь по-русски"),
            (b"RETR 3", "-ERR Такого сообщения нет, всего сообщений в ящике: 2"),
        ):
            self.assertEqual(self.client.ask(command), reply.encode() + b"\r\n")

    def test_numbers_stay_for_programs(self) -> None:
        for command in (b"LANG de", b"USER ann", b"PASS secret"):
            self.client.ask(command)
        self.assertEqual(self.client.ask(b"STAT"), b"+OK 2 320\r\n")
        self.assertEqual(self.client.ask(b"LIST 1"), b"+OK 1 120\r\n")
        listed = self.client.ask(b"LIST")
        self.assertEqual(listed, b"+OK 2 Nachrichten (320 Oktette)\r\n1 120\r\n2 200\r\n.\r\n")

    def test_any_language_is_the_administrators(self) -> None:
        client = Server(self.mailbox, language="ru").connect()
        client.read()
        self.assertTrue(client.ask(b"LANG *").startswith(b"+OK ru "))
        self.assertTrue(self.client.ask(b"LANG *").startswith(b"+OK en "))
        self.assertRaises(ValueError, Server, self.mailbox, language="x")

    def test_what_is_not_known_changes_nothing(self) -> None:
        self.client.ask(b"LANG de")
        for argument in (b"MUL", b"uga"):
            self.assertEqual(
                self.client.ask(b"LANG " + argument),
                b"-ERR Diese Sprache ist hier nicht bekannt\r\n",
            )
        for argument in (b"de en", b"d_e", b"\xff", b"x" * 300):
            self.assertTrue(
                self.client.ask(b"LANG " + argument).startswith(b"-ERR Eine Sprache wird")
            )
        self.assertEqual(self.client.ask(b"USER ann"), b"+OK Jetzt PASS senden\r\n")

    def test_what_could_not_be_removed(self) -> None:
        self.mailbox.trouble["expunge"] = TemporaryFailure()
        for command in (b"LANG de", b"USER ann", b"PASS secret", b"DELE 1"):
            self.client.ask(command)
        reply = self.client.ask(b"QUIT").decode()
        self.assertTrue(
            reply.startswith(
                "-ERR [SYS/TEMP] Einige gelöschte Nachrichten wurden nicht entfernt: "
            ),
            reply,
        )


class UTF8Tests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Server(FakeWritableMailbox("Subject: Grüße\r\n".encode())).connect()
        self.client.read()

    def test_messages_come_as_they_are(self) -> None:
        self.assertEqual(self.client.ask(b"UTF8"), b"+OK UTF-8 mode is on\r\n")
        for command in (b"USER ann", b"PASS secret"):
            self.client.ask(command)
        reply = self.client.ask(b"RETR 1").decode()
        self.assertEqual(reply, "+OK 18 octets\r\nSubject: Grüße\r\n.\r\n")

    def test_it_comes_after_stls_and_before_login(self) -> None:
        self.assertTrue(self.client.ask(b"UTF8 x").startswith(b"-ERR "))
        self.client.ask(b"UTF8")
        self.assertEqual(self.client.ask(b"STLS"), b"-ERR STLS comes before UTF8\r\n")
        for command in (b"USER ann", b"PASS secret"):
            self.client.ask(command)
        self.assertEqual(self.client.ask(b"UTF8"), b"-ERR You are logged in already\r\n")

    def test_names_and_passwords(self) -> None:
        self.assertEqual(self.client.ask("USER jürgen".encode()), b"+OK Now send PASS\r\n")
        self.assertEqual(self.client.ask(b"USER j\xfcrgen"), b"-ERR User names are UTF-8\r\n")
        self.assertEqual(
            self.client.ask("USER \u2028x".encode()),
            b"-ERR A user name cannot contain a control character\r\n",
        )
        # SASLprep: an ann of full width is ann.
        self.client.ask("USER \uff41\uff4e\uff4e".encode())
        self.assertEqual(self.client.ask(b"PASS \xff"), b"-ERR Passwords are UTF-8\r\n")
        self.client.ask("USER \uff41\uff4e\uff4e".encode())
        self.assertTrue(self.client.ask(b"PASS secret").startswith(b"+OK Logged in"))


class RefusedUTF8Tests(SynchronousTestCase):
    """RFC 6856 sections 2.1 and 5, where the operator wants them kept to the letter."""

    REFUSED = b"-ERR [UTF8] That message has UTF-8 in its header: send UTF8 before you log in\r\n"

    def setUp(self) -> None:
        self.mailbox = FakeWritableMailbox(
            "Subject: Grüße\r\n\r\nx\r\n".encode(),
            "Subject: x\r\n\r\nGrüße\r\n".encode(),
            b"A: b\r\n" * 30_000 + "Subject: Grüße\r\n\r\nx\r\n".encode(),
        )
        self.server = Server(self.mailbox, refuse_utf8=True)

    def test_messages_with_utf8_in_the_header_are_refused(self) -> None:
        client = self.server.login()
        for command in (b"RETR 1", b"TOP 1 0", b"RETR 3", b"TOP 3 5"):
            self.assertEqual(client.ask(command), self.REFUSED)
        self.assertTrue(all(file.closed for file in self.mailbox.open_files))
        self.assertEqual(client.ask(b"DELE 1"), b"+OK Message 1 deleted\r\n")

    def test_text_of_eight_bits_is_no_reason(self) -> None:
        client = self.server.login()
        whole = "Subject: x\r\n\r\nGrüße\r\n.\r\n".encode()
        self.assertEqual(client.ask(b"RETR 2"), b"+OK 23 octets\r\n" + whole)
        self.assertEqual(client.ask(b"TOP 2 1"), b"+OK Top of message follows\r\n" + whole)

    def test_whoever_says_utf8_gets_them(self) -> None:
        client = self.server.connect()
        client.send(b"UTF8\r\nUSER ann\r\nPASS secret\r\n")
        for command in (b"RETR 1", b"TOP 1 0", b"RETR 3", b"TOP 3 5"):
            self.assertTrue(client.ask(command).startswith(b"+OK "))

    def test_in_the_language(self) -> None:
        client = self.server.login()
        client.send(b"LANG de\r\n")
        self.assertTrue(client.ask(b"RETR 1").startswith(b"-ERR [UTF8] Diese Nachricht "))

    def test_a_mailbox_that_has_its_messages_at_hand(self) -> None:
        alsoProvides(self.mailbox, IReadyMessages)
        self.mailbox.read_ready = self.mailbox.messages.get  # type: ignore[attr-defined]
        client = self.server.login()
        self.assertEqual(client.ask(b"RETR 1"), self.REFUSED)
        self.assertTrue(client.ask(b"RETR 2").startswith(b"+OK 23 octets\r\n"))

    def test_what_is_gone(self) -> None:
        client = self.server.login()
        del self.mailbox.messages[7]
        self.assertEqual(client.ask(b"RETR 1"), b"-ERR No such message\r\n")

    def test_nothing_is_refused_where_nobody_said_so(self) -> None:
        client = Server(self.mailbox).login()
        self.assertTrue(client.ask(b"RETR 1").startswith(b"+OK "))
        self.assertTrue(client.ask(b"TOP 1 0").startswith(b"+OK "))
