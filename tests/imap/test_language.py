"""LANGUAGE (RFC 5255 section 3), on both stores."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit._typing import override
from mailkit.imap.handlers.language import MAX_RANGES
from mailkit.imap.protocol import IMAPFactory
from tests.imap.access import AccessTestCase
from tests.imap.support import USER, Server, ServerTestCase


class LanguageTests(ServerTestCase):
    @override
    def setUp(self) -> None:
        self.server = self.make_server()
        self.client = self.server.login()

    def test_texts_after_the_response(self) -> None:
        lines = self.client.command("LANGUAGE DE")
        self.assertEqual(lines[0], b"* LANGUAGE (de)")
        self.assertEqual(lines[-1], b"OK Ab jetzt auf Deutsch")
        for command, answer in (
            ("NOOP", "OK NOOP ausgeführt"),
            ("DELETE INBOX", "NO [CANNOT] INBOX kann nicht gelöscht werden"),
            ("STATUS nowhere (MESSAGES)", "NO [NONEXISTENT] Dieses Postfach gibt es nicht"),
            ("CREATE a//b", "NO [CANNOT] Ein Postfachname hat keine leeren Ebenen"),
            ("SELECT INBOX", "OK [READ-WRITE] SELECT ausgeführt"),
        ):
            self.assertEqual(self.client.command(command)[-1].decode(), answer)
        self.assertEqual(
            self.client.command("NOOP x")[-1],
            b"BAD There is more behind the command than belongs there",
        )

    def test_untagged_texts(self) -> None:
        self.client.command("LANGUAGE de")
        lines = [line.decode() for line in self.client.command("SELECT INBOX")]
        self.assertIn("* OK [UIDNEXT 1] Nächste UID", lines)
        (flags,) = [line for line in lines if "PERMANENTFLAGS" in line]
        self.assertTrue(flags.endswith("\\*)] Eigene Schlüsselwörter sind willkommen"), flags)
        told = self.client.command("SELECT INBOX")[0].decode()
        self.assertEqual(told, "* OK [CLOSED] Das Postfach davor ist geschlossen")

    def test_list(self) -> None:
        lines = self.client.command("LANGUAGE")
        self.assertEqual(lines[0], b"* LANGUAGE (en de ru i-default)")
        self.assertEqual(lines[1], b"OK Supported languages have been listed")

    def test_lookup(self) -> None:
        for ranges, tag in (
            ("FR-CA EN-CA", b"en"),
            ('DE-IT "en"', b"de"),
            ('"default"', b"en"),
            ("i-default", b"i-default"),
            ('"*"', b"en"),
            ("{2+}\r\nru", b"ru"),
        ):
            self.assertEqual(self.client.command(f"LANGUAGE {ranges}")[0], b"* LANGUAGE (%b)" % tag)

    def test_unknown_changes_nothing(self) -> None:
        self.client.command("LANGUAGE ru")
        lines = self.client.command("LANGUAGE mul")
        self.assertEqual(lines, ["NO Ни один из этих языков здесь не известен".encode()])
        self.assertEqual(self.client.command("NOOP"), ["OK NOOP: выполнено".encode()])

    def test_before_login_and_through_it(self) -> None:
        client = self.server.connect()
        self.assertIn(b" LANGUAGE", client.greeting)
        lines = client.command("LANGUAGE de")
        self.assertEqual(lines, [b"* LANGUAGE (de)", b"OK Ab jetzt auf Deutsch"])
        client.protocol.dataReceived(b"a LOGIN %b wrong\r\n" % USER.encode())
        self.server.clock.advance(10)
        self.assertEqual(
            client.take(),
            b"a NO [AUTHENTICATIONFAILED] Benutzername oder Passwort ist falsch\r\n",
        )
        self.assertTrue(client.command(f"LOGIN {USER} secret")[-1].endswith("ausgeführt".encode()))

    def test_unauthenticate_forgets_it(self) -> None:
        # RFC 8437 section 4.1
        self.client.command("LANGUAGE de")
        self.assertEqual(self.client.command("UNAUTHENTICATE"), [b"OK UNAUTHENTICATE completed"])

    def test_default_texts_are_ascii(self) -> None:
        self.client.command("LANGUAGE de")
        self.client.command("LANGUAGE i-default")
        self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])
        lines = self.client.command('SETMETADATA "" (/private/filters/values/a "\u00e4")')
        self.assertTrue(all(line.isascii() for line in lines), lines)

    def test_logout(self) -> None:
        self.client.command("LANGUAGE ru")
        self.assertEqual(
            [line.decode() for line in self.client.command("LOGOUT")],
            ["* BYE До свидания", "OK LOGOUT: выполнено"],
        )

    def test_malformed(self) -> None:
        for text in ("de,en", "d1", "de-", "(de)", "de  en", '""', "{2+}\r\n\xe4"):
            line = self.client.command(f"LANGUAGE {text}")[-1]
            self.assertTrue(line.startswith(b"BAD "), (text, line))
        many = " ".join(["fr"] * MAX_RANGES)
        self.assertTrue(self.client.command(f"LANGUAGE {many}")[-1].startswith(b"NO "))
        self.assertTrue(self.client.command(f"LANGUAGE {many} de")[-1].startswith(b"BAD "))

    def test_sessions_have_their_own(self) -> None:
        other = self.server.login()
        self.client.command("LANGUAGE de")
        self.assertEqual(other.command("NOOP"), [b"OK NOOP completed"])


class SQLiteLanguageTests(LanguageTests):
    sqlite = True


class NamespaceTests(AccessTestCase):
    def test_translations(self) -> None:
        # RFC 5255 section 3.4
        server = self.start()
        client = server.login()
        shared = b'(("Shared/" "/" "TRANSLATION" ("Gemeinsame Ordner/")))'
        told = b'* NAMESPACE (("" "/")) (("Other Users/" "/" "TRANSLATION" ("Andere Benutzer/"))) '
        self.assertEqual(client.command("LANGUAGE de")[1], told + shared)
        self.assertEqual(client.command("NAMESPACE")[0], told + shared)
        russian = client.command("LANGUAGE ru")[1]
        self.assertIn(b'"TRANSLATION" ("&BBQEQARDBDMEOAQ1- ', russian)
        client.command("ENABLE UTF8=ACCEPT")
        self.assertIn('("Другие пользователи/")'.encode(), client.command("NAMESPACE")[0])

    def test_none_by_default(self) -> None:
        client = self.start().login()
        self.assertEqual(len(client.command("LANGUAGE i-default")), 2)
        self.assertNotIn(b"TRANSLATION", client.command("NAMESPACE")[0])


class SettingTests(SynchronousTestCase):
    def test_preferred_language(self) -> None:
        client = Server(language="RU").connect()
        for text in ("default", '"*"'):
            self.assertEqual(client.command(f"LANGUAGE {text}")[0], b"* LANGUAGE (ru)")
        self.assertRaises(ValueError, IMAPFactory, language="tlh")

    def test_off(self) -> None:
        for without in ("LANGUAGE", "NAMESPACE"):
            client = Server(without=[without]).connect()
            self.assertNotIn(b"LANGUAGE", client.greeting)
            self.assertEqual(client.command("LANGUAGE de"), [b"BAD There is no such command"])

    def test_where_all_else_needs_utf8(self) -> None:
        # RFC 6855 section 6
        client = Server(utf8_only=True).login()
        self.assertEqual(client.command("LANGUAGE de")[0], b"* LANGUAGE (de)")
        line = client.command("LIST * *")[-1].decode()
        self.assertEqual(line, "NO [CANNOT] Auf diesem Server kommt zuerst ENABLE UTF8=ACCEPT")

    def test_a_server_that_stops(self) -> None:
        server = Server()
        client = server.login("LANGUAGE de")
        client.protocol.say_goodbye()
        client.protocol.flush()
        self.assertEqual(client.take().decode(), "* BYE [UNAVAILABLE] Der Server wird beendet\r\n")
