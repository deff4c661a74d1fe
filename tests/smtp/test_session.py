"""Commands outside of transactions: greeting, EHLO, HELP and the like, limits, time-outs, ends."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import StoreUnavailable
from mailkit.model import Ability
from mailkit.smtp.extensions.settings import Access, ExtensionSettings
from mailkit.smtp.grammar import Limits
from mailkit.smtp.handlers import COMMANDS
from tests.smtp.fakes import Server


class GreetingTests(SynchronousTestCase):
    def test_greeting(self) -> None:
        self.assertEqual(Server().answer(), b"220 mx.example.org ESMTP ready\r\n")

    def test_machine_name_by_default(self) -> None:
        self.assertTrue(Server(hostname=None).factory.hostname)

    def test_too_many_connections(self) -> None:
        server = Server(max_connections=1)
        server.connect()
        self.assertEqual(server.answer()[:10], b"421 4.7.0 ")
        self.assertTrue(server.closed)

    def test_bad_setting(self) -> None:
        self.assertRaises(ValueError, Server, bare_line_ends="whatever")


class HelloTests(SynchronousTestCase):
    def test_ehlo_lists_what_is_there(self) -> None:
        self.assertEqual(
            Server(max_size=12345).say("EHLO client.example"),
            [
                "250-mx.example.org greets client.example",
                "250-SIZE 12345",
                "250-8BITMIME",
                "250-PIPELINING",
                "250-SMTPUTF8",
                "250-ENHANCEDSTATUSCODES",
                "250-CHUNKING",
                "250-LIMITS MAILMAX=10000 RCPTMAX=1000",
                "250 HELP",
            ],
        )

    def test_starttls_is_listed_while_it_is_possible(self) -> None:
        self.assertIn("250-STARTTLS", Server(tls_context=object()).say("EHLO a"))
        self.assertNotIn("250-STARTTLS", Server(tls_context=object(), tls=True).say("EHLO a"))

    def test_helo(self) -> None:
        self.assertEqual(
            Server().say("HELO client.example"), ["250 mx.example.org greets client.example"]
        )

    def test_bad_names_change_nothing(self) -> None:
        server = Server()
        for line in ("EHLO", "HELO", "EHLO ---", "HELO a;b", f"EHLO {'a' * 256}"):
            self.assertTrue(server.say(line)[0].startswith("501 5.5.4 "), line)
        self.assertTrue(server.say("MAIL FROM:<>")[0].startswith("503 "))

    def test_ehlo_ends_the_transaction(self) -> None:
        server = Server().greet()
        server.say("MAIL FROM:<>", "RCPT TO:<bob@example.org>", "EHLO other.example")
        self.assertEqual(server.say("DATA")[0][:9], "503 5.5.1")
        server.say("MAIL FROM:<>")
        assert server.protocol.session.envelope is not None
        self.assertEqual(server.protocol.session.envelope.helo, "other.example")

    def test_a_bad_ehlo_keeps_the_transaction(self) -> None:
        server = Server().greet()
        server.say("MAIL FROM:<>", "EHLO ---")
        self.assertEqual(server.say("RCPT TO:<bob@example.org>")[0][:3], "250")


class SmallCommandTests(SynchronousTestCase):
    def test_before_any_hello(self) -> None:
        # RFC 5321 section 4.1.4
        for line, code in (
            ("NOOP", "250 2.0.0"),
            ("NOOP whatever it is", "250 2.0.0"),
            ("RSET", "250 2.0.0"),
            ("VRFY bob", "252 2.0.0"),
            ("VRFY bob@example.org SMTPUTF8", "252 2.0.0"),
            ("EXPN list", "252 2.0.0"),
            ("HELP", "214-2.0.0"),
            ("MAIL FROM:<>", "503 5.5.1"),
            ("RCPT TO:<bob@example.org>", "503 5.5.1"),
            ("DATA", "503 5.5.1"),
            ("AUTH PLAIN", "503 5.5.1"),
        ):
            self.assertEqual(Server().say(line)[0][:9], code, line)

    def test_arguments_where_none_may_be(self) -> None:
        # RFC 5321 section 4.3.2
        for line in ("RSET x", "QUIT x", "STARTTLS x"):
            self.assertEqual(Server(tls_context=object()).say(line)[0][:9], "501 5.5.4", line)
        server = Server().greet()
        server.say("MAIL FROM:<>", "RCPT TO:<bob@example.org>")
        self.assertEqual(server.say("DATA x")[0][:9], "501 5.5.4")
        self.assertEqual(server.say("DATA")[0][:3], "354")

    def test_vrfy_wants_an_argument(self) -> None:
        self.assertEqual(Server().say("VRFY")[0][:9], "501 5.5.4")

    def test_help(self) -> None:
        server = Server()
        lines = server.say("HELP")
        self.assertTrue(all(line.startswith("214-2.0.0 ") for line in lines[:-1]))
        self.assertTrue(lines[-1].startswith("214 2.0.0 "))
        for verb in COMMANDS:
            self.assertIn(verb.decode(), lines[1])
            answer = server.say(f"help {verb.decode().lower()}")[0]
            self.assertTrue(answer.startswith(f"214 2.0.0 Syntax: {verb.decode()}"), answer)
        self.assertEqual(server.say("HELP WHATEVER")[0][:9], "504 5.5.4")

    def test_help_tells_what_this_client_may_use(self) -> None:
        server = Server()
        listed = server.say("HELP")[1].split()[1:]
        for verb in ("STARTTLS", "AUTH", "BURL", "ETRN", "VRFY", "EXPN", "XCLIENT", "XFORWARD"):
            self.assertNotIn(verb, listed)
            self.assertEqual(server.say(f"HELP {verb}")[0][:9], "504 5.5.4")
        self.assertIn("BDAT", listed)
        server = Server(
            tls_context=object(),
            passwords={"ann": "secret"},
            abilities=[Ability.QUERIES],
            allow_plaintext_passwords=True,
            extensions=ExtensionSettings(
                without=["CHUNKING"], xclient_from=["192.0.2.7"], vrfy=Access.EVERYONE
            ),
        )
        listed = server.greet().say("HELP")[1].split()[1:]
        for verb in ("STARTTLS", "AUTH", "VRFY", "XCLIENT", "XFORWARD"):
            self.assertIn(verb, listed)
        self.assertNotIn("BDAT", listed)
        server.say("AUTH PLAIN AGFubgBzZWNyZXQ=")
        self.assertNotIn("AUTH", server.say("HELP")[1].split()[1:])

    def test_known_but_not_implemented(self) -> None:
        for verb in ("SEND FROM:<a@b>", "SOML FROM:<a@b>", "SAML FROM:<a@b>", "TURN"):
            self.assertEqual(Server().say(verb)[0][:9], "502 5.5.1", verb)

    def test_unknown(self) -> None:
        for line in ("", "FOO", "XYZZY a b", "BDAT10", "RSET1", "123"):
            self.assertEqual(Server().say(line)[0][:9], "500 5.5.2", line)

    def test_any_case_and_trailing_blanks(self) -> None:
        self.assertEqual(Server().say("ehlo a")[0][:3], "250")
        self.assertEqual(Server().say("nOoP  \t ")[0][:3], "250")

    def test_bare_line_feeds_end_commands(self) -> None:
        self.assertEqual(Server().send(b"NOOP\nNOOP\r\nNOOP\n"), b"250 2.0.0 OK\r\n" * 3)

    def test_quit(self) -> None:
        server = Server()
        self.assertEqual(server.say("QUIT")[0], "221 2.0.0 mx.example.org closing connection")
        self.assertTrue(server.closed)

    def test_nothing_is_read_behind_quit(self) -> None:
        self.assertEqual(Server().send(b"QUIT\r\nNOOP\r\n").count(b"\r\n"), 1)

    def test_replies_carry_enhanced_codes(self) -> None:
        # RFC 2034 section 4: all but the greeting, EHLO and HELO, and 3xx.
        server = Server().begin()
        answers = server.send(b".\r\n")
        for line in (b"RSET", b"NOOP", b"VRFY a", b"FOO", b"EXPN", b"HELP", b"MAIL", b"QUIT"):
            answers += server.send(line + b"\r\n")
        for answer in answers.splitlines():
            self.assertRegex(answer.decode(), r"^([245])\d\d[ -]\1\.\d+\.\d+ ")


class LimitTests(SynchronousTestCase):
    def test_command_line_length_is_exact(self) -> None:
        server = Server(limits=Limits(line=600))
        self.assertEqual(server.send(b"NOOP " + b"a" * 593 + b"\r\n")[:3], b"250")
        self.assertEqual(
            server.send(b"NOOP " + b"a" * 594 + b"\r\n"), b"500 5.5.2 Line too long\r\n"
        )
        self.assertEqual(server.send(b"NOOP\r\n"), b"250 2.0.0 OK\r\n")

    def test_512_octets_always_fit(self) -> None:
        # RFC 5321 section 4.5.3.1.4
        self.assertEqual(Server().send(b"NOOP " + b"a" * 505 + b"\r\n")[:3], b"250")

    def test_a_huge_line_is_one_error_and_stays_in_step(self) -> None:
        server = Server()
        for _ in range(100):
            self.assertEqual(server.send(b"x" * 65536), b"")
            self.assertLessEqual(len(server.protocol.buffer), 65536)
        self.assertEqual(
            server.send(b"MAIL FROM:<>\r\nNOOP\r\n"), b"500 5.5.2 Line too long\r\n250 2.0.0 OK\r\n"
        )

    def test_errors_end_the_connection(self) -> None:
        server = Server()
        answers = server.send(b"FOO\r\n" * 30)
        self.assertEqual(answers.count(b"500 5.5.2 "), server.factory.max_errors)
        self.assertIn(b"421 4.7.0 mx.example.org Too many errors", answers.splitlines()[-1])
        self.assertEqual(answers.count(b"421 "), 1)
        self.assertTrue(server.closed)

    def test_web_clients_are_turned_away_at_once(self) -> None:
        for request in (b"GET / HTTP/1.1", b"post /x HTTP/1.0", b"CONNECT mx:25 HTTP/1.1"):
            server = Server()
            answer = server.send(request + b"\r\nMAIL FROM:<eve@example.net>\r\n\r\n")
            self.assertEqual(answer[:10], b"421 4.7.0 ")
            self.assertEqual(answer.count(b"\r\n"), 1)
            self.assertTrue(server.closed)

    def test_commands_without_mail_are_bounded(self) -> None:
        server = Server()
        server.factory.max_idle_commands = 10
        self.assertEqual(server.send(b"NOOP\r\nRSET\r\n" * 5).count(b"250 "), 10)
        self.assertEqual(server.send(b"NOOP\r\n")[:10], b"421 4.7.0 ")
        self.assertTrue(server.closed)

    def test_a_message_makes_up_for_them(self) -> None:
        server = Server()
        server.factory.max_idle_commands = 10
        for _ in range(3):
            server.send(b"RSET\r\n" * 8)
            server.begin()
            self.assertEqual(server.send(b".\r\n")[:3], b"250")
        self.assertFalse(server.closed)

    def test_refused_recipients_are_bounded(self) -> None:
        server = Server().greet()
        server.factory.max_refusals = 50
        answers = server.send(b"RCPT TO:<bob@example.org>\r\n" * 60)
        self.assertEqual(answers.count(b"503 "), 50)
        self.assertEqual(answers.splitlines()[-1][:4], b"421 ")

    def test_a_whole_refused_envelope_is_no_offence(self) -> None:
        server = Server().greet()
        server.delivery.trouble["check_sender"] = StoreUnavailable()
        answers = server.send(
            b"MAIL FROM:<a@b>\r\n" + b"RCPT TO:<bob@example.org>\r\n" * 1000 + b"DATA\r\n"
        )
        # The loop lets other connections have their turn.
        for _ in range(10):
            server.clock.advance(0)
        answers = server.answer()
        self.assertEqual(answers.count(b"503 5.5.1 "), 1001)
        self.assertFalse(server.closed)

    def test_transactions_on_a_connection_are_bounded(self) -> None:
        server = Server()
        server.factory.max_transactions = 2
        for _ in range(2):
            server.begin()
            server.send(b".\r\n")
        self.assertEqual(server.send(b"MAIL FROM:<>\r\n")[:10], b"421 4.7.0 ")
        self.assertTrue(server.closed)


class TimeoutTests(SynchronousTestCase):
    def test_silence_between_commands(self) -> None:
        server = Server()
        server.clock.advance(299)
        server.send(b"NOOP\r\n")
        server.clock.advance(299)
        self.assertFalse(server.closed)
        server.transport.clear()
        server.clock.advance(2)
        self.assertEqual(
            server.answer(), b"421 4.4.2 mx.example.org Timeout, closing connection\r\n"
        )
        self.assertTrue(server.closed)

    def test_a_line_that_never_ends(self) -> None:
        server = Server()
        server.send(b"MAIL FR")
        server.clock.advance(301)
        self.assertEqual(server.answer()[:10], b"421 4.4.2 ")

    def test_silence_inside_a_message(self) -> None:
        server = Server().begin()
        server.send(b"Subject: half\r\n")
        server.clock.advance(179)
        self.assertFalse(server.closed)
        server.send(b"more\r\n")
        server.clock.advance(100)
        server.clock.advance(79)
        self.assertFalse(server.closed)
        server.clock.advance(2)
        self.assertEqual(server.answer()[:10], b"421 4.4.2 ")
        server.lose()
        self.assertEqual(server.delivery.received, [])
        self.assertTrue(server.delivery.spools[0].closed)

    def test_the_second_message_has_its_time_too(self) -> None:
        server = Server().begin()
        server.clock.advance(170)
        server.send(b".\r\n")
        server.clock.advance(170)
        server.begin()
        server.clock.advance(170)
        self.assertFalse(server.closed)
        server.clock.advance(11)
        self.assertTrue(server.closed)

    def test_a_slow_delivery_is_not_the_clients_silence(self) -> None:
        server = Server().begin()
        server.delivery.slow.add("deliver")
        server.send(b"text\r\n.\r\n")
        server.clock.advance(2000)
        self.assertFalse(server.closed)
        server.delivery.go_on()
        self.assertEqual(server.answer()[:3], b"250")

    def test_a_client_that_never_reads(self) -> None:
        server = Server()
        server.protocol.pauseProducing()
        self.assertEqual(server.send(b"HELP\r\n" * 1000), b"")
        self.assertIsNone(server.protocol._output)
        # What it sends meanwhile stays in its socket.
        server.send(b"NOOP\r\n" * 50_000)
        self.assertEqual(server.transport.producerState, "paused")
        server.clock.advance(301)
        self.assertTrue(server.transport.disconnected)

    def test_a_client_that_reads_again(self) -> None:
        server = Server()
        server.protocol.pauseProducing()
        self.assertEqual(server.send(b"NOOP\r\nRSET\r\n"), b"")
        server.protocol.resumeProducing()
        self.assertEqual(server.answer(), b"250 2.0.0 OK\r\n250 2.0.0 Reset\r\n")


class ShutdownTests(SynchronousTestCase):
    def test_an_idle_session_hears_421(self) -> None:
        # RFC 5321 section 3.8
        server = Server().greet()
        server.transport.clear()
        server.protocol.shut_down()
        self.assertEqual(server.answer(), b"421 4.3.2 mx.example.org Server is shutting down\r\n")
        self.assertTrue(server.closed)

    def test_a_delivery_is_answered_first(self) -> None:
        server = Server().begin()
        server.delivery.slow.add("deliver")
        server.send(b"text\r\n.\r\n")
        server.protocol.shut_down()
        self.assertFalse(server.closed)
        server.delivery.go_on()
        codes = [line[:9] for line in server.answer().decode().splitlines()]
        self.assertEqual(codes, ["250 2.0.0", "421 4.3.2"])
        self.assertTrue(server.closed)


class TLSTests(SynchronousTestCase):
    def test_starttls(self) -> None:
        server = Server(tls_context=object()).greet()
        self.assertEqual(server.send(b"STARTTLS\r\n"), b"220 2.0.0 Ready to start TLS\r\n")
        self.assertEqual(server.transport.tls_begun, 1)
        # RFC 3207 section 4.2: nothing is known any more.
        self.assertEqual(server.say("MAIL FROM:<>")[0][:9], "503 5.5.1")
        self.assertNotIn("250-STARTTLS", server.say("EHLO a"))
        self.assertEqual(server.say("STARTTLS")[0][:9], "503 5.5.1")

    def test_plaintext_behind_starttls_is_dropped(self) -> None:
        server = Server(tls_context=object()).greet()
        answer = server.send(b"STARTTLS\r\nRSET\r\nMAIL FROM:<eve@example.net>\r\n")
        self.assertEqual(answer, b"220 2.0.0 Ready to start TLS\r\n")
        self.assertEqual(len(server.protocol.buffer), 0)
        self.assertEqual(server.send(b"NOOP\r\n"), b"250 2.0.0 OK\r\n")

    def test_not_available(self) -> None:
        self.assertEqual(Server().greet().say("STARTTLS")[0][:9], "502 5.5.1")

    def test_a_transaction_is_forgotten(self) -> None:
        server = Server(tls_context=object()).greet()
        server.say("MAIL FROM:<a@b>", "RCPT TO:<bob@example.org>", "STARTTLS", "EHLO a")
        self.assertEqual(server.say("DATA")[0][:9], "503 5.5.1")

    def test_the_portal_is_asked_again_about_the_encrypted_client(self) -> None:
        server = Server(tls_context=object()).greet()
        server.say("MAIL FROM:<a@b>", "STARTTLS")
        self.assertEqual(server.realm.logouts, [()])
        server.say("EHLO a", "MAIL FROM:<a@b>")
        self.assertEqual([mind.tls for _, mind in server.realm.logins], [False, True])
